/* repo/verify_wal.c - the WAL of a cluster: every object opens, no hole from a backup's start on. */
#include "repo/verify_internal.h"
#include "repo/wal_object.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Where WAL is needed from, on one timeline. */
struct need {
	uint32_t timeline;
	uint64_t segno;  /* first needed */
	struct lsn stop; /* needed at least up to here */
	uint32_t segment_bytes;
	char backup[ATTEMPT_TEXT_MAX];
	uint64_t next;    /* segment expected next while walking; 0 = not begun */
	uint64_t reached; /* LSN behind the last segment or slice seen */
};

struct wal_run {
	const struct cluster *cluster;
	const struct verify_options *options;
	struct verify_totals *totals;
	struct need *need; /* owned; one for each backup */
	size_t needs, needs_max;
	uint32_t segment_bytes; /* of the cluster; 0 = nobody knows */
};

static void report(struct wal_run *r, const char *key, const char *backup, const char *text)
{
	struct verify_finding finding = {.key = key, .backup = backup, .text = text};

	verify_report(r->options, r->totals, &finding);
}

static enum err note_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct wal_run *r = ctx;
	const struct summary *s = info->summary;
	struct need *need;

	if (r->needs == r->needs_max) {
		size_t more = r->needs_max == 0 ? 16 : r->needs_max * 2;
		struct need *bigger = realloc(r->need, more * sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "verify: out of memory");
		r->need = bigger;
		r->needs_max = more;
	}
	need = &r->need[r->needs++];
	*need = (struct need){
		.timeline = s->timeline,
		.segno = wal_segno(s->start, s->wal_segment_bytes),
		.stop = s->stop,
		.segment_bytes = s->wal_segment_bytes,
	};
	attempt_to_text(&s->attempt, need->backup);
	return ERR_NONE;
}

/* Reads one object whole; slices are read by name as what they are. */
static enum err read_object(struct wal_run *r, const struct wal_listed *listed, struct error *why)
{
	uint8_t *data = NULL;
	size_t len = 0;
	uint32_t valid = 0;
	char key[STORE_KEY_MAX];
	enum err e = verify_go_on(r->cluster, why);

	if (e != ERR_NONE)
		return e;
	wal_key(r->cluster, &listed->name, key);
	r->totals->objects++;
	r->totals->wal_segments += listed->name.kind == WAL_NAME_SEGMENT && !listed->slice;
	if (r->options->quick)
		return ERR_NONE;
	if (listed->slice && (r->segment_bytes == 0 || listed->from != 0))
		return ERR_NONE; /* read with the one it continues */
	if (listed->slice) {
		wal_slice_key(r->cluster, &listed->name, listed->from, listed->to, key);
		e = wal_get_sliced(r->cluster, &listed->name, r->segment_bytes, &data, &valid, why);
	} else {
		e = wal_get(r->cluster, &listed->name, &data, &len, why);
	}
	free(data);
	r->totals->bytes_read += listed->stored_bytes;
	if (e == ERR_CORRUPT || e == ERR_WRONG_KEY || e == ERR_MISSING) {
		report(r, key, NULL, why->text);
		e = ERR_NONE;
	}
	return e;
}

static enum err visit_wal(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct wal_run *r = ctx;

	for (size_t i = 0; i < r->needs; i++) {
		struct need *need = &r->need[i];
		uint64_t segno;
		char text[160], key[STORE_KEY_MAX];
		bool whole = listed->name.kind == WAL_NAME_SEGMENT && !listed->slice;

		if (listed->name.timeline != need->timeline ||
		    listed->name.kind != WAL_NAME_SEGMENT ||
		    !wal_name_segno(&listed->name, need->segment_bytes, &segno) ||
		    segno < need->segno)
			continue;
		if (need->next == 0)
			need->next = need->segno;
		if (segno > need->next) {
			wal_key(r->cluster, &listed->name, key);
			(void)snprintf(text, sizeof(text),
				       "a hole of %" PRIu64 " segment(s) before it: the backup "
				       "can't be restored past it",
				       segno - need->next); /* fits */
			report(r, key, need->backup, text);
		}
		/* A slice stands for the segment's beginning only. */
		if (whole)
			need->next = segno + 1;
		else if (segno > need->next)
			need->next = segno;
		need->reached =
			segno * need->segment_bytes + (whole ? need->segment_bytes : listed->to);
	}
	return read_object(r, listed, why);
}

