/* repo/page_history.c - one relation's maps in each backup, against those of the backup before. */
#include "repo/page_history.h"
#include "repo/pages.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEGMENT_BLOCKS = 131072, SEGMENT_SHARDS = SEGMENT_BLOCKS / SHARD_PAGES_MAX };

/* The files of the relation in one backup. */
struct version {
	struct manifest *manifest;  /* owned; NULL = there is none */
	struct page_source *source; /* owned */
	uint32_t number;
	struct segment {
		struct file_record file; /* its references are owned, its path is not kept */
		uint8_t *refs;
	} * segment; /* owned; by number of the segment; size 0 = no file */
	size_t segments;
};

struct walk {
	const struct cluster *cluster;
	const struct page_history *asked;
	history_visit *visit;
	void *ctx;
	struct version now, before;
	struct relation relation;
	struct history_entry entry;
	struct history_range *range; /* owned */
	size_t ranges, ranges_max;
	struct shard *none; /* owned; of no pages */
};

static void version_release(struct version *v)
{
	page_source_free(v->source);
	manifest_free(v->manifest);
	for (size_t i = 0; i < v->segments; i++)
		free(v->segment[i].refs);
	free(v->segment);
	*v = (struct version){.manifest = NULL};
}

static enum err no_memory(struct error *why)
{
	return error_set(why, ERR_MEMORY, "page history: out of memory");
}

/* ---- finding the files ---- */

static enum err add_segment(struct version *v, uint32_t number, const struct file_record *file,
			    struct error *why)
{
	size_t len = (size_t)file->shards * 32;
	struct segment *to;

	if (number >= HISTORY_SEGMENTS_MAX)
		return error_set(why, ERR_CORRUPT, "page history: segment %u of a relation",
				 number);
	if (number >= v->segments) {
		struct segment *more = reallocarray(v->segment, number + 1U, sizeof(*more));

		if (more == NULL)
			return no_memory(why);
		memset(more + v->segments, 0, (number + 1U - v->segments) * sizeof(*more));
		v->segment = more;
		v->segments = number + 1U;
	}
	to = &v->segment[number];
	free(to->refs);
	*to = (struct segment){.file = *file, .refs = malloc(len + 1)};
	if (to->refs == NULL)
		return no_memory(why);
	if (len > 0)
		memcpy(to->refs, file->shard_refs, len);
	to->file.shard_refs = to->refs;
	to->file.path = bytes_of_text("the relation");
	to->file.target = bytes_of(NULL, 0);
	return ERR_NONE;
}

static enum err look_at_files(void *ctx, struct bytes frame, struct error *why)
{
	struct walk *w = ctx;
	struct reader in = reader_of(frame);
	enum err e = ERR_NONE;

	while (in.left > 0 && e == ERR_NONE) {
		char path[FILE_PATH_MAX + 1];
		struct relation_file of;
		struct file_record file;

		e = file_record_decode(&in, &file, why);
		if (e != ERR_NONE || file.kind != FILE_PLAIN)
			continue;
		(void)snprintf(path, sizeof(path), "%.*s", (int)file.path.len,
			       (const char *)file.path.data); /* decoding bounds it */
		if (relation_file_from_path(path, &of) && of.fork == 0 &&
		    relation_has_file(&w->relation, &of))
			e = add_segment(&w->now, of.segment, &file, why);
	}
	return e;
}

/* The relation as this backup names it; the entry says what it has of it. */
static enum err find(struct walk *w, bool named, struct error *why)
{
	struct relations *relations = NULL;
	struct version *v = &w->now;
	enum err e = relations_read(w->cluster, v->manifest, &relations, why);

	w->entry.names_known = e == ERR_NONE;
	if ((e == ERR_MISSING || e == ERR_LIMIT) && !named)
		return ERR_NONE;
	if (e != ERR_NONE)
		return e;
	w->entry.exists = relations_find(relations, w->asked->relation, &w->relation) &&
			  w->relation.number != 0;
	if (w->entry.exists)
		e = section_walk(w->cluster, v->manifest, SECTION_FILES, look_at_files, w, why);
	relations_free(relations);
	v->number = w->relation.number;
	w->relation.database = w->relation.schema = w->relation.name = NULL;
	return e;
}

static uint64_t blocks_of(const struct version *v)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < v->segments; i++)
		blocks += (v->segment[i].file.size + MAP_PAGE_BYTES - 1) / MAP_PAGE_BYTES;
	return blocks;
}

/* ---- comparing ---- */

static enum err add_change(struct walk *w, uint32_t block, struct error *why)
{
	w->entry.changes++;
	if (w->ranges > 0 && w->range[w->ranges - 1].last + 1U == block) {
		w->range[w->ranges - 1].last = block;
		return ERR_NONE;
	}
	if (w->ranges == w->ranges_max) {
		size_t max = w->ranges_max == 0 ? 64 : w->ranges_max * 2;
		struct history_range *more = reallocarray(w->range, max, sizeof(*more));

		if (more == NULL)
			return no_memory(why);
		w->range = more;
		w->ranges_max = max;
	}
	w->range[w->ranges++] = (struct history_range){block, block};
	return ERR_NONE;
}

