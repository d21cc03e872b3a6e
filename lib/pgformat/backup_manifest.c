/* pgformat/backup_manifest.c - the grammar of backup_manifest over JSON tokens, and what its
 * entries mean.  The shape is fixed: one object, two lists of flat objects in it.
 */
#include "pgformat/backup_manifest.h"

#include <stdlib.h>

#include "base/text.h"
#include "pgformat/json_internal.h"

/* What is true: which token may come next. */
enum place {
	AT_START,       /* the opening brace */
	AT_FIRST_KEY,   /* the version's key */
	AT_KEY,         /* a key of the document */
	AT_COLON,       /* behind such a key */
	AT_VALUE,       /* its value */
	AT_NEXT,        /* a comma or the end of the document */
	AT_FIRST_ITEM,  /* an item of the open list, or the list's end */
	AT_ITEM,        /* an item of the open list */
	AT_FIELD,       /* a key in the open item */
	AT_FIELD_COLON, /* behind such a key */
	AT_FIELD_VALUE, /* its value */
	AT_FIELD_NEXT,  /* a comma or the end of the item */
	AT_ITEM_NEXT,   /* a comma or the end of the list */
	AT_END          /* blanks only */
};

/* Keys of the document and of items; each a bit, so that none is met twice. */
enum key {
	KEY_UNKNOWN = 0,
	KEY_VERSION = 1,
	KEY_SYSTEM = 2,
	KEY_FILES = 4,
	KEY_RANGES = 8,
	KEY_CHECKSUM = 16,

	KEY_PATH = 1,
	KEY_ENCODED_PATH = 2,
	KEY_SIZE = 4,
	KEY_ALGORITHM = 8,
	KEY_FILE_CHECKSUM = 16,

	KEY_TIMELINE = 1,
	KEY_START = 2,
	KEY_END = 4
};

struct key_name {
	const char *name;
	enum key key;
};

static const struct key_name document_keys[] = {
	{"PostgreSQL-Backup-Manifest-Version", KEY_VERSION},
	{"System-Identifier", KEY_SYSTEM},
	{"Files", KEY_FILES},
	{"WAL-Ranges", KEY_RANGES},
	{"Manifest-Checksum", KEY_CHECKSUM},
	{NULL, KEY_UNKNOWN},
};
static const struct key_name file_keys[] = {
	{"Path", KEY_PATH},
	{"Encoded-Path", KEY_ENCODED_PATH},
	{"Size", KEY_SIZE},
	{"Checksum-Algorithm", KEY_ALGORITHM},
	{"Checksum", KEY_FILE_CHECKSUM},
	{NULL, KEY_UNKNOWN},
};
static const struct key_name range_keys[] = {
	{"Timeline", KEY_TIMELINE},
	{"Start-LSN", KEY_START},
	{"End-LSN", KEY_END},
	{NULL, KEY_UNKNOWN},
};

struct backup_manifest_reader {
	struct backup_manifest_visitor visitor;
	struct json_lexer lexer;
	enum place place;
	bool failed;
	enum key key;       /* of the value that comes next */
	unsigned met;       /* keys of the document so far */
	unsigned item_met;  /* keys of the open item so far */
	bool list_is_files; /* which list is open */
	struct backup_manifest_summary summary;
	struct backup_manifest_file file;
	bool is_crc32c; /* the open item's algorithm */
	char file_checksum[2 * sizeof(uint32_t) + 1];
	size_t file_checksum_len;
	struct backup_manifest_range range;
	char token[BACKUP_MANIFEST_STRING_MAX + 1];
	char path[BACKUP_MANIFEST_STRING_MAX + 1];
};

enum err backup_manifest_reader_new(const struct backup_manifest_visitor *visitor,
				    struct backup_manifest_reader **out, struct error *why)
{
	struct backup_manifest_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return error_set(why, ERR_MEMORY, "reading backup_manifest: no memory");
	r->visitor = *visitor;
	r->lexer.text = r->token;
	r->lexer.text_max = BACKUP_MANIFEST_STRING_MAX;
	*out = r;
	return ERR_NONE;
}

void backup_manifest_reader_free(struct backup_manifest_reader *r)
{
	free(r);
}

