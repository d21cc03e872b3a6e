/* pgformat/lsn.c - LSNs and names of WAL files between text and numbers. */
#include "pgformat/lsn.h"

#include <inttypes.h>
#include <stdio.h>

void lsn_to_text(struct lsn lsn, char out[LSN_TEXT_MAX])
{
	(void)snprintf(out, LSN_TEXT_MAX, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn.value >> 32),
		       (uint32_t)lsn.value); /* 8 + 1 + 8 digits always fit */
}

static int hex_value(char c, bool upper_only)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f' && !upper_only)
		return c - 'a' + 10;
	return -1;
}

/* 1..8 hex digits from *at on; *at is left behind them. */
static bool half_from_text(const char **at, uint32_t *out)
{
	uint32_t value = 0;
	int digits = 0;

	for (int v; digits < 9 && (v = hex_value(**at, false)) >= 0; digits++, (*at)++)
		value = value << 4 | (uint32_t)v;
	*out = value;
	return digits >= 1 && digits <= 8;
}

enum err lsn_from_text(const char *text, struct lsn *out, struct error *why)
{
	const char *at = text;
	uint32_t high = 0, low = 0;

	if (!half_from_text(&at, &high) || *at++ != '/' || !half_from_text(&at, &low) ||
	    *at != '\0')
		return error_set(why, ERR_CONFIG,
				 "reading LSN: \"%.40s\": it is written like 0/3000028", text);
	*out = lsn_of((uint64_t)high << 32 | low);
	return ERR_NONE;
}

bool wal_is_segment_bytes(uint64_t segment_bytes)
{
	return segment_bytes >= WAL_SEGMENT_BYTES_MIN && segment_bytes <= WAL_SEGMENT_BYTES_MAX &&
	       (segment_bytes & (segment_bytes - 1)) == 0;
}

/* Exactly 8 upper-case hex digits; false (and nowhere past a NUL) otherwise. */
static bool field_from_text(const char *text, uint32_t *out)
{
	uint32_t value = 0;

	for (int i = 0; i < 8; i++) {
		int v = hex_value(text[i], true);

		if (v < 0)
			return false;
		value = value << 4 | (uint32_t)v;
	}
	*out = value;
	return true;
}

static bool name_from_text(const char *text, struct wal_name *name)
{
	const char *rest;

	if (!field_from_text(text, &name->timeline) || name->timeline == 0)
		return false;
	if (strcmp(text + 8, ".history") == 0) {
		name->kind = WAL_NAME_HISTORY;
		return true;
	}
	if (!field_from_text(text + 8, &name->log) || !field_from_text(text + 16, &name->seg))
		return false;
	rest = text + WAL_SEGMENT_NAME_LEN;
	if (*rest == '\0')
		name->kind = WAL_NAME_SEGMENT;
	else if (strcmp(rest, ".partial") == 0)
		name->kind = WAL_NAME_PARTIAL;
	else if (*rest == '.' && field_from_text(rest + 1, &name->offset) &&
		 strcmp(rest + 9, ".backup") == 0)
		name->kind = WAL_NAME_BACKUP;
	else
		return false;
	return true;
}

enum err wal_name_from_text(const char *text, struct wal_name *out, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_SEGMENT};

	if (!name_from_text(text, &name))
		return error_set(why, ERR_CONFIG,
				 "reading the name of a WAL file: \"%.60s\": no segment, .history, "
				 ".backup or .partial file is called so",
				 text);
	*out = name;
	return ERR_NONE;
}

void wal_name_to_text(const struct wal_name *name, char out[WAL_NAME_MAX])
{
	char segment[WAL_SEGMENT_NAME_LEN + 1];

	/* Every form has at most 24 + 1 + 8 + 7 characters, below WAL_NAME_MAX. */
	(void)snprintf(segment, sizeof(segment), "%08" PRIX32 "%08" PRIX32 "%08" PRIX32,
		       name->timeline, name->log, name->seg);
	switch (name->kind) {
	case WAL_NAME_SEGMENT:
		(void)snprintf(out, WAL_NAME_MAX, "%s", segment);
		break;
	case WAL_NAME_HISTORY:
		(void)snprintf(out, WAL_NAME_MAX, "%08" PRIX32 ".history", name->timeline);
		break;
	case WAL_NAME_BACKUP:
		(void)snprintf(out, WAL_NAME_MAX, "%s.%08" PRIX32 ".backup", segment, name->offset);
		break;
	case WAL_NAME_PARTIAL:
		(void)snprintf(out, WAL_NAME_MAX, "%s.partial", segment);
		break;
	}
}

uint64_t wal_segno(struct lsn lsn, uint32_t segment_bytes)
{
	return lsn.value / segment_bytes;
}

struct lsn wal_segment_start(uint64_t segno, uint32_t segment_bytes)
{
	return lsn_of(segno * segment_bytes);
}

/* Segments that share the middle 8 digits of their names: 4 GiB of WAL. */
static uint64_t segments_per_log(uint32_t segment_bytes)
{
	return (UINT64_C(1) << 32) / segment_bytes;
}

bool wal_name_segno(const struct wal_name *name, uint32_t segment_bytes, uint64_t *out)
{
	uint64_t per_log = segments_per_log(segment_bytes);

	if (name->seg >= per_log)
		return false;
	*out = name->log * per_log + name->seg;
	return true;
}

void wal_segment_name(uint32_t timeline, uint64_t segno, uint32_t segment_bytes,
		      struct wal_name *out)
{
	uint64_t per_log = segments_per_log(segment_bytes);

	*out = (struct wal_name){
		.kind = WAL_NAME_SEGMENT,
		.timeline = timeline,
		.log = (uint32_t)(segno / per_log),
		.seg = (uint32_t)(segno % per_log),
	};
}
