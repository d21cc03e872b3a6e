/* unit/backup/lineage.h - a line of backups over each other, in memory, and a model of what they hold.
 *
 * The model keeps files as lists of numbers, one for the content of each page (0 = zeros).  Backups of
 * it go through worker and builder as a run's do; each is read back page by page and held against
 * the model, and its pack table is counted again from its maps.
 */
#ifndef UNIT_BACKUP_LINEAGE_H
#define UNIT_BACKUP_LINEAGE_H

#include "backup/backup_internal.h"
#include "repo/pages.h"
#include "repo_world.h"

#include <stdlib.h>

enum {
	FILES_MAX = 64,
	PAGES_MAX = 5000, /* of a file: three shards */
	RUN_PAGES_MAX = FRAME_PAGES_MAX / MAP_PAGE_BYTES
};

struct model_file {
	bool there;
	uint32_t pages, last_bytes;
	uint32_t *content; /* PAGES_MAX */
};

struct lineage {
	struct repo_world w;
	struct model_file file[FILES_MAX];
	uint32_t next_content;
	uint64_t random;
	unsigned attempts,
		newest; /* attempt_number of the last try, of the last backup; 0 = none */
	struct summary last;
	struct renewal_policy policy;
	unsigned renew; /* besides: the first pack of this attempt; 0 = none */
	struct batch *batch;
};

static uint32_t dice(struct lineage *l, uint32_t below)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return (uint32_t)((l->random >> 20) % below);
}

static void lineage_init(struct lineage *l, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	repo_world_init(&l->w, NULL);
	l->random = seed;
	l->policy.now_us = INT64_C(1795442700) * 1000000;
	l->batch = calloc(1, sizeof(*l->batch));
	l->batch->packed = malloc(compressor_bound(FRAME_PAGES_MAX));
	for (uint32_t i = 0; i < FILES_MAX; i++)
		l->file[i].content = calloc(PAGES_MAX, sizeof(uint32_t));
}

static void lineage_release(struct lineage *l)
{
	for (uint32_t i = 0; i < FILES_MAX; i++)
		free(l->file[i].content);
	free(l->batch->packed);
	free(l->batch);
	repo_world_release(&l->w);
}

static void change(struct lineage *l, uint32_t file, uint32_t page)
{
	l->file[file].content[page] = ++l->next_content;
}

/* The file has so many pages from now on; new ones are new. */
static void resize(struct lineage *l, uint32_t file, uint32_t pages, uint32_t last_bytes)
{
	struct model_file *f = &l->file[file];

	f->there = true;
	for (uint32_t i = f->pages; i < pages; i++)
		change(l, file, i);
	/* A page that is cut or grows is another one; so is the page that was short before. */
	if (f->pages > 0 && f->pages <= pages &&
	    (f->last_bytes != MAP_PAGE_BYTES || pages == f->pages) && last_bytes != f->last_bytes)
		change(l, file, f->pages - 1);
	if (pages > 0 && pages < f->pages && last_bytes != MAP_PAGE_BYTES)
		change(l, file, pages - 1);
	f->pages = pages;
	f->last_bytes = last_bytes;
}

static uint32_t page_bytes(const struct model_file *f, uint32_t page)
{
	return page + 1 == f->pages ? f->last_bytes : MAP_PAGE_BYTES;
}

static void fill(uint32_t content, uint8_t *out, uint32_t len)
{
	uint64_t x = content * UINT64_C(0x9E3779B97F4A7C15) | 1;

	memset(out, 0, len);
	if (content == 0)
		return;
	for (uint32_t i = 0; i < len; i += 32) { /* a quarter noise */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(out + i, &x, len - i < 8 ? len - i : 8);
	}
	out[0] |= 1;
}

/* ---- one run ---- */

struct making {
	struct lineage *l;
	struct manifest *manifest;
	struct pack_writer *packs;
	struct seen *seen;
	struct worker *worker;
	struct builder *builder;
	struct parent_map *parent;
	struct renewal renewal;
	struct lookup *lookup;
	enum err failed; /* the first failure; nothing is done after it */
	struct error why;
};

