/* repo/verified_store.c - records of verification as objects: written, read back, superseded. */
#include "repo/decision_internal.h"
#include "repo/lines.h"
#include "repo/verified_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	KIND_PACKS = 1,
	KIND_BACKUPS = 2,
	KIND_WAL = 3,
	KIND_DAMAGED = 4,
	KIND_HITS = 5,
	KIND_SEGMENTS = 6,
	PACKS_BYTES = 32,
	BACKUP_BYTES = 48,
	WAL_BYTES = 32,
	DAMAGE_BYTES = 40,
	HIT_BYTES = 32,
	SEGMENT_BYTES = 24,
	RECORD_LEVEL = 3,             /* zstd */
	VERIFIED_BYTES_MAX = 16 << 20 /* of one object */
};

static const char folder[] = "verified/";

static void record_key(const struct cluster *c, const struct attempt *run, char out[STORE_KEY_MAX])
{
	char name[ATTEMPT_TEXT_MAX];

	attempt_to_text(run, name);
	(void)snprintf(out, STORE_KEY_MAX, "%s%s%s", c->prefix, folder, name); /* fits by far */
}

/* ---- entries as bytes ---- */

static void put_attempt(struct writer *out, const struct attempt *attempt)
{
	writer_bytes(out, bytes_of(attempt->id, ATTEMPT_BYTES));
}

static struct attempt take_attempt(struct reader *in)
{
	struct bytes id = reader_take(in, ATTEMPT_BYTES);
	struct attempt attempt = {{0}};

	if (id.data != NULL)
		memcpy(attempt.id, id.data, ATTEMPT_BYTES);
	return attempt;
}

static void put_packs(struct writer *out, const void *entry)
{
	const struct verified_packs *p = entry;

	put_attempt(out, &p->attempt);
	writer_u32(out, p->first);
	writer_u32(out, p->last);
	writer_u64(out, (uint64_t)p->us);
}

static void put_backup(struct writer *out, const void *entry)
{
	const struct verified_backup *b = entry;

	put_attempt(out, &b->attempt);
	writer_u64(out, (uint64_t)b->maps_us);
	writer_u64(out, (uint64_t)b->whole_us);
	writer_u64(out, (uint64_t)b->stated_us);
	writer_u64(out, b->records);
}

static void put_wal(struct writer *out, const void *entry)
{
	const struct verified_wal *w = entry;

	writer_u32(out, w->timeline);
	writer_u32(out, w->segment_bytes);
	writer_u64(out, w->first);
	writer_u64(out, w->last);
	writer_u64(out, (uint64_t)w->us);
}

static void put_damage(struct writer *out, const void *entry)
{
	const struct verified_damage *d = entry;

	put_attempt(out, &d->pack.attempt);
	writer_u32(out, d->pack.seq);
	writer_u32(out, d->ordinal);
	writer_u32(out, d->offset);
	writer_u32(out, 0);
	writer_u64(out, (uint64_t)d->us);
}

static void put_hit(struct writer *out, const void *entry)
{
	const struct verified_hit *h = entry;

	put_attempt(out, &h->attempt);
	writer_u64(out, (uint64_t)h->us);
	writer_u64(out, (uint64_t)h->stated_us);
}

static void put_segment(struct writer *out, const void *entry)
{
	const struct verified_segment *s = entry;

	writer_u32(out, s->timeline);
	writer_u32(out, s->segment_bytes);
	writer_u64(out, s->segno);
	writer_u64(out, (uint64_t)s->us);
}

static enum err take_packs(struct reader *in, struct verified *v, struct error *why)
{
	struct verified_packs p = {.attempt = take_attempt(in)};

	p.first = reader_u32(in);
	p.last = reader_u32(in);
	p.us = (int64_t)reader_u64(in);
	return verified_add_packs(v, &p, why);
}

static enum err take_backup(struct reader *in, struct verified *v, struct error *why)
{
	struct verified_backup b = {.attempt = take_attempt(in)};

	b.maps_us = (int64_t)reader_u64(in);
	b.whole_us = (int64_t)reader_u64(in);
	b.stated_us = (int64_t)reader_u64(in);
	b.records = reader_u64(in);
	return verified_add_backup(v, &b, why);
}

static enum err take_wal(struct reader *in, struct verified *v, struct error *why)
{
	struct verified_wal w;

	w.timeline = reader_u32(in);
	w.segment_bytes = reader_u32(in);
	w.first = reader_u64(in);
	w.last = reader_u64(in);
	w.us = (int64_t)reader_u64(in);
	return verified_add_wal(v, &w, why);
}

static enum err take_damage(struct reader *in, struct verified *v, struct error *why)
{
	struct verified_damage d = {.pack = {.attempt = take_attempt(in)}};

	d.pack.seq = reader_u32(in);
	d.ordinal = reader_u32(in);
	d.offset = reader_u32(in);
	(void)reader_u32(in); /* zero, and authenticated */
	d.us = (int64_t)reader_u64(in);
	return verified_add_damage(v, &d, why);
}

