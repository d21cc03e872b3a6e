/* restore/in_use.c - whether a server runs in a data directory.  Changes nothing.
 *
 * postmaster.pid says who was there last: process, data directory, start, port, socket directory, addresses,
 * shared memory.  Its process id alone proves nothing: in another container it is another process, or none.
 *
 *  1. A process of that id here that works in this very directory: a server.
 *  2. The shared memory it names, with the directory's own device and inode in it, as PostgreSQL checks it:
 *     attached, a server, or what is left of one; not attached, and made by that very process since its start,
 *     none, since the last one was here.  Each container numbers its memory from 0 on, so that the number
 *     alone is no proof: a server that was killed here and one that runs there may both have number 0.
 *  3. It is word for word the file of the directory that it names, which is another one whose memory is here:
 *     this is a copy of that, file and all, and none, since a server here would have written the file anew.
 *  4. Its socket answers, and the lock beside it names this directory: a server.
 *  5. Any process called postgres works in this directory, by whatever path and id: a server, or what is left
 *     of one.  From a host its containers' are seen.
 *  6. It was written before this machine was started, and the directory is on a disk of this machine: none.
 *  7. Else nothing is proven: it may run in another container or on another host.
 * Without postmaster.pid the memory is asked for by the key that a server here would take first: a running
 * server whose file was removed goes on for up to a minute.
 */
#include "base/file.h"
#include "base/text.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>

enum {
	PID_FILE_BYTES_MAX = 8192,
	PID_FILE_LINES = 8,
	PROC_STAT_BYTES_MAX = 1 << 20, /* a line for each processor stands before the one we want */
	SHARED_MAGIC = 679834894,      /* of PostgreSQL 15 to 18, pg_shmem.h: */
	SHARED_CREATOR = 4,
	SHARED_DEVICE = 40,
	SHARED_INODE = 48,
	SHARED_HEADER_BYTES = 56
};

struct inspecting {
	const struct env *env;
	const char *path;
	struct stat directory;
	struct bytes file; /* postmaster.pid; .data NULL = it is not there */
	char *line[PID_FILE_LINES];
	char *how;
	size_t how_len;
};

static long number_of(const char *text)
{
	char *end;
	long number = text != NULL ? strtol(text, &end, 10) : 0;

	return text == NULL || end == text ? 0 : number;
}

static bool is_here(const struct inspecting *i, const struct stat *st)
{
	return st->st_dev == i->directory.st_dev && st->st_ino == i->directory.st_ino;
}

/* ---- 1: the process ---- */

static bool is_dead(const struct env *env, long pid)
{
	char path[64], *state;
	uint8_t *text;
	size_t len;
	bool dead = false;

	if (pid <= 1 || (kill((pid_t)pid, 0) != 0 && errno != EPERM))
		return true;
	/* A process that nobody waited for is dead, although it can be signalled. */
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (file_read_all(env->files, AT_FDCWD, path, 4096, &text, &len, NULL) != ERR_NONE)
		return false;
	state = strrchr((char *)text, ')');
	if (state != NULL && state[1] == ' ')
		dead = state[2] == 'Z' || state[2] == 'X';
	free(text);
	return dead;
}

/* A server works in its data directory, as the user that owns it. */
static enum directory_use look_at_process(const struct inspecting *i)
{
	struct files *files = i->env->files;
	long pid =
		labs(number_of(i->line[0])); /* negative: a server of one user, without clients */
	char path[64];
	struct stat st;

