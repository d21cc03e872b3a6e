/* repo/record.c - clear records: lines that anybody can read and that only a key holder can have
 * written, under their key and no other (FORMAT.md section 3).
 */
#include "base/text.h"
#include "repo/lines.h"
#include "repo/repo_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char record_first_name[] = "pgagent-record";
static const char record_hmac_name[] = "hmac";

enum {
	RECORD_TYPE_MAX = 32,
	RECORD_HMAC_LINE_BYTES = 5 + 2 * CRYPTO_SHA256_BYTES + 1 /* "hmac HEX64\n" */
};

/* The last line of the record under `key` whose other lines are `text`. */
static enum err record_hmac_line(const uint8_t clear_key[CRYPTO_KEY_BYTES], const char *key,
				 struct bytes text, char out[RECORD_HMAC_LINE_BYTES + 1],
				 struct error *why)
{
	static const char label[] = "pgagent/1/record"; /* with its NUL */
	const struct bytes part[] = {bytes_of(label, sizeof(label)), bytes_of(key, strlen(key) + 1),
				     text};
	uint8_t hmac[CRYPTO_SHA256_BYTES];
	char hex[2 * CRYPTO_SHA256_BYTES + 1];
	enum err e;

	e = crypto_hmac(bytes_of(clear_key, CRYPTO_KEY_BYTES), part, 3, hmac, why);
	if (e != ERR_NONE)
		return e;
	text_of_hex(bytes_of(hmac, sizeof(hmac)), hex);
	(void)snprintf(out, RECORD_HMAC_LINE_BYTES + 1, "%s %s\n", record_hmac_name,
		       hex); /* fits by its parts */
	return ERR_NONE;
}

static enum err refuse_own_names(void *ctx, const char *name, const char *value, struct error *why)
{
	(void)ctx;
	(void)value;
	(void)why;
	assert(strcmp(name, record_first_name) != 0 && strcmp(name, record_hmac_name) != 0);
	return ERR_NONE;
}

enum err record_put(const struct repository *r, const char *key, const char *type,
		    struct bytes body, struct error *why)
{
	char hmac_line[RECORD_HMAC_LINE_BYTES + 1];
	struct writer w;
	enum err e;

	e = lines_walk(body, refuse_own_names, NULL, why);
	if (e != ERR_NONE)
		return error_add(why, "cannot put the record %s", key);
	writer_init(&w, RECORD_BYTES_MAX);
	writer_text(&w, "%s %s 1\n", record_first_name, type);
	writer_bytes(&w, body);
	if (w.bad || w.len + RECORD_HMAC_LINE_BYTES > RECORD_BYTES_MAX) {
		e = error_set(why, ERR_LIMIT, "cannot put the record %s: longer than %d bytes", key,
			      RECORD_BYTES_MAX);
		goto out;
	}
	e = record_hmac_line(r->clear_key, key, writer_view(&w), hmac_line, why);
	if (e != ERR_NONE)
		goto out;
	writer_bytes(&w, bytes_of(hmac_line, RECORD_HMAC_LINE_BYTES));
	if (w.bad)
		e = error_set(why, ERR_MEMORY, "cannot put the record %s: out of memory", key);
	else
		e = repo_put(r->store, key, writer_view(&w), why);
out:
	writer_release(&w);
	return e;
}

enum err record_check(const uint8_t clear_key[CRYPTO_KEY_BYTES], const char *key, const char *type,
		      struct bytes text, struct bytes *body, struct error *why)
{
	char hmac_line[RECORD_HMAC_LINE_BYTES + 1];
	char first[sizeof(record_first_name) + RECORD_TYPE_MAX + 4];
	struct bytes signed_text;
	size_t first_len;
	enum err e;

	assert(strlen(type) <= RECORD_TYPE_MAX);
	first_len = (size_t)snprintf(first, sizeof(first), "%s %s 1\n", record_first_name, type);
	if (text.len < first_len + RECORD_HMAC_LINE_BYTES)
		return error_set(why, ERR_CORRUPT, "record %s is damaged: only %zu bytes", key,
				 text.len);
	if (memcmp(text.data, first, first_len) != 0)
		return error_set(why, ERR_CORRUPT, "record %s is damaged: not of type \"%s\"", key,
				 type);
	signed_text = bytes_of(text.data, text.len - RECORD_HMAC_LINE_BYTES);
	e = record_hmac_line(clear_key, key, signed_text, hmac_line, why);
	if (e != ERR_NONE)
		return e;
	if (!crypto_same(text.data + signed_text.len, (const uint8_t *)hmac_line,
			 RECORD_HMAC_LINE_BYTES))
		return error_set(why, ERR_CORRUPT,
				 "record %s is damaged: its hmac does not match its content", key);
	*body = bytes_of(text.data + first_len, signed_text.len - first_len);
	return ERR_NONE;
}

enum err record_get(const struct repository *r, const char *key, const char *type,
		    struct writer *body, struct error *why)
{
	struct bytes lines = bytes_of(NULL, 0);
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	e = store_get(r->store, key, RECORD_BYTES_MAX, &text, &len, why);
	if (e == ERR_LIMIT)
		e = error_set(why, ERR_CORRUPT, "record %s is damaged: longer than %d bytes", key,
			      RECORD_BYTES_MAX);
	if (e == ERR_NONE)
		e = record_check(r->clear_key, key, type, bytes_of(text, len), &lines, why);
	if (e == ERR_NONE) {
		writer_reset(body);
		writer_bytes(body, lines);
		if (body->bad)
			e = error_set(why, ERR_MEMORY, "cannot read the record %s: no room", key);
	}
	free(text);
	return e;
}
