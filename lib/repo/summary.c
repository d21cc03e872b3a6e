/* repo/summary.c - the summary of a backup as lines of text (FORMAT.md section 10). */
#include "base/text.h"
#include "repo/lines.h"
#include "repo/manifest.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	BAD_FILES_MAX = 1000,
	/* Bytes of text up to which bad files are listed: a summary is one frame, and with 256
	 * tablespaces of the longest path it stays below FRAME_PLAIN_MAX. */
	BAD_FILES_TEXT_MAX = 512 << 10
};

enum field_kind {
	FIELD_TEXT,
	FIELD_U32,
	FIELD_U64,
	FIELD_INT,
	FIELD_LSN,
	FIELD_TIME,
	FIELD_FLAG,
	FIELD_ATTEMPT,
	FIELD_TYPE,
	FIELD_PARENT,
	FIELD_PREVIOUS,
	FIELD_CONTROL,
	FIELD_CHECKSUMS,
	FIELD_TABLESPACES,
	FIELD_BAD_FILES
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset; /* in struct summary; 0 for the kinds that know their place */
	size_t size;   /* of texts */
	bool required;
};

#define AT(member) offsetof(struct summary, member)
#define TEXT(member) FIELD_TEXT, AT(member), sizeof(((struct summary *)NULL)->member)