	if (is_dead(i->env, pid))
		return DIRECTORY_FREE;
	(void)snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
	if (files->ops->stat(files, AT_FDCWD, path, 0, &st) >= 0) {
		if (!is_here(i, &st))
			return DIRECTORY_FREE;
		(void)snprintf(i->how, i->how_len, "process %ld of its postmaster.pid is alive",
			       pid);
		return DIRECTORY_USED;
	}
	(void)snprintf(path, sizeof(path), "/proc/%ld", pid);
	if (files->ops->stat(files, AT_FDCWD, path, 0, &st) >= 0 &&
	    st.st_uid != i->directory.st_uid)
		return DIRECTORY_FREE;
	(void)snprintf(i->how, i->how_len,
		       "process %ld of its postmaster.pid is alive, and what it is cannot be seen",
		       pid);
	return DIRECTORY_UNPROVEN;
}

/* ---- 2 and 3: the shared memory ---- */

enum memory { MEMORY_NONE, MEMORY_OTHERS, MEMORY_ORIGINALS, MEMORY_LEFT, MEMORY_ATTACHED };

static bool is_of(const uint8_t *header, const struct stat *directory)
{
	return get_u32(header) == SHARED_MAGIC &&
	       get_u64(header + SHARED_DEVICE) == (uint64_t)directory->st_dev &&
	       get_u64(header + SHARED_INODE) == (uint64_t)directory->st_ino;
}

/* Whether the process of postmaster.pid made it: a postmaster notes its start, then makes its memory. */
static bool is_its_own(const struct inspecting *i, const uint8_t *header,
		       const struct shmid_ds *state)
{
	long started = number_of(i->line[2]);

	return (long)get_u32(header + SHARED_CREATOR) == labs(number_of(i->line[0])) &&
	       started > 0 && (long)state->shm_ctime >= started;
}

/* The directory that postmaster.pid names, when it is another one with the same file. */
static bool is_copied_from(const struct inspecting *i, struct stat *original)
{
	struct files *files = i->env->files;
	char path[PATH_MAX];
	uint8_t *text;
	size_t len;
	bool same;

	if (i->line[1] == NULL || i->line[1][0] != '/' ||
	    files->ops->stat(files, AT_FDCWD, i->line[1], 0, original) < 0 ||
	    is_here(i, original) ||
	    snprintf(path, sizeof(path), "%s/postmaster.pid", i->line[1]) >= (int)sizeof(path) ||
	    file_read_all(files, AT_FDCWD, path, PID_FILE_BYTES_MAX, &text, &len, NULL) != ERR_NONE)
		return false;
	same = len == i->file.len && memcmp(text, i->file.data, len) == 0;
	free(text);
	return same;
}

static enum memory look_at_memory(const struct inspecting *i, int id)
{
	struct shmid_ds state;
	struct stat original;
	enum memory found = MEMORY_OTHERS;
	const uint8_t *header;

	if (shmctl(id, IPC_STAT, &state) != 0)
		return errno == EACCES ? MEMORY_OTHERS : MEMORY_NONE;
	if (state.shm_segsz < SHARED_HEADER_BYTES)
		return MEMORY_OTHERS;
	header = shmat(id, NULL, SHM_RDONLY);
	if ((intptr_t)header == -1)
		return MEMORY_OTHERS;
	if (is_of(header, &i->directory) && state.shm_nattch > 0)
		found = MEMORY_ATTACHED;
	else if (is_of(header, &i->directory) && is_its_own(i, header, &state))
		found = MEMORY_LEFT;
	else if (is_its_own(i, header, &state) && is_copied_from(i, &original) &&
		 is_of(header, &original))
		found = MEMORY_ORIGINALS;
	(void)shmdt(header); /* it was attached */
	return found;
}

/* By the first key that a server of this directory would try. */
static bool is_attached_by_key(const struct inspecting *i)
{
	int id = shmget((key_t)i->directory.st_ino, 0, 0);

	if (id < 0 || look_at_memory(i, id) != MEMORY_ATTACHED)
		return false;
	(void)snprintf(i->how, i->how_len,
		       "shared memory %d of a server in it is attached, though its postmaster.pid "
		       "is gone",
		       id);
	return true;
}

/* ---- 4: the socket ---- */

