/* Exports of a small made-up backup with WAL that PostgreSQL 15 wrote: the tars hold what was backed up, and
 * a failure leaves nothing that looks whole. */
#include "fault_files.h"
#include "repo/hide.h"
#include "scene.h"
#include "wal_shelf.h"

#include "restore/export.h"
#include "restore/export_internal.h"

#include <dirent.h>

enum { START = 0xB00028, STOP = 0xC00100 };

struct shop {
	struct scene s;
	struct export_request request;
	struct export_result result;
	uint8_t *stream;
	size_t stream_len;
	char path[160];
};

static struct shop *shop_begin(bool large)
{
	struct shop *shop = calloc(1, sizeof(*shop));
	struct scene *s = &shop->s;

	cr_assert_not_null(shop);
	s->scratch = scratch_open();
	shelf_world(&s->repo, NULL);
	for (unsigned segno = 0xB; segno <= 0xE; segno++)
		shelf_put_golden(&s->repo, 1, segno);
	s->env = s->repo.env;
	s->archive = (struct wal_archive){.cluster = {s->repo.cluster}, .count = 1};
	s->control = control_of_cluster(&s->repo.cluster);
	small_backup_begin(&s->backup, &s->repo, 1);
	s->backup.manifest->summary.start = lsn_of(START);
	s->backup.manifest->summary.stop = lsn_of(STOP);
	s->backup.manifest->summary.wal_segment_bytes = SHELF_SEGMENT;
	add_usual(s, large);
	(void)snprintf(shop->path, sizeof(shop->path), "%s/out", s->scratch.path);
	shop->request = (struct export_request){
		.backup = s->backup.manifest->summary.attempt, .directory = shop->path, .jobs = 2};
	return shop;
}

static void shop_commit(struct shop *shop)
{
	struct error why;

	OK(pack_section_add(shop->s.backup.packs, "server-manifest", bytes_of_text("{}\n"), &why));
	small_backup_commit(&shop->s.backup);
}

static struct shop *shop_usual(bool large)
{
	struct shop *shop = shop_begin(large);

	shop_commit(shop);
	return shop;
}

static void shop_end(struct shop *shop)
{
	repo_world_release(&shop->s.repo);
	scratch_close(&shop->s.scratch);
	free(shop->stream);
	free(shop);
}

static enum err export(struct shop *shop) {
	return export_run(&shop->s.env, &shop->s.archive, &shop->request, &shop->result,
			  &shop->s.why);
}

/* ---- reading tars ---- */

static struct golden tar_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	struct golden g;

	cr_assert_not_null(f, "%s", path);
	cr_assert_eq(fstat(fileno(f), &st), 0);
	g = content_of((size_t)st.st_size);
	cr_assert_eq(fread(g.data, 1, g.len, f), g.len);
	cr_assert_eq(fclose(f), 0);
	return g;
}

static struct golden output_of(const struct shop *shop, const char *name)
{
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", shop->path, name);
	return tar_read(full);
}

static enum err pull(void *ctx, struct bytes *out, struct error *why)
{
	struct bytes *left = ctx;

	(void)why;
	*out = *left;
	*left = bytes_of(NULL, 0);
	return ERR_NONE;
}

/* The content of a member, and its place among the members. */
static int find_member(struct golden tar, const char *path, struct tar_entry *entry,
		       struct golden *content)
{
	struct bytes left = golden_view(tar);
	struct tar_reader *r = NULL;
	struct error why;
	int at = -1;

	OK(tar_reader_open(pull, &left, &r, &why));
	for (int i = 0; tar_reader_next(r, entry, &why) == ERR_NONE; i++) {
		struct bytes data;

		if (strcmp(entry->path, path) != 0)
			continue;
		*content = content_of((size_t)entry->size);
		content->len = 0;
		do {
			OK(tar_reader_data(r, &data, &why));
			if (data.len > 0)
				memcpy(content->data + content->len, data.data, data.len);
			content->len += data.len;
		} while (data.len > 0);
		at = i;
		break;
	}
	tar_reader_close(r);
	return at;
}