static enum err take_hit(struct reader *in, struct verified *v, struct error *why)
{
	struct verified_hit h = {.attempt = take_attempt(in)};

	h.us = (int64_t)reader_u64(in);
	h.stated_us = (int64_t)reader_u64(in);
	return verified_add_hit(v, &h, why);
}

static enum err take_segment(struct reader *in, struct verified *v, struct error *why)
{
	struct verified_segment s;

	s.timeline = reader_u32(in);
	s.segment_bytes = reader_u32(in);
	s.segno = reader_u64(in);
	s.us = (int64_t)reader_u64(in);
	if (!wal_is_segment_bytes(s.segment_bytes))
		return error_set(why, ERR_CORRUPT,
				 "record of verification: segments of %" PRIu32 " bytes",
				 s.segment_bytes);
	return verified_add_segment(v, &s, why);
}

/* One row for each kind of entry. */
struct kind {
	uint32_t number;
	size_t stored_bytes, entry_bytes;
	void (*put)(struct writer *, const void *entry);
	enum err (*take)(struct reader *, struct verified *, struct error *why);
};

static const struct kind kinds[] = {
	{KIND_PACKS, PACKS_BYTES, sizeof(struct verified_packs), put_packs, take_packs},
	{KIND_BACKUPS, BACKUP_BYTES, sizeof(struct verified_backup), put_backup, take_backup},
	{KIND_WAL, WAL_BYTES, sizeof(struct verified_wal), put_wal, take_wal},
	{KIND_DAMAGED, DAMAGE_BYTES, sizeof(struct verified_damage), put_damage, take_damage},
	{KIND_HITS, HIT_BYTES, sizeof(struct verified_hit), put_hit, take_hit},
	{KIND_SEGMENTS, SEGMENT_BYTES, sizeof(struct verified_segment), put_segment, take_segment},
};

static const struct verified_list *list_of(const struct verified *v, uint32_t kind)
{
	switch (kind) {
	case KIND_PACKS:
		return &v->packs;
	case KIND_BACKUPS:
		return &v->backups;
	case KIND_WAL:
		return &v->wal;
	case KIND_HITS:
		return &v->hits;
	case KIND_SEGMENTS:
		return &v->lost;
	default:
		return &v->damage;
	}
}

enum err verified_decode(struct bytes frame, struct verified *v, struct error *why)
{
	struct reader in = reader_of(frame);
	uint32_t number = reader_u32(&in);
	enum err e = ERR_NONE;

	if (in.bad)
		return error_set(why, ERR_CORRUPT, "record of verification: a frame of %zu bytes",
				 frame.len);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].number != number)
			continue;
		if (in.left % kinds[i].stored_bytes != 0)
			return error_set(why, ERR_CORRUPT,
					 "record of verification: an entry is cut short");
		while (in.left > 0 && e == ERR_NONE)
			e = kinds[i].take(&in, v, why);
	}
	return e;
}

/* ---- writing ---- */

static void put_head(const struct cluster *c, const struct verified_run *run, struct writer *out)
{
	struct host_identity here;
	char text[TIME_TEXT_MAX]; /* an attempt is shorter */

	host_identify(c->repository->env, &here);
	attempt_to_text(&run->run, text);
	lines_put(out, "run", text);
	time_to_text(run->started_us, text);
	lines_put(out, "started", text);
	time_to_text(run->finished_us, text);
	lines_put(out, "finished", text);
	lines_put(out, "complete", run->complete ? "yes" : "no");
	if (run->only != NULL) {
		attempt_to_text(run->only, text);
		lines_put(out, "backup", text);
	}
	time_to_text(run->finished_us + (int64_t)VERIFIED_KEPT_DAYS * 86400 * 1000000, text);
	lines_put(out, "forget", text);
	lines_put(out, "host", here.host);
	lines_put(out, "writer", "pgagent " PGAGENT_VERSION);
}

/* All entries of one kind, in as many frames as they need. */
static enum err add_kind(struct object_writer *w, struct compressor *zstd, const struct kind *kind,
			 const struct verified_list *list, struct error *why)
{
	struct writer frame;
	enum err e = ERR_NONE;

	writer_init(&frame, FRAME_SECTION_MAX);
	for (size_t i = 0; i < list->count && e == ERR_NONE;) {
		writer_reset(&frame);
		writer_u32(&frame, kind->number);
		while (i < list->count && frame.len + kind->stored_bytes <= FRAME_SECTION_MAX)
			kind->put(&frame, (const uint8_t *)list->at + i++ * kind->entry_bytes);
		if (frame.bad)
			e = error_set(why, ERR_MEMORY, "record of verification: out of memory");
		else
			e = object_add_plain(w, FRAME_RECORD, zstd, writer_view(&frame), NULL, why);
	}
	writer_release(&frame);
	return e;
}