static void step(struct making *m, enum err e, const struct error *why)
{
	if (m->failed == ERR_NONE && e != ERR_NONE)
		m->why = *why;
	if (m->failed == ERR_NONE)
		m->failed = e;
}

static void flush(struct making *m)
{
	struct batch *b = m->l->batch;
	struct error why;

	if (m->failed == ERR_NONE)
		step(m, worker_run(m->worker, b, &why), &why);
	if (m->failed == ERR_NONE)
		step(m, builder_take(m->builder, b, &why), &why);
	b->plain_len = b->pages = b->events = b->text_len = b->origins = 0;
}

static struct batch_event *event(struct making *m, enum batch_event_kind kind)
{
	struct batch *b = m->l->batch;

	if (b->events == BATCH_EVENTS_MAX || b->text_len > BATCH_TEXT_MAX - FILE_PATH_MAX ||
	    b->plain_len > FRAME_PAGES_MAX - MAP_PAGE_BYTES || b->pages == BATCH_PAGES_MAX ||
	    b->origins == BATCH_ORIGINS_MAX)
		flush(m);
	b->event[b->events] = (struct batch_event){.kind = kind};
	return &b->event[b->events++];
}

static int path_of(uint32_t file, char out[64])
{
	return snprintf(out, 64, "base/5/%u", 16384 + file);
}

static void feed_page(struct making *m, const struct model_file *f, uint32_t page)
{
	struct batch_event *e = event(m, f->content[page] == 0 ? EVENT_ZEROS : EVENT_PAGES);
	struct batch *b = m->l->batch;
	uint32_t n = page % SHARD_PAGES_MAX, len = page_bytes(f, page);

	e->count = 1;
	if (e->kind == EVENT_ZEROS) {
		e->last_bytes = len;
		e->changed = lookup_zero_differs(m->lookup, n);
		return;
	}
	fill(f->content[page], b->plain + b->plain_len, len);
	b->page[b->pages] = (struct batch_page){.offset = b->plain_len, .len = len};
	lookup_page(m->lookup, n, &b->page[b->pages]);
	e->first = b->pages++;
	b->plain_len += len;
}

static void feed_file(struct making *m, uint32_t file)
{
	const struct model_file *f = &m->l->file[file];
	struct batch_event *e = event(m, EVENT_OPEN);
	struct batch *b = m->l->batch;
	struct batch_origin origin;
	struct error why;

	e->file_kind = FILE_PLAIN;
	e->size = f->pages == 0 ? 0 : (uint64_t)(f->pages - 1) * MAP_PAGE_BYTES + f->last_bytes;
	e->path_at = e->target_at = b->text_len;
	e->path_len = (uint32_t)path_of(file, b->text + b->text_len);
	lookup_file(m->lookup, bytes_of(b->text + b->text_len, e->path_len));
	b->text_len += e->path_len;
	for (uint32_t i = 0; i < f->pages; i++) {
		bool found = false;

		if (i % SHARD_PAGES_MAX == 0)
			step(m, lookup_shard(m->lookup, i / SHARD_PAGES_MAX, &found, &origin, &why),
			     &why);
		if (found) {
			e = event(m, EVENT_SHARD);
			e->first = b->origins;
			b->origin[b->origins++] = origin;
		}
		feed_page(m, f, i);
	}
	(void)event(m, EVENT_CLOSE);
}

static void renew_pack_of(struct making *m, unsigned n)
{
	struct pack_id id = {.attempt = attempt_number(n)};
	uint32_t index;

	cr_assert(manifest_pack_find(parent_map_manifest(m->parent), &id, &index));
	m->renewal.pack[index] = true;
	m->renewal.packs++;
}