static int count_members(struct golden tar)
{
	struct bytes left = golden_view(tar);
	struct tar_reader *r = NULL;
	struct tar_entry entry;
	struct error why;
	enum err e;
	int n = 0;

	OK(tar_reader_open(pull, &left, &r, &why));
	while ((e = tar_reader_next(r, &entry, &why)) == ERR_NONE)
		n++;
	cr_assert_eq(e, ERR_MISSING, "%s", why.text);
	tar_reader_close(r);
	return n;
}

static int assert_member(struct golden tar, const char *path, struct bytes want, uint32_t mode)
{
	struct tar_entry entry;
	struct golden got = {.len = 0};
	int at = find_member(tar, path, &entry, &got);

	cr_assert_geq(at, 0, "%s is not in the tar", path);
	cr_assert_eq(entry.mode, mode, "%s has mode %o", path, entry.mode);
	cr_assert_eq(got.len, want.len, "%s has %zu bytes", path, got.len);
	cr_assert(want.len == 0 || memcmp(got.data, want.data, want.len) == 0, "%s differs", path);
	return at;
}

static size_t count_names(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n - 2;
}

/* ---- what is written ---- */

Test(export, tars_hold_what_was_backed_up_in_the_servers_order)
{
	struct shop *shop = shop_usual(true);
	uint8_t half_zero[4 * MAP_PAGE_BYTES] = {1, 2, 3};
	struct golden base, wal;
	char path[64];

	cr_assert_eq(export(shop), ERR_NONE, "%s", shop->s.why.text);
	base = output_of(shop, "base.tar");
	wal = output_of(shop, "pg_wal.tar");
	cr_assert_eq(assert_member(base, "backup_label",
				   bytes_of_text("START WAL LOCATION: 0/3000028 x\n"), 0600),
		     0);
	cr_assert_eq(assert_member(base, "global/pg_control", golden_view(shop->s.control), 0600),
		     count_members(base) - 1, "pg_control is the last one");
	assert_member(base, "base/1/100", golden_view(shop->s.big), 0600);
	assert_member(base, "base/1/101", bytes_of(NULL, 0), 0600);
	assert_member(base, "base/1/103", bytes_of(half_zero, sizeof(half_zero)), 0600);
	assert_member(base, "base/1/104", golden_view(noise(30000, 3)), 0640);
	assert_member(base, "standby.signal", bytes_of(NULL, 0), 0600);
	assert_member(base, "pg_wal/archive_status", bytes_of(NULL, 0), 0700);
	for (unsigned i = 0; i < SMALL_FILES; i++) {
		(void)snprintf(path, sizeof(path), "pg_xact/%04u", i);
		assert_member(base, path, golden_view(noise(100 + 500 * i, i)), 0600);
	}
	assert_member(wal, "00000001000000000000000B", golden_view(shelf_golden(1, 0xB)), 0600);
	assert_member(wal, "archive_status/00000001000000000000000B.done", bytes_of(NULL, 0), 0600);
	assert_member(wal, "00000001000000000000000C", golden_view(shelf_golden(1, 0xC)), 0600);
	cr_assert_eq(count_members(wal), 3, "the last one is not marked");
	cr_assert_eq(output_of(shop, "backup_manifest").len, 3);
	cr_assert_eq(count_names(shop->path), 3);
	cr_assert_eq(shop->result.tars, 2);
	cr_assert_eq(shop->result.wal_segments, 2);
	cr_assert_eq(shop->result.bytes_written, base.len + wal.len + 3);
	cr_assert_eq(keys_below(&shop->s.repo, "pins/"), 0, "the pin is dropped");
	shop_end(shop);
}

static enum err push_stream(void *ctx, struct bytes in, struct error *why)
{
	struct shop *shop = ctx;