static enum err bad(const struct backup_manifest_reader *r, struct error *why, const char *what)
{
	return error_set(why, ERR_CORRUPT, "reading backup_manifest: byte %llu: %s",
			 (unsigned long long)r->lexer.token_at, what);
}

static struct bytes token_text(const struct backup_manifest_reader *r)
{
	return bytes_of(r->lexer.text, r->lexer.len);
}

static bool token_is(const struct backup_manifest_reader *r, const char *text)
{
	return r->lexer.len == strlen(text) && memcmp(r->lexer.text, text, r->lexer.len) == 0;
}

/* The key just read; one that was met before is refused, since a second value could hide the
 * first from another reader of the same manifest. */
static enum err take_key(struct backup_manifest_reader *r, const struct key_name *names,
			 unsigned *met, struct error *why)
{
	r->key = KEY_UNKNOWN;
	for (; names->name != NULL; names++)
		if (token_is(r, names->name))
			r->key = names->key;
	if ((*met & r->key) != 0)
		return bad(r, why, "a key comes twice");
	*met |= r->key;
	return ERR_NONE;
}

static enum err take_document_key(struct backup_manifest_reader *r, struct error *why)
{
	enum err kind;

	if ((r->met & KEY_CHECKSUM) != 0)
		return bad(r, why, "something comes behind the manifest's checksum");
	kind = take_key(r, document_keys, &r->met, why);
	if (kind != ERR_NONE)
		return kind;
	if (r->place == AT_FIRST_KEY && r->key != KEY_VERSION)
		return bad(r, why, "the manifest's version does not come first");
	if (r->key == KEY_CHECKSUM) {
		if (r->lexer.token_at != r->lexer.token_line_at)
			return bad(r, why, "the manifest's checksum has no line of its own");
		r->summary.covered_bytes = r->lexer.token_line_at;
	}
	r->place = AT_COLON;
	return ERR_NONE;
}

/* A scalar value of the document. */
static enum err take_document_value(struct backup_manifest_reader *r, enum json_token token,
				    struct error *why)
{
	uint64_t number;

	r->place = AT_NEXT;
	switch (r->key) {
	case KEY_VERSION:
		if (token != JSON_PLAIN || !text_to_u64(token_text(r), &number) || number < 1 ||
		    number > 2)
			return bad(r, why, "the manifest's version is neither 1 nor 2");
		r->summary.version = (unsigned)number;
		return ERR_NONE;
	case KEY_SYSTEM:
		if (token != JSON_PLAIN || !text_to_u64(token_text(r), &number) || number == 0)
			return bad(r, why, "no system identifier");
		if (r->summary.version >= 2)
			r->summary.system_identifier = number;
		return ERR_NONE;
	case KEY_CHECKSUM:
		if (token != JSON_STRING ||
		    !text_to_hex(token_text(r), r->summary.checksum, sizeof(r->summary.checksum)))
			return bad(r, why, "the manifest's checksum is no SHA-256");
		return ERR_NONE;
	case KEY_UNKNOWN:
		return ERR_NONE;
	default:
		return bad(r, why, "a list is missing");
	}
}

static enum err take_value(struct backup_manifest_reader *r, enum json_token token,
			   struct error *why)
{
	if (token == JSON_OPEN_LIST && (r->key == KEY_FILES || r->key == KEY_RANGES)) {
		r->list_is_files = r->key == KEY_FILES;
		r->place = AT_FIRST_ITEM;
		return ERR_NONE;
	}
	if (token != JSON_STRING && token != JSON_PLAIN)
		return bad(r, why, "no value that belongs there");
	return take_document_value(r, token, why);
}

static enum err item_begin(struct backup_manifest_reader *r)
{
	r->item_met = 0;
	r->file = (struct backup_manifest_file){.path = r->path};
	r->range = (struct backup_manifest_range){0};
	r->is_crc32c = false;
	r->place = AT_FIELD;
	return ERR_NONE;
}

static enum err take_path(struct backup_manifest_reader *r, struct error *why)
{
	size_t len = r->lexer.len;