/* In the order of the text. */
static const struct field fields[] = {
	{"attempt", FIELD_ATTEMPT, AT(attempt), 0, true},
	{"cluster", TEXT(cluster), true},
	{"system-identifier", FIELD_U64, AT(system_identifier), 0, true},
	{"server-version", FIELD_INT, AT(server_version), 0, true},
	{"timeline", FIELD_U32, AT(timeline), 0, true},
	{"start-lsn", FIELD_LSN, AT(start), 0, true},
	{"stop-lsn", FIELD_LSN, AT(stop), 0, true},
	{"stop-timeline", FIELD_U32, AT(stop_timeline), 0, true},
	{"started", FIELD_TIME, AT(started_us), 0, true},
	{"finished", FIELD_TIME, AT(finished_us), 0, true},
	{"type", FIELD_TYPE, 0, 0, true},
	{"parent", FIELD_PARENT, 0, 0, true},
	{"label", TEXT(label), false},
	{"files", FIELD_U64, AT(files), 0, true},
	{"bytes-cluster", FIELD_U64, AT(bytes_cluster), 0, true},
	{"bytes-new", FIELD_U64, AT(bytes_new), 0, true},
	{"bytes-stored", FIELD_U64, AT(bytes_stored), 0, true},
	{"bytes-renewed", FIELD_U64, AT(bytes_renewed), 0, true},
	{"pages-changed", FIELD_U64, AT(pages_changed), 0, true},
	{"bytes-read", FIELD_U64, AT(bytes_read), 0, true},
	{"bytes-used", FIELD_U64, AT(bytes_used), 0, true},
	{"checksum-failures", FIELD_U64, AT(checksum_failures), 0, true},
	{"from-standby", FIELD_FLAG, AT(from_standby), 0, true},
	{"wal-segment-bytes", FIELD_U32, AT(wal_segment_bytes), 0, true},
	{"block-bytes", FIELD_U32, AT(block_bytes), 0, true},
	{"data-checksums", FIELD_CHECKSUMS, 0, 0, false},
	{"data-directory", TEXT(data_directory), false},
	{"config-file", TEXT(config_file), false},
	{"hba-file", TEXT(hba_file), false},
	{"ident-file", TEXT(ident_file), false},
	{"superuser", TEXT(superuser), false},
	{"control", FIELD_CONTROL, 0, 0, false},
	{"generation", FIELD_U64, AT(generation), 0, true},
	{"previous", FIELD_PREVIOUS, 0, 0, true},
	{"writer", TEXT(writer), false},
	{"host", TEXT(host), false},
	{"keep", FIELD_FLAG, AT(keep), 0, true},
	{"tablespace", FIELD_TABLESPACES, 0, 0, false},
	{"bad-file", FIELD_BAD_FILES, 0, 0, false},
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

void summary_release(struct summary *s)
{
	for (size_t i = 0; i < s->bad_files; i++)
		free(s->bad_file[i]);
	free(s->bad_file);
	free(s->tablespace);
	memset(s, 0, sizeof(*s));
}

/* Encoding. */

static void put_attempt(struct writer *out, const char *name, bool has, const struct attempt *a)
{
	char text[ATTEMPT_TEXT_MAX] = "-";

	if (has)
		attempt_to_text(a, text);
	lines_put(out, name, text);
}

static void put_previous(const struct summary *s, struct writer *out)
{
	char attempt[ATTEMPT_TEXT_MAX], digest[2 * CRYPTO_SHA256_BYTES + 1];

	if (!s->has_previous) {
		lines_put(out, "previous", "-");
		return;
	}
	attempt_to_text(&s->previous, attempt);
	text_of_hex(bytes_of(s->previous_sha256, CRYPTO_SHA256_BYTES), digest);
	lines_putf(out, "previous", "%s %s", attempt, digest);
}

static void put_control(const struct summary *s, struct writer *out)
{
	char hex[2 * CONTROL_KEPT_BYTES + 1];

	if (s->control_len == 0)
		return;
	text_of_hex(bytes_of(s->control, s->control_len), hex);
	lines_put(out, "control", hex);
}

static void put_lists(const struct summary *s, enum field_kind kind, struct writer *out)
{
	size_t before = out->len;

	if (kind == FIELD_TABLESPACES) {
		for (size_t i = 0; i < s->tablespaces; i++)
			lines_putf(out, "tablespace", "%u %s", s->tablespace[i].oid,
				   s->tablespace[i].path);
		return;
	}
	for (size_t i = 0; i < s->bad_files && i < BAD_FILES_MAX; i++)
		if (out->len - before < BAD_FILES_TEXT_MAX)
			lines_put(out, "bad-file", s->bad_file[i]);
}

static void put_value(const struct field *f, const void *at, struct writer *out)
{
	char text[TIME_TEXT_MAX];

	switch (f->kind) {
	case FIELD_TEXT:
		if (f->required || *(const char *)at)
			lines_put(out, f->name, at);
		break;
	case FIELD_U32:
		lines_putf(out, f->name, "%u", *(const uint32_t *)at);
		break;
	case FIELD_U64:
		lines_putf(out, f->name, "%llu", (unsigned long long)*(const uint64_t *)at);
		break;
	case FIELD_INT:
		lines_putf(out, f->name, "%d", *(const int *)at);
		break;
	case FIELD_LSN:
		lsn_to_text(*(const struct lsn *)at, text);
		lines_put(out, f->name, text);
		break;
	case FIELD_TIME:
		time_to_text(*(const int64_t *)at, text);
		lines_put(out, f->name, text);
		break;
	case FIELD_FLAG:
		lines_put(out, f->name, *(const bool *)at ? "yes" : "no");
		break;
	default:
		put_attempt(out, f->name, true, at);
		break;
	}
}

static void put_field(const struct summary *s, const struct field *f, struct writer *out)
{
	switch (f->kind) {
	case FIELD_TYPE:
		lines_put(out, f->name, s->incremental ? "incremental" : "full");
		break;
	case FIELD_PARENT:
		put_attempt(out, f->name, s->has_parent, &s->parent);
		break;
	case FIELD_PREVIOUS:
		put_previous(s, out);
		break;
	case FIELD_CONTROL:
		put_control(s, out);
		break;
	case FIELD_CHECKSUMS:
		if (s->data_checksums >= 0)
			lines_put(out, f->name, s->data_checksums ? "on" : "off");
		break;
	case FIELD_TABLESPACES:
	case FIELD_BAD_FILES:
		put_lists(s, f->kind, out);
		break;
	default:
		put_value(f, (const uint8_t *)s + f->offset, out);
		break;
	}
}

void summary_encode(const struct summary *s, struct writer *out)
{
	for (size_t i = 0; i < FIELDS; i++)
		put_field(s, &fields[i], out);
}

/* Decoding: each of these answers whether the value is one of its kind. */

static bool take_number(const char *value, uint64_t max, uint64_t *out)
{
	return text_to_u64(bytes_of_text(value), out) && *out <= max;
}

static bool take_text(const char *value, char *out, size_t size)
{
	size_t len = strlen(value);

	if (len >= size)
		return false;
	memcpy(out, value, len + 1);
	return true;
}

static bool take_value(const struct field *f, const char *value, void *at)
{
	uint64_t number;
	bool yes = strcmp(value, "yes") == 0;

	switch (f->kind) {
	case FIELD_TEXT:
		return take_text(value, at, f->size);
	case FIELD_U32:
		if (!take_number(value, UINT32_MAX, &number))
			return false;
		*(uint32_t *)at = (uint32_t)number;
		return true;
	case FIELD_U64:
		return take_number(value, UINT64_MAX, at);
	case FIELD_INT:
		if (!take_number(value, INT32_MAX, &number))
			return false;
		*(int *)at = (int)number;
		return true;
	case FIELD_LSN:
		return lsn_from_text(value, at, NULL) == ERR_NONE;
	case FIELD_TIME:
		return time_from_text(value, at);
	case FIELD_FLAG:
		*(bool *)at = yes;
		return yes || strcmp(value, "no") == 0;
	default:
		return attempt_from_text(value, at);
	}
}

static bool take_previous(const char *value, struct summary *s)
{
	char attempt[ATTEMPT_TEXT_MAX];
	const char *blank = strchr(value, ' ');

	if (strcmp(value, "-") == 0) {
		s->has_previous = false;
		return true;
	}
	if (!blank || (size_t)(blank - value) >= sizeof(attempt))
		return false;
	memcpy(attempt, value, (size_t)(blank - value));
	attempt[blank - value] = '\0';
	s->has_previous = true;
	return attempt_from_text(attempt, &s->previous) &&
	       text_to_hex(bytes_of_text(blank + 1), s->previous_sha256, CRYPTO_SHA256_BYTES);
}

static bool take_control(const char *value, struct summary *s)
{
	size_t len = strlen(value) / 2;

	if (len == 0 || len > CONTROL_KEPT_BYTES)
		return false;
	s->control_len = len;
	return text_to_hex(bytes_of_text(value), s->control, len);
}

static bool take_choice(const char *value, const char *yes, const char *no, bool *out)
{
	*out = strcmp(value, yes) == 0;
	return *out || strcmp(value, no) == 0;
}

static bool take_special(enum field_kind kind, const char *value, struct summary *s)
{
	bool yes = false;

	switch (kind) {
	case FIELD_TYPE:
		return take_choice(value, "incremental", "full", &s->incremental);
	case FIELD_PARENT:
		s->has_parent = strcmp(value, "-") != 0;
		return !s->has_parent || attempt_from_text(value, &s->parent);
	case FIELD_PREVIOUS:
		return take_previous(value, s);
	case FIELD_CONTROL:
		return take_control(value, s);
	default:
		if (!take_choice(value, "on", "off", &yes))
			return false;
		s->data_checksums = yes;
		return true;
	}
}

/* Makes room for one more; arrays double when their length is a power of two. */
static bool grown(void **array, size_t count, size_t item_bytes)
{
	void *more;

	if (count & (count - 1))
		return true;
	more = realloc(*array, (count ? 2 * count : 1) * item_bytes);
	if (!more)
		return false;
	*array = more;
	return true;
}

static enum err bad_line(const char *name, struct error *why)
{
	return error_set(why, ERR_CORRUPT, "summary of a backup: line '%s' makes no sense", name);
}

static enum err take_tablespace(const char *value, struct summary *s, struct error *why)
{
	void *array = s->tablespace;
	const char *blank = strchr(value, ' ');
	struct summary_tablespace *t;
	uint64_t oid;

	if (!blank || !text_to_u64(bytes_of(value, (size_t)(blank - value)), &oid) ||
	    oid > UINT32_MAX || strlen(blank + 1) >= sizeof(t->path))
		return bad_line("tablespace", why);
	if (!grown(&array, s->tablespaces, sizeof(*t)))
		return error_set(why, ERR_MEMORY, "reading the summary of a backup: no memory");
	s->tablespace = array;
	t = &s->tablespace[s->tablespaces++];
	t->oid = (uint32_t)oid;
	memcpy(t->path, blank + 1, strlen(blank + 1) + 1);
	return ERR_NONE;
}

static enum err take_bad_file(const char *value, struct summary *s, struct error *why)
{
	void *array = s->bad_file;
	char *copy;

	if (s->bad_files == BAD_FILES_MAX)
		return bad_line("bad-file", why);
	copy = strdup(value);
	if (!copy || !grown(&array, s->bad_files, sizeof(char *))) {
		free(copy);
		return error_set(why, ERR_MEMORY, "reading the summary of a backup: no memory");
	}
	s->bad_file = array;
	s->bad_file[s->bad_files++] = copy;
	return ERR_NONE;
}

struct decoding {
	struct summary *s;
	bool seen[FIELDS];
};

static enum err take_line(void *ctx, const char *name, const char *value, struct error *why)
{
	struct decoding *d = ctx;
	const struct field *f = fields;

	while (f < fields + FIELDS && strcmp(f->name, name) != 0)
		f++;
	if (f == fields + FIELDS)
		return ERR_NONE; /* a later version's */
	d->seen[f - fields] = true;
	if (f->kind == FIELD_TABLESPACES)
		return take_tablespace(value, d->s, why);
	if (f->kind == FIELD_BAD_FILES)
		return take_bad_file(value, d->s, why);
	if (f->kind >= FIELD_TYPE)
		return take_special(f->kind, value, d->s) ? ERR_NONE : bad_line(name, why);
	return take_value(f, value, (uint8_t *)d->s + f->offset) ? ERR_NONE : bad_line(name, why);
}

static enum err check_whole(const struct decoding *d, struct error *why)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (fields[i].required && !d->seen[i])
			return error_set(why, ERR_CORRUPT,
					 "summary of a backup: line '%s' is missing",
					 fields[i].name);
	if (!wal_is_segment_bytes(d->s->wal_segment_bytes))
		return bad_line("wal-segment-bytes", why);
	if (d->s->timeline == 0 || d->s->stop_timeline == 0)
		return bad_line("timeline", why);
	return ERR_NONE;
}

enum err summary_decode(struct bytes in, struct summary *out, struct error *why)
{
	struct summary s = {.data_checksums = -1};
	struct decoding d = {.s = &s};
	enum err err = lines_walk(in, take_line, &d, why);

	if (!err)
		err = check_whole(&d, why);
	if (err)
		summary_release(&s);
	else
		*out = s;
	return err;
}
