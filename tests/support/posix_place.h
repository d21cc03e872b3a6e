/* posix_place.h - a posix store in a scratch directory, over file operations that can fail. */
#ifndef POSIX_PLACE_H
#define POSIX_PLACE_H

#include "fault_files.h"
#include "scratch.h"
#include "store/posix/posix.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>

struct place {
	struct env env;
	struct fault_files faults;
	struct scratch scratch;
	struct store *store;
};

static inline void place_open(struct place *p)
{
	struct error why = {0};

	p->env = env_os();
	fault_files_init(&p->faults, files_os());
	p->env.files = &p->faults.files;
	p->scratch = scratch_open();
	cr_assert_eq(store_posix_open(&p->env, p->scratch.path, false, &p->store, &why), ERR_NONE,
		     "%s", why.text);
}

static inline void place_close(struct place *p)
{
	store_close(p->store);
	scratch_close(&p->scratch);
}

/* Every name in a directory, hidden ones too; those of directories are not counted. */
static inline int count_file(void *ctx, const char *name, mode_t type)
{
	(void)name;
	*(unsigned *)ctx += S_ISREG(type) ? 1 : 0;
	return 0;
}

static inline unsigned files_in(const struct place *p, const char *dir)
{
	unsigned count = 0;
	int got = files_os()->ops->list(files_os(), p->scratch.dir, dir, count_file, &count);

	cr_assert(got == 0 || got == -ENOENT);
	return count;
}

static inline enum err put(struct place *p, const char *key, struct error *why)
{
	return store_put(p->store, key, bytes_of_text("content"), why);
}

static inline void expect_whole(struct place *p, const char *key)
{
	char out[8] = {0};
	struct error why = {0};

	cr_assert_eq(store_read(p->store, key, 0, out, 7, &why), ERR_NONE, "%s", why.text);
	cr_assert_str_eq(out, "content");
}

#endif
