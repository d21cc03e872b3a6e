/* Plans over WAL that PostgreSQL 15 wrote: what can be reached, and what is said when it cannot. */
#include "plan_scene.h"

Test(plan, latest_is_frozen_to_the_last_record_of_the_newest_timeline)
{
	struct scene *s = usual(TARGET_LATEST);

	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.target_lsn.value, LAST);
	cr_assert_eq(s->plan.timeline, 2);
	cr_assert(s->plan.target_inclusive);
	cr_assert_eq(s->plan.action, ACTION_PROMOTE);
	cr_assert_eq(s->plan.wal_bytes, 7 * SHELF_SEGMENT);
	cr_assert_gt(s->plan.bytes_free, 0);
	cr_assert_neq(access(s->directory, F_OK), 0, "a plan changes nothing");
	cr_assert_eq(keys_below(&s->repo, "pins/"), 0);
	scene_end(s);
}

Test(plan, the_old_timeline_ends_where_its_wal_ends)
{
	struct scene *s = usual(TARGET_LATEST);

	s->request.timeline = 1;
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 1);
	cr_assert_lt(s->plan.target_lsn.value, FORK);
	scene_end(s);
}

Test(plan, a_timeline_without_history_is_no_way)
{
	struct scene *s = usual(TARGET_LATEST);

	s->request.timeline = 7;
	plan(s);
	assert_problem(s, "timeline_unknown", "timeline 7", true);
	scene_end(s);
}

Test(plan, the_end_of_a_backup_stays_on_its_timeline)
{
	struct scene *s = usual(TARGET_BACKUP_END);

	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 1);
	cr_assert_eq(s->plan.action, ACTION_PAUSE);
	cr_assert_eq(s->plan.target_lsn.value, 0);
	scene_end(s);
}

Test(plan, the_end_of_a_backup_from_a_standby_is_its_last_record)
{
	struct scene *s = scene(TARGET_BACKUP_END);

	add_backup_from_standby(s, 1, START, STOP);
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_LSN);
	cr_assert(s->plan.target_inclusive);
	cr_assert_eq(s->plan.target_lsn.value, s->plan.reach.last_record.value);
	cr_assert_geq(s->plan.reach.end.value, STOP);
	cr_assert_lt(s->plan.target_lsn.value, STOP);
	scene_end(s);
}

Test(plan, lsns_have_bounds_on_both_sides)
{
	struct scene *s = usual(TARGET_LSN);

	s->request.lsn = lsn_of(LAST);
	plan(s);
	assert_reachable(s);
	restore_plan_release(&s->plan);
	s->request.lsn = lsn_of(LAST + 1);
	plan(s);
	assert_problem(s, "target_not_archived", "0/1100029", true);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "0/1100028"));
	restore_plan_release(&s->plan);
	s->request.lsn = lsn_of(STOP - 1);
	plan(s);
	assert_problem(s, "target_before_first_backup", "0/B000FF", true);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "0/B00100"));
	scene_end(s);
}

Test(plan, a_time_before_the_first_end_names_the_earliest)
{
	struct scene *s = usual(TARGET_TIME);

	s->request.time_us = INT64_C(1700000000000000);
	plan(s);
	assert_problem(s, "target_before_first_backup", "2023-11-14T22:13:20.000000Z", true);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "2023-11-14T22:13:21.000000Z"));
	restore_plan_release(&s->plan);
	s->request.time_us = INT64_C(1700000001000000);
	plan(s);
	assert_reachable(s);
	scene_end(s);
}

Test(plan, a_time_that_has_not_come_is_no_target)
{
	struct scene *s = usual(TARGET_TIME);

	s->request.time_us = INT64_C(4102444800000000); /* 2100 */
	plan(s);
	assert_problem(s, "target_in_future", "2100-01-01", true);
	scene_end(s);
}

/* The last commit of the golden WAL, 2026-11-23 12:57:09.838227 UTC. */
#define LAST_COMMIT INT64_C(1795438629838227)

static void at_time(struct scene *s, int64_t time_us, bool exclusive)
{
	restore_plan_release(&s->plan);
	s->request.time_us = time_us;
	s->request.exclusive = exclusive;
	plan(s);
}

