/* tests/support/scratch.h - a directory of one test's own, removed with all it holds. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct scratch {
	char path[64];
	int dir; /* descriptor of it */
};

static inline int scratch_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline struct scratch scratch_open(void)
{
	struct scratch s = {.path = "/tmp/pgagent-test-XXXXXX", .dir = -1};

	if (mkdtemp(s.path) == NULL || (s.dir = open(s.path, O_RDONLY | O_DIRECTORY)) < 0) {
		perror(s.path);
		abort();
	}
	return s;
}

static inline void scratch_close(struct scratch *s)
{
	(void)close(s->dir);
	(void)nftw(s->path, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