	(void)why;
	shop->stream = realloc(shop->stream, shop->stream_len + in.len);
	cr_assert_not_null(shop->stream);
	memcpy(shop->stream + shop->stream_len, in.data, in.len);
	shop->stream_len += in.len;
	return ERR_NONE;
}

Test(export, a_file_and_a_stream_are_one_tar_with_the_wal_inside)
{
	struct shop *shop = shop_usual(true);
	struct golden tar;

	(void)snprintf(shop->path, sizeof(shop->path), "%s/one.tar", shop->s.scratch.path);
	shop->request.directory = NULL;
	shop->request.file = shop->path;
	cr_assert_eq(export(shop), ERR_NONE, "%s", shop->s.why.text);
	tar = tar_read(shop->path);
	assert_member(tar, "base/1/100", golden_view(shop->s.big), 0600);
	assert_member(tar, "pg_wal/00000001000000000000000C", golden_view(shelf_golden(1, 0xC)),
		      0600);
	cr_assert_eq(assert_member(tar, "backup_manifest", bytes_of_text("{}\n"), 0600),
		     count_members(tar) - 1);
	shop->request.file = NULL;
	shop->request.push = push_stream;
	shop->request.push_ctx = shop;
	cr_assert_eq(export(shop), ERR_NONE, "%s", shop->s.why.text);
	cr_assert_eq(shop->stream_len, tar.len);
	cr_assert_eq(memcmp(shop->stream, tar.data, tar.len), 0, "two exports have the same bytes");
	shop_end(shop);
}

static void add_tablespace(struct shop *shop)
{
	struct summary *s = &shop->s.backup.manifest->summary;

	small_backup_file(&shop->s.backup, "pg_tblspc/16400/PG_15_202209061/5",
			  golden_view(noise(9000, 5)));
	small_backup_directory(&shop->s.backup, "pg_tblspc/16400");
	small_backup_directory(&shop->s.backup, "pg_tblspc/16400/PG_15_202209061");
	small_backup_file(&shop->s.backup, "pg_tblspc/164001", bytes_of_text("not of it"));
	s->tablespace = calloc(1, sizeof(*s->tablespace));
	s->tablespaces = 1;
	s->tablespace[0].oid = 16400;
	(void)snprintf(s->tablespace[0].path, sizeof(s->tablespace[0].path), "/old/ts");
	shop_commit(shop);
}

Test(export, a_tablespace_is_a_tar_of_its_own)
{
	struct shop *shop = shop_begin(false);
	struct golden tar;

	add_tablespace(shop);
	cr_assert_eq(export(shop), ERR_NONE, "%s", shop->s.why.text);
	tar = output_of(shop, "16400.tar");
	assert_member(tar, "PG_15_202209061/5", golden_view(noise(9000, 5)), 0600);
	cr_assert_eq(count_members(tar), 2);
	assert_member(output_of(shop, "base.tar"), "pg_tblspc/164001", bytes_of_text("not of it"),
		      0600);
	shop_end(shop);
}

/* ---- what is refused ---- */

Test(export, tablespaces_do_not_fit_into_one_file)
{
	struct shop *shop = shop_begin(false);

	add_tablespace(shop);
	shop->request.directory = NULL;
	shop->request.push = push_stream;
	shop->request.push_ctx = shop;
	cr_assert_eq(export(shop), ERR_CONFIG);
	cr_assert_not_null(strstr(shop->s.why.text, "tablespace"), "%s", shop->s.why.text);
	cr_assert_eq(shop->stream_len, 0);
	shop_end(shop);
}