static bool socket_answers(const struct inspecting *i)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *port = i->line[3], *directory = i->line[4];
	bool answers;
	int fd, n;

	if (port == NULL || directory == NULL || directory[0] != '/')
		return false;
	n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%s", directory, port);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	(void)i->env->files->ops->close(i->env->files, fd); /* a socket */
	return answers;
}

/* The second line of the lock beside the socket is the data directory of whoever listens there. */
static bool socket_is_of_others(const struct inspecting *i)
{
	struct files *files = i->env->files;
	char lock[PATH_MAX], *at, *directory;
	struct stat st;
	uint8_t *text;
	size_t len;
	bool others;

	if (snprintf(lock, sizeof(lock), "%s/.s.PGSQL.%s.lock", i->line[4], i->line[3]) >=
		    (int)sizeof(lock) ||
	    file_read_all(files, AT_FDCWD, lock, PID_FILE_BYTES_MAX, &text, &len, NULL) != ERR_NONE)
		return false;
	at = (char *)text;
	(void)strsep(&at, "\n");
	directory = strsep(&at, "\n");
	others = directory != NULL && directory[0] == '/' &&
		 files->ops->stat(files, AT_FDCWD, directory, 0, &st) >= 0 && !is_here(i, &st);
	free(text);
	return others;
}

/* ---- 5: any process ---- */

struct scanning {
	const struct inspecting *i;
	char found[16]; /* its id; "" = none */
};

static int look_at_any(void *ctx, const char *name, mode_t type)
{
	struct scanning *s = ctx;
	struct files *files = s->i->env->files;
	char path[64];
	struct stat st;
	uint8_t *text;
	size_t len;

	(void)type;
	if (strspn(name, "0123456789") != strlen(name) || strlen(name) >= sizeof(s->found))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%s/cwd", name); /* fits */
	if (files->ops->stat(files, AT_FDCWD, path, 0, &st) < 0 || !is_here(s->i, &st))
		return 0;
	/* Others may stand in it, a person's shell or this very process. */
	(void)snprintf(path, sizeof(path), "/proc/%s/comm", name);
	if (file_read_all(files, AT_FDCWD, path, 64, &text, &len, NULL) != ERR_NONE)
		return 0;
	if (strcmp((char *)text, "postgres\n") == 0 || strcmp((char *)text, "postmaster\n") == 0)
		(void)snprintf(s->found, sizeof(s->found), "%s", name);
	free(text);
	return 0;
}

static bool is_worked_in(const struct inspecting *i)
{
	struct scanning s = {.i = i};

	/* What cannot be listed shows nobody, and that alone proves nothing. */
	(void)i->env->files->ops->list(i->env->files, AT_FDCWD, "/proc", look_at_any, &s);
	if (s.found[0] != '\0')
		(void)snprintf(i->how, i->how_len, "process %s, a postgres, works in it", s.found);
	return s.found[0] != '\0';
}

/* ---- 6: the machine ---- */

/* Seconds since 1970; 0 = not known. */
static long machine_started(const struct env *env)
{
	uint8_t *text;
	size_t len;
	const char *line;
	long started = 0;

	if (file_read_all(env->files, AT_FDCWD, "/proc/stat", PROC_STAT_BYTES_MAX, &text, &len,
			  NULL) != ERR_NONE)
		return 0;
	line = strstr((const char *)text, "\nbtime ");
	if (line != NULL)
		started = number_of(line + sizeof("\nbtime ") - 1);
	free(text);
	return started;
}

/* Another host may have it mounted, too. */
static bool is_on_a_network(const char *path)
{
	static const unsigned long networks[] = {
		0x6969,                             /* NFS */
		0x517B,                             /* SMB, CIFS, SMB2: */
		0xFF534D42, 0xFE534D42, 0x00C36400, /* Ceph */
		0x65735546,                         /* FUSE: GlusterFS and others */
		0x01021997,                         /* 9p */
		0x01161970, 0x7461636F,             /* GFS2, OCFS2 */
		0x0BD00BD0, 0x47504653,             /* Lustre, GPFS */
		0x19830326, 0x5346414F              /* BeeGFS, AFS */
	};
	struct statfs fs;

	if (statfs(path, &fs) != 0)
		return true;
	for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
		if (((unsigned long)fs.f_type & 0xFFFFFFFF) == networks[i])
			return true;
	return false;
}

