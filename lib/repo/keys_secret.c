/* repo/keys_secret.c - what opens a slot, as people and files write it: key files, passphrases,
 * recovery codes (FORMAT.md section 4).  No message quotes what it was given.
 */
#include "repo/keys_internal.h"

#include "base/text.h"

#include <assert.h>

enum {
	RECOVERY_CHECKED_BYTES = RECOVERY_CODE_BYTES + 1, /* and the check byte */
	RECOVERY_DIGITS = 40,                             /* 200 bits of 5 */
	RECOVERY_GROUP = 5
};

/* Crockford's base 32: no I, L, O, U. */
static const char recovery_alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void key_secret_release(struct key_secret *s)
{
	secret_release(&s->material);
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The one line that is neither blank nor a comment, without blanks around it. */
static bool key_file_line(struct bytes text, struct bytes *out)
{
	bool found = false;

	for (size_t at = 0; at < text.len;) {
		const uint8_t *line = text.data + at;
		const uint8_t *end = memchr(line, '\n', text.len - at);
		size_t len = end != NULL ? (size_t)(end - line) : text.len - at;

		at += len + 1;
		while (len > 0 && is_blank(line[len - 1]))
			len--;
		while (len > 0 && is_blank(line[0])) {
			line++;
			len--;
		}
		if (len == 0 || line[0] == '#')
			continue;
		if (found)
			return false;
		found = true;
		*out = bytes_of(line, len);
	}
	return found;
}

static enum err key_file_from_text(struct bytes text, uint8_t out[KEY_FILE_BYTES],
				   struct error *why)
{
	struct bytes line;

	if (!key_file_line(text, &line) || !text_to_hex(line, out, KEY_FILE_BYTES)) {
		(void)error_set(why, ERR_CONFIG,
				"this is no key file: it must hold one line of 64 hexadecimal "
				"digits, besides lines that begin with #");
		error_hint(why, "a key file is made by `pgagent init`; for a passphrase use "
				"passphrase_file");
		return ERR_CONFIG;
	}
	return ERR_NONE;
}

/* The value of a digit as typed, -1 for what is none. */
static int recovery_digit(uint8_t c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (uint8_t)(c - 'a' + 'A');
	if (c == 'I' || c == 'L')
		c = '1';
	if (c == 'O')
		c = '0';
	at = c == '\0' ? NULL : strchr(recovery_alphabet, c);
	return at == NULL ? -1 : (int)(at - recovery_alphabet);
}

static enum err recovery_from_text(struct bytes text, uint8_t out[RECOVERY_CHECKED_BYTES],
				   struct error *why)
{
	uint8_t digest[CRYPTO_SHA256_BYTES];
	unsigned bits = 0, held = 0;
	size_t digits = 0, n = 0;
	enum err e;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		int value;

		if (c == '-' || c == '\n' || is_blank(c))
			continue;
		value = recovery_digit(c);
		if (value < 0)
			return error_set(why, ERR_CONFIG,
					 "this is no recovery code: character %zu is not used in "
					 "recovery codes",
					 i + 1);
		if (++digits > RECOVERY_DIGITS)
			break;
		held = (held << 5 | (unsigned)value) & 0xfff;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (uint8_t)(held >> bits);
		}
	}
	if (digits != RECOVERY_DIGITS)
		return error_set(why, ERR_CONFIG,
				 "this is no recovery code: it must have %d letters and digits, in "
				 "groups of %d, and has %s%zu",
				 RECOVERY_DIGITS, RECOVERY_GROUP,
				 digits > RECOVERY_DIGITS ? "more than " : "",
				 digits > RECOVERY_DIGITS ? (size_t)RECOVERY_DIGITS : digits);
	e = crypto_sha256(bytes_of(out, RECOVERY_CODE_BYTES), digest, why);
	if (e != ERR_NONE)
		return e;
	if (digest[0] != out[RECOVERY_CODE_BYTES])
		return error_set(why, ERR_CONFIG,
				 "recovery code mistyped: its last two characters, a check of the "
				 "others, do not match");
	return ERR_NONE;
}

