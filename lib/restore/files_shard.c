/* restore/files_shard.c - 16 MiB of a file: fetched and written, or compared with what is there page by
 * page, so that only what differs is fetched and written.
 *
 * Neither time nor size of what is there says anything: every page is read and its tag compared.
 */
#include "base/file.h"
#include "restore/files_internal.h"

struct writing {
	struct files *files;
	int fd;
	bool over; /* bytes were there before: zeros are written, too */
};

static const uint8_t zeros[16 * MAP_PAGE_BYTES];

static enum err write_zeros(const struct writing *w, uint64_t offset, uint64_t len,
			    struct error *why)
{
	enum err e = ERR_NONE;

	while (e == ERR_NONE && len > 0) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

		e = file_pwrite(w->files, w->fd, bytes_of(zeros, n), offset, why);
		offset += n;
		len -= n;
	}
	return e;
}

/* Pages of zeros stay holes in a file that is new. */
static enum err write_run(void *ctx, const struct page_run *run, struct error *why)
{
	const struct writing *w = ctx;

	if (run->data != NULL)
		return file_pwrite(w->files, w->fd, bytes_of(run->data, (size_t)run->len),
				   run->offset, why);
	return w->over ? write_zeros(w, run->offset, run->len, why) : ERR_NONE;
}

/* What one file has in place of a shard. */
struct comparing {
	struct hand *hand;
	const struct shard *map;
	struct page_source *source;
	uint64_t offset, there; /* the shard begins; bytes that are there from then on */
	struct page_set differ;
	uint64_t reused;
	bool any;
};

static enum err compare_part(struct comparing *c, uint32_t page, struct bytes part,
			     struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t at = 0; e == ERR_NONE && at < part.len; page++) {
		size_t len = part.len - at < MAP_PAGE_BYTES ? part.len - at : MAP_PAGE_BYTES;
		bool same;

		e = page_source_same(c->source, page, bytes_of(part.data + at, len), &same, why);
		at += len;
		if (e == ERR_NONE && same) {
			c->reused += len;
		} else if (e == ERR_NONE) {
			page_set_add(&c->differ, page);
			c->any = true;
		}
	}
	return e;
}

/* The file has its full size already; behind what was there it is zero. */
static enum err compare(struct comparing *c, int fd, struct error *why)
{
	const struct job *job = c->hand->job;
	uint64_t bytes = shard_file_bytes(c->map);
	uint64_t there = c->there < bytes ? c->there : bytes;
	uint32_t page = 0;
	enum err e = ERR_NONE;

	/* The last page that was there may have been cut short: its rest reads as zeros. */
	there = (there + MAP_PAGE_BYTES - 1) / MAP_PAGE_BYTES * MAP_PAGE_BYTES;
	there = there < bytes ? there : bytes;
	for (uint64_t at = 0; e == ERR_NONE && at < there; at += COMPARE_BYTES) {
		size_t len = there - at < COMPARE_BYTES ? (size_t)(there - at) : COMPARE_BYTES;

		if (*job->target->env->cancelled)
			return error_set(why, ERR_CANCELLED, "restore: stopped on request");
		e = file_pread(job->target->env->files, fd, c->hand->compare, len, c->offset + at,
			       why);
		if (e == ERR_NONE)
			e = compare_part(c, page, bytes_of(c->hand->compare, len), why);
		page += COMPARE_BYTES / MAP_PAGE_BYTES;
	}
	for (page = (uint32_t)((there + MAP_PAGE_BYTES - 1) / MAP_PAGE_BYTES); page < c->map->pages;
	     page++) {
		if (c->map->page[page].zero)
			continue;
		page_set_add(&c->differ, page);
		c->any = true;
	}
	return e;
}

static enum err write_differing(struct hand *hand, const struct item *item,
				const struct opened_file *file, struct writing *w, uint32_t *crc,
				uint64_t *reused, struct error *why)
{
	struct comparing c = {.hand = hand, .offset = (uint64_t)item->shard * SHARD_FILE_BYTES};
	struct fetch fetch = {.file = &hand->job->table->file[item->file],
			      .index = item->shard,
			      .wanted = &c.differ,
			      .visit = write_run,
			      .ctx = w};
	enum err e = fetcher_map(hand->fetcher, &fetch, &c.source, &c.map, why);

	if (e != ERR_NONE)
		return e;
	c.there = file->size > c.offset ? file->size - c.offset : 0;
	*crc = page_map_crc(c.map);
	e = compare(&c, file->fd, why);
	if (e == ERR_NONE && c.any)
		e = fetcher_shard(hand->fetcher, &fetch, crc, why);
	*reused = c.reused;
	return e;
}

enum err shard_write(struct hand *hand, const struct item *item, const struct opened_file *file,
		     uint32_t *crc, uint64_t *reused, struct error *why)
{
	const struct target *target = hand->job->target;
	const struct file_record *record = &hand->job->table->file[item->file];
	struct writing w = {.files = target->env->files, .fd = file->fd, .over = !file->fresh};
	struct fetch fetch = {.file = record, .index = item->shard, .visit = write_run, .ctx = &w};
	enum err e;

	*reused = 0;
	e = file->fresh ? fetcher_shard(hand->fetcher, &fetch, crc, why)
			: write_differing(hand, item, file, &w, crc, reused, why);
	if (e == ERR_FULL)
		error_hint(why, "free some space there, then run the same command again");
	if (e != ERR_NONE)
		return error_add(why, "file \"%s/%.*s\"", target->path, (int)record->path.len,
				 (const char *)record->path.data);
	return ERR_NONE;
}
