/* support/wal_scene.h - an archive over a shelf of golden WAL, and a pg_wal that is laid out beside it. */
#ifndef SUPPORT_WAL_SCENE_H
#define SUPPORT_WAL_SCENE_H

#include "scratch.h"
#include "wal/archive.h"
#include "wal_shelf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One repository, empty; what is told is heard. */
static inline void scene_archive(struct repo_world *repo, struct listener *heard,
				 struct wal_archive *archive, struct env *env)
{
	listener_init(heard);
	shelf_world(repo, NULL);
	*archive = (struct wal_archive){.cluster = {repo->cluster}, .count = 1};
	*env = repo->env;
	env->observer = &heard->observer;
}

/* All golden segments: timeline 1 from 0xB to 0xE, 2, which leaves it at 0/F000A0, from 0xF to 0x11. */
static inline void scene_put_both(struct repo_world *repo)
{
	for (unsigned segno = 0xB; segno <= 0xE; segno++)
		shelf_put_golden(repo, 1, segno);
	for (unsigned segno = 0xF; segno <= 0x11; segno++)
		shelf_put_golden(repo, 2, segno);
}

static const char scene_history[] = "1\t0/F000A0\tno recovery target specified\n";

static inline struct scratch scene_pg_wal(void)
{
	struct scratch s = scratch_open();

	cr_assert_eq(mkdirat(s.dir, "archive_status", 0700), 0);
	return s;
}

static inline void scene_lay(const struct scratch *pg_wal, const char *name, struct bytes in)
{
	int fd = openat(pg_wal->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0, "%s", name);
	cr_assert_eq(write(fd, in.data, in.len), (ssize_t)in.len);
	(void)close(fd);
}

static inline void scene_lay_as(const struct scratch *pg_wal, uint32_t timeline, uint64_t segno,
				struct golden bytes)
{
	struct wal_name name = shelf_name(timeline, segno);
	char text[WAL_NAME_MAX];

	wal_name_to_text(&name, text);
	scene_lay(pg_wal, text, golden_view(bytes));
}

static inline void scene_lay_golden(const struct scratch *pg_wal, uint32_t timeline, unsigned from,
				    unsigned to)
{
	for (unsigned segno = from; segno <= to; segno++)
		scene_lay_as(pg_wal, timeline, segno, shelf_golden(timeline, segno));
}

#endif