static enum err passphrase_from_text(struct bytes text, struct secret *out, struct error *why)
{
	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	if (text.len == 0)
		return error_set(why, ERR_CONFIG, "the passphrase is empty");
	if (text.len > SECRET_MAX)
		return error_set(why, ERR_CONFIG, "the passphrase is longer than %d bytes",
				 SECRET_MAX);
	if (memchr(text.data, '\0', text.len) != NULL || memchr(text.data, '\n', text.len) != NULL)
		return error_set(why, ERR_CONFIG, "the passphrase has more than one line");
	return secret_set(out, text, why);
}

enum err key_secret_from_text(enum slot_type type, struct bytes text, struct key_secret *out,
			      struct error *why)
{
	uint8_t material[KEY_FILE_BYTES] = {0};
	struct secret made = {.len = 0};
	enum err e = ERR_NONE;

	switch (type) {
	case SLOT_KEY_FILE:
		e = key_file_from_text(text, material, why);
		if (e == ERR_NONE)
			e = secret_set(&made, bytes_of(material, KEY_FILE_BYTES), why);
		break;
	case SLOT_PASSPHRASE:
		e = passphrase_from_text(text, &made, why);
		break;
	case SLOT_RECOVERY:
		e = recovery_from_text(text, material, why);
		if (e == ERR_NONE)
			e = secret_set(&made, bytes_of(material, RECOVERY_CODE_BYTES), why);
		break;
	case SLOT_CLEAR:
		e = error_set(why, ERR_CONFIG, "a clear slot has no secret");
		break;
	}
	if (e == ERR_NONE) {
		out->type = type;
		out->material = made;
	}
	explicit_bzero(material, sizeof(material));
	secret_release(&made);
	return e;
}

static void recovery_to_text(const uint8_t code[RECOVERY_CHECKED_BYTES], struct writer *text)
{
	unsigned bits = 0, held = 0;
	size_t digits = 0;

	for (size_t i = 0; i < RECOVERY_CHECKED_BYTES; i++) {
		held = (held << 8 | code[i]) & 0xfff;
		bits += 8;
		while (bits >= 5) {
			if (digits > 0 && digits % RECOVERY_GROUP == 0)
				writer_u8(text, '-');
			bits -= 5;
			writer_u8(text, (uint8_t)recovery_alphabet[held >> bits & 31]);
			digits++;
		}
	}
}

static enum err secret_to_text(enum slot_type type, uint8_t material[KEY_FILE_BYTES],
			       struct writer *text, struct error *why)
{
	char hex[2 * KEY_FILE_BYTES + 1];
	uint8_t digest[CRYPTO_SHA256_BYTES];
	enum err e = ERR_NONE;

	if (type == SLOT_KEY_FILE) {
		/* Less than 256 bytes in all, so that the writer never moves it: no copy stays. */
		text_of_hex(bytes_of(material, KEY_FILE_BYTES), hex);
		writer_text(text, "# pgagent key file: opens a repository. Keep it secret, and a "
				  "copy elsewhere.\n");
		writer_text(text, "%s\n", hex);
		explicit_bzero(hex, sizeof(hex));
	} else {
		e = crypto_sha256(bytes_of(material, RECOVERY_CODE_BYTES), digest, why);
		if (e != ERR_NONE)
			return e;
		material[RECOVERY_CODE_BYTES] = digest[0];
		recovery_to_text(material, text);
	}
	if (text->bad)
		e = error_set(why, ERR_MEMORY, "cannot make a secret: out of memory");
	return e;
}

enum err key_secret_new(struct random *random, enum slot_type type, struct key_secret *out,
			struct writer *text, struct error *why)
{
	size_t len = type == SLOT_KEY_FILE ? KEY_FILE_BYTES : RECOVERY_CODE_BYTES;
	uint8_t material[KEY_FILE_BYTES];
	enum err e;

	assert(type == SLOT_KEY_FILE || type == SLOT_RECOVERY);
	e = random_fill(random, material, len, why);
	if (e == ERR_NONE)
		e = secret_to_text(type, material, text, why);
	if (e == ERR_NONE)
		e = secret_set(&out->material, bytes_of(material, len), why);
	if (e == ERR_NONE)
		out->type = type;
	explicit_bzero(material, sizeof(material));
	return e;
}