static enum err open_parent(struct making *m, struct error *why)
{
	struct lineage *l = m->l;
	struct attempt attempt = attempt_number(l->newest);
	struct manifest *manifest;
	enum err e = parent_prove(&l->w.cluster, 1, &attempt, &manifest, why);

	if (e == ERR_NONE)
		e = parent_map_open(&l->w.cluster, manifest, &m->parent, why);
	if (e == ERR_NONE)
		e = renewal_decide(parent_map_manifest(m->parent), &l->policy, &m->renewal, why);
	if (e == ERR_NONE && l->renew > 0)
		renew_pack_of(m, l->renew);
	if (e == ERR_NONE)
		e = lookup_new(&l->w.env, m->parent, &m->renewal, &m->lookup, why);
	return e;
}

static enum err open_all(struct making *m, const struct attempt *attempt, struct error *why)
{
	const struct cluster *cluster = &m->l->w.cluster;
	enum err e = m->l->newest > 0 ? open_parent(m, why) : ERR_NONE;

	if (e == ERR_NONE)
		e = pack_writer_new(&cluster, 1, attempt, m->manifest, &m->packs, why);
	if (e == ERR_NONE)
		e = worker_new(m->l->w.repository, 1, &m->worker, why);
	if (e == ERR_NONE)
		e = builder_new(m->packs, m->seen, m->parent, 1, &m->builder, why);
	return e;
}

static enum err commit(struct making *m, struct error *why)
{
	struct summary *s = &m->manifest->summary;
	struct builder_totals totals = builder_totals(m->builder);
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	enum err e;

	s->files = totals.files;
	s->bytes_new = totals.pages.bytes_new;
	s->bytes_renewed = totals.pages.bytes_renewed;
	s->pages_changed = totals.pages.pages_changed;
	s->bytes_read = totals.pages.bytes_read;
	s->bytes_used = totals.pages.bytes_used;
	s->bytes_stored = pack_stored_bytes(m->packs);
	e = decision_check_packs(&m->l->w.cluster, m->manifest, why);
	if (e == ERR_NONE)
		e = manifest_commit(&m->l->w.cluster, m->manifest, sha256, why);
	if (e == ERR_NONE)
		m->l->last = *s;
	return e;
}

/* Backs the model up over the newest backup. */
static enum err try_back_up(struct lineage *l, struct error *why)
{
	struct attempt attempt = attempt_number(++l->attempts);
	struct making m = {.l = l, .manifest = manifest_number(&l->w.cluster, l->attempts)};

	m.seen = seen_new();
	step(&m, open_all(&m, &attempt, why), why);
	for (uint32_t i = 0; i < FILES_MAX && m.failed == ERR_NONE; i++)
		if (l->file[i].there)
			feed_file(&m, i);
	flush(&m);
	if (m.failed == ERR_NONE)
		step(&m, builder_finish(m.builder, why), why);
	if (m.failed == ERR_NONE)
		step(&m, pack_writer_finish(m.packs, why), why);
	if (m.failed == ERR_NONE)
		step(&m, commit(&m, why), why);
	if (m.failed == ERR_NONE)
		l->newest = l->attempts;
	builder_free(m.builder);
	worker_free(m.worker);
	lookup_free(m.lookup);
	renewal_release(&m.renewal);
	parent_map_free(m.parent);
	pack_writer_free(m.packs);
	seen_free(m.seen);
	manifest_free(m.manifest);
	if (m.failed != ERR_NONE)
		*why = m.why;
	return m.failed;
}

static void back_up(struct lineage *l)
{
	struct error why;

	OK(try_back_up(l, &why));
}

/* ---- the judge ---- */

struct check {
	const struct model_file *f;
	uint64_t at;
};

static enum err check_run(void *ctx, const struct page_run *run, struct error *why)
{
	struct check *c = ctx;
	uint8_t expected[MAP_PAGE_BYTES];