static uint32_t len_of(const struct shard *shard, uint32_t page)
{
	return page + 1U == shard->pages ? shard->last_bytes : MAP_PAGE_BYTES;
}

static bool same_page(const struct shard *a, const struct shard *b, uint32_t i)
{
	if (i >= a->pages || i >= b->pages)
		return false;
	if (a->page[i].zero || b->page[i].zero)
		return a->page[i].zero && b->page[i].zero && len_of(a, i) == len_of(b, i);
	return memcmp(a->page[i].tag, b->page[i].tag, CRYPTO_TAG_BYTES) == 0;
}

static bool has_shard(const struct version *v, uint32_t segment, uint32_t index)
{
	return segment < v->segments && index < v->segment[segment].file.shards;
}

/* The stored shards are one and the same. */
static bool same_ref(const struct walk *w, uint32_t segment, uint32_t index)
{
	struct file_shard_ref a, b;

	file_shard_ref_decode(w->now.segment[segment].refs + (size_t)index * 32, &a);
	file_shard_ref_decode(w->before.segment[segment].refs + (size_t)index * 32, &b);
	return a.pack < w->now.manifest->packs && b.pack < w->before.manifest->packs &&
	       pack_id_same(&w->now.manifest->pack[a.pack].id,
			    &w->before.manifest->pack[b.pack].id) &&
	       a.place.ordinal == b.place.ordinal && a.offset == b.offset && a.len == b.len;
}

/* One of no pages when the version does not reach as far. */
static enum err map_of(struct walk *w, struct version *v, uint32_t segment, uint32_t index,
		       const struct shard **out, struct error *why)
{
	*out = w->none;
	if (!has_shard(v, segment, index))
		return ERR_NONE;
	return page_source_map(v->source, &v->segment[segment].file, index, out, why);
}

/* Blocks of one shard that differ; of one block when that was asked for. */
static enum err compare_shard(struct walk *w, uint32_t segment, uint32_t index, struct error *why)
{
	uint32_t first = segment * SEGMENT_BLOCKS + index * SHARD_PAGES_MAX;
	const struct shard *now, *before;
	enum err e;

	if (has_shard(&w->now, segment, index) && has_shard(&w->before, segment, index) &&
	    same_ref(w, segment, index))
		return ERR_NONE;
	e = map_of(w, &w->before, segment, index, &before, why);
	if (e == ERR_NONE)
		e = map_of(w, &w->now, segment, index, &now, why);
	for (uint32_t i = 0; e == ERR_NONE && (i < now->pages || i < before->pages); i++) {
		if (w->asked->has_block && first + i != w->asked->block)
			continue;
		if (!same_page(now, before, i))
			e = add_change(w, first + i, why);
	}
	return e;
}

static enum err compare(struct walk *w, struct error *why)
{
	size_t segments =
		w->now.segments > w->before.segments ? w->now.segments : w->before.segments;
	enum err e = ERR_NONE;

	for (uint32_t s = 0; s < segments && e == ERR_NONE; s++)
		for (uint32_t i = 0; i < SEGMENT_SHARDS && e == ERR_NONE; i++) {
			if (!has_shard(&w->now, s, i) && !has_shard(&w->before, s, i))
				break;
			if (w->asked->has_block &&
			    (s != w->asked->block / SEGMENT_BLOCKS ||
			     i != w->asked->block % SEGMENT_BLOCKS / SHARD_PAGES_MAX))
				continue;
			e = *w->cluster->repository->env->cancelled
				    ? error_set(why, ERR_CANCELLED, "show: stopped on request")
				    : compare_shard(w, s, i, why);
		}
	return e;
}

/* Where the block that was asked for is stored. */
static enum err place_block(struct walk *w, struct error *why)
{
	uint32_t segment = w->asked->block / SEGMENT_BLOCKS;
	uint32_t block = w->asked->block % SEGMENT_BLOCKS;
	struct history_page *page = &w->entry.page;
	const struct shard *shard;
	const struct page_entry *at;
	enum err e;

	if (!has_shard(&w->now, segment, block / SHARD_PAGES_MAX))
		return ERR_NONE;
	e = page_source_map(w->now.source, &w->now.segment[segment].file, block / SHARD_PAGES_MAX,
			    &shard, why);
	if (e != ERR_NONE || block % SHARD_PAGES_MAX >= shard->pages)
		return e;
	at = &shard->page[block % SHARD_PAGES_MAX];
	page->present = true;
	page->zero = at->zero;
	if (at->zero)
		return ERR_NONE;
	page->pack = shard->frame[at->frame].pack;
	page->ordinal = shard->frame[at->frame].ordinal;
	page->offset = at->offset;
	return ERR_NONE;
}

