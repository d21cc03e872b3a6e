/* repo/verify_maps.c - the maps of a new backup against the pages they name.
 *
 * Files are walked in the order of the table.  A page that lies where an already proven backup has
 * the same page of the same file is proven with it; the others are gathered into a group, sorted by
 * place, and read pack by pack, so that a pack is read once although small files, patches and
 * several backups share it.  After each group the place in the table is remembered.
 */
#include "base/crc32c.h"
#include "base/pipeline.h"
#include "repo/pack.h"
#include "repo/parent.h"
#include "repo/verify_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct walk {
	struct verify_run *run;
	struct verify_backup *backup;
	const struct manifest *manifest;
	struct page_source *maps;
	struct parent_map *known; /* of a backup whose maps are proven; NULL = none */
	struct parent_reader *known_reader;
	struct shard *known_shard;
	struct verify_group group;
	size_t limit;     /* pages of a group */
	uint64_t records; /* walked */
	size_t damage;    /* entries when it began */
	bool over;        /* the time is up */
};

/* ---- groups ---- */

static bool room(void **array, size_t used, size_t *max, size_t size)
{
	size_t more = *max == 0 ? 1024 : *max * 2;
	void *bigger;

	if (used < *max)
		return true;
	bigger = reallocarray(*array, more, size);
	if (bigger == NULL)
		return false;
	*array = bigger;
	*max = more;
	return true;
}

static int by_place(const void *left, const void *right)
{
	const struct verify_need *a = left, *b = right;

	if (a->pack != b->pack)
		return a->pack < b->pack ? -1 : 1;
	return (a->place.ordinal > b->place.ordinal) - (a->place.ordinal < b->place.ordinal);
}

static enum err read_job(void *state, size_t index, struct error *why)
{
	struct verify_worker *w = state;

	return verify_pack_read(w, &w->group->job[index], why);
}

/* Cuts the sorted needs by pack. */
static enum err make_jobs(struct verify_group *g, struct error *why)
{
	size_t max = 0;

	g->jobs = 0;
	for (size_t i = 0; i < g->needs; i++) {
		if (g->jobs > 0 && g->job[g->jobs - 1].pack == g->need[i].pack) {
			g->job[g->jobs - 1].needs++;
			continue;
		}
		if (!room((void **)&g->job, g->jobs, &max, sizeof(*g->job)))
			return error_set(why, ERR_MEMORY, "verify: out of memory");
		g->job[g->jobs++] = (struct verify_job){g->need[i].pack, i, 1};
	}
	return ERR_NONE;
}

/* What is damaged now may be mended by the next run: then it is looked at again. */
static bool is_sound(const struct walk *walk)
{
	return walk->run->now->damage.count == walk->damage && !walk->backup->wrong_map;
}

/* Reads what was gathered. */
static enum err flush(struct walk *walk, struct error *why)
{
	struct verify_run *r = walk->run;
	struct verify_group *g = &walk->group;
	enum err e;

	if (g->needs > 1)
		qsort(g->need, g->needs, sizeof(*g->need), by_place);
	free(g->job);
	g->job = NULL;
	e = make_jobs(g, why);
	for (unsigned i = 0; i < r->jobs; i++)
		r->worker[i]->group = g;
	if (e == ERR_NONE)
		e = parallel_for(r->jobs, (void **)r->worker, g->jobs, read_job, why);
	for (unsigned i = 0; i < r->jobs; i++)
		r->worker[i]->group = NULL;
	g->needs = g->pages = 0;
	/* The file at hand is not done yet. */
	if (e == ERR_NONE && is_sound(walk) && walk->records > 0)
		walk->backup->records = walk->records - 1;
	return e;
}

/* ---- one file ---- */

static enum err wrong_map(struct walk *walk, const struct file_record *file, const char *text)
{
	char backup[ATTEMPT_TEXT_MAX], path[FILE_PATH_MAX + 1];

	attempt_to_text(&walk->backup->attempt, backup);
	(void)snprintf(path, sizeof(path), "%.*s", (int)file->path.len,
		       (const char *)file->path.data); /* decoding bounds it */
	walk->backup->wrong_map = true;
	verify_report(walk->run,
		      &(struct verify_finding){.backup = backup, .file = path, .text = text});
	return ERR_NONE;
}

static enum err add_page(struct walk *walk, const struct shard *shard, uint32_t i, bool joins,
			 struct error *why)
{
	const struct page_entry *page = &shard->page[i];
	const struct frame_ref *frame = &shard->frame[page->frame];
	struct verify_group *g = &walk->group;
	struct verify_page *to;
	uint32_t index;

