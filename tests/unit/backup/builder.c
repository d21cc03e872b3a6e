/* Facts about the builder: what went through it is read back from the repository as it was. */
#include "backup/backup_internal.h"
#include "base/crc32c.h"
#include "proven.h"
#include "repo/pages.h"
#include "repo_world.h"

#include <stdlib.h>

/* Plays the reader of the tar stream. */
struct feed {
	struct repo_world w;
	struct manifest *manifest;
	struct pack_writer *packs;
	struct seen *seen;
	struct worker *worker;
	struct builder *builder;
	struct batch *batch;
	enum err failed; /* the first failure; nothing is fed after it */
	struct error why;
};

static void feed_init(struct feed *f)
{
	const struct cluster *cluster = &f->w.cluster;
	struct attempt attempt = attempt_number(1);
	struct error why;

	memset(f, 0, sizeof(*f));
	repo_world_init(&f->w, NULL);
	f->manifest = manifest_number(&f->w.cluster, 1);
	f->seen = seen_new();
	f->batch = calloc(1, sizeof(*f->batch));
	f->batch->packed = malloc(compressor_bound(FRAME_PAGES_MAX));
	OK(pack_writer_new(&cluster, 1, &attempt, f->manifest, &f->packs, &why));
	OK(worker_new(f->w.repository, 1, &f->worker, &why));
	OK(builder_new(f->packs, f->seen, NULL, 1, &f->builder, &why));
}

static void feed_release(struct feed *f)
{
	builder_free(f->builder);
	worker_free(f->worker);
	pack_writer_free(f->packs);
	seen_free(f->seen);
	manifest_free(f->manifest);
	free(f->batch->packed);
	free(f->batch);
	repo_world_release(&f->w);
}

static enum err feed_flush(struct feed *f)
{
	struct batch *b = f->batch;

	if (f->failed == ERR_NONE)
		f->failed = worker_run(f->worker, b, &f->why);
	if (f->failed == ERR_NONE)
		f->failed = builder_take(f->builder, b, &f->why);
	b->plain_len = b->pages = b->events = b->text_len = 0;
	return f->failed;
}

static struct batch_event *event(struct feed *f, enum batch_event_kind kind)
{
	struct batch *b = f->batch;

	if (b->events == BATCH_EVENTS_MAX || b->text_len > BATCH_TEXT_MAX - 2 * FILE_PATH_MAX ||
	    b->plain_len > FRAME_PAGES_MAX - MAP_PAGE_BYTES || b->pages == BATCH_PAGES_MAX)
		(void)feed_flush(f); /* kept in `failed` */
	b->event[b->events] = (struct batch_event){.kind = kind};
	return &b->event[b->events++];
}

static uint32_t text(struct feed *f, const char *in)
{
	uint32_t at = f->batch->text_len;

	memcpy(f->batch->text + at, in, strlen(in));
	f->batch->text_len += (uint32_t)strlen(in);
	return at;
}

static void feed_open(struct feed *f, enum file_kind kind, const char *path, const char *target,
		      uint64_t size)
{
	struct batch_event *e = event(f, EVENT_OPEN);

	e->file_kind = kind;
	e->mode = 0600;
	e->size = size;
	e->modified_s = 1795442700;
	e->path_len = (uint32_t)strlen(path);
	e->path_at = text(f, path);
	e->target_len = (uint32_t)strlen(target);
	e->target_at = text(f, target);
}

