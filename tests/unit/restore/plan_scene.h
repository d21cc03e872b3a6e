/* A repository with backups over WAL that PostgreSQL 15 wrote, and the plan of a restore. */
#ifndef TESTS_RESTORE_PLAN_SCENE_H
#define TESTS_RESTORE_PLAN_SCENE_H

#include "scratch.h"
#include "small_backup.h"
#include "wal_shelf.h"

#include "restore/restore_internal.h"

/* Timeline 2 leaves 1 at 0/F000A0; its last record is at 0/1100028 (tests/unit/wal/reach.c). */
enum { SCENE_FILES_MAX = 8 };
enum { START = 0xB00028, STOP = 0xB00100, FORK = 0xF000A0, LAST = 0x1100028 };

struct scene {
	struct scratch scratch;
	struct repo_world repo;
	struct wal_archive archive;
	struct restore_request request;
	struct restore_plan plan;
	struct listener heard;
	struct env env;
	struct error why;
	char directory[128];
	/* Of the server of the backups that are added: */
	bool in_place; /* that is where it was */
	char config_file[128];
	const char *settings; /* recorded; NULL = none */
	struct scene_file {
		const char *path, *text;
	} file[SCENE_FILES_MAX]; /* beside its pg_control */
};

static inline void add_backup_of(struct scene *s, unsigned number, uint64_t start, uint64_t stop,
				 int64_t finished_us, bool from_standby)
{
	struct small_backup b;
	struct golden control = golden_read("tests/golden/pgformat/pg_control.15");

	small_backup_begin(&b, &s->repo, number);
	b.manifest->summary.start = lsn_of(start);
	b.manifest->summary.stop = lsn_of(stop);
	b.manifest->summary.wal_segment_bytes = SHELF_SEGMENT;
	b.manifest->summary.finished_us = finished_us;
	b.manifest->summary.from_standby = from_standby;
	if (s->in_place)
		(void)snprintf(b.manifest->summary.data_directory,
			       sizeof(b.manifest->summary.data_directory), "%s", s->directory);
	memcpy(b.manifest->summary.control, control.data, CONTROL_KEPT_BYTES);
	b.manifest->summary.control_len = CONTROL_KEPT_BYTES;
	(void)snprintf(b.manifest->summary.config_file, sizeof(b.manifest->summary.config_file),
		       "%s", s->config_file);
	small_backup_file(&b, "global/pg_control", golden_view(control));
	for (size_t i = 0; i < SCENE_FILES_MAX && s->file[i].path != NULL; i++)
		small_backup_file(&b, s->file[i].path, bytes_of_text(s->file[i].text));
	if (s->settings != NULL)
		cr_assert_eq(pack_section_add(b.packs, SECTION_SETTINGS, bytes_of_text(s->settings),
					      &s->why),
			     ERR_NONE);
	small_backup_commit(&b);
}

static inline void add_backup(struct scene *s, unsigned number, uint64_t start, uint64_t stop)
{
	add_backup_of(s, number, start, stop, INT64_C(1700000000000000) + number * INT64_C(1000000),
		      false);
}

static inline void add_backup_from_standby(struct scene *s, unsigned number, uint64_t start,
					   uint64_t stop)
{
	add_backup_of(s, number, start, stop, INT64_C(1700000000000000) + number * INT64_C(1000000),
		      true);
}

static inline struct scene *scene(enum target_kind kind)
{
	struct scene *s = calloc(1, sizeof(*s));

	cr_assert_not_null(s);
	s->scratch = scratch_open();
	shelf_world(&s->repo, NULL);
	for (unsigned segno = 0xB; segno <= 0xE; segno++)
		shelf_put_golden(&s->repo, 1, segno);
	for (unsigned segno = 0xF; segno <= 0x11; segno++)
		shelf_put_golden(&s->repo, 2, segno);
	shelf_put_text(&s->repo, "00000002.history", "1\t0/F000A0\tno recovery target\n");
	s->archive = (struct wal_archive){.cluster = {s->repo.cluster}, .count = 1};
	listener_init(&s->heard);
	s->env = s->repo.env;
	s->env.observer = &s->heard.observer;
	(void)snprintf(s->directory, sizeof(s->directory), "%s/r", s->scratch.path);
	s->request = (struct restore_request){
		.directory = s->directory, .kind = kind, .archive_get = "x", .jobs = 1};
	return s;
}

static inline struct scene *usual(enum target_kind kind)
{
	struct scene *s = scene(kind);

	add_backup(s, 1, START, STOP);
	return s;
}

static inline void plan(struct scene *s)
{
	cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why), ERR_NONE,
		     "%s", s->why.text);
}

static inline void put_bytes(const char *directory, const char *name, struct bytes in)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	cr_assert_eq(fwrite(in.data, 1, in.len, f), in.len);
	cr_assert_eq(fclose(f), 0);
}

static inline void put(const char *directory, const char *name, const char *text)
{
	put_bytes(directory, name, bytes_of_text(text));
}

/* A data directory of the cluster, with one segment that the archive lost. */
static inline void lay_server(struct scene *s)
{
	struct golden control = golden_read("tests/golden/pgformat/pg_control.15");
	static const char *const names[] = {"", "/global", "/pg_wal"};
	char path[256];

	put_u64(control.data, s->repo.cluster.system_identifier);
	put_u32(control.data + 288, crc32c(bytes_of(control.data, 288)));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", s->directory, names[i]);
		cr_assert_eq(mkdir(path, 0700), 0);
	}
	put_bytes(s->directory, "global/pg_control", golden_view(control));
	put_bytes(s->directory, "pg_wal/000000020000000000000010",
		  golden_view(shelf_golden(2, 0x10)));
	shelf_remove(&s->repo, 2, 0x10);
	shelf_remove(&s->repo, 2, 0x11);
}

static inline void scene_end(struct scene *s)
{
	restore_plan_release(&s->plan);
	repo_world_release(&s->repo);
	scratch_close(&s->scratch);
	free(s);
}

static inline void assert_problem(const struct scene *s, const char *code, const char *named,
				  bool target)
{
	const struct restore_plan *p = &s->plan;

	cr_assert_not(p->reachable);
	cr_assert_gt(p->problems, 0);
	cr_assert_str_eq(p->problem[0].code, code, "%s: %s", p->problem[0].code,
			 p->problem[0].message);
	cr_assert_not_null(strstr(p->problem[0].message, named), "%s", p->problem[0].message);
	cr_assert_neq(p->problem[0].hint[0], '\0');
	cr_assert_str_eq(p->reason, p->problem[0].message);
	cr_assert_eq(p->target_unreachable, target);
}

static inline void assert_reachable(const struct scene *s)
{
	cr_assert(s->plan.reachable, "%s", s->plan.reason);
	cr_assert_eq(s->plan.problems, 0);
}

#endif
