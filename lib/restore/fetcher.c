/* restore/fetcher.c - reads files and sections of one backup from a family of repositories: what
 * one of them has damaged or lost is taken from the next one.
 */
#include "base/crc32c.h"
#include "repo/pages.h"
#include "restore/restore_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct fetcher {
	const struct source *source;
	struct page_source *pages[WAL_REPOSITORIES_MAX]; /* made when first needed */
};

enum err fetcher_new(const struct source *s, struct fetcher **out, struct error *why)
{
	struct fetcher *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	f->source = s;
	*out = f;
	return ERR_NONE;
}

void fetcher_free(struct fetcher *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < WAL_REPOSITORIES_MAX; i++)
		page_source_free(f->pages[i]);
	free(f);
}

static void say(const struct source *s, const struct error *cause)
{
	(void)pthread_mutex_lock(s->speaking); /* default mutex: cannot fail here */
	observer_event(s->env->observer, LEVEL_WARNING, "%s; trying the next repository",
		       cause->text);
	(void)pthread_mutex_unlock(s->speaking);
}

/* The visitor's own failure is no reason to ask another repository. */
struct guarded {
	fetcher_visit *visit;
	void *ctx;
	bool failed;
};

static enum err visit_guarded(void *ctx, const struct page_run *run, struct error *why)
{
	struct guarded *g = ctx;
	enum err e = g->visit(g->ctx, run, why);

	g->failed = e != ERR_NONE;
	return e;
}

/* Which of the family is asked next, and what the first failure was. */
struct asking {
	struct fetcher *fetcher;
	size_t at;
	struct error first;
};

static enum err ask(struct asking *a, struct page_source **out, struct error *cause)
{
	struct fetcher *f = a->fetcher;

	if (f->pages[a->at] == NULL) {
		enum err e = page_source_new(&f->source->archive->cluster[a->at],
					     f->source->manifest, &f->pages[a->at], cause);

		if (e != ERR_NONE)
			return e;
	}
	*out = f->pages[a->at];
	return ERR_NONE;
}

/* True when there is another one to ask. */
static bool ask_next(struct asking *a, const struct error *cause)
{
	if (a->first.kind == ERR_NONE)
		a->first = *cause;
	if (++a->at == a->fetcher->source->archive->count)
		return false;
	say(a->fetcher->source, cause);
	return true;
}

/* What a manifest names and nobody has is damage, not an answer. */
static enum err nobody_has_it(struct asking *a, struct error *why)
{
	if (a->first.kind == ERR_MISSING)
		a->first.kind = ERR_CORRUPT;
	if (why != NULL)
		*why = a->first;
	return a->first.kind;
}

enum err fetcher_shard(struct fetcher *f, const struct fetch *fetch, uint32_t *crc,
		       struct error *why)
{
	struct guarded guarded = {.visit = fetch->visit, .ctx = fetch->ctx};
	struct asking asking = {.fetcher = f, .first = {.kind = ERR_NONE}};
	struct error cause;

	do {
		struct page_source *source = NULL;
		const struct shard *map;
		enum err e = ask(&asking, &source, &cause);

		if (e == ERR_NONE)
			e = page_source_map(source, fetch->file, fetch->index, &map, &cause);
		if (e == ERR_NONE)
			e = page_source_visit(source, fetch->wanted, visit_guarded, &guarded,
					      &cause);
		if (e == ERR_NONE) {
			*crc = page_map_crc(map);
			return ERR_NONE;
		}
		if (guarded.failed) {
			if (why != NULL)
				*why = cause;
			return e;
		}
	} while (ask_next(&asking, &cause));
	return nobody_has_it(&asking, why);
}

enum err fetcher_map(struct fetcher *f, const struct fetch *fetch, struct page_source **source,
		     const struct shard **map, struct error *why)
{
	struct asking asking = {.fetcher = f, .first = {.kind = ERR_NONE}};
	struct error cause;

	do {
		enum err e = ask(&asking, source, &cause);

		if (e == ERR_NONE)
			e = page_source_map(*source, fetch->file, fetch->index, map, &cause);
		if (e == ERR_NONE)
			return ERR_NONE;
	} while (ask_next(&asking, &cause));
	return nobody_has_it(&asking, why);
}

struct into {
	uint8_t *data;
};

static enum err copy_run(void *ctx, const struct page_run *run, struct error *why)
{
	struct into *into = ctx;

	(void)why;
	if (run->data == NULL)
		memset(into->data + run->offset, 0, run->len);
	else
		memcpy(into->data + run->offset, run->data, run->len);
	return ERR_NONE;
}

enum err fetcher_file(struct fetcher *f, const struct file_record *file, size_t max, uint8_t **out,
		      size_t *len, struct error *why)
{
	struct into into = {.data = NULL};
	enum err e = ERR_NONE;

	if (file->size > max)
		e = error_set(why, ERR_LIMIT, "it has %" PRIu64 " bytes, at most %zu are read",
			      file->size, max);
	else if ((into.data = calloc(1, (size_t)file->size + 1)) == NULL)
		e = error_set(why, ERR_MEMORY, "out of memory");
	for (uint32_t i = 0; e == ERR_NONE && i < file->shards; i++) {
		struct fetch fetch = {.file = file, .index = i, .visit = copy_run, .ctx = &into};
		uint32_t crc;

		e = fetcher_shard(f, &fetch, &crc, why);
	}
	if (e == ERR_NONE && crc32c(bytes_of(into.data, (size_t)file->size)) != file->crc)
		e = error_set(why, ERR_CORRUPT, "its CRC differs from the file table's");
	if (e != ERR_NONE) {
		free(into.data);
		return error_add(why, "file \"%.*s\" of the backup", (int)file->path.len,
				 (const char *)file->path.data);
	}
	*out = into.data;
	*len = (size_t)file->size;
	return ERR_NONE;
}

enum err source_section(const struct source *s, const char *name, size_t max, uint8_t **out,
			size_t *len, struct error *why)
{
	struct error first = {.kind = ERR_NONE}, cause;

	if (manifest_section(s->manifest, name) == NULL)
		return error_set(why, ERR_MISSING, "the backup has no section %s", name);
	for (size_t i = 0; i < s->archive->count; i++) {
		if (section_read(&s->archive->cluster[i], s->manifest, name, max, out, len,
				 &cause) == ERR_NONE)
			return ERR_NONE;
		if (i + 1 < s->archive->count)
			say(s, &cause);
		if (first.kind == ERR_NONE)
			first = cause;
	}
	if (first.kind == ERR_MISSING)
		first.kind = ERR_CORRUPT;
	if (why != NULL)
		*why = first;
	return first.kind;
}

enum err source_walk(const struct source *s, const char *name, const struct section_visit *visit,
		     struct error *why)
{
	struct error first = {.kind = ERR_NONE}, cause;

	for (size_t i = 0; i < s->archive->count; i++) {
		enum err e = visit->begin(visit->ctx, why);

		if (e != ERR_NONE)
			return e;
		e = section_walk(&s->archive->cluster[i], s->manifest, name, visit->frame,
				 visit->ctx, &cause);
		if (e == ERR_NONE)
			return ERR_NONE;
		if (first.kind == ERR_NONE || *visit->failed)
			first = cause;
		if (*visit->failed)
			break;
		if (i + 1 < s->archive->count)
			say(s, &cause);
	}
	if (first.kind == ERR_MISSING)
		first.kind = ERR_CORRUPT;
	if (why != NULL)
		*why = first;
	return first.kind;
}
