/* repo/verify_name.c - what damage in packs means for one backup: which sections, files, relations and
 * pages it can't give back.
 *
 * Nothing is concluded from numbers of frames alone: what the backup needs of a damaged pack is
 * read in the way a restore reads it, and what can't be read is named.
 */
#include "repo/pack.h"
#include "repo/relations.h"
#include "repo/verify_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEGMENT_BLOCKS = 131072 /* of 8 KiB: 1 GiB */ };

struct naming {
	struct verify_run *run;
	const struct manifest *manifest;
	struct page_source *pages;
	char backup[ATTEMPT_TEXT_MAX];
	struct relations *relations; /* read with the first file that needs it; NULL = none */
	bool relations_tried;
	uint64_t *found;
	/* Of the file being looked at. */
	struct verify_range *range; /* owned */
	size_t ranges, ranges_max;
	char text[sizeof(((struct error *)NULL)->text)]; /* of its first damage */
	char key[STORE_KEY_MAX];                         /* the pack that holds it */
};

static void report(struct naming *n, const char *key, const char *file, const char *text)
{
	++*n->found;
	verify_report(n->run, &(struct verify_finding){
				      .key = key, .backup = n->backup, .file = file, .text = text});
}

/* Damage is to be looked at in this pack; findings are then about it. */
static bool is_damaged(struct naming *n, const struct pack_id *id, uint32_t ordinal)
{
	struct verify_pack *pack;
	uint32_t index;

	if (!verify_table_find(&n->run->table, id, &index))
		return false;
	pack = &n->run->table.pack[index];
	if (pack->damages == 0)
		return false;
	/* Beyond the bound of entries nobody knows which frames they were. */
	return verified_flagged(n->run->now, id, ordinal) ||
	       n->run->now->damage.count >= VERIFIED_DAMAGE_MAX;
}

static void name_pack(struct naming *n, const struct pack_id *id)
{
	uint32_t index;

	if (verify_table_find(&n->run->table, id, &index))
		n->run->table.pack[index].named = true;
}

/* ---- files ---- */

static enum err add_range(struct naming *n, uint32_t first, uint32_t last, struct error *why)
{
	if (n->ranges > 0 && n->range[n->ranges - 1].last + 1 == first) {
		n->range[n->ranges - 1].last = last;
		return ERR_NONE;
	}
	if (n->ranges == n->ranges_max) {
		size_t max = n->ranges_max == 0 ? 64 : n->ranges_max * 2;
		struct verify_range *more = reallocarray(n->range, max, sizeof(*more));

		if (more == NULL)
			return error_set(why, ERR_MEMORY, "verify: out of memory");
		n->range = more;
		n->ranges_max = max;
	}
	n->range[n->ranges++] = (struct verify_range){first, last};
	return ERR_NONE;
}

/* The first thing that is wrong in a file is told. */
static void keep_text(struct naming *n, const struct pack_id *pack, const struct error *why)
{
	name_pack(n, pack);
	if (n->ranges > 0)
		return;
	memcpy(n->text, why->text, sizeof(n->text));
	pack_key(n->run->cluster, pack, n->key);
}

static enum err ignore_pages(void *ctx, const struct page_run *run, struct error *why)
{
	(void)ctx;
	(void)run;
	(void)why;
	return ERR_NONE;
}

/* Tries the suspected pages of the mapped shard until only those are left out that can't be read. */
static enum err try_pages(struct naming *n, const struct shard *shard, uint32_t first,
			  struct page_set *wanted, struct error *why)
{
	struct page_set bad = {{0}};
	enum err e;

	/* Every failure takes at least one page out. */
	for (uint32_t tries = 0; tries <= SHARD_PAGES_MAX; tries++) {
		const struct page_set *damaged;
		bool any = false;

		e = page_source_visit(n->pages, wanted, ignore_pages, NULL, why);
		if (!verify_is_damage(e))
			break;
		damaged = page_source_damaged(n->pages);
		for (uint32_t i = 0; i < shard->pages; i++) {
			if (!page_set_has(damaged, i) || !page_set_has(wanted, i))
				continue;
			keep_text(n, &shard->frame[shard->page[i].frame].pack, why);
			page_set_add(&bad, i);
			page_set_remove(wanted, i);
			any = true;
		}
		if (!any)
			break;
	}
	if (e != ERR_NONE && !verify_is_damage(e))
		return e;
	e = ERR_NONE;
	for (uint32_t i = 0; i < shard->pages && e == ERR_NONE; i++)
		if (page_set_has(&bad, i))
			e = add_range(n, first + i, first + i, why);
	return e;
}

static enum err look_at_shard(struct naming *n, const struct file_record *file, uint32_t index,
			      struct error *why)
{
	uint32_t first = index * SHARD_PAGES_MAX;
	const struct shard *shard;
	struct page_set wanted = {{0}};
	bool any = false;
	enum err e = page_source_map(n->pages, file, index, &shard, why);

