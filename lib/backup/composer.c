/* backup/composer.c - files of an incremental backup become whole ones.
 *
 * An INCREMENTAL file brings the changed blocks of a segment; all others are where the parent's map
 * has them, or zeros where the parent has none (PostgreSQL's reconstruct.c does the same with files).
 * They become events like those of a file that came whole, so that the pipeline behind knows of no
 * other kind of backup.  backup_label loses the lines that say what it rests on.
 *
 * Blocks that are to be stored again, though the server did not send them, are read back from the
 * repository, one shard at a time.
 */
#include "backup/reader_internal.h"
#include "base/crc32c.h"
#include "pgformat/incremental.h"
#include "pgformat/label.h"
#include "repo/pages.h"

#include <inttypes.h>
#include <stdlib.h>

struct composer {
	const struct env *env;
	const struct cluster *cluster;
	const struct manifest *parent;
	struct lookup *lookup;
	uint8_t *header; /* INCREMENTAL_HEADER_MAX */
	uint32_t *block; /* INCREMENTAL_BLOCKS_MAX */
	/* The file at hand. */
	struct incremental incremental;
	uint32_t length; /* blocks it has now */
	uint32_t kept;   /* blocks below are as in the parent, unless they came */
	struct file_record record;
	/* Pages of the shard at hand that are stored again; made when the first is. */
	struct page_source *pages;
	uint8_t *window; /* SHARD_FILE_BYTES */
	struct page_set again;
};

enum err composer_new(const struct env *env, const struct cluster *cluster,
		      const struct manifest *parent, struct lookup *lookup, struct composer **out,
		      struct error *why)
{
	struct composer *c = calloc(1, sizeof(*c));

	if (c != NULL) {
		c->header = malloc(INCREMENTAL_HEADER_MAX);
		c->block = malloc(INCREMENTAL_BLOCKS_MAX * sizeof(*c->block));
	}
	if (c == NULL || c->header == NULL || c->block == NULL) {
		composer_free(c);
		return error_set(why, ERR_MEMORY, "incremental backup: out of memory");
	}
	c->env = env;
	c->cluster = cluster;
	c->parent = parent;
	c->lookup = lookup;
	*out = c;
	return ERR_NONE;
}

void composer_free(struct composer *c)
{
	if (c == NULL)
		return;
	page_source_free(c->pages);
	free(c->window);
	free(c->header);
	free(c->block);
	free(c);
}

/* ---- pages that are stored again ---- */

static enum err keep_run(void *ctx, const struct page_run *run, struct error *why)
{
	struct composer *c = ctx;

	(void)why; /* it always succeeds */
	/* Pages of zeros are not asked for. */
	if (run->data != NULL)
		memcpy(c->window + run->offset % SHARD_FILE_BYTES, run->data, (size_t)run->len);
	return ERR_NONE;
}

/* Reads them into the window. */
static enum err read_again(struct composer *c, uint32_t index, struct error *why)
{
	const struct shard *map;
	enum err e = ERR_NONE;

	if (c->pages == NULL)
		e = page_source_new(c->cluster, c->parent, &c->pages, why);
	if (e == ERR_NONE && c->window == NULL &&
	    (c->window = bytes_new_large(SHARD_FILE_BYTES)) == NULL)
		e = error_set(why, ERR_MEMORY, "incremental backup: out of memory");
	if (e == ERR_NONE)
		e = page_source_map(c->pages, &c->record, index, &map, why);
	if (e == ERR_NONE)
		e = page_source_visit(c->pages, &c->again, keep_run, c, why);
	return e;
}

