#include "base/files.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>

/* Both ways of opening beneath must answer alike. */
struct way {
	bool walking;
};

static struct files *files_of(const struct way *way)
{
	return way->walking ? files_os_walking() : files_os();
}

static struct scratch tree(void)
{
	struct scratch s = scratch_open();

	cr_assert_eq(mkdirat(s.dir, "a", 0700), 0);
	cr_assert_eq(mkdirat(s.dir, "a/b", 0700), 0);
	cr_assert_geq(close(openat(s.dir, "a/b/file", O_CREAT | O_WRONLY, 0600)), 0);
	cr_assert_eq(symlinkat("b", s.dir, "a/link"), 0);
	cr_assert_eq(symlinkat("file", s.dir, "a/b/link"), 0);
	cr_assert_eq(symlinkat("/etc", s.dir, "etc"), 0);
	return s;
}

static const struct {
	const char *path;
	int flags;
	int answer; /* 0 = opens */
} openings[] = {
	{"a/b/file", O_RDONLY, 0},
	{"a//b/./file", O_RDONLY, 0},
	{"a/b", O_RDONLY | O_DIRECTORY, 0},
	{"a/b/", O_RDONLY | O_DIRECTORY, 0},
	{".", O_RDONLY | O_DIRECTORY, 0},
	{"a/b/new", O_WRONLY | O_CREAT | O_EXCL, 0},
	{"a/b/file", O_WRONLY | O_CREAT | O_EXCL, EEXIST},
	{"a/b/link", O_RDONLY, ELOOP},
	{"a/link/file", O_RDONLY, ELOOP},
	{"a/link", O_RDONLY | O_DIRECTORY, ELOOP},
	{"etc/passwd", O_RDONLY, ELOOP},
	{"/etc/passwd", O_RDONLY, EXDEV},
	{"../x", O_RDONLY, EXDEV},
	{"a/b/missing", O_RDONLY, ENOENT},
	{"missing/file", O_RDONLY, ENOENT},
	{"a/b/file/x", O_RDONLY, ENOTDIR},
	{"", O_RDONLY, ENOENT},
};

ParameterizedTestParameters(files_os, opens_only_beneath)
{
	static struct way ways[] = {{false}, {true}};

	return cr_make_param_array(struct way, ways, 2);
}

ParameterizedTest(struct way *way, files_os, opens_only_beneath)
{
	struct files *f = files_of(way);
	struct scratch s = tree();

	for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
		int fd = f->ops->open_beneath(f, s.dir, openings[i].path, openings[i].flags, 0600);

		if (openings[i].answer == 0) {
			cr_assert_geq(fd, 0, "%s: %s", openings[i].path, strerror(-fd));
			cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", openings[i].path);
			cr_assert_eq(f->ops->close(f, fd), 0);
		} else {
			cr_assert_eq(fd, -openings[i].answer, "%s: %d", openings[i].path, fd);
		}
	}
	scratch_close(&s);
}

/* What openat2 allows as long as it stays beneath, the walk refuses. */
Test(files_os, the_walk_refuses_every_dot_dot)
{
	struct files *f = files_os_walking();
	struct scratch s = tree();

	cr_assert_eq(f->ops->open_beneath(f, s.dir, "a/../a/b/file", O_RDONLY, 0), -EXDEV);
	scratch_close(&s);
}

Test(files_os, the_walk_leaves_no_descriptor_behind)
{
	struct files *f = files_os_walking();
	struct scratch s = tree();
	int before = dup(s.dir);
	int after;

	(void)close(before);
	for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
		int fd = f->ops->open_beneath(f, s.dir, openings[i].path, openings[i].flags, 0600);

		if (fd >= 0)
			(void)close(fd);
	}
	after = dup(s.dir); /* the lowest free number */
	cr_assert_eq(after, before);
	(void)close(after);
	scratch_close(&s);
}