Test(plan, the_time_of_the_last_commit_is_the_end_of_the_archive)
{
	struct scene *s = usual(TARGET_TIME);

	at_time(s, LAST_COMMIT, false);
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_LSN);
	cr_assert_eq(s->plan.target_lsn.value, LAST);
	cr_assert(s->plan.target_inclusive);
	cr_assert_eq(s->plan.action, ACTION_PAUSE, "a time is looked at, not promoted");
	cr_assert_not_null(strstr(s->plan.note, "2026-11-23T12:57:09.838227Z"), "%s", s->plan.note);
	scene_end(s);
}

Test(plan, a_time_with_a_later_commit_is_left_to_the_server)
{
	struct scene *s = usual(TARGET_TIME);

	at_time(s, LAST_COMMIT - 1, false);
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_TIME);
	cr_assert_eq(s->plan.target_lsn.value, 0);
	cr_assert_str_eq(s->plan.note, "");
	at_time(s, LAST_COMMIT, true); /* it stops before the commit itself */
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_TIME);
	cr_assert_not(s->plan.target_inclusive);
	scene_end(s);
}

Test(plan, a_time_after_the_last_commit_is_refused_with_the_last_one)
{
	struct scene *s = usual(TARGET_TIME);

	for (int exclusive = 0; exclusive < 2; exclusive++) {
		at_time(s, LAST_COMMIT + 1, exclusive);
		assert_problem(s, "target_not_archived", "2026-11-23T12:57:09.838227Z", true);
		cr_assert_not_null(
			strstr(s->plan.problem[0].hint, "--to-time '2026-11-23T12:57:09.838227Z'"),
			"%s", s->plan.problem[0].hint);
		cr_assert_not_null(strstr(s->plan.problem[0].hint, "--to-latest"));
		cr_assert_not_null(strstr(s->plan.problem[0].hint, "pg_switch_wal"));
	}
	scene_end(s);
}

Test(plan, behind_a_hole_no_newer_wal_is_promised)
{
	struct scene *s = usual(TARGET_TIME);

	shelf_remove(&s->repo, 2, 0x10);
	at_time(s, LAST_COMMIT, false);
	assert_problem(s, "target_not_archived", "segment is missing", true);
	cr_assert_not_null(strstr(s->plan.problem[0].message, "12:57:09.694859Z"), "%s",
			   s->plan.problem[0].message);
	cr_assert_null(strstr(s->plan.problem[0].hint, "pg_switch_wal"));
	scene_end(s);
}

Test(plan, a_time_on_an_idle_server_names_what_can_be_reached)
{
	struct scene *s = scene(TARGET_TIME);

	/* It begins and ends behind the last commit of timeline 1. */
	add_backup_of(s, 1, 0xE00148, 0xE00150, LAST_COMMIT, false);
	s->request.timeline = 1;
	at_time(s, LAST_COMMIT + 1, false);
	assert_problem(s, "target_not_archived", "12:57:09.339274Z", true);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "--to-backup-end"));
	cr_assert_null(strstr(s->plan.problem[0].hint, "--to-time"));
	scene_end(s);
}

/* The archive's last commit turned into a record that ends no transaction. */
static struct golden without_commit(void)
{
	struct golden g = shelf_golden(2, 0x10);
	uint8_t *record = g.data + 0x68;

	record[16] = 0x50; /* an assignment of subtransactions */
	put_u32(record + 20, crc32c_more(crc32c(bytes_of(record + 24, get_u32(record) - 24)),
					 bytes_of(record, 20)));
	return g;
}

/* The transaction behind it dropped a table: tests/unit/wal/cut.c. */
#define BEFORE_DROP (LAST_COMMIT - 610583)