	(void)why;
	cr_assert_eq(run->offset, c->at);
	for (uint64_t at = 0; at < run->len;) {
		uint32_t page = (uint32_t)((c->at + at) / MAP_PAGE_BYTES);
		uint32_t len = page_bytes(c->f, page);

		fill(c->f->content[page], expected, len);
		if (run->data == NULL)
			cr_assert_eq(c->f->content[page], 0, "page %u", page);
		else
			cr_assert_eq(memcmp(run->data + at, expected, len), 0, "page %u", page);
		at += len;
	}
	c->at += run->len;
	return ERR_NONE;
}

/* Live bytes by pack of the table, counted from the maps. */
static void count_shard(const struct manifest *m, const struct shard *s,
			const struct parent_origin *from, uint64_t *live)
{
	uint32_t index;

	for (uint32_t i = 0; i < s->pages; i++) {
		if (s->page[i].zero)
			continue;
		cr_assert(manifest_pack_find(m, &s->frame[s->page[i].frame].pack, &index));
		live[index] += i + 1U == s->pages ? s->last_bytes : MAP_PAGE_BYTES;
	}
	cr_assert(manifest_pack_find(m, &from->at.frame.pack, &index));
	live[index] += from->at.len;
	if (!from->is_patch)
		return;
	cr_assert(manifest_pack_find(m, &from->base.frame.pack, &index));
	live[index] += from->base.len;
}

struct shapes {
	uint32_t patches, whole;
};

/* The newest backup is the model, and its pack table what its maps say. */
static struct shapes judge(struct lineage *l)
{
	const struct cluster *cluster = &l->w.cluster;
	struct attempt attempt = attempt_number(l->newest);
	struct manifest *manifest, *again;
	struct parent_map *map;
	struct parent_reader *reader;
	struct page_source *pages;
	struct shard *shard = malloc(sizeof(*shard));
	struct shapes shapes = {.patches = 0};
	uint64_t *live;
	struct error why;

	OK(manifest_read(cluster, &attempt, &manifest, &why));
	OK(manifest_read(cluster, &attempt, &again, &why));
	OK(parent_map_open(cluster, again, &map, &why));
	OK(parent_reader_new(map, &reader, &why));
	OK(page_source_new(cluster, manifest, &pages, &why));
	live = calloc(manifest->packs + 1U, sizeof(*live));
	for (uint32_t i = 0; i < FILES_MAX; i++) {
		struct file_record record = {.kind = FILE_PLAIN};
		struct check check = {.f = &l->file[i]};
		struct parent_file file;
		char path[64];

		(void)path_of(i, path);
		cr_assert_eq(parent_map_find(map, bytes_of_text(path), &file), l->file[i].there);
		if (!l->file[i].there)
			continue;
		record.path = bytes_of_text(path);
		record.size = file.size;
		record.shards = file.shards;
		record.shard_refs = file.shard_refs;
		for (uint32_t n = 0; n < file.shards; n++) {
			struct parent_origin from;
			uint32_t crc;

			OK(page_source_shard(pages, &record, n, check_run, &check, &crc, &why));
			OK(parent_reader_shard(reader, &file, n, shard, &from, &why));
			count_shard(manifest, shard, &from, live);
			shapes.patches += from.is_patch;
			shapes.whole += !from.is_patch;
		}
		cr_assert_eq(check.at, file.size);
	}
	for (uint32_t i = 0; i < manifest->sections; i++)
		for (uint32_t n = 0; n < manifest->section[i].frames; n++)
			live[manifest->section[i].frame[n].pack] +=
				manifest->section[i].frame[n].place.plain_len;
	for (uint32_t i = 0; i < manifest->packs; i++) {
		const struct pack_entry *pack = &manifest->pack[i];

		cr_assert_eq(pack->live_bytes, live[i], "pack %u of %u", i, manifest->packs);
		cr_assert_leq(pack->live_bytes, (uint64_t)pack->plain_kib * 1024);
	}
	free(live);
	free(shard);
	page_source_free(pages);
	parent_reader_free(reader);
	parent_map_free(map);
	manifest_free(manifest);
	return shapes;
}

#endif
