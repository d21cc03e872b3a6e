/* Restores of a small made-up backup: what is written, what is refused, what an interruption leaves. */
#include "fault_files.h"
#include "scratch.h"
#include "small_backup.h"

#include "restore/restore_internal.h"

#include <errno.h>

enum { BIG_BYTES = SHARD_FILE_BYTES + 3 * MAP_PAGE_BYTES + 100, SMALL_FILES = 40 };

struct scene {
	struct scratch scratch;
	struct repo_world repo;
	struct env env;
	struct wal_archive archive;
	struct restore_request request;
	struct restore_plan plan;
	struct restore_result result;
	struct small_backup backup;
	struct error why;
	char directory[128];
	struct golden control, big;
};

/* Content of files; a test is a process of its own, and a leak checker sees the list. */
enum { KEPT_MAX = 4096 };
static void *kept[KEPT_MAX];
static size_t kept_count;

static struct golden content_of(size_t len)
{
	struct golden g = {.data = calloc(1, len + 1), .len = len};

	cr_assert(g.data != NULL && kept_count < KEPT_MAX);
	kept[kept_count++] = g.data;
	return g;
}

static struct golden control_of_cluster(const struct cluster *c)
{
	static struct golden g;

	if (g.data == NULL)
		g = golden_read("tests/golden/pgformat/pg_control.15");

	put_u64(g.data, c->system_identifier);
	put_u32(g.data + 288, crc32c(bytes_of(g.data, 288)));
	return g;
}

static struct golden noise(size_t len, uint64_t seed)
{
	struct golden g = content_of(len);

	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005U + 1442695040888963407U;
		g.data[i] = (uint8_t)(seed >> 56);
	}
	return g;
}

/* A file above 16 MiB: some pages, a long hole, pages across the end of the first shard. */
static struct golden big_file(void)
{
	struct golden g = content_of(BIG_BYTES);
	struct golden some = noise(12 * MAP_PAGE_BYTES, 7);

	memcpy(g.data, some.data, 7 * MAP_PAGE_BYTES);
	memcpy(g.data + SHARD_FILE_BYTES - 2 * MAP_PAGE_BYTES, some.data, 4 * MAP_PAGE_BYTES);
	memcpy(g.data + BIG_BYTES - 100, some.data, 100);
	return g;
}

static void add_usual(struct scene *s, bool large)
{
	static const char *const directories[] = {"base",      "base/1", "pg_notify",
						  "pg_tblspc", "pg_wal", "pg_wal/archive_status"};
	struct small_backup *b = &s->backup;
	uint8_t half_zero[4 * MAP_PAGE_BYTES] = {1, 2, 3};
	char path[64];

	small_backup_file(b, "backup_label", bytes_of_text("START WAL LOCATION: 0/3000028 x\n"));
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		small_backup_directory(b, directories[i]);
	small_backup_file(b, "base/1/101", bytes_of(NULL, 0));
	small_backup_file(b, "base/1/103", bytes_of(half_zero, sizeof(half_zero)));
	small_backup_add(b, FILE_PLAIN, "base/1/104", 0640, golden_view(noise(30000, 3)));
	if (large) {
		s->big = big_file();
		small_backup_file(b, "base/1/100", golden_view(s->big));
		for (unsigned i = 0; i < SMALL_FILES; i++) {
			(void)snprintf(path, sizeof(path), "pg_xact/%04u", i);
			small_backup_file(b, path, golden_view(noise(100 + 500 * i, i)));
		}
		small_backup_directory(b, "pg_xact"); /* behind what is in it */
	}
	small_backup_file(b, "postgresql.conf", bytes_of_text("port = 1\n"));
	small_backup_file(b, "postgresql.auto.conf", bytes_of_text("work_mem = '5MB'\n"));
	small_backup_file(b, "standby.signal", bytes_of(NULL, 0));
	small_backup_directory(b, "global");
	small_backup_file(b, "global/pg_control", golden_view(s->control));
}

static struct scene *scene_begin(void)
{
	struct scene *s = calloc(1, sizeof(*s));