	if (r->key == KEY_ENCODED_PATH) {
		len /= 2;
		if (!text_to_hex(token_text(r), (uint8_t *)r->path, len))
			return bad(r, why, "Encoded-Path is not hexadecimal");
	} else {
		memcpy(r->path, r->token, len);
	}
	if (len == 0 || memchr(r->path, '\0', len) != NULL)
		return bad(r, why, "no path of a file");
	r->path[len] = '\0';
	return ERR_NONE;
}

static enum err take_file_value(struct backup_manifest_reader *r, enum json_token token,
				struct error *why)
{
	if (r->key == KEY_UNKNOWN)
		return ERR_NONE;
	if (token != (r->key == KEY_SIZE ? JSON_PLAIN : JSON_STRING))
		return bad(r, why, "a value of the wrong type");
	switch (r->key) {
	case KEY_SIZE:
		return text_to_u64(token_text(r), &r->file.size) ? ERR_NONE
								 : bad(r, why, "no size of a file");
	case KEY_ALGORITHM:
		r->is_crc32c = token_is(r, "CRC32C");
		return ERR_NONE;
	case KEY_FILE_CHECKSUM:
		/* Which one it is may stand behind it, so that it is looked at with the item. */
		r->file_checksum_len = r->lexer.len;
		if (r->lexer.len < sizeof(r->file_checksum))
			memcpy(r->file_checksum, r->token, r->lexer.len);
		return ERR_NONE;
	default:
		return take_path(r, why);
	}
}

static enum err take_range_value(struct backup_manifest_reader *r, enum json_token token,
				 struct error *why)
{
	uint64_t number;
	struct lsn *lsn = r->key == KEY_START ? &r->range.start : &r->range.end;

	if (r->key == KEY_UNKNOWN)
		return ERR_NONE;
	if (r->key == KEY_TIMELINE) {
		if (token != JSON_PLAIN || !text_to_u64(token_text(r), &number) || number == 0 ||
		    number > UINT32_MAX)
			return bad(r, why, "no timeline");
		r->range.timeline = (uint32_t)number;
		return ERR_NONE;
	}
	if (token != JSON_STRING || strlen(r->token) != r->lexer.len ||
	    lsn_from_text(r->token, lsn, NULL) != ERR_NONE)
		return bad(r, why, "no LSN");
	return ERR_NONE;
}

/* CRC-32C stands there as its bytes lay in the server's memory, lowest first. */
static bool file_crc32c(struct backup_manifest_reader *r)
{
	uint8_t crc[sizeof(uint32_t)];

	if (r->file_checksum_len != 2 * sizeof(crc) ||
	    !text_to_hex(bytes_of(r->file_checksum, 2 * sizeof(crc)), crc, sizeof(crc)))
		return false;
	r->file.has_crc32c = true;
	r->file.crc32c = get_u32(crc);
	return true;
}

static enum err file_end(struct backup_manifest_reader *r, struct error *why)
{
	unsigned paths = r->item_met & (KEY_PATH | KEY_ENCODED_PATH);
	unsigned sums = r->item_met & (KEY_ALGORITHM | KEY_FILE_CHECKSUM);

	if (paths != KEY_PATH && paths != KEY_ENCODED_PATH)
		return bad(r, why, "a file needs one path");
	if ((r->item_met & KEY_SIZE) == 0)
		return bad(r, why, "a file without its size");
	if (sums != 0 && sums != (KEY_ALGORITHM | KEY_FILE_CHECKSUM))
		return bad(r, why, "a checksum and its algorithm belong together");
	if (r->is_crc32c && !file_crc32c(r))
		return bad(r, why, "no CRC-32C");
	return r->visitor.file != NULL ? r->visitor.file(r->visitor.ctx, &r->file, why) : ERR_NONE;
}

static enum err range_end(struct backup_manifest_reader *r, struct error *why)
{
	if (r->item_met != (KEY_TIMELINE | KEY_START | KEY_END) ||
	    r->range.start.value > r->range.end.value)
		return bad(r, why, "a WAL range needs a timeline, a start and an end behind it");
	return r->visitor.range != NULL ? r->visitor.range(r->visitor.ctx, &r->range, why)
					: ERR_NONE;
}