static int count_type(void *ctx, const char *name, mode_t type)
{
	unsigned *seen = ctx;

	cr_assert(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	if (strcmp(name, "b") == 0 && S_ISDIR(type))
		*seen |= 1;
	if (strcmp(name, "link") == 0 && S_ISLNK(type))
		*seen |= 2;
	if (strcmp(name, "file") == 0 && S_ISREG(type))
		*seen |= 4;
	return 0;
}

static int stop_at_once(void *ctx, const char *name, mode_t type)
{
	(void)name;
	(void)type;
	++*(unsigned *)ctx;
	return -ECANCELED;
}

Test(files_os, lists_names_with_their_types)
{
	struct files *f = files_os();
	struct scratch s = tree();
	unsigned seen = 0;

	cr_assert_eq(f->ops->list(f, s.dir, "a", count_type, &seen), 0);
	cr_assert_eq(seen, 3);
	cr_assert_eq(f->ops->list(f, s.dir, "a/b", count_type, &seen), 0);
	cr_assert_eq(seen, 7);
	seen = 0;
	cr_assert_eq(f->ops->list(f, s.dir, "a", stop_at_once, &seen), -ECANCELED);
	cr_assert_eq(seen, 1);
	cr_assert_eq(f->ops->list(f, s.dir, "missing", count_type, &seen), -ENOENT);
	cr_assert_lt(f->ops->list(f, s.dir, "etc", count_type, &seen), 0, "a link is not listed");
	scratch_close(&s);
}

Test(files_os, every_operation_answers_as_the_system_does)
{
	struct files *f = files_os();
	struct scratch s = scratch_open();
	struct stat st;
	char text[16] = {0};
	uint64_t free_bytes = 0;
	int fd = f->ops->open(f, s.dir, "f", O_RDWR | O_CREAT, 0600);
	int answer;

	cr_assert_geq(fd, 0);
	cr_assert_eq(f->ops->pwrite(f, fd, "hello", 5, 3), 5);
	cr_assert_eq(f->ops->pread(f, fd, text, 15, 2), 6);
	cr_assert_arr_eq(text, "\0hello", 7);
	cr_assert_eq(f->ops->fsync(f, fd), 0);
	answer = f->ops->sync_fs(f, fd);
	cr_assert(answer == 0 || answer == -EOPNOTSUPP, "%d", answer);
	cr_assert_eq(f->ops->allocate(f, fd, 100), 0);
	cr_assert_eq(f->ops->stat_fd(f, fd, &st), 0);
	cr_assert_eq(st.st_size, 100);
	cr_assert_eq(f->ops->truncate(f, fd, 4), 0);
	cr_assert_eq(f->ops->chmod_fd(f, fd, 0640), 0);
	cr_assert_eq(f->ops->free_bytes(f, fd, &free_bytes), 0);
	cr_assert_gt(free_bytes, 0);
	cr_assert_eq(f->ops->close(f, fd), 0);
	cr_assert_eq(f->ops->close(f, fd), -EBADF);
	cr_assert_eq(f->ops->stat(f, s.dir, "f", 0, &st), 0);
	cr_assert_eq(st.st_size, 4);
	cr_assert_eq(st.st_mode & 0777, 0640);
	cr_assert_eq(f->ops->mkdir(f, s.dir, "d", 0700), 0);
	cr_assert_eq(f->ops->mkdir(f, s.dir, "d", 0700), -EEXIST);
	cr_assert_eq(f->ops->link(f, s.dir, "f", "d/g"), 0);
	cr_assert_eq(f->ops->link(f, s.dir, "f", "d/g"), -EEXIST);
	cr_assert_eq(f->ops->rename_noreplace(f, s.dir, "f", "d/g"), -EEXIST);
	cr_assert_eq(f->ops->rename(f, s.dir, "d/g", "h"), 0);
	cr_assert_eq(f->ops->symlink(f, "h", s.dir, "l"), 0);
	cr_assert_eq(f->ops->readlink(f, s.dir, "l", text, sizeof(text)), 1);
	cr_assert_eq(f->ops->stat(f, s.dir, "l", AT_SYMLINK_NOFOLLOW, &st), 0);
	cr_assert(S_ISLNK(st.st_mode));
	cr_assert_eq(f->ops->unlink(f, s.dir, "d", 0), -EISDIR);
	cr_assert_eq(f->ops->unlink(f, s.dir, "d", AT_REMOVEDIR), 0);
	cr_assert_eq(f->ops->unlink(f, s.dir, "gone", 0), -ENOENT);
	scratch_close(&s);
}