	if (!room((void **)&g->page, g->pages, &g->pages_max, sizeof(*g->page)) ||
	    !room((void **)&g->need, g->needs, &g->needs_max, sizeof(*g->need)))
		return error_set(why, ERR_MEMORY, "verify: out of memory");
	if (!joins || g->needs == 0) {
		if (!verify_table_find(&walk->run->table, &frame->pack, &index))
			return error_set(why, ERR_CORRUPT,
					 "its map names a pack that no backup lists");
		g->need[g->needs++] = (struct verify_need){
			.pack = index,
			.place = {.ordinal = frame->ordinal,
				  .offset = frame->offset,
				  .stored_len = frame->stored_len,
				  .plain_len = frame->plain_len},
			.first = (uint32_t)g->pages,
		};
	}
	to = &g->page[g->pages++];
	g->need[g->needs - 1].pages++;
	to->offset = page->offset;
	to->len = i + 1U == shard->pages ? shard->last_bytes : MAP_PAGE_BYTES;
	to->crc = page->crc;
	memcpy(to->tag, page->tag, sizeof(to->tag));
	return ERR_NONE;
}

/* The same page in the same place. */
static bool is_known(const struct shard *known, const struct shard *shard, uint32_t i)
{
	const struct page_entry *a, *b = &shard->page[i];

	if (known == NULL || i >= known->pages)
		return false;
	a = &known->page[i];
	return !a->zero && a->offset == b->offset && a->crc == b->crc &&
	       memcmp(a->tag, b->tag, sizeof(a->tag)) == 0 &&
	       frame_ref_same(&known->frame[a->frame], &shard->frame[b->frame]);
}

static enum err add_shard(struct walk *walk, const struct file_record *file,
			  const struct shard *shard, const struct shard *known, struct error *why)
{
	uint32_t before = UINT32_MAX; /* the page added last */
	uint64_t zeros = 0;
	enum err e = ERR_NONE;

	for (uint32_t i = 0; i < shard->pages && e == ERR_NONE; i++) {
		bool joins = before + 1U == i && i > 0 &&
			     shard->page[before].frame == shard->page[i].frame;

		zeros += shard->page[i].zero;
		if (shard->page[i].zero || is_known(known, shard, i))
			continue;
		e = add_page(walk, shard, i, joins, why);
		before = i;
	}
	(void)pthread_mutex_lock(&walk->run->mutex); /* default mutex: cannot fail here */
	walk->run->totals->pages += zeros;
	(void)pthread_mutex_unlock(&walk->run->mutex);
	return e == ERR_CORRUPT ? wrong_map(walk, file, why->text) : e;
}

/* The same stored shard, whatever number its pack has in each table. */
static bool same_ref(const struct walk *walk, const struct file_record *file,
		     const struct parent_file *known, uint32_t i)
{
	const struct manifest *theirs = parent_map_manifest(walk->known);
	struct file_shard_ref a, b;

	file_shard_ref_decode(file->shard_refs + (size_t)i * 32, &a);
	file_shard_ref_decode(known->shard_refs + (size_t)i * 32, &b);
	return a.pack < walk->manifest->packs && b.pack < theirs->packs &&
	       pack_id_same(&walk->manifest->pack[a.pack].id, &theirs->pack[b.pack].id) &&
	       a.place.ordinal == b.place.ordinal && a.place.offset == b.place.offset &&
	       a.place.stored_len == b.place.stored_len && a.place.plain_len == b.place.plain_len &&
	       a.offset == b.offset && a.len == b.len;
}

static bool same_file(const struct walk *walk, const struct file_record *file,
		      const struct parent_file *known)
{
	if (known->size != file->size || known->crc != file->crc || known->shards != file->shards)
		return false;
	for (uint32_t i = 0; i < file->shards; i++)
		if (!same_ref(walk, file, known, i))
			return false;
	return true;
}

/* Shard `i` of the proven backup, or NULL when that has none that could be read. */
static enum err known_shard(struct walk *walk, const struct parent_file *known, uint32_t i,
			    const struct shard **out, struct error *why)
{
	struct parent_origin origin;
	enum err e;

	*out = NULL;
	if (known == NULL || i >= known->shards)
		return ERR_NONE;
	e = parent_reader_shard(walk->known_reader, known, i, walk->known_shard, &origin, why);
	if (e == ERR_NONE)
		*out = walk->known_shard;
	return verify_is_damage(e) ? ERR_NONE : e;
}