	cr_assert_not_null(s);
	s->scratch = scratch_open();
	repo_world_init(&s->repo, NULL);
	s->env = s->repo.env;
	s->archive = (struct wal_archive){.cluster = {s->repo.cluster}, .count = 1};
	s->control = control_of_cluster(&s->repo.cluster);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/new/r", s->scratch.path);
	s->request = (struct restore_request){.directory = s->directory,
					      .kind = TARGET_BACKUP_END,
					      .archive_get = "/usr/bin/pgagent archive-get",
					      .jobs = 2};
	small_backup_begin(&s->backup, &s->repo, 1);
	return s;
}

static void scene_commit(struct scene *s)
{
	s->plan = (struct restore_plan){.reachable = true,
					.backup = s->backup.manifest->summary,
					.side = true,
					.kind = TARGET_BACKUP_END,
					.action = ACTION_PAUSE,
					.target_inclusive = true,
					.timeline = 1};
	small_backup_commit(&s->backup);
}

static struct scene *scene_usual(bool large)
{
	struct scene *s = scene_begin();

	add_usual(s, large);
	scene_commit(s);
	return s;
}

static void scene_end(struct scene *s)
{
	repo_world_release(&s->repo);
	scratch_close(&s->scratch);
	free(s);
}

static enum err run(struct scene *s)
{
	return restore_run(&s->env, &s->archive, &s->request, &s->plan, &s->result, &s->why);
}

static bool exists(const struct scene *s, const char *path)
{
	struct stat st;
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", s->directory, path);
	return lstat(full, &st) == 0;
}

static void assert_file(const struct scene *s, const char *path, struct bytes content, mode_t mode)
{
	char full[256];
	struct stat st;
	struct golden g = content_of(content.len);
	FILE *f;

	(void)snprintf(full, sizeof(full), "%s/%s", s->directory, path);
	f = fopen(full, "rb");
	cr_assert_not_null(f, "%s is not there", full);
	g.len = fread(g.data, 1, content.len + 1, f);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(g.len, content.len, "%s has %zu bytes, not %zu", path, g.len, content.len);
	cr_assert(content.len == 0 || memcmp(g.data, content.data, g.len) == 0,
		  "%s has other bytes", path);
	cr_assert_eq(stat(full, &st), 0);
	cr_assert_eq(st.st_mode & 07777, mode, "%s has mode %o", path, st.st_mode);
}

static void assert_usual(struct scene *s)
{
	assert_file(s, "backup_label", bytes_of_text("START WAL LOCATION: 0/3000028 x\n"), 0600);
	assert_file(s, "base/1/101", bytes_of(NULL, 0), 0600);
	assert_file(s, "base/1/104", golden_view(noise(30000, 3)), 0640);
	assert_file(s, "global/pg_control", golden_view(s->control), 0600);
	assert_file(s, "recovery.signal", bytes_of(NULL, 0), 0600);
	cr_assert(exists(s, "pg_notify") && exists(s, "pg_wal/archive_status"));
	cr_assert_not(exists(s, "standby.signal"), "a standby's signal file must not win");
	cr_assert_not(exists(s, RESTORE_MARKER));
}

Test(run, writes_every_byte_as_it_was)
{
	struct scene *s = scene_usual(true);
	uint8_t half_zero[4 * MAP_PAGE_BYTES] = {1, 2, 3};
	char path[64];

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	assert_file(s, "base/1/100", golden_view(s->big), 0600);
	assert_file(s, "base/1/103", bytes_of(half_zero, sizeof(half_zero)), 0600);
	for (unsigned i = 0; i < SMALL_FILES; i++) {
		(void)snprintf(path, sizeof(path), "pg_xact/%04u", i);
		assert_file(s, path, golden_view(noise(100 + 500 * i, i)), 0600);
	}
	cr_assert_not(s->result.outside_configuration);
	cr_assert_not(exists(s, RESTORE_CONF));
	cr_assert_gt(s->result.bytes_written, BIG_BYTES);
	cr_assert_not_null(strstr(s->result.start_command, s->directory));
	scene_end(s);
}