/* Which pages of the shard are to be stored again: `next` is the first listed block not passed. */
static bool find_again(struct composer *c, uint32_t first, uint32_t next)
{
	bool any = false;

	c->again = (struct page_set){{0}};
	for (uint32_t n = 0; n < SHARD_PAGES_MAX && first + n < c->kept; n++) {
		struct batch_page page = {.has_old = false};

		while (next < c->incremental.blocks && c->block[next] < first + n)
			next++;
		if (next < c->incremental.blocks && c->block[next] == first + n)
			continue;
		lookup_page(c->lookup, n, &page);
		if (page.has_old && page.renew) {
			page_set_add(&c->again, n);
			any = true;
		}
	}
	return any;
}

/* ---- files of relations ---- */

/* The shard that begins with block `first`: what the parent has of it. */
static enum err begin_shard(struct composer *c, struct reader_state *r, uint32_t first,
			    uint32_t next, struct error *why)
{
	uint32_t index = first / SHARD_PAGES_MAX;
	struct batch_origin origin;
	enum err e = lookup_load(c->lookup, index, &origin, why);

	if (e == ERR_MISSING) /* the file has grown beyond it: all that is not sent is zero */
		return ERR_NONE;
	if (e == ERR_NONE)
		e = reader_origin(r, &origin, why);
	if (e == ERR_NONE && find_again(c, first, next))
		e = read_again(c, index, why);
	return e;
}

/* A block that did not come. */
static enum err keep_block(struct composer *c, struct reader_state *r, uint32_t block,
			   struct error *why)
{
	uint32_t n = block % SHARD_PAGES_MAX;
	struct batch_page page = {.has_old = false};
	bool again;
	enum err e;

	if (block < c->kept)
		lookup_page(c->lookup, n, &page);
	again = page.has_old && page_set_has(&c->again, n);
	e = reader_room(r, 0, again ? MAP_PAGE_BYTES : 0, why);
	if (e != ERR_NONE)
		return e;
	if (again) {
		memcpy(r->batch->plain + r->batch->plain_len,
		       c->window + (size_t)n * MAP_PAGE_BYTES, MAP_PAGE_BYTES);
		reader_page(r, n, MAP_PAGE_BYTES, true);
	} else if (page.has_old) {
		reader_same_page(r, &page);
	} else {
		reader_zero_page(r, n, MAP_PAGE_BYTES, true);
	}
	return ERR_NONE;
}

static enum err take_blocks(struct composer *c, struct reader_state *r, struct error *why)
{
	uint32_t next = 0; /* of the list */
	enum err e = ERR_NONE;

	for (uint32_t block = 0; block < c->length && e == ERR_NONE; block++) {
		uint32_t n = block % SHARD_PAGES_MAX;

		if (n == 0)
			e = begin_shard(c, r, block, next, why);
		if (e != ERR_NONE)
			return e;
		if (next == c->incremental.blocks || c->block[next] != block) {
			e = keep_block(c, r, block, why);
		} else {
			next++;
			e = reader_room(r, 0, MAP_PAGE_BYTES, why);
			if (e == ERR_NONE)
				e = reader_fill(r, r->batch->plain + r->batch->plain_len,
						MAP_PAGE_BYTES, why);
			if (e == ERR_NONE)
				reader_page(r, n, MAP_PAGE_BYTES, false);
		}
		reader_progress(r, MAP_PAGE_BYTES);
	}
	return e;
}

static enum err take_header(struct composer *c, struct reader_state *r, struct error *why)
{
	struct incremental *inc = &c->incremental;
	size_t rest;
	enum err e;

	if (r->entry.size < INCREMENTAL_HEAD_BYTES)
		return error_set(why, ERR_CORRUPT, "incremental file: %" PRIu64 " bytes",
				 r->entry.size);
	e = reader_fill(r, c->header, INCREMENTAL_HEAD_BYTES, why);
	if (e == ERR_NONE)
		e = incremental_decode_head(bytes_of(c->header, INCREMENTAL_HEAD_BYTES),
					    r->entry.size, inc, why);
	if (e != ERR_NONE)
		return e;
	rest = inc->header_bytes - INCREMENTAL_HEAD_BYTES;
	e = reader_fill(r, c->header + INCREMENTAL_HEAD_BYTES, rest, why);
	if (e == ERR_NONE)
		e = incremental_decode_blocks(inc,
					      bytes_of(c->header + INCREMENTAL_HEAD_BYTES, rest),
					      c->block, &c->length, why);
	return e;
}