/* A shard that can't be decoded: what is stored there is damaged, or wrong. */
static enum err note_shard(struct walk *walk, const struct file_record *file, uint32_t i,
			   struct error *why)
{
	struct file_shard_ref ref;
	char text[sizeof(why->text)];
	uint32_t index;

	memcpy(text, why->text, sizeof(text));
	file_shard_ref_decode(file->shard_refs + (size_t)i * 32, &ref);
	if (ref.pack >= walk->manifest->packs ||
	    !verify_table_find(&walk->run->table, &walk->manifest->pack[ref.pack].id, &index))
		return wrong_map(walk, file, text);
	return verify_damage(walk->run, index, ref.place.ordinal, VERIFIED_ALL, text, why);
}

static enum err add_file(struct walk *walk, const struct file_record *file, struct error *why)
{
	struct parent_file found;
	const struct parent_file *known =
		walk->known != NULL && parent_map_find(walk->known, file->path, &found) ? &found
											: NULL;
	bool readable = true;
	uint32_t crc = 0;
	enum err e = ERR_NONE;

	if (known != NULL && same_file(walk, file, known))
		return ERR_NONE;
	for (uint32_t i = 0; i < file->shards && e == ERR_NONE; i++) {
		const struct shard *shard, *old = NULL;

		e = page_source_map(walk->maps, file, i, &shard, why);
		if (verify_is_damage(e)) {
			readable = false;
			e = note_shard(walk, file, i, why);
			continue;
		}
		if (e == ERR_NONE)
			e = known_shard(walk, known, i, &old, why);
		if (e == ERR_NONE)
			e = add_shard(walk, file, shard, old, why);
		if (e == ERR_NONE)
			crc = crc32c_combine(crc, page_map_crc(shard), shard_file_bytes(shard));
		if (e == ERR_NONE && walk->group.pages >= walk->limit)
			e = flush(walk, why);
	}
	if (e == ERR_NONE && readable && crc != file->crc)
		e = wrong_map(walk, file, "its CRC-32C is not the one of the pages in its map");
	return e;
}

/* ---- one backup ---- */

enum err verify_files(const struct verify_run *r, const struct manifest *m,
		      const struct verify_files *visit, struct error *why)
{
	const struct section *s = manifest_section(m, SECTION_FILES);
	struct object_reader *reader = NULL;
	char key[STORE_KEY_MAX];
	enum err e = object_reader_new(r->cluster->repository, &reader, why);

	for (uint32_t i = 0; s != NULL && i < s->frames && e == ERR_NONE; i++) {
		const struct section_frame *frame = &s->frame[i];
		struct bytes plain = bytes_of(NULL, 0);
		struct reader in;

		pack_key(r->cluster, &m->pack[frame->pack].id, key);
		e = object_open(reader, key, OBJECT_PACK, why);
		if (e == ERR_NONE)
			e = object_frame(reader, FRAME_SECTION, &frame->place, &plain, why);
		if (verify_is_damage(e)) {
			e = visit->damaged(visit->ctx, frame, why);
			continue;
		}
		in = reader_of(plain);
		while (e == ERR_NONE && in.left > 0) {
			struct file_record file;

			e = file_record_decode(&in, &file, why);
			if (e == ERR_CORRUPT) {
				e = visit->damaged(visit->ctx, frame, why);
				break;
			}
			if (e == ERR_NONE)
				e = visit->file(visit->ctx, &file, why);
		}
	}
	object_reader_free(reader);
	return e;
}

static enum err visit_damaged(void *ctx, const struct section_frame *frame, struct error *why)
{
	struct walk *walk = ctx;
	char text[sizeof(why->text)];
	uint32_t index;

	memcpy(text, why->text, sizeof(text));
	if (!verify_table_find(&walk->run->table, &walk->manifest->pack[frame->pack].id, &index))
		return ERR_NONE; /* every pack of every manifest is in it */
	return verify_damage(walk->run, index, frame->place.ordinal, VERIFIED_ALL, text, why);
}

static enum err visit_file(void *ctx, const struct file_record *file, struct error *why)
{
	struct walk *walk = ctx;
	enum err e = verify_go_on(walk->run, why);

