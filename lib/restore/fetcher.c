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

enum err fetcher_shard(struct fetcher *f, const struct file_record *file, uint32_t index,
		       fetcher_visit *visit, void *ctx, uint32_t *crc, struct error *why)
{
	const struct wal_archive *archive = f->source->archive;
	struct guarded guarded = {.visit = visit, .ctx = ctx};
	struct error first = {.kind = ERR_NONE}, cause;

	for (size_t i = 0; i < archive->count; i++) {
		enum err e = ERR_NONE;

		if (f->pages[i] == NULL)
			e = page_source_new(&archive->cluster[i], f->source->manifest, &f->pages[i],
					    &cause);
		if (e == ERR_NONE)
			e = page_source_shard(f->pages[i], file, index, visit_guarded, &guarded,
					      crc, &cause);
		if (e == ERR_NONE)
			return ERR_NONE;
		if (first.kind == ERR_NONE || guarded.failed)
			first = cause;
		if (guarded.failed)
			break;
		if (i + 1 < archive->count)
			say(f->source, &cause);
	}
	/* What a manifest names and nobody has is damage, not an answer. */
	if (first.kind == ERR_MISSING)
		first.kind = ERR_CORRUPT;
	if (why != NULL)
		*why = first;
	return first.kind;
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
		uint32_t crc;

		e = fetcher_shard(f, file, i, copy_run, &into, &crc, why);
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