/* Page `n` of the file with that seed; every fifth is zero.  False = zeros. */
static bool page_fill(uint32_t seed, uint64_t n, uint8_t *out, uint32_t len)
{
	uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + n + 1;

	if (n % 5 == 3) {
		memset(out, 0, len);
		return false;
	}
	for (uint32_t i = 0; i < len; i++) {
		if (i % 64 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		out[i] = (uint8_t)(x >> (i % 8 * 8)) | 1;
	}
	return true;
}

static void feed_file(struct feed *f, const char *path, uint32_t seed, uint64_t size)
{
	feed_open(f, FILE_PLAIN, path, "", size);
	for (uint64_t at = 0; at < size; at += MAP_PAGE_BYTES) {
		uint32_t len = size - at < MAP_PAGE_BYTES ? (uint32_t)(size - at) : MAP_PAGE_BYTES;
		struct batch_event *e = event(f, EVENT_PAGES);
		struct batch *b = f->batch;

		if (page_fill(seed, at / MAP_PAGE_BYTES, b->plain + b->plain_len, len)) {
			b->page[b->pages] = (struct batch_page){.offset = b->plain_len, .len = len};
			e->first = b->pages++;
			b->plain_len += len;
		} else {
			e->kind = EVENT_ZEROS;
			e->last_bytes = len;
		}
		e->count = 1;
	}
	(void)event(f, EVENT_CLOSE);
}

static void feed_commit(struct feed *f)
{
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	cr_assert_eq(feed_flush(f), ERR_NONE, "%s", f->why.text);
	OK(builder_finish(f->builder, &why));
	OK(pack_writer_finish(f->packs, &why));
	OK(decision_check_packs(&f->w.cluster, f->manifest, &why));
	OK(manifest_commit(&f->w.cluster, f->manifest, sha256, &why));
}

struct check {
	uint32_t seed;
	uint64_t at;
	uint32_t crc;
};

static enum err check_run(void *ctx, const struct page_run *run, struct error *why)
{
	static const uint8_t zeros[MAP_PAGE_BYTES];
	struct check *c = ctx;

	(void)why;
	cr_assert_eq(run->offset, c->at);
	for (uint64_t at = 0; at < run->len;) {
		uint64_t n = (c->at + at) / MAP_PAGE_BYTES, left = run->len - at;
		uint32_t len = left < MAP_PAGE_BYTES ? (uint32_t)left : MAP_PAGE_BYTES;
		uint8_t page[MAP_PAGE_BYTES];

		(void)page_fill(c->seed, n, page, len);
		cr_assert_eq(memcmp(run->data != NULL ? run->data + at : zeros, page, len), 0,
			     "page %lu", n);
		c->crc = crc32c_more(c->crc, bytes_of(page, len));
		at += len;
	}
	c->at += run->len;
	return ERR_NONE;
}

/* Everything that was committed, in a fresh manifest. */
struct back {
	struct manifest *manifest;
	struct page_source *pages;
	uint8_t *table;
	struct reader in;
};

static void back_init(struct back *b, struct feed *f)
{
	struct attempt attempt = attempt_number(1);
	struct error why;
	size_t len;

	OK(manifest_read(&f->w.cluster, &attempt, &b->manifest, &why));
	OK(section_read(&f->w.cluster, b->manifest, SECTION_FILES, 1 << 30, &b->table, &len, &why));
	OK(page_source_new(&f->w.cluster, b->manifest, &b->pages, &why));
	b->in = reader_of(bytes_of(b->table, len));
}

static void back_release(struct back *b)
{
	page_source_free(b->pages);
	manifest_free(b->manifest);
	free(b->table);
}

static struct file_record back_next(struct back *b, const char *path)
{
	struct file_record file;
	struct error why;

	OK(file_record_decode(&b->in, &file, &why));
	cr_assert_eq(file.path.len, strlen(path), "%.*s", (int)file.path.len,
		     (const char *)file.path.data);
	cr_assert_eq(memcmp(file.path.data, path, file.path.len), 0);
	return file;
}

static void back_file(struct back *b, const char *path, uint32_t seed, uint64_t size)
{
	struct file_record file = back_next(b, path);
	struct check c = {.seed = seed};
	struct error why;
	uint32_t crc;

	cr_assert_eq(file.kind, FILE_PLAIN);
	cr_assert_eq(file.size, size);
	cr_assert_eq(file.modified_s, 1795442700);
	cr_assert_eq(file.shards, (size + SHARD_FILE_BYTES - 1) / SHARD_FILE_BYTES);
	for (uint32_t i = 0; i < file.shards; i++)
		OK(page_source_shard(b->pages, &file, i, check_run, &c, &crc, &why));
	cr_assert_eq(c.at, size);
	cr_assert_eq(c.crc, file.crc, "%s", path);
}

Test(builder, many_tiny_files_share_frames_and_come_back)
{
	enum { FILES = 5000 };
	struct feed f;
	struct back b;
	char path[64];

	feed_init(&f);
	for (uint32_t i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/5/%u", 16384 + i);
		feed_file(&f, path, i, i % 700);
	}
	feed_commit(&f);
	cr_assert_eq(builder_totals(f.builder).files, FILES);
	back_init(&b, &f);
	for (uint32_t i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/5/%u", 16384 + i);
		back_file(&b, path, i, i % 700);
	}
	cr_assert_eq(b.in.left, 0);
	cr_assert_lt(page_source_frames(b.pages), 400, "%lu frames opened",
		     page_source_frames(b.pages));
	back_release(&b);
	feed_release(&f);
}

Test(builder, a_large_file_with_zeros_and_a_short_last_page_comes_back)
{
	static const uint64_t size = (UINT64_C(40) << 20) + 77;
	struct feed f;
	struct back b;

	feed_init(&f);
	feed_file(&f, "base/5/1", 1, 20);
	feed_file(&f, "base/5/16384", 7, size);
	feed_file(&f, "base/5/2", 2, 3 * MAP_PAGE_BYTES);
	feed_commit(&f);
	cr_assert_eq(builder_totals(f.builder).bytes_cluster, size + 20 + 3 * MAP_PAGE_BYTES);
	cr_assert_lt(builder_totals(f.builder).pages.bytes_new, size, "zeros are not stored");
	back_init(&b, &f);
	back_file(&b, "base/5/1", 1, 20);
	back_file(&b, "base/5/16384", 7, size);
	back_file(&b, "base/5/2", 2, 3 * MAP_PAGE_BYTES);
	cr_assert_eq(b.in.left, 0);
	back_release(&b);
	feed_release(&f);
}

Test(builder, files_of_exactly_one_shard_and_of_one_page_more_come_back)
{
	struct feed f;
	struct back b;

	feed_init(&f);
	feed_file(&f, "a", 1, SHARD_FILE_BYTES);
	feed_file(&f, "b", 2, SHARD_FILE_BYTES + 1);
	feed_file(&f, "c", 3, 0);
	feed_commit(&f);
	back_init(&b, &f);
	back_file(&b, "a", 1, SHARD_FILE_BYTES);
	back_file(&b, "b", 2, SHARD_FILE_BYTES + 1);
	back_file(&b, "c", 3, 0);
	back_release(&b);
	feed_release(&f);
}

Test(builder, thousands_of_empty_files_directories_and_links_keep_their_order)
{
	enum { FILES = 30000 };
	struct feed f;
	struct back b;
	char path[200];

	feed_init(&f);
	for (uint32_t i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/%0100u", i);
		if (i % 3 == 0)
			feed_open(&f, FILE_DIRECTORY, path, "", 0);
		else if (i % 3 == 1)
			feed_open(&f, FILE_SYMLINK, path, "/srv/space", 0);
		else
			feed_file(&f, path, i, 0);
	}
	feed_commit(&f);
	cr_assert_eq(builder_totals(f.builder).files, FILES / 3);
	back_init(&b, &f);
	for (uint32_t i = 0; i < FILES; i++) {
		struct file_record file;

		(void)snprintf(path, sizeof(path), "base/%0100u", i);
		file = back_next(&b, path);
		cr_assert_eq(file.kind, i % 3 == 0   ? FILE_DIRECTORY
					: i % 3 == 1 ? FILE_SYMLINK
						     : FILE_PLAIN);
		cr_assert_eq(file.target.len, i % 3 == 1 ? strlen("/srv/space") : 0);
		cr_assert_eq(file.shards, 0);
	}
	cr_assert_eq(b.in.left, 0);
	back_release(&b);
	feed_release(&f);
}

Test(builder, keeps_the_control_file_and_the_label)
{
	uint8_t page[MAP_PAGE_BYTES];
	struct feed f;

	feed_init(&f);
	cr_assert_eq(builder_control(f.builder).len, 0);
	feed_file(&f, "backup_label", 1, 226);
	feed_file(&f, "global/pg_control", 2, MAP_PAGE_BYTES);
	feed_file(&f, "global/1", 3, MAP_PAGE_BYTES);
	feed_commit(&f);
	(void)page_fill(1, 0, page, 226);
	cr_assert_eq(builder_label(f.builder).len, 226);
	cr_assert_eq(memcmp(builder_label(f.builder).data, page, 226), 0);
	(void)page_fill(2, 0, page, sizeof(page));
	cr_assert_eq(builder_control(f.builder).len, MAP_PAGE_BYTES);
	cr_assert_eq(memcmp(builder_control(f.builder).data, page, sizeof(page)), 0);
	feed_release(&f);
}

Test(builder, a_file_that_is_not_as_long_as_announced_is_refused)
{
	struct feed f;

	feed_init(&f);
	feed_open(&f, FILE_PLAIN, "base/5/1259", "", 9000);
	(void)event(&f, EVENT_CLOSE);
	cr_assert_eq(feed_flush(&f), ERR_PEER);
	cr_assert_not_null(strstr(f.why.text, "base/5/1259"), "%s", f.why.text);
	feed_release(&f);
}

Test(builder, a_file_that_comes_twice_is_refused)
{
	struct feed f;

	feed_init(&f);
	feed_file(&f, "base/5/1259", 1, 100);
	feed_file(&f, "base/5/1259", 1, 100);
	cr_assert_eq(feed_flush(&f), ERR_PEER);
	feed_release(&f);
}

/* Whatever call of the store fails, it is this failure that comes out, and no backup is there. */
Test(builder, a_store_that_fails_anywhere_leaves_no_backup)
{
	bool failed = true;

	for (unsigned at = 1; failed; at++) {
		struct attempt attempt = attempt_number(1);
		struct manifest *manifest = NULL;
		struct feed f;
		enum err e;

		cr_assert_lt(at, 100);
		feed_init(&f);
		repo_world_fail(&f.w, FAULT_FAIL, at, ERR_FULL);
		feed_file(&f, "base/5/1259", 1, 1 << 20);
		e = feed_flush(&f);
		if (e == ERR_NONE)
			e = builder_finish(f.builder, &f.why);
		if (e == ERR_NONE)
			e = pack_writer_finish(f.packs, &f.why);
		failed = e != ERR_NONE;
		if (failed)
			cr_assert_eq(e, ERR_FULL, "%s", f.why.text);
		cr_assert_eq(failed, f.w.fault.calls >= at);
		repo_world_fail(&f.w, FAULT_NONE, 0, ERR_NONE);
		cr_assert_eq(manifest_read(&f.w.cluster, &attempt, &manifest, &f.why), ERR_MISSING);
		feed_release(&f);
	}
}

static void finding(void *ctx, const struct verify_finding *found)
{
	(void)found;
	++*(unsigned *)ctx;
}

Test(builder, what_it_made_verifies)
{
	struct attempt attempt = attempt_number(1);
	struct verify_totals totals = {.objects = 0};
	unsigned findings = 0;
	struct verify_options options = {.jobs = 2, .finding = finding, .ctx = &findings};
	struct error why;
	struct feed f;

	feed_init(&f);
	feed_file(&f, "base/5/1259", 1, (17 << 20) + 5);
	feed_file(&f, "base/5/1260", 2, 100);
	feed_commit(&f);
	OK(verify_backup(&f.w.cluster, &attempt, &options, &totals, &why));
	cr_assert_eq(findings, 0);
	cr_assert_eq(totals.files, 2);
	cr_assert_eq(totals.pages, (17 << 20) / MAP_PAGE_BYTES + 2);
	feed_release(&f);
}