	walk->records++;
	if (e != ERR_NONE || walk->records <= walk->backup->records)
		return e;
	if (verify_is_over(walk->run) && walk->records > 1) {
		e = flush(walk, why);
		walk->over = true;
		walk->records--;
		return e == ERR_NONE ? error_set(why, ERR_CANCELLED, "verify: the time is up") : e;
	}
	if (file->kind == FILE_PLAIN)
		e = add_file(walk, file, why);
	walk->run->totals->files++;
	return e;
}

/* Whose pages count as proven: the parent, else the nearest older one, else any. */
static const struct verify_backup *choose_known(const struct verify_run *r, size_t of)
{
	const struct verify_backup *backup = &r->backup[of], *found = NULL;

	if (r->options->all)
		return NULL;
	for (size_t i = 0; i < r->backups; i++) {
		const struct verify_backup *other = &r->backup[i];

		if (i == of || other->maps_us == 0 || other->unreadable)
			continue;
		if (backup->has_parent && attempt_compare(&other->attempt, &backup->parent) == 0)
			return other;
		if (found == NULL || i < of)
			found = other;
	}
	return found;
}

static enum err open_known(struct walk *walk, size_t of, struct error *why)
{
	const struct verify_backup *from = choose_known(walk->run, of);
	struct manifest *m = NULL;
	enum err e;

	if (from == NULL)
		return ERR_NONE;
	e = manifest_read(walk->run->cluster, &from->attempt, &m, why);
	if (e == ERR_NONE)
		e = parent_map_open(walk->run->cluster, m, &walk->known, why);
	if (e == ERR_NONE)
		e = parent_reader_new(walk->known, &walk->known_reader, why);
	if (e == ERR_NONE) {
		walk->known_shard = malloc(sizeof(*walk->known_shard));
		if (walk->known_shard == NULL)
			e = error_set(why, ERR_MEMORY, "verify: out of memory");
	}
	return verify_is_damage(e) ? ERR_NONE : e; /* then every page is read */
}

static enum err walk_backup(struct walk *walk, size_t of, struct error *why)
{
	struct verify_run *r = walk->run;
	struct verify_files visit = {visit_file, visit_damaged, walk};
	struct verify_backup *backup = walk->backup;
	enum err e = open_known(walk, of, why);

	walk->damage = r->now->damage.count;
	if (r->options->all)
		backup->records = 0;
	if (e == ERR_NONE)
		e = page_source_new(r->cluster, walk->manifest, &walk->maps, why);
	if (e == ERR_NONE)
		e = verify_files(r, walk->manifest, &visit, why);
	if (e == ERR_NONE)
		e = flush(walk, why);
	if (walk->over && e == ERR_CANCELLED)
		e = ERR_NONE;
	if (e != ERR_NONE)
		return e;
	backup->records = is_sound(walk) ? walk->records : 0;
	backup->maps_us = is_sound(walk) && !walk->over ? r->started_us : 0;
	return ERR_NONE;
}

static enum err verify_one(struct verify_run *r, size_t of, struct error *why)
{
	struct verify_backup *backup = &r->backup[of];
	struct walk walk = {.run = r, .backup = backup, .limit = VERIFY_GROUP_PAGES};
	struct manifest *m = NULL;
	bool stays;
	enum err e = manifest_read(r->cluster, &backup->attempt, &m, why);

	if (verify_is_damage(e)) /* it could be read before: the end of the run looks again */
		return verify_backup_stays(r, &backup->attempt, &stays, why);
	if (e != ERR_NONE)
		return e;
	if (r->options->max_time_us > 0)
		walk.limit = VERIFY_GROUP_PAGES_SMALL;
	walk.manifest = m;
	e = walk_backup(&walk, of, why);
	r->totals->backups_left += walk.over;
	page_source_free(walk.maps);
	parent_reader_free(walk.known_reader);
	parent_map_free(walk.known);
	free(walk.known_shard);
	free(walk.group.need);
	free(walk.group.page);
	free(walk.group.job);
	manifest_free(m);
	return e;
}

enum err verify_maps(struct verify_run *r, struct error *why)
{
	enum err e = ERR_NONE;
	bool first = true;

	for (size_t i = 0; i < r->backups && e == ERR_NONE; i++) {
		const struct verify_backup *backup = &r->backup[i];

		if (!backup->in_scope || backup->unreadable ||
		    (backup->maps_us != 0 && !r->options->all))
			continue;
		if (!first && verify_is_over(r)) {
			r->totals->backups_left++;
			continue;
		}
		first = false;
		e = verify_one(r, i, why);
	}
	return e;
}