Test(plan, a_server_that_pauses_at_a_time_holds_no_lock_of_a_transaction_that_is_cut_off)
{
	struct scene *s = usual(TARGET_TIME);

	at_time(s, BEFORE_DROP, false);
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_TIME);
	cr_assert_eq(s->plan.stop_behind.value, 0xD1C2F0);
	at_time(s, BEFORE_DROP - 1, false); /* nothing is locked there */
	cr_assert_eq(s->plan.stop_behind.value, 0);
	s->request.action = ACTION_PROMOTE; /* nor by a server that is promoted */
	at_time(s, BEFORE_DROP, false);
	cr_assert_eq(s->plan.stop_behind.value, 0);
	restore_plan_release(&s->plan);
	s->request.action = ACTION_DEFAULT;
	s->request.kind = TARGET_LSN;
	s->request.lsn = lsn_of(0xD1CCB0); /* its commit */
	s->request.exclusive = true;
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.stop_behind.value, 0xD1C2F0);
	cr_assert_eq(s->plan.target_lsn.value, 0xD1CCB0);
	restore_plan_release(&s->plan);
	s->request.exclusive = false;
	plan(s);
	cr_assert_eq(s->plan.stop_behind.value, 0);
	restore_plan_release(&s->plan);
	s->request.lsn = lsn_of(0xD1C318); /* the lock, which is replayed */
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.stop_behind.value, 0xD1C2F0);
	cr_assert_eq(s->plan.target_lsn.value, 0xD1C318);
	scene_end(s);
}

/* The archive's last record turned into a lock. */
static struct golden ending_with_a_lock(void)
{
	struct golden g = shelf_golden(2, 0x11);
	uint8_t *record = g.data + LAST % SHELF_SEGMENT;

	record[16] = 0x00;
	record[17] = 8;
	put_u32(record + 20, crc32c_more(crc32c(bytes_of(record + 24, get_u32(record) - 24)),
					 bytes_of(record, 20)));
	return g;
}

Test(plan, a_time_at_the_end_of_the_archive_is_before_its_locks)
{
	struct scene *s = usual(TARGET_TIME);

	shelf_remove(&s->repo, 2, 0x11);
	shelf_put(&s->repo, 2, 0x11, ending_with_a_lock());
	at_time(s, LAST_COMMIT, false);
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_LSN);
	cr_assert_eq(s->plan.target_lsn.value, LAST);
	cr_assert_lt(s->plan.stop_behind.value, LAST);
	cr_assert_geq(s->plan.stop_behind.value, 0x1000068, "its commit");
	scene_end(s);
}

Test(plan, a_server_that_pauses_at_a_transaction_is_told_to_hold_locks)
{
	struct scene *s = usual(TARGET_XID);

	s->request.xid = 747;
	s->request.exclusive = true;
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.stop_behind.value, 0);
	cr_assert_not_null(strstr(s->plan.note, "transaction 747 dropped"), "%s", s->plan.note);
	restore_plan_release(&s->plan);
	s->request.exclusive = false;
	plan(s);
	cr_assert_not_null(strstr(s->plan.note, "transactions still open then dropped"), "%s",
			   s->plan.note);
	restore_plan_release(&s->plan);
	s->request.action = ACTION_PROMOTE;
	plan(s);
	cr_assert_str_eq(s->plan.note, "");
	scene_end(s);
}

Test(plan, where_no_commit_is_seen_nothing_is_guessed)
{
	struct scene *s = usual(TARGET_TIME);

	shelf_remove(&s->repo, 2, 0x10);
	shelf_put(&s->repo, 2, 0x10, without_commit());
	shelf_damage(&s->repo, 2, 0xF); /* so that nothing further back can be looked at */
	at_time(s, LAST_COMMIT, false);
	assert_reachable(s);
	cr_assert_eq(s->plan.kind, TARGET_TIME);
	cr_assert_eq(s->plan.reach.last_record.value, LAST);
	cr_assert_not_null(strstr(s->heard.text, "no commit"), "%s", s->heard.text);
	scene_end(s);
}

Test(plan, the_later_of_two_backups_is_taken_when_it_ends_before_the_target)
{
	struct scene *s = usual(TARGET_LSN);

	add_backup(s, 2, 0xC00028, 0xC00100);
	s->request.lsn = lsn_of(0xD00000);
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.backup.start.value, 0xC00028);
	restore_plan_release(&s->plan);
	s->request.lsn = lsn_of(0xC000FF);
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.backup.start.value, START);
	scene_end(s);
}