Test(run, settings_of_the_backup_stay_and_ours_come_behind)
{
	struct scene *s = scene_usual(false);
	struct golden conf;
	char full[256], *ours;

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	(void)snprintf(full, sizeof(full), "%s/postgresql.auto.conf", s->directory);
	conf = golden_read(full);
	cr_assert_eq(strncmp((char *)conf.data, "work_mem = '5MB'\n", 17), 0);
	ours = strstr((char *)conf.data, "recovery_target = 'immediate'\n");
	cr_assert_not_null(ours);
	cr_assert_not_null(strstr((char *)conf.data, s->result.pin));
	cr_assert_eq(keys_below(&s->repo, "pins/restore-"), 1, "the pin is left to the recovery");
	scene_end(s);
}

Test(run, a_cluster_configured_elsewhere_gets_a_configuration_of_its_own)
{
	struct scene *s = scene_begin();

	small_backup_directory(&s->backup, "global");
	small_backup_file(&s->backup, "global/pg_control", golden_view(s->control));
	scene_commit(s);
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	cr_assert(s->result.outside_configuration);
	cr_assert(exists(s, RESTORE_CONF) && exists(s, RESTORE_HBA) && exists(s, RESTORE_IDENT));
	cr_assert_not_null(strstr(s->result.start_command, RESTORE_CONF));
	scene_end(s);
}

/* A backup with a tablespace that moves to "<scratch>/ts". */
static struct scene *scene_tablespace(struct restore_place *place)
{
	struct scene *s = scene_begin();

	add_usual(s, false);
	small_backup_file(&s->backup, "tablespace_map", bytes_of_text("16400 /old/ts\n"));
	small_backup_directory(&s->backup, "pg_tblspc/16400/PG_15_202209061");
	small_backup_file(&s->backup, "pg_tblspc/16400/PG_15_202209061/5",
			  golden_view(noise(9000, 5)));
	scene_commit(s);
	*place = (struct restore_place){.oid = 16400, .from = "/old/ts"};
	(void)snprintf(place->to, sizeof(place->to), "%s/ts", s->scratch.path);
	s->plan.tablespace = place;
	s->plan.tablespaces = 1;
	return s;
}

Test(run, tablespaces_go_to_their_new_places_and_map_and_links_agree)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);
	char map[1100], link[1100], content[256];
	ssize_t n;

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	assert_file(s, "pg_tblspc/16400/PG_15_202209061/5", golden_view(noise(9000, 5)), 0600);
	(void)snprintf(map, sizeof(map), "16400 %s\n", place.to);
	assert_file(s, "tablespace_map", bytes_of_text(map), 0600);
	(void)snprintf(link, sizeof(link), "%s/pg_tblspc/16400", s->directory);
	n = readlink(link, content, sizeof(content) - 1);
	cr_assert_gt(n, 0);
	content[n] = '\0';
	cr_assert_str_eq(content, place.to);
	(void)snprintf(link, sizeof(link), "%s/%s", place.to, RESTORE_MARKER);
	cr_assert_neq(access(link, F_OK), 0, "the tablespace's marker is left");
	scene_end(s);
}

/* ---- what is hostile ---- */

Test(run, a_path_that_leads_out_is_refused_before_anything_is_written)
{
	static const char *const paths[] = {"../evil", "base/../../evil", "/tmp/evil", "base//evil",
					    "./evil"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct scene *s = scene_begin();

		add_usual(s, false);
		small_backup_file(&s->backup, paths[i], bytes_of_text("x"));
		scene_commit(s);
		cr_assert_eq(run(s), ERR_CORRUPT, "%s", paths[i]);
		cr_assert_not_null(strstr(s->why.text, paths[i]), "%s", s->why.text);
		cr_assert_neq(access(s->directory, F_OK), 0, "%s: something was made", paths[i]);
		cr_assert_eq(keys_below(&s->repo, "pins/"), 0, "a failed run leaves no pin");
		scene_end(s);
	}
}

