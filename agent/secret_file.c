/* secret_file.c - secrets from files whose mode is checked, and from commands. */
#include "secret_file.h"

#include "base/file.h"
#include "escape.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_below(const char *path, const char *directory)
{
	size_t len = directory != NULL ? strlen(directory) : 0;

	while (len > 1 && directory[len - 1] == '/')
		len--;
	return len > 0 && strncmp(path, directory, len) == 0 && path[len] == '/' &&
	       strstr(path + len, "/../") == NULL;
}

enum err secret_file_check_mode(const struct stat *st, uid_t own, const char *path,
				const char *credentials_directory, struct error *why)
{
	mode_t mode = st->st_mode & 07777, allowed = 0600;
	char quoted[4096];

	if (!S_ISREG(st->st_mode))
		return error_set(why, ERR_CONFIG, "secret file %s: not a regular file", path);
	if (is_below(path, credentials_directory) && (st->st_uid == 0 || st->st_uid == own))
		allowed = 0440;
	else if (st->st_uid == own)
		allowed = 0600;
	else if (st->st_uid == 0)
		allowed = 0640;
	else
		return error_set(why, ERR_DENIED,
				 "secret file %s: belongs to user %u, neither to us nor to root",
				 path, (unsigned)st->st_uid);
	if ((mode & ~allowed) == 0)
		return ERR_NONE;
	(void)error_set(why, ERR_CONFIG, "secret file %s: mode %04o is too open, at most %04o",
			path, (unsigned)mode, (unsigned)allowed);
	if (escape_shell(path, quoted, sizeof(quoted)))
		error_hint(why, "chmod %04o %s", (unsigned)allowed, quoted);
	return ERR_CONFIG;
}

/* Opens and checks; the descriptor is the caller's. */
static enum err open_checked(struct files *files, const char *path,
			     const char *credentials_directory, int *out, struct error *why)
{
	struct stat st;
	enum err err;
	int fd = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "secret file %s", path);
	rc = files->ops->stat_fd(files, fd, &st);
	if (rc < 0)
		err = error_set_os(why, error_kind_of_os(-rc), -rc, "secret file %s", path);
	else
		err = secret_file_check_mode(&st, geteuid(), path, credentials_directory, why);
	if (err != ERR_NONE) {
		(void)files->ops->close(files, fd); /* was only read */
		return err;
	}
	*out = fd;
	return ERR_NONE;
}

enum err config_check_secret_file(struct files *files, const char *path,
				  const char *credentials_directory, struct error *why)
{
	enum err err;
	int fd;

	err = open_checked(files, path, credentials_directory, &fd, why);
	if (err == ERR_NONE)
		(void)files->ops->close(files, fd); /* was only read */
	return err;
}

static enum err keep(uint8_t *buffer, size_t len, const char *from, struct secret *out,
		     struct error *why)
{
	enum err err;

	if (len > SECRET_MAX) {
		err = error_set(why, ERR_CONFIG, "%s: more than %d bytes", from, SECRET_MAX);
	} else {
		if (len > 0 && buffer[len - 1] == '\n')
			len--;
		if (len > 0 && buffer[len - 1] == '\r')
			len--;
		err = len == 0 ? error_set(why, ERR_CONFIG, "%s: empty", from)
			       : secret_set(out, bytes_of(buffer, len), why);
	}
	return err;
}

enum err secret_file_read(struct files *files, const char *path, const char *credentials_directory,
			  struct secret *out, struct error *why)
{
	uint8_t buffer[SECRET_MAX + 1];
	char from[512];
	size_t len = 0;
	enum err err;
	ssize_t n = 1;
	int fd;

	err = open_checked(files, path, credentials_directory, &fd, why);
	if (err != ERR_NONE)
		return err;
	while (len < sizeof(buffer) && n > 0) {
		n = files->ops->pread(files, fd, buffer + len, sizeof(buffer) - len, (off_t)len);
		len += n > 0 ? (size_t)n : 0;
	}
	(void)snprintf(from, sizeof(from), "secret file %s", path); /* cut is still text */
	if (n < 0)
		err = error_set_os(why, error_kind_of_os((int)-n), (int)-n, "%s", from);
	else
		err = keep(buffer, len, from, out, why);
	explicit_bzero(buffer, sizeof(buffer));
	(void)files->ops->close(files, fd); /* was only read */
	return err;
}

/* The shell gets the signals that we ignore back at their defaults. */
static int spawn_shell(const char *command, int output, pid_t *child)
{
	char *arguments[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int rc;

	(void)sigemptyset(&defaults);        /* cannot fail */
	(void)sigaddset(&defaults, SIGPIPE); /* a valid number */
	rc = posix_spawn_file_actions_init(&actions);
	if (rc != 0)
		return rc;
	rc = posix_spawnattr_init(&attributes);
	if (rc != 0) {
		(void)posix_spawn_file_actions_destroy(&actions); /* cannot fail */
		return rc;
	}
	rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(&attributes, &defaults);
	if (rc == 0)
		rc = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	if (rc == 0)
		rc = posix_spawn(child, "/bin/sh", &actions, &attributes, arguments, environ);
	(void)posix_spawnattr_destroy(&attributes);       /* cannot fail */
	(void)posix_spawn_file_actions_destroy(&actions); /* cannot fail */
	return rc;
}

static ssize_t read_all(int fd, uint8_t *buffer, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, buffer + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

enum err secret_command_read(const char *command, struct secret *out, struct error *why)
{
	uint8_t buffer[SECRET_MAX + 1];
	struct files *files = files_os();
	enum err err = ERR_NONE;
	int ends[2], status = 0, rc;
	ssize_t len = 0;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_set_os(why, ERR_IO, errno, "secret command");
	rc = spawn_shell(command, ends[1], &child);
	(void)files->ops->close(files, ends[1]); /* a pipe */
	if (rc == 0) {
		len = read_all(ends[0], buffer, sizeof(buffer));
		(void)files->ops->close(files, ends[0]); /* a pipe; the child may end by it */
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	} else {
		(void)files->ops->close(files, ends[0]); /* a pipe */
	}
	if (rc != 0)
		err = error_set_os(why, ERR_IO, rc, "secret command: /bin/sh");
	else if (len < 0)
		err = error_set_os(why, ERR_IO, (int)-len, "secret command: reading its output");
	else if (len <= SECRET_MAX && status != 0)
		err = error_set(why, ERR_CONFIG, "secret command: it ended with %s %d",
				WIFEXITED(status) ? "exit code" : "signal",
				WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	else
		err = keep(buffer, (size_t)len, "secret command", out, why);
	explicit_bzero(buffer, sizeof(buffer));
	return err;
}