enum err verify_wal(const struct cluster *cluster, const struct verify_options *options,
		    struct verify_totals *totals, struct error *why)
{
	struct wal_run r = {.cluster = cluster, .options = options, .totals = totals};
	uint64_t before = totals->findings;
	struct identity identity;
	enum err e = identity_read(cluster, &identity, why);

	if (e == ERR_NONE)
		r.segment_bytes = identity.wal_segment_bytes;
	else if (e != ERR_MISSING && e != ERR_CORRUPT) /* verify_records tells of these */
		return e;
	e = backups_list(cluster, false, note_backup, &r, why);
	if (e == ERR_NONE)
		e = wal_list(cluster, visit_wal, &r, why);
	for (size_t i = 0; e == ERR_NONE && i < r.needs; i++) {
		const struct need *need = &r.need[i];

		if (need->next == 0 || need->reached < need->stop.value)
			report(&r, need->backup, need->backup,
			       "the WAL from its start to its stop is not all there: it can't be "
			       "made consistent");
	}
	if (e == ERR_NONE && totals->findings > before)
		e = error_set(why, ERR_CORRUPT, "WAL of cluster %s is damaged", cluster->name);
	free(r.need);
	return e;
}

/* Type of the clear record that lies at `part/...`, or NULL for what is no record. */
static const char *record_type(const char *rest)
{
	static const struct {
		const char *prefix, *type;
	} types[] = {
		{"identity", "identity"}, {"pins/", "pin"},   {"tombs/", "tomb"},
		{"hidden/", "hidden"},    {"keeps/", "keep"}, {"gaps/", "gap"},
	};
	size_t len = strlen(rest);

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strncmp(rest, types[i].prefix, strlen(types[i].prefix)) != 0)
			continue;
		if (i == 3 && len > 4 && strcmp(rest + len - 4, ".end") == 0)
			return "hidden-end";
		if (i == 4 && len > 4 && strcmp(rest + len - 4, ".off") == 0)
			return "keep-off";
		return types[i].type;
	}
	return NULL;
}

static enum err check_record(void *ctx, const struct store_object *object, struct error *why)
{
	struct wal_run *r = ctx;
	const char *type = record_type(object->key + strlen(r->cluster->prefix));
	struct writer body;
	enum err e;

	if (type == NULL)
		return ERR_NONE;
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(r->cluster->repository, object->key, type, &body, why);
	writer_release(&body);
	r->totals->objects++;
	/* A pin may go between the listing and the reading. */
	if (e == ERR_CORRUPT) {
		report(r, object->key, NULL, why->text);
		return ERR_NONE;
	}
	return e == ERR_MISSING ? ERR_NONE : e;
}

static enum err ignore_slot(void *ctx, const struct slot_info *slot, struct error *why)
{
	(void)ctx;
	(void)slot;
	(void)why;
	return ERR_NONE;
}

enum err verify_records(const struct cluster *cluster, const struct verify_options *options,
			struct verify_totals *totals, struct error *why)
{
	static const char *const parts[] = {"identity", "pins/",  "tombs/",
					    "hidden/",  "keeps/", "gaps/"};
	struct wal_run r = {.cluster = cluster, .options = options, .totals = totals};
	const struct repository *repository = cluster->repository;
	uint64_t before = totals->findings;
	struct writer body;
	enum err e;

	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(repository, "FORMAT", "format", &body, why);
	writer_release(&body);
	totals->objects++;
	if (e == ERR_CORRUPT || e == ERR_MISSING) {
		report(&r, "FORMAT", NULL, why->text);
		e = ERR_NONE;
	}
	if (e == ERR_NONE)
		e = key_slots_list(repository->store, ignore_slot, NULL, why);
	if (e == ERR_CORRUPT) {
		report(&r, "keys/", NULL, why->text);
		e = ERR_NONE;
	}
	for (size_t i = 0; e == ERR_NONE && i < sizeof(parts) / sizeof(parts[0]); i++) {
		char prefix[STORE_KEY_MAX];

		(void)snprintf(prefix, sizeof(prefix), "%s%s", cluster->prefix,
			       parts[i]); /* fits */
		e = store_list(repository->store, prefix, check_record, &r, why);
	}
	if (e == ERR_NONE && totals->findings > before)
		e = error_set(why, ERR_CORRUPT, "records of cluster %s are damaged", cluster->name);
	return e;
}