Test(run, a_tablespace_that_the_backup_does_not_list_is_refused)
{
	struct scene *s = scene_begin();

	add_usual(s, false);
	small_backup_file(&s->backup, "pg_tblspc/16999/PG_15_202209061/5", bytes_of_text("x"));
	scene_commit(s);
	cr_assert_eq(run(s), ERR_CORRUPT);
	cr_assert_not_null(strstr(s->why.text, "16999"), "%s", s->why.text);
	cr_assert_not(exists(s, "global/pg_control"));
	scene_end(s);
}

Test(run, a_path_that_comes_twice_is_refused)
{
	struct scene *s = scene_begin();

	add_usual(s, false);
	small_backup_file(&s->backup, "base/1/104", bytes_of_text("x"));
	scene_commit(s);
	cr_assert_eq(run(s), ERR_IO);
	cr_assert_not_null(strstr(s->why.text, "base/1/104"), "%s", s->why.text);
	cr_assert_not(exists(s, "global/pg_control"));
	scene_end(s);
}

/* Somebody puts a link in the way the moment the directory is to be made. */
struct planting {
	struct files files;
	const char *name, *outside;
	struct files_ops ops;
};

static int plant_mkdir(struct files *files, int dir, const char *path, mode_t mode)
{
	struct planting *p = (struct planting *)files;

	if (strcmp(path, p->name) == 0)
		cr_assert(symlinkat(p->outside, dir, path) == 0 || errno == EEXIST);
	return files_os()->ops->mkdir(files_os(), dir, path, mode);
}

Test(run, a_link_put_in_the_way_is_never_followed)
{
	static const char *const names[] = {"base", "1", "global", "pg_notify"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct scene *s = scene_usual(false);
		struct planting p = {.name = names[i], .ops = *files_os()->ops};
		char outside[128];

		(void)snprintf(outside, sizeof(outside), "%s/outside", s->scratch.path);
		cr_assert_eq(mkdir(outside, 0700), 0);
		p.outside = outside;
		p.ops.mkdir = plant_mkdir;
		p.files.ops = &p.ops;
		s->env.files = &p.files;
		cr_assert_neq(run(s), ERR_NONE, "%s", names[i]);
		cr_assert_eq(rmdir(outside), 0, "%s: something was written outside", names[i]);
		cr_assert_not(exists(s, "global/pg_control"));
		scene_end(s);
	}
}

/* ---- damage ---- */

static uint8_t *first_pack(const struct scene *s, size_t *len, char key[STORE_KEY_MAX])
{
	struct pack_id id = {.attempt = s->plan.backup.attempt};

	pack_key(&s->repo.cluster, &id, key);
	return store_memory_peek(s->repo.memory, key, len);
}

Test(run, a_flipped_byte_is_found_and_nothing_can_be_started)
{
	struct scene *s = scene_usual(false);
	char key[STORE_KEY_MAX];
	size_t len = 0, found = 0;
	uint8_t *pack = first_pack(s, &len, key);

	cr_assert_not_null(pack);
	/* Everywhere before the directory: headers, payloads, tags. */
	for (size_t at = 3; at < len * 3 / 4; at += len / 60) {
		enum err e;

		pack[at] ^= 0x10;
		e = run(s);
		pack[at] ^= 0x10;
		cr_assert(e == ERR_CORRUPT || e == ERR_WRONG_KEY, "byte %zu: %s", at, s->why.text);
		cr_assert_not(exists(s, "global/pg_control"));
		found++;
	}
	cr_assert_gt(found, 10);
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	scene_end(s);
}

Test(run, damage_names_the_file_and_the_pack)
{
	struct scene *s = scene_begin();
	struct golden content = noise(MAP_PAGE_BYTES, 9);
	char key[STORE_KEY_MAX];
	size_t len = 0;
	uint8_t *pack, *hit;

	add_usual(s, false);
	small_backup_file(&s->backup, "base/1/200", golden_view(content));
	scene_commit(s);
	pack = first_pack(s, &len, key);
	hit = memmem(pack, len, content.data, 64);
	cr_assert_not_null(hit);
	hit[5] ^= 1;
	cr_assert_eq(run(s), ERR_CORRUPT);
	cr_assert_not_null(strstr(s->why.text, "base/1/200"), "%s", s->why.text);
	cr_assert_not_null(strstr(s->why.text, "packs/"), "%s", s->why.text);
	scene_end(s);
}