Test(plan, without_a_backup_nothing_is_reached)
{
	struct scene *s = scene(TARGET_LATEST);

	plan(s);
	assert_problem(s, "no_backup", "main", true);
	scene_end(s);
}

Test(plan, an_unknown_backup_is_named)
{
	struct scene *s = usual(TARGET_LATEST);

	s->request.has_backup = true;
	s->request.backup = attempt_number(5);
	plan(s);
	assert_problem(s, "backup_unknown", "20261123T000005Z-0000000000000005", true);
	scene_end(s);
}

Test(plan, wal_that_is_missing_before_the_end_of_the_backup_is_a_problem)
{
	struct scene *s = scene(TARGET_LATEST);

	add_backup(s, 1, START, 0xD00100);
	shelf_remove(&s->repo, 1, 0xC);
	plan(s);
	assert_problem(s, "wal_missing", "0/D00100", true);
	restore_plan_release(&s->plan);
	shelf_remove(&s->repo, 1, 0xB);
	plan(s);
	assert_problem(s, "wal_missing", "before its start", true);
	scene_end(s);
}

Test(plan, a_hole_ends_the_latest_and_is_said)
{
	struct scene *s = usual(TARGET_LATEST);

	shelf_remove(&s->repo, 2, 0x10);
	plan(s);
	assert_reachable(s);
	cr_assert(s->plan.reach.ends_in_hole);
	cr_assert_lt(s->plan.target_lsn.value, 0x1000000);
	cr_assert_not_null(strstr(s->heard.text, "hole"), "%s", s->heard.text);
	scene_end(s);
}

Test(plan, a_damaged_first_segment_is_found_before_anything_is_written)
{
	struct scene *s = usual(TARGET_LATEST);

	shelf_damage(&s->repo, 1, 0xB);
	cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why),
		     ERR_CORRUPT);
	cr_assert_not_null(strstr(s->why.text, "00000001000000000000000B"), "%s", s->why.text);
	scene_end(s);
}

/* ---- the directory ---- */

Test(plan, a_directory_that_holds_something_is_left_alone)
{
	struct scene *s = usual(TARGET_LATEST);

	cr_assert_eq(mkdir(s->directory, 0700), 0);
	plan(s);
	assert_reachable(s);
	restore_plan_release(&s->plan);
	put(s->directory, "precious", "mine");
	plan(s);
	assert_problem(s, "directory_not_empty", s->directory, false);
	scene_end(s);
}

Test(plan, a_marker_of_this_backup_is_resumed_and_of_another_is_not)
{
	struct scene *s = usual(TARGET_LATEST);

	cr_assert_eq(mkdir(s->directory, 0700), 0);
	put(s->directory, "half", "x");
	put(s->directory, RESTORE_MARKER,
	    "pgagent-restore 1\nattempt 20261123T000001Z-0000000000000001\n");
	plan(s);
	assert_reachable(s);
	cr_assert(s->plan.resumes);
	restore_plan_release(&s->plan);
	put(s->directory, RESTORE_MARKER,
	    "pgagent-restore 1\nattempt 20261123T000009Z-0000000000000009\n");
	plan(s);
	assert_problem(s, "directory_not_empty", "another backup", false);
	scene_end(s);
}

Test(plan, a_directory_with_a_live_server_is_refused_whatever_else_it_holds)
{
	struct scene *s = usual(TARGET_LATEST);
	char pid[256], here[PATH_MAX];

	cr_assert_eq(mkdir(s->directory, 0700), 0);
	put(s->directory, RESTORE_MARKER,
	    "pgagent-restore 1\nattempt 20261123T000001Z-0000000000000001\n");
	(void)snprintf(pid, sizeof(pid), "%d\n%s\n1\n5432\n/nowhere\n\n 1 2\nready\n",
		       (int)getpid(), s->directory);
	put(s->directory, "postmaster.pid", pid);
	cr_assert_eq(getcwd(here, sizeof(here)), here);
	cr_assert_eq(chdir(s->directory), 0);
	plan(s);
	assert_problem(s, "server_running", s->directory, false);
	cr_assert_eq(chdir(here), 0);
	scene_end(s);
}