/* Tokens inside a list and its items. */
static enum err take_in_list(struct backup_manifest_reader *r, enum json_token token,
			     struct error *why)
{
	switch (r->place) {
	case AT_FIRST_ITEM:
	case AT_ITEM:
		if (token == JSON_OPEN_OBJECT)
			return item_begin(r);
		if (token != JSON_CLOSE_LIST || r->place == AT_ITEM)
			return bad(r, why, "an item is missing");
		r->place = AT_NEXT;
		return ERR_NONE;
	case AT_FIELD:
		if (token != JSON_STRING)
			return bad(r, why, "a key is missing");
		r->place = AT_FIELD_COLON;
		return take_key(r, r->list_is_files ? file_keys : range_keys, &r->item_met, why);
	case AT_FIELD_VALUE:
		if (token != JSON_STRING && token != JSON_PLAIN)
			return bad(r, why, "no value that belongs there");
		r->place = AT_FIELD_NEXT;
		return r->list_is_files ? take_file_value(r, token, why)
					: take_range_value(r, token, why);
	case AT_FIELD_NEXT:
		if (token == JSON_COMMA) {
			r->place = AT_FIELD;
			return ERR_NONE;
		}
		if (token != JSON_CLOSE_OBJECT)
			return bad(r, why, "a comma is missing");
		r->place = AT_ITEM_NEXT;
		return r->list_is_files ? file_end(r, why) : range_end(r, why);
	default: /* AT_ITEM_NEXT */
		if (token != JSON_COMMA && token != JSON_CLOSE_LIST)
			return bad(r, why, "a comma is missing");
		r->place = token == JSON_COMMA ? AT_ITEM : AT_NEXT;
		return ERR_NONE;
	}
}

static enum err take_token(struct backup_manifest_reader *r, enum json_token token,
			   struct error *why)
{
	switch (r->place) {
	case AT_START:
		if (token != JSON_OPEN_OBJECT)
			return bad(r, why, "it does not begin like a manifest");
		r->place = AT_FIRST_KEY;
		return ERR_NONE;
	case AT_FIRST_KEY:
	case AT_KEY:
		if (token != JSON_STRING)
			return bad(r, why, "a key is missing");
		return take_document_key(r, why);
	case AT_COLON:
	case AT_FIELD_COLON:
		if (token != JSON_COLON)
			return bad(r, why, "a colon is missing");
		r->place = r->place == AT_COLON ? AT_VALUE : AT_FIELD_VALUE;
		return ERR_NONE;
	case AT_VALUE:
		return take_value(r, token, why);
	case AT_NEXT:
		if (token != JSON_COMMA && token != JSON_CLOSE_OBJECT)
			return bad(r, why, "a comma is missing");
		r->place = token == JSON_COMMA ? AT_KEY : AT_END;
		return ERR_NONE;
	case AT_END:
		return bad(r, why, "something comes behind the end");
	default:
		return take_in_list(r, token, why);
	}
}

enum err backup_manifest_reader_take(struct backup_manifest_reader *r, struct bytes in,
				     struct error *why)
{
	enum err kind = ERR_NONE;

	if (r->failed)
		return bad(r, why, "reading goes on after a failure");
	while (in.len > 0 && kind == ERR_NONE) {
		enum json_token token = JSON_MORE;

		kind = json_next(&r->lexer, &in, &token, why);
		if (kind == ERR_NONE && token != JSON_MORE)
			kind = take_token(r, token, why);
	}
	r->failed = kind != ERR_NONE;
	return kind;
}

enum err backup_manifest_reader_end(struct backup_manifest_reader *r,
				    struct backup_manifest_summary *out, struct error *why)
{
	unsigned needed = KEY_VERSION | KEY_FILES | KEY_RANGES | KEY_CHECKSUM;

	if (r->failed || r->place != AT_END || r->lexer.state != JSON_BETWEEN)
		return error_set(why, ERR_CORRUPT,
				 "reading backup_manifest: it ends early, after %llu bytes",
				 (unsigned long long)r->lexer.consumed);
	if (r->summary.version >= 2)
		needed |= KEY_SYSTEM;
	if ((r->met & needed) != needed)
		return error_set(why, ERR_CORRUPT,
				 "reading backup_manifest: not all of its parts are there");
	*out = r->summary;
	return ERR_NONE;
}