Test(export, what_is_there_is_left_alone)
{
	struct shop *shop = shop_usual(false);
	char full[256];
	FILE *f;

	cr_assert_eq(mkdir(shop->path, 0700), 0);
	(void)snprintf(full, sizeof(full), "%s/precious", shop->path);
	f = fopen(full, "w");
	cr_assert_not_null(f);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(export(shop), ERR_CONFIG);
	cr_assert_not_null(strstr(shop->s.why.text, "precious"), "%s", shop->s.why.text);
	cr_assert_eq(count_names(shop->path), 1);
	shop->request.directory = full; /* a file */
	cr_assert_eq(export(shop), ERR_CONFIG, "%s", shop->s.why.text);
	shop->request.directory = NULL;
	shop->request.file = full;
	cr_assert_eq(export(shop), ERR_CONFIG, "%s", shop->s.why.text);
	cr_assert_not_null(strstr(shop->s.why.text, "already there"), "%s", shop->s.why.text);
	shop->request.file = "/nonexistent/x.tar";
	cr_assert_eq(export(shop), ERR_CONFIG, "%s", shop->s.why.text);
	shop->request.file = NULL;
	shop->request.directory = "/nonexistent/x";
	cr_assert_eq(export(shop), ERR_CONFIG, "%s", shop->s.why.text);
	shop_end(shop);
}

Test(export, missing_wal_and_missing_backups_are_named_before_the_first_byte)
{
	struct shop *shop = shop_usual(false);

	shelf_remove(&shop->s.repo, 1, 0xC);
	cr_assert_eq(export(shop), ERR_CORRUPT);
	cr_assert_not_null(strstr(shop->s.why.text, "0/C00100"), "%s", shop->s.why.text);
	cr_assert_eq(count_names(shop->path), 0);
	shop->request.backup = attempt_number(7);
	cr_assert_eq(export(shop), ERR_MISSING, "%s", shop->s.why.text);
	shop_end(shop);
}

static int little_space(struct files *files, int fd, uint64_t *out)
{
	(void)files;
	(void)fd;
	*out = 1000;
	return 0;
}

Test(export, too_little_space_is_refused_before_the_first_byte)
{
	struct shop *shop = shop_usual(false);
	struct files_ops ops = *files_os()->ops;
	struct files files = {.ops = &ops};

	ops.free_bytes = little_space;
	shop->s.env.files = &files;
	cr_assert_eq(export(shop), ERR_FULL);
	cr_assert_not_null(strstr(shop->s.why.text, "free"), "%s", shop->s.why.text);
	cr_assert_neq(access(shop->path, F_OK), 0, "the directory is taken back");
	shop->request.directory = NULL;
	shop->request.file = shop->path;
	cr_assert_eq(export(shop), ERR_FULL);
	shop_end(shop);
}

/* ---- what fails ---- */

Test(export, damage_is_found_and_leaves_nothing)
{
	struct shop *shop = shop_usual(false);
	char key[STORE_KEY_MAX], full[256];
	uint8_t *pack = NULL;
	size_t len = 0;

	(void)snprintf(key, sizeof(key), "%spacks/%s/00000000", shop->s.repo.cluster.prefix,
		       "20261123T000001Z-0000000000000001");
	pack = store_memory_peek(shop->s.repo.memory, key, &len);
	cr_assert_not_null(pack);
	pack[400] ^= 1;
	cr_assert_eq(export(shop), ERR_CORRUPT, "%s", shop->s.why.text);
	cr_assert_neq(access(shop->path, F_OK), 0);
	pack[400] ^= 1;
	cr_assert_eq(export(shop), ERR_NONE, "%s", shop->s.why.text);
	(void)snprintf(full, sizeof(full), "%s/base.tar", shop->path);
	cr_assert_eq(access(full, F_OK), 0);
	shop_end(shop);
}