static enum err put_record(const struct cluster *c, const char *key, const struct verified_run *run,
			   const struct verified *now, struct error *why)
{
	struct object_writer *w = NULL;
	struct compressor *zstd = NULL;
	struct writer head;
	enum err e;

	writer_init(&head, FRAME_SECTION_MAX);
	put_head(c, run, &head);
	e = head.bad ? error_set(why, ERR_MEMORY, "record of verification: out of memory")
		     : compressor_new(RECORD_LEVEL, FRAME_SECTION_MAX, &zstd, why);
	if (e == ERR_NONE)
		e = object_begin(c->repository, key, OBJECT_RECORD, 0, &w, why);
	if (e == ERR_NONE)
		e = object_add_plain(w, FRAME_RECORD, zstd, writer_view(&head), NULL, why);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && e == ERR_NONE; i++)
		e = add_kind(w, zstd, &kinds[i], list_of(now, kinds[i].number), why);
	if (e == ERR_NONE && object_bytes(w) > VERIFIED_BYTES_MAX - FRAME_PLAIN_MAX)
		e = error_set(why, ERR_LIMIT, "%s: more than %d MiB of what was verified", key,
			      VERIFIED_BYTES_MAX >> 20);
	if (e == ERR_NONE) {
		e = object_commit(w, NULL, NULL, why);
		w = NULL;
	}
	object_abandon(w);
	compressor_free(zstd);
	writer_release(&head);
	return e;
}

enum err verified_write(const struct cluster *c, const struct verified_run *run,
			const struct verified *now, const struct verified *before,
			struct error *why)
{
	const struct attempt *old = before->read.at;
	char key[STORE_KEY_MAX];
	struct error reason;
	enum err e;

	record_key(c, &run->run, key);
	e = put_record(c, key, run, now, why);
	if (e != ERR_NONE)
		return error_add(why, "remembering what was verified");
	for (size_t i = 0; i < before->read.count; i++) {
		record_key(c, &old[i], key);
		if (store_remove(c->repository->store, key, &reason) != ERR_NONE)
			observer_event(c->repository->env->observer, LEVEL_INFO,
				       "superseded record %s not removed, the next verify tries "
				       "again: %s",
				       key, reason.text);
	}
	return ERR_NONE;
}

/* ---- reading ---- */

/* Everything in one object behind its first frame. */
static enum err read_record(struct object_reader *r, const char *key, struct verified *v,
			    struct error *why)
{
	const struct frame_entry *entry;
	size_t count;
	uint64_t size;
	enum err e = object_open(r, key, OBJECT_RECORD, why);

	if (e == ERR_NONE)
		e = object_directory(r, &entry, &count, &size, why);
	for (size_t i = 1; e == ERR_NONE && i < count; i++) {
		struct bytes plain;

		e = object_frame(r, FRAME_RECORD, &entry[i].place, &plain, why);
		if (e == ERR_NONE)
			e = verified_decode(plain, v, why);
	}
	return e;
}

/* What was said before a record broke off is as true as what whole ones say: each entry lies in a
 * frame that was authenticated. */
static enum err read_all(const struct cluster *c, const struct key_list *names, struct verified *v,
			 struct error *why)
{
	struct object_reader *r = NULL;
	enum err e = object_reader_new(c->repository, &r, why);
	size_t first = names->count > VERIFIED_READ_MAX ? names->count - VERIFIED_READ_MAX : 0;

	for (size_t i = 0; i < names->count && e == ERR_NONE; i++) {
		char key[STORE_KEY_MAX];
		struct attempt run;

		if (!attempt_from_text(names->key[i], &run))
			continue; /* nothing of ours */
		record_key(c, &run, key);
		e = i < first ? ERR_NONE : read_record(r, key, v, why);
		if (e == ERR_MISSING) { /* another run superseded it meanwhile */
			e = ERR_NONE;
			continue;
		}
		if (e == ERR_CORRUPT || e == ERR_WRONG_KEY) {
			observer_event(c->repository->env->observer, LEVEL_WARNING,
				       "record of verification %s can't be read, what it "
				       "proved is read again: %s",
				       key, why->text);
			e = ERR_NONE;
		}
		if (e == ERR_NONE) {
			struct verified_list *read = &v->read;
			struct attempt *more =
				reallocarray(read->at, read->count + 1, sizeof(*more));

			if (more == NULL) {
				e = error_set(why, ERR_MEMORY,
					      "records of verification: out of memory");
				break;
			}
			more[read->count++] = run;
			read->at = more;
		}
	}
	object_reader_free(r);
	return e;
}

enum err verified_read(const struct cluster *c, struct verified **out, struct error *why)
{
	struct verified *v = verified_new();
	struct key_list names = {.count = 0};
	enum err e = v == NULL
			     ? error_set(why, ERR_MEMORY, "records of verification: out of memory")
			     : key_list_read(c, folder, &names, why);

	if (e == ERR_NONE)
		e = read_all(c, &names, v, why);
	key_list_release(&names);
	if (e != ERR_NONE) {
		verified_free(v);
		return e;
	}
	verified_settle(v);
	*out = v;
	return ERR_NONE;
}