/* ---- backups ---- */

static enum err look_at_backup(struct walk *w, const struct attempt *attempt, bool named,
			       struct error *why)
{
	enum err e;

	w->ranges = 0;
	w->relation = (struct relation){.number = 0};
	w->entry = (struct history_entry){.attempt = *attempt};
	e = manifest_read(w->cluster, attempt, &w->now.manifest, why);
	if (e == ERR_NONE)
		e = page_source_new(w->cluster, w->now.manifest, &w->now.source, why);
	if (e == ERR_NONE)
		e = find(w, named, why);
	if (e != ERR_NONE)
		return e;
	w->entry.finished_us = w->now.manifest->summary.finished_us;
	if (w->entry.exists) {
		w->entry.number = w->now.number;
		w->entry.blocks = blocks_of(&w->now);
		w->entry.compared = w->before.manifest != NULL;
		w->entry.rewritten = w->entry.compared && w->before.number != w->now.number;
		if (w->entry.compared)
			e = compare(w, why);
		if (e == ERR_NONE && w->asked->has_block)
			e = place_block(w, why);
	}
	w->entry.changed = w->entry.changes > 0;
	w->entry.range = w->range;
	w->entry.ranges = w->ranges;
	return e;
}

/* What is compared with next is the newest version that exists. */
static void turn_over(struct walk *w)
{
	if (w->entry.exists) {
		version_release(&w->before);
		w->before = w->now;
		w->now = (struct version){.manifest = NULL};
	}
	version_release(&w->now);
}

/* `named` has to have the relation; what is near is told when it has not. */
static enum err check_named(struct walk *w, const struct attempt *named, struct error *why)
{
	struct relations *relations = NULL;
	char near[RELATIONS_NEAR_MAX][RELATION_NAME_MAX];
	struct manifest *m = NULL;
	struct relation found;
	size_t count;
	enum err e = manifest_read(w->cluster, named, &m, why);

	if (e == ERR_NONE)
		e = relations_read(w->cluster, m, &relations, why);
	manifest_free(m);
	if (e == ERR_NONE && !relations_find(relations, w->asked->relation, &found)) {
		e = error_set(why, ERR_MISSING, "the backup has no relation \"%s\"",
			      w->asked->relation);
		count = relations_near(relations, w->asked->relation, near);
		if (count > 0)
			error_hint(why, "did you mean %s%s%s%s%s?", near[0], count > 1 ? ", " : "",
				   count > 1 ? near[1] : "", count > 2 ? ", " : "",
				   count > 2 ? near[2] : "");
		else
			error_hint(why, "name it as DATABASE.SCHEMA.NAME");
	}
	relations_free(relations);
	return e;
}

struct attempts {
	struct started {
		struct attempt attempt;
		int64_t us;
	} * at; /* owned; oldest first */
	size_t count, max;
};

/* Attempts of one second sort by chance, so it is the summary that tells which is older. */
static enum err note_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct attempts *list = ctx;
	size_t at;

	if (list->count == list->max) {
		size_t max = list->max == 0 ? 32 : list->max * 2;
		struct started *more = reallocarray(list->at, max, sizeof(*more));

		if (more == NULL)
			return no_memory(why);
		list->at = more;
		list->max = max;
	}
	at = list->count++;
	for (; at > 0 && list->at[at - 1].us > info->summary->started_us; at--)
		list->at[at] = list->at[at - 1];
	list->at[at] = (struct started){info->summary->attempt, info->summary->started_us};
	return ERR_NONE;
}

enum err page_history_walk(const struct cluster *cluster, const struct attempt *named,
			   const struct page_history *asked, history_visit *visit, void *ctx,
			   struct error *why)
{
	struct walk w = {.cluster = cluster, .asked = asked, .visit = visit, .ctx = ctx};
	struct attempts list = {.count = 0};
	enum err e = check_named(&w, named, why);

	w.none = calloc(1, sizeof(*w.none));
	if (e == ERR_NONE && w.none == NULL)
		e = no_memory(why);
	if (e == ERR_NONE) {
		e = backups_list(cluster, false, note_backup, &list, why);
		if (e == ERR_CORRUPT) /* one that can't be read is told by an event */
			e = ERR_NONE;
	}
	for (size_t i = 0; i < list.count && e == ERR_NONE; i++) {
		const struct attempt *attempt = &list.at[i].attempt;

		e = look_at_backup(&w, attempt, attempt_compare(attempt, named) == 0, why);
		if (e == ERR_NONE)
			e = visit(ctx, &w.entry, why);
		if (e == ERR_MISSING) /* it was removed meanwhile */
			e = ERR_NONE;
		turn_over(&w);
	}
	version_release(&w.now);
	version_release(&w.before);
	free(w.range);
	free(w.none);
	free(list.at);
	return e;
}
