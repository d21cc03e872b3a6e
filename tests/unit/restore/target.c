/* Markers: what is resumed, what is left alone. */
#include "fault_files.h"
#include "scene.h"

#include <errno.h>
#include <sys/file.h>

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

Test(target, a_marker_left_in_a_tablespace_empties_nothing)
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

/* The same command again while the first still runs. */
Test(target, a_directory_that_another_restore_writes_is_left_alone)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);
	const char *held[2];
	int fd;

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	leave_marker(s, place.to, s->directory);
	leave_marker(s, s->directory, s->directory);
	held[0] = s->directory;
	held[1] = place.to;
	for (size_t i = 0; i < 2; i++) {
		fd = open(held[i], O_RDONLY | O_DIRECTORY);
		cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
		cr_assert_eq(run(s), ERR_EXISTS, "%s", s->why.text);
		cr_assert_not_null(strstr(s->why.text, held[i]), "%s", s->why.text);
		cr_assert_not_null(strstr(s->why.hint, "same command"), "%s", s->why.hint);
		assert_file(s, "pg_tblspc/16400/PG_15_202209061/5", golden_view(noise(9000, 5)),
			    0600);
		(void)close(fd);
	}
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	scene_end(s);
}

Test(target, both_markers_make_a_second_run_begin_anew)
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

Test(target, a_marker_that_was_cut_off_is_written_anew)
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

Test(target, a_failed_removal_leaves_whole_or_resumable_places)
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