Test(plan, a_link_to_a_directory_is_resolved_once)
{
	struct scene *s = usual(TARGET_LATEST);
	char real[128];

	(void)snprintf(real, sizeof(real), "%s/real", s->scratch.path);
	cr_assert_eq(mkdir(real, 0700), 0);
	cr_assert_eq(symlink(real, s->directory), 0);
	plan(s);
	assert_reachable(s);
	put(real, "precious", "mine");
	restore_plan_release(&s->plan);
	plan(s);
	assert_problem(s, "directory_not_empty", real, false);
	scene_end(s);
}

Test(plan, wal_that_only_a_reused_directory_has_is_not_lost_without_a_word)
{
	struct scene *s = usual(TARGET_LATEST);

	lay_server(s);
	s->request.delta = true;
	plan(s);
	assert_problem(s, "wal_not_archived", "000000020000000000000010", false);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "--discard-wal"));
	restore_plan_release(&s->plan);

	s->request.discard_wal = true;
	plan(s);
	assert_reachable(s);
	cr_assert_not_null(strstr(s->heard.text, "000000020000000000000010"), "%s", s->heard.text);
	restore_plan_release(&s->plan);

	s->request.discard_wal = false;
	shelf_put_golden(&s->repo, 2, 0x10);
	plan(s);
	assert_reachable(s);
	scene_end(s);
}

/* An interrupted restore has no WAL of its own; a linked pg_wal keeps what it leads to. */
Test(plan, wal_that_is_not_the_directorys_own_is_not_asked_for)
{
	struct scene *s = usual(TARGET_LATEST);
	char from[256], to[256];

	lay_server(s);
	s->request.delta = true;
	(void)snprintf(from, sizeof(from), "%s/pg_wal", s->directory);
	(void)snprintf(to, sizeof(to), "%s/wal", s->scratch.path);
	cr_assert_eq(rename(from, to), 0);
	cr_assert_eq(symlink(to, from), 0);
	plan(s);
	assert_reachable(s);
	restore_plan_release(&s->plan);

	cr_assert_eq(unlink(from), 0);
	cr_assert_eq(rename(to, from), 0);
	(void)snprintf(from, sizeof(from), "%s/global/pg_control", s->directory);
	cr_assert_eq(unlink(from), 0);
	(void)snprintf(to, sizeof(to),
		       "pgagent-restore 1\nattempt 20261123T000001Z-0000000000000001\n"
		       "system-identifier %llu\n",
		       (unsigned long long)s->repo.cluster.system_identifier);
	put(s->directory, RESTORE_MARKER, to);
	plan(s);
	assert_reachable(s);
	scene_end(s);
}

static int no_space(struct files *files, int fd, uint64_t *out)
{
	(void)files;
	(void)fd;
	*out = 1;
	return 0;
}

Test(plan, missing_space_is_said_before_the_first_byte)
{
	struct scene *s = usual(TARGET_LATEST);
	struct files_ops ops = *files_os()->ops;
	struct files files = {.ops = &ops};

	ops.free_bytes = no_space;
	s->env.files = &files;
	plan(s);
	assert_problem(s, "no_space", s->directory, false);
	cr_assert_eq(s->plan.bytes_free, 1);
	scene_end(s);
}

/* ---- requests that make no sense ---- */

Test(plan, requests_that_make_no_sense_are_errors)
{
	struct scene *s = usual(TARGET_LATEST);

	s->request.directory = "relative";
	cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why),
		     ERR_CONFIG);
	s->request.directory = s->directory;
	s->request.tablespace[0] = (struct restore_tablespace){"nonesuch", "/tmp/x"};
	s->request.tablespaces = 1;
	cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why),
		     ERR_CONFIG);
	cr_assert_not_null(strstr(s->why.text, "nonesuch"));
	s->request.tablespaces = 0;
	s->request.kind = TARGET_NAME;
	cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why),
		     ERR_CONFIG);
	scene_end(s);
}