	if (verify_is_damage(e)) { /* without its map none of its pages is found */
		uint64_t pages = (file->size + MAP_PAGE_BYTES - 1) / MAP_PAGE_BYTES;
		uint64_t last = (uint64_t)first + SHARD_PAGES_MAX;
		struct file_shard_ref ref;

		file_shard_ref_decode(file->shard_refs + (size_t)index * 32, &ref);
		if (ref.pack < n->manifest->packs)
			keep_text(n, &n->manifest->pack[ref.pack].id, why);
		return add_range(n, first, (uint32_t)((last < pages ? last : pages) - 1), why);
	}
	if (e != ERR_NONE)
		return e;
	for (uint32_t i = 0; i < shard->pages; i++) {
		const struct frame_ref *frame = &shard->frame[shard->page[i].frame];

		if (shard->page[i].zero || !is_damaged(n, &frame->pack, frame->ordinal))
			continue;
		page_set_add(&wanted, i);
		any = true;
	}
	return any ? try_pages(n, shard, first, &wanted, why) : ERR_NONE;
}

/* Names come from the backup itself; without them the file has to do. */
static const struct relations *names(struct naming *n, struct error *why)
{
	if (!n->relations_tried &&
	    relations_read(n->run->cluster, n->manifest, &n->relations, why) != ERR_NONE)
		n->relations = NULL;
	n->relations_tried = true;
	return n->relations;
}

static void report_file(struct naming *n, const char *path, struct error *why)
{
	struct verify_finding finding = {.key = n->key,
					 .backup = n->backup,
					 .file = path,
					 .range = n->range,
					 .ranges = n->ranges,
					 .text = n->text};
	char text[RELATION_NAME_MAX];
	struct relation_file file;
	struct relation relation;

	if (relation_file_from_path(path, &file)) {
		if (names(n, why) != NULL && relations_of_file(n->relations, &file, &relation)) {
			relation_to_text(&relation, text);
			finding.relation = text;
		}
		for (size_t i = 0; i < n->ranges; i++) {
			n->range[i].first += file.segment * SEGMENT_BLOCKS;
			n->range[i].last += file.segment * SEGMENT_BLOCKS;
		}
	}
	++*n->found;
	verify_report(n->run, &finding);
}

static enum err look_at_file(void *ctx, const struct file_record *file, struct error *why)
{
	struct naming *n = ctx;
	char path[FILE_PATH_MAX + 1];
	enum err e = verify_go_on(n->run, why);

	n->ranges = 0;
	for (uint32_t i = 0; i < file->shards && e == ERR_NONE; i++)
		e = look_at_shard(n, file, i, why);
	if (e != ERR_NONE || n->ranges == 0)
		return e;
	(void)snprintf(path, sizeof(path), "%.*s", (int)file->path.len,
		       (const char *)file->path.data); /* decoding bounds it */
	report_file(n, path, why);
	return ERR_NONE;
}

static enum err lost_table(void *ctx, const struct section_frame *frame, struct error *why)
{
	struct naming *n = ctx;
	char key[STORE_KEY_MAX];

	pack_key(n->run->cluster, &n->manifest->pack[frame->pack].id, key);
	name_pack(n, &n->manifest->pack[frame->pack].id);
	report(n, key, SECTION_FILES, why->text);
	return ERR_NONE;
}

/* ---- sections ---- */

static enum err look_at_section(struct naming *n, struct object_reader *reader,
				const struct section *section, struct error *why)
{
	enum err e = ERR_NONE;

	for (uint32_t i = 0; i < section->frames && e == ERR_NONE; i++) {
		const struct section_frame *frame = &section->frame[i];
		const struct pack_id *id = &n->manifest->pack[frame->pack].id;
		char key[STORE_KEY_MAX];
		struct bytes plain;

		if (!is_damaged(n, id, frame->place.ordinal))
			continue;
		pack_key(n->run->cluster, id, key);
		e = object_open(reader, key, OBJECT_PACK, why);
		if (e == ERR_NONE)
			e = object_frame(reader, FRAME_SECTION, &frame->place, &plain, why);
		if (!verify_is_damage(e))
			continue;
		name_pack(n, id);
		report(n, key, section->name, why->text);
		return ERR_NONE; /* once for each section */
	}
	return e;
}

enum err verify_name(struct verify_run *r, const struct manifest *m, uint64_t *found,
		     struct error *why)
{
	struct naming n = {.run = r, .manifest = m, .found = found};
	struct verify_files visit = {look_at_file, lost_table, &n};
	struct object_reader *reader = NULL;
	enum err e;

	attempt_to_text(&m->summary.attempt, n.backup);
	e = page_source_new(r->cluster, m, &n.pages, why);
	if (e == ERR_NONE)
		e = object_reader_new(r->cluster->repository, &reader, why);
	for (uint32_t i = 0; i < m->sections && e == ERR_NONE; i++)
		if (strcmp(m->section[i].name, SECTION_FILES) != 0)
			e = look_at_section(&n, reader, &m->section[i], why);
	if (e == ERR_NONE)
		e = verify_files(r, m, &visit, why);
	object_reader_free(reader);
	page_source_free(n.pages);
	relations_free(n.relations);
	free(n.range);
	return e;
}