static enum err take_incremental(struct composer *c, struct reader_state *r, const char *path,
				 struct error *why)
{
	struct batch_event *event;
	uint64_t blocks_before;
	enum err e = take_header(c, r, why);

	if (e == ERR_NONE)
		e = reader_open_file(r, path, (uint64_t)c->length * MAP_PAGE_BYTES, &event, why);
	if (e != ERR_NONE)
		return e;
	event->composed = true;
	event->sent_bytes = r->entry.size;
	event->sent_crc = crc32c(bytes_of(c->header, c->incremental.header_bytes));
	if (!lookup_record(c->lookup, &c->record))
		return error_set(why, ERR_PEER,
				 "the server sent changes of a file that the parent does not have");
	c->record.path = bytes_of_text(path);
	blocks_before = c->record.size / MAP_PAGE_BYTES;
	c->kept = c->incremental.truncated;
	if (c->kept > blocks_before)
		c->kept = (uint32_t)blocks_before;
	return take_blocks(c, r, why);
}

/* ---- backup_label ---- */

/* Says what the server takes for the backup before: it must be the parent. */
static enum err check_label(const struct composer *c, struct bytes text, struct error *why)
{
	const struct summary *parent = &c->parent->summary;
	struct backup_label label;
	enum err e = backup_label_decode(text, &label, why);

	if (e != ERR_NONE)
		return e;
	if (label.incremental_from.value != parent->start.value ||
	    label.incremental_from_timeline != parent->timeline)
		return error_set(why, ERR_PEER,
				 "the server sent what changed since another backup than the "
				 "parent");
	return ERR_NONE;
}

static enum err take_label(struct composer *c, struct reader_state *r, const char *path,
			   struct error *why)
{
	struct bytes text = bytes_of(c->header, (size_t)r->entry.size);
	struct batch_event *event;
	struct writer whole;
	enum err e;

	if (r->entry.size > MAP_PAGE_BYTES)
		return error_set(why, ERR_LIMIT, "%" PRIu64 " bytes, at most %d make sense",
				 r->entry.size, MAP_PAGE_BYTES);
	writer_init(&whole, MAP_PAGE_BYTES);
	e = reader_fill(r, c->header, text.len, why);
	if (e == ERR_NONE)
		e = check_label(c, text, why);
	if (e == ERR_NONE) {
		backup_label_make_whole(text, &whole);
		if (whole.bad)
			e = error_set(why, ERR_MEMORY, "incremental backup: out of memory");
	}
	if (e == ERR_NONE)
		e = reader_open_file(r, path, whole.len, &event, why);
	if (e == ERR_NONE) {
		event->composed = true;
		event->sent_bytes = text.len;
		event->sent_crc = crc32c(text);
		e = reader_shard(r, 0, why);
	}
	if (e == ERR_NONE)
		e = reader_room(r, 0, whole.len, why);
	if (e == ERR_NONE) {
		memcpy(r->batch->plain + r->batch->plain_len, whole.data, whole.len);
		reader_page(r, 0, (uint32_t)whole.len, true);
		reader_progress(r, whole.len);
	}
	writer_release(&whole);
	return e;
}

enum err composer_take(struct composer *c, struct reader_state *r, const char *path, bool *taken,
		       struct error *why)
{
	char stands_for[FILE_PATH_MAX];

	*taken = true;
	if (strcmp(path, "backup_label") == 0)
		return take_label(c, r, path, why);
	if (incremental_path(path, stands_for, sizeof(stands_for)))
		return take_incremental(c, r, stands_for, why);
	*taken = false;
	return ERR_NONE;
}