/* Whatever fails: the run says so, there is no base.tar, and the next run writes everything. */
static void interrupt_everywhere(enum fault_op op, int os, enum err kind)
{
	unsigned failed = 0;

	for (unsigned nth = 1;; nth++) {
		struct shop *shop = shop_usual(false);
		struct fault_files faults;
		char full[256];
		enum err e;

		shop->request.jobs = 1;
		fault_files_init(&faults, files_os());
		shop->s.env.files = &faults.files;
		fault_files_fail(&faults, op, nth, os, false);
		e = export(shop);
		if (!faults.fired) {
			cr_assert_eq(e, ERR_NONE, "%s", shop->s.why.text);
			shop_end(shop);
			break;
		}
		failed++;
		cr_assert_eq(e, kind, "%u of %d: %d %s", nth, op, e, shop->s.why.text);
		(void)snprintf(full, sizeof(full), "%s/base.tar", shop->path);
		cr_assert_neq(access(full, F_OK), 0, "call %u left a base.tar", nth);
		shop->s.env.files = files_os();
		cr_assert_eq(export(shop), ERR_NONE, "after call %u: %s", nth, shop->s.why.text);
		cr_assert_eq(count_names(shop->path), 3);
		shop_end(shop);
	}
	cr_assert_gt(failed, 2);
}

Test(export, a_full_disk_at_any_write_leaves_nothing)
{
	interrupt_everywhere(FAULT_WRITE, ENOSPC, ERR_FULL);
}

Test(export, a_failed_fsync_is_never_success)
{
	interrupt_everywhere(FAULT_FSYNC, EIO, ERR_IO);
}

Test(export, stopping_leaves_nothing)
{
	struct shop *shop = shop_usual(true);
	volatile int cancelled = 1;

	shop->s.env.cancelled = &cancelled;
	cr_assert_eq(export(shop), ERR_CANCELLED, "%s", shop->s.why.text);
	cr_assert_neq(access(shop->path, F_OK), 0);
	shop_end(shop);
}

Test(export, what_a_killed_export_left_is_removed_and_a_living_ones_is_not)
{
	struct shop *shop = shop_usual(false);
	char full[256];
	FILE *f;

	cr_assert_eq(mkdir(shop->path, 0700), 0);
	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(full, sizeof(full), "%s/.tmp-999999999-%016x", shop->path, i);
		f = fopen(full, "w");
		cr_assert_not_null(f);
		cr_assert_eq(fclose(f), 0);
	}
	(void)snprintf(full, sizeof(full), "%s/.tmp-%d-0000000000000001", shop->path, getpid());
	f = fopen(full, "w");
	cr_assert_not_null(f);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(export(shop), ERR_CONFIG);
	cr_assert_not_null(strstr(shop->s.why.text, ".tmp-"), "%s", shop->s.why.text);
	cr_assert_eq(unlink(full), 0);
	/* Somebody else's, whatever it begins with. */
	(void)snprintf(full, sizeof(full), "%s/.tmp-thesis", shop->path);
	f = fopen(full, "w");
	cr_assert_not_null(f);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(export(shop), ERR_CONFIG);
	cr_assert_not_null(strstr(shop->s.why.text, ".tmp-thesis"), "%s", shop->s.why.text);
	cr_assert_eq(unlink(full), 0);
	cr_assert_eq(export(shop), ERR_NONE, "%s", shop->s.why.text);
	cr_assert_eq(count_names(shop->path), 3);
	shop_end(shop);
}

Test(export, what_is_being_removed_is_not_begun)
{
	struct shop *shop = shop_usual(false);
	const struct attempt *backup = &shop->request.backup;
	struct error why;

	OK(hide_backup(&shop->s.repo.cluster, backup, "test", &why));
	OK(hide_decide_removed(&shop->s.repo.cluster, backup, "test", &why));
	OK(hide_put_tomb(&shop->s.repo.cluster, backup, "test", &why));
	cr_assert_eq(export(shop), ERR_MISSING);
	cr_assert_not_null(strstr(shop->s.why.text, "is being removed"), "%s", shop->s.why.text);
	cr_assert_eq(access(shop->path, F_OK), -1);
	cr_assert_eq(keys_below(&shop->s.repo, "pins/"), 0);
	shop_end(shop);
}