static enum err copy_object(void *ctx, const struct store_object *object, struct error *why)
{
	struct store **stores = ctx;
	uint8_t *data;
	size_t len;
	enum err e = store_get(stores[0], object->key, 64 << 20, &data, &len, why);

	if (e != ERR_NONE)
		return e;
	e = store_put(stores[1], object->key, bytes_of(data, len), why);
	free(data);
	return e;
}

Test(run, what_one_repository_has_damaged_comes_from_the_next)
{
	struct scene *s = scene_usual(false);
	struct store *stores[2] = {s->repo.memory, NULL};
	struct repository *second;
	char key[STORE_KEY_MAX];
	size_t len = 0;
	uint8_t *pack;

	cr_assert_eq(store_memory_open(&s->env, &stores[1], &s->why), ERR_NONE);
	cr_assert_eq(store_list(stores[0], "", copy_object, stores, &s->why), ERR_NONE);
	cr_assert_eq(repository_open(&s->env, stores[1], NULL, &second, &s->why), ERR_NONE);
	cluster_init(&s->archive.cluster[1], second, "main", s->repo.cluster.system_identifier);
	s->archive.count = 2;
	pack = first_pack(s, &len, key);
	for (size_t at = 200; at < len; at += 4000)
		pack[at] ^= 0x40;
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	repository_close(second);
	store_close(stores[1]);
	scene_end(s);
}

/* ---- interruptions ---- */

/* Whatever fails: the run says so, what is left cannot be started or is whole, and the next run
 * brings everything. */
static void interrupt_everywhere(enum fault_op op, int os, enum err kind, unsigned step)
{
	unsigned failed = 0;

	for (unsigned nth = 1;; nth += step) {
		struct scene *s = scene_usual(false);
		struct fault_files faults;
		enum err e;

		s->request.jobs = 1;
		fault_files_init(&faults, files_os());
		s->env.files = &faults.files;
		fault_files_fail(&faults, op, nth, os, false);
		e = run(s);
		if (!faults.fired) {
			cr_assert_eq(e, ERR_NONE, "%s", s->why.text);
			scene_end(s);
			break;
		}
		failed++;
		cr_assert(e == kind || (kind == ERR_NONE && e != ERR_NONE), "%u of %d: %d %s", nth,
			  op, e, s->why.text);
		cr_assert(!exists(s, "global/pg_control") || exists(s, RESTORE_MARKER),
			  "call %u of operation %d left what can be started", nth, op);
		s->env.files = files_os();
		cr_assert_eq(run(s), ERR_NONE, "after call %u of operation %d: %s", nth, op,
			     s->why.text);
		assert_usual(s);
		scene_end(s);
	}
	cr_assert_gt(failed, 3);
}

Test(run, a_full_disk_at_any_write_leaves_nothing_to_start)
{
	interrupt_everywhere(FAULT_WRITE, ENOSPC, ERR_FULL, 1);
}

Test(run, a_failed_fsync_is_never_success)
{
	interrupt_everywhere(FAULT_FSYNC, EIO, ERR_IO, 1);
}

Test(run, a_failed_open_leaves_nothing_to_start)
{
	interrupt_everywhere(FAULT_OPEN_BENEATH, EACCES, ERR_DENIED, 2);
}

Test(run, stopping_leaves_nothing_to_start)
{
	struct scene *s = scene_usual(true);
	volatile int cancelled = 1;

	s->env.cancelled = &cancelled;
	cr_assert_eq(run(s), ERR_CANCELLED);
	cr_assert_not(exists(s, "global/pg_control"));
	cancelled = 0;
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	scene_end(s);
}