/* ---- all of it ---- */

/* With postmaster.pid. */
static enum directory_use inspect(const struct inspecting *i)
{
	enum directory_use process = look_at_process(i);
	const char *id = i->line[6] != NULL ? strrchr(i->line[6], ' ') : NULL;
	enum memory memory = id != NULL ? look_at_memory(i, (int)number_of(id + 1)) : MEMORY_NONE;
	long written = number_of(i->line[2]);

	if (process == DIRECTORY_USED || is_worked_in(i))
		return DIRECTORY_USED;
	if (memory == MEMORY_LEFT || memory == MEMORY_ORIGINALS)
		return DIRECTORY_FREE;
	if (memory == MEMORY_ATTACHED) {
		(void)snprintf(i->how, i->how_len, "its shared memory %s is attached", id + 1);
		return DIRECTORY_USED;
	}
	if (socket_answers(i) && !socket_is_of_others(i)) {
		(void)snprintf(i->how, i->how_len, "its socket %s/.s.PGSQL.%s answers", i->line[4],
			       i->line[3]);
		return DIRECTORY_USED;
	}
	if (process == DIRECTORY_UNPROVEN ||
	    (written > 0 && written < machine_started(i->env) && !is_on_a_network(i->path)))
		return process;
	(void)snprintf(i->how, i->how_len,
		       "its postmaster.pid is of process %ld, of which nothing is left on this "
		       "machine: it may run in another container or on another host",
		       number_of(i->line[0]));
	return DIRECTORY_UNPROVEN;
}

enum directory_use directory_is_in_use(const struct env *env, const char *path, char *how,
				       size_t how_len)
{
	struct inspecting i = {.env = env, .path = path, .how = how, .how_len = how_len};
	char file[PATH_MAX], *line, *at;
	enum directory_use use;
	uint8_t *text;
	size_t len;
	enum err e;

	if (env->files->ops->stat(env->files, AT_FDCWD, path, 0, &i.directory) < 0 ||
	    snprintf(file, sizeof(file), "%s/postmaster.pid", path) >= (int)sizeof(file))
		return DIRECTORY_FREE;
	e = file_read_all(env->files, AT_FDCWD, file, PID_FILE_BYTES_MAX, &text, &len, NULL);
	if (e == ERR_MISSING)
		return is_attached_by_key(&i) || is_worked_in(&i) ? DIRECTORY_USED : DIRECTORY_FREE;
	if (e != ERR_NONE) {
		(void)snprintf(how, how_len, "its postmaster.pid cannot be read");
		return DIRECTORY_UNPROVEN;
	}
	i.file = bytes_of(text, len);
	line = strdup((char *)text);
	if (line == NULL) {
		free(text);
		(void)snprintf(how, how_len, "its postmaster.pid cannot be read");
		return DIRECTORY_UNPROVEN;
	}
	at = line;
	for (size_t n = 0; n < PID_FILE_LINES && at != NULL; n++)
		i.line[n] = strsep(&at, "\n");
	use = inspect(&i);
	free(line);
	free(text);
	return use;
}

void directory_use_hint(enum directory_use use, const char *path, char *hint, size_t len)
{
	if (use == DIRECTORY_UNPROVEN)
		(void)snprintf(hint, len,
			       "stop whatever server may run on it, wherever; when none does: rm "
			       "%s/postmaster.pid, and run the same command again",
			       path); /* a cut one is still a hint */
	else
		(void)snprintf(hint, len, "stop that server, and run the same command again");
}
