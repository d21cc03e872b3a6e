/* Restores of a small made-up backup: what is written, what is refused, what an interruption leaves. */
#include "fault_files.h"
#include "repo/hide.h"
#include "scene.h"

#include <errno.h>

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

/* Syncs are counted, not done: 5000 of them take seconds. */
static unsigned fsyncs, file_system_syncs;
static int file_system_answer;

static int count_fsync(struct files *files, int fd)
{
	(void)files;
	(void)fd;
	fsyncs++;
	return 0;
}

static int count_sync_fs(struct files *files, int fd)
{
	(void)files;
	(void)fd;
	file_system_syncs++;
	return file_system_answer;
}

static enum err run_many_files(int answer)
{
	enum { MANY = 5200 };
	struct scene *s = scene_begin();
	struct files_ops ops = *files_os()->ops;
	struct files files = {.ops = &ops};
	char path[64];
	enum err e;

	add_usual(s, false);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), "base/1/%u", 20000 + i);
		small_backup_file(&s->backup, path, bytes_of(NULL, 0));
	}
	scene_commit(s);
	ops.fsync = count_fsync;
	ops.sync_fs = count_sync_fs;
	file_system_answer = answer;
	s->request.jobs = 1;
	s->env.files = &files;
	e = run(s);
	s->env.files = files_os();
	cr_assert_eq(exists(s, "global/pg_control"), e == ERR_NONE);
	scene_end(s);
	return e;
}

Test(run, very_many_files_are_synced_with_their_file_system)
{
	cr_assert_eq(run_many_files(0), ERR_NONE);
	cr_assert_eq(file_system_syncs, 1);
	cr_assert_lt(fsyncs, 100);
}

Test(run, a_file_system_that_cannot_be_synced_is_never_success)
{
	cr_assert_eq(run_many_files(-EIO), ERR_IO);
}

Test(run, where_no_failure_would_be_told_each_file_is_synced)
{
	cr_assert_eq(run_many_files(-EOPNOTSUPP), ERR_NONE);
	cr_assert_gt(fsyncs, 5200);
}

Test(run, few_files_do_not_wait_for_what_others_write)
{
	struct scene *s = scene_usual(true);
	struct fault_files faults;

	fault_files_init(&faults, files_os());
	s->env.files = &faults.files;
	s->request.jobs = 1;
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	cr_assert_eq(faults.calls[FAULT_SYNC_FS], 0);
	scene_end(s);
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

Test(run, what_is_being_removed_is_not_begun)
{
	struct scene *s = scene_usual(false);
	const struct attempt *backup = &s->plan.backup.attempt;
	struct restore_plan planned;
	struct error why;

	OK(hide_backup(&s->repo.cluster, backup, "test", &why));
	OK(hide_decide_removed(&s->repo.cluster, backup, "test", &why));
	OK(hide_put_tomb(&s->repo.cluster, backup, "test", &why));
	cr_assert_eq(run(s), ERR_MISSING);
	cr_assert_not_null(strstr(s->why.text, "is being removed"), "%s", s->why.text);
	cr_assert_eq(access(s->directory, F_OK), -1);
	cr_assert_eq(keys_below(&s->repo, "pins/"), 0);

	/* Nor planned with. */
	s->request.has_backup = true;
	s->request.backup = *backup;
	OK(restore_plan(&s->env, &s->archive, &s->request, &planned, &why));
	cr_assert_not(planned.reachable);
	cr_assert(planned.target_unreachable);
	cr_assert_str_eq(planned.problem[0].code, "backup_removed");
	cr_assert_not_null(strstr(planned.reason, "is being removed"), "%s", planned.reason);
	restore_plan_release(&planned);
	scene_end(s);
}