Test(run, a_directory_that_somebody_filled_meanwhile_is_left_alone)
{
	struct scene *s = scene_usual(false);
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/new", s->scratch.path);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(mkdir(s->directory, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/precious", s->directory);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(run(s), ERR_CONFIG);
	cr_assert_not_null(strstr(s->why.text, s->directory));
	cr_assert(exists(s, "precious") && !exists(s, RESTORE_MARKER));
	scene_end(s);
}

Test(run, a_read_only_repository_is_restored_from_without_a_pin)
{
	struct scene *s = scene_usual(false);

	repo_world_fail(&s->repo, FAULT_FAIL, 1, ERR_DENIED); /* the pin comes first */
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	cr_assert_str_eq(s->result.pin, "");
	assert_usual(s);
	scene_end(s);
}

/* ---- markers of tablespaces ---- */

static void write_text(const char *directory, const char *name, const char *text)
{
	char path[1200];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

static void leave_marker(const struct scene *s, const char *directory, const char *target)
{
	char text[600], id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&s->plan.backup.attempt, id);
	(void)snprintf(text, sizeof(text), "pgagent-restore 1\nattempt %s\ndirectory %s\n", id,
		       target);
	write_text(directory, RESTORE_MARKER, text);
}

static void assert_refused(struct scene *s, const char *named)
{
	cr_assert_eq(run(s), ERR_CONFIG, "%s", s->why.text);
	cr_assert_not_null(strstr(s->why.text, named), "%s", s->why.text);
}

Test(run, a_marker_left_in_a_tablespace_empties_nothing)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	/* Killed before the tablespace's marker was removed: the restore is whole all the same. */
	leave_marker(s, place.to, s->directory);
	assert_refused(s, s->directory);
	assert_file(s, "pg_tblspc/16400/PG_15_202209061/5", golden_view(noise(9000, 5)), 0600);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/new/other", s->scratch.path);
	assert_refused(s, place.to);
	/* Nor does an interrupted one elsewhere make it its own. */
	leave_marker(s, s->directory, s->directory);
	assert_refused(s, place.to);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/new/r", s->scratch.path);
	assert_file(s, "pg_tblspc/16400/PG_15_202209061/5", golden_view(noise(9000, 5)), 0600);
	scene_end(s);
}

Test(run, both_markers_make_a_second_run_begin_anew)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	leave_marker(s, place.to, s->directory);
	leave_marker(s, s->directory, s->directory);
	write_text(place.to, "left", "x");
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	cr_assert_not(exists(s, "pg_tblspc/16400/left"));
	scene_end(s);
}

Test(run, a_marker_that_was_cut_off_is_written_anew)
{
	struct scene *s = scene_usual(false);
	struct fault_files faults;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/new", s->scratch.path);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(mkdir(s->directory, 0700), 0);
	write_text(s->directory, RESTORE_MARKER, "");
	fault_files_init(&faults, files_os());
	s->env.files = &faults.files;
	fault_files_fail(&faults, FAULT_WRITE, 4, ENOSPC, false);
	cr_assert_eq(run(s), ERR_FULL);
	s->env.files = files_os();
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	scene_end(s);
}

Test(run, a_failed_removal_leaves_whole_or_resumable_places)
{
	for (unsigned nth = 1; nth < 10; nth++) {
		struct restore_place place;
		struct scene *s = scene_tablespace(&place);
		struct fault_files faults;

		fault_files_init(&faults, files_os());
		s->env.files = &faults.files;
		fault_files_fail(&faults, FAULT_UNLINK, nth, EIO, false);
		if (run(s) != ERR_NONE) {
			cr_assert(faults.fired);
			s->env.files = files_os();
			cr_assert_eq(run(s), ERR_NONE, "removal %u: %s", nth, s->why.text);
		}
		assert_usual(s);
		(void)snprintf(place.to, sizeof(place.to), "%s/ts/" RESTORE_MARKER,
			       s->scratch.path);
		cr_assert_neq(access(place.to, F_OK), 0);
		scene_end(s);
	}
}
