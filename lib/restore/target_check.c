/* restore/target_check.c - looks at where a restore would write, and changes nothing.
 *
 * Whatever can be known before the first byte is a problem of the plan: something is there,
 * a server runs there, space is missing, two places are one.
 */
#include "base/file.h"
#include "base/text.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	PID_FILE_BYTES_MAX = 8192,
	WAL_SLACK_SEGMENTS = 8 /* what recovery keeps in pg_wal at a time, as a rule */
};

void problem_add(struct restore_plan *plan, const char *code, const char *format, ...)
{
	struct restore_problem *p;
	va_list args;

	if (plan->problems == RESTORE_PROBLEMS_MAX)
		return;
	p = &plan->problem[plan->problems++];
	p->code = code;
	p->hint[0] = '\0';
	va_start(args, format);
	(void)vsnprintf(p->message, sizeof(p->message), format, args);
	va_end(args);
}

void problem_hint(struct restore_plan *plan, const char *format, ...)
{
	struct restore_problem *p = &plan->problem[plan->problems - 1];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(p->hint, sizeof(p->hint), format, args);
	va_end(args);
}

struct listing {
	bool others, marker;
};

static int see_name(void *ctx, const char *name, mode_t type)
{
	struct listing *seen = ctx;

	(void)type;
	if (strcmp(name, RESTORE_MARKER) == 0)
		seen->marker = true;
	else
		seen->others = true;
	return 0;
}

bool marker_is_ours(struct bytes text, const struct attempt *attempt, const char *target)
{
	char line[PATH_MAX + 16], id[ATTEMPT_TEXT_MAX];
	size_t len;

	attempt_to_text(attempt, id);
	(void)snprintf(line, sizeof(line), "\nattempt %s\n", id);
	if (memmem(text.data, text.len, line, strlen(line)) == NULL)
		return false;
	if (target == NULL)
		return true;
	(void)snprintf(line, sizeof(line), "\ndirectory %s\n", target);
	len = strlen(line);
	return text.len >= len && memcmp(text.data + text.len - len, line, len) == 0;
}

enum err directory_look(const struct env *env, const char *path, const struct attempt *attempt,
			const char *target, enum directory_state *out, struct error *why)
{
	char marker[PATH_MAX];
	struct listing seen = {.others = false};
	struct stat st;
	uint8_t *text;
	size_t len;
	int answer = env->files->ops->stat(env->files, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &st);
	enum err e;

	if (answer == -ENOENT) {
		*out = DIRECTORY_ABSENT;
		return ERR_NONE;
	}
	if (answer < 0)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "\"%s\"", path);
	*out = DIRECTORY_NONE;
	if (!S_ISDIR(st.st_mode))
		return ERR_NONE;
	answer = env->files->ops->list(env->files, AT_FDCWD, path, see_name, &seen);
	if (answer < 0)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "listing \"%s\"",
				    path);
	*out = seen.others ? DIRECTORY_FOREIGN : DIRECTORY_EMPTY;
	if (!seen.marker ||
	    snprintf(marker, sizeof(marker), "%s/" RESTORE_MARKER, path) >= (int)sizeof(marker))
		return ERR_NONE;
	e = file_read_all(env->files, AT_FDCWD, marker, MARKER_BYTES_MAX, &text, &len, why);
	if (e != ERR_NONE)
		return e;
	/* One that is alone was cut off by a crash, or has nothing left to guard. */
	*out = marker_is_ours(bytes_of(text, len), attempt, target) ? DIRECTORY_OURS
	       : seen.others                                        ? DIRECTORY_OTHERS
								    : DIRECTORY_EMPTY;
	free(text);
	return ERR_NONE;
}

static bool process_lives(const struct env *env, long pid)
{
	char path[64], *state;
	uint8_t *text;
	size_t len;
	bool dead = false;

	if (pid <= 1 || (kill((pid_t)pid, 0) != 0 && errno != EPERM))
		return false;
	/* A process that nobody waited for is dead, although it can be signalled. */
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (file_read_all(env->files, AT_FDCWD, path, 4096, &text, &len, NULL) != ERR_NONE)
		return true;
	state = strrchr((char *)text, ')');
	if (state != NULL && state[1] == ' ')
		dead = state[2] == 'Z' || state[2] == 'X';
	free(text);
	return !dead;
}

static bool socket_answers(const struct env *env, const char *directory, const char *port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%s",
			     directory, port);
	bool answers;

	if (n < 0 || (size_t)n >= sizeof(address.sun_path) || directory[0] != '/')
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	(void)env->files->ops->close(env->files, fd); /* a socket */
	return answers;
}

/* postmaster.pid: pid, data directory, start, port, socket directory, addresses, shared memory. */
bool directory_is_in_use(const struct env *env, const char *path, char *how, size_t how_len)
{
	char file[PATH_MAX], *line[8] = {NULL}, *at;
	struct shmid_ds memory;
	uint8_t *text;
	size_t len;
	bool used = false;

	if (snprintf(file, sizeof(file), "%s/postmaster.pid", path) >= (int)sizeof(file) ||
	    file_read_all(env->files, AT_FDCWD, file, PID_FILE_BYTES_MAX, &text, &len, NULL) !=
		    ERR_NONE)
		return false;
	at = (char *)text;
	for (size_t i = 0; i < 8 && at != NULL; i++)
		line[i] = strsep(&at, "\n");
	if (line[0] != NULL && process_lives(env, strtol(line[0], NULL, 10))) {
		(void)snprintf(how, how_len, "process %s of its postmaster.pid is alive", line[0]);
		used = true;
	} else if (line[4] != NULL && socket_answers(env, line[4], line[3])) {
		(void)snprintf(how, how_len, "its socket %s/.s.PGSQL.%s answers", line[4], line[3]);
		used = true;
	} else if (line[6] != NULL) {
		const char *id = strrchr(line[6], ' ');

		used = id != NULL && shmctl((int)strtol(id, NULL, 10), IPC_STAT, &memory) == 0 &&
		       memory.shm_nattch > 0;
		if (used)
			(void)snprintf(how, how_len, "its shared memory %s is attached", id + 1);
	}
	free(text);
	return used;
}

/* The nearest directory of the path that exists. */
static void existing_part(const struct env *env, const char *path, char out[PATH_MAX])
{
	struct stat st;
	char *slash;

	(void)snprintf(out, PATH_MAX, "%s", path);
	while (strcmp(out, "/") != 0 &&
	       env->files->ops->stat(env->files, AT_FDCWD, out, 0, &st) < 0) {
		slash = strrchr(out, '/');
		if (slash == out)
			slash++;
		*slash = '\0';
	}
}

/* `target` is the data directory of a tablespace, NULL for the data directory itself, which is
 * looked at first: whether there is something to resume is its marker's to say. */
static enum err check_directory(const struct env *env, const char *what, const char *path,
				const char *target, struct restore_plan *plan, struct error *why)
{
	enum directory_state state;
	char how[256], there[PATH_MAX];
	enum err e = directory_look(env, path, &plan->backup.attempt, target, &state, why);

	if (e == ERR_DENIED) {
		problem_add(plan, "directory_not_readable", "%s: %s", what, why->text);
		problem_hint(plan, "run as the user that is to own the restored server");
		return ERR_NONE;
	}
	if (e != ERR_NONE)
		return e;
	if (directory_is_in_use(env, path, how, sizeof(how))) {
		problem_add(plan, "server_running", "%s \"%s\" is in use by a server: %s", what,
			    path, how);
		problem_hint(plan, "restore into another, empty directory; or stop that server, "
				   "move its directory away, and run the same command again");
		return ERR_NONE;
	}
	if (state == DIRECTORY_OURS && target != NULL && !plan->resumes)
		state = DIRECTORY_OTHERS;
	if (state == DIRECTORY_FOREIGN || state == DIRECTORY_OTHERS || state == DIRECTORY_NONE) {
		problem_add(plan, "directory_not_empty",
			    state == DIRECTORY_FOREIGN ? "%s \"%s\" is not empty"
			    : state == DIRECTORY_OTHERS && target != NULL
				    ? "%s \"%s\" holds another restore"
			    : state == DIRECTORY_OTHERS ? "%s \"%s\" holds an interrupted restore "
							  "of another backup"
							: "%s \"%s\" is no directory",
			    what, path);
		problem_hint(plan,
			     "name a directory that is empty or does not exist yet, or move "
			     "\"%s\" away first",
			     path);
		return ERR_NONE;
	}
	plan->resumes = plan->resumes || state == DIRECTORY_OURS;
	existing_part(env, path, there);
	if (faccessat(AT_FDCWD, there, W_OK | X_OK, AT_EACCESS) != 0) {
		problem_add(plan, "directory_not_writable", "%s \"%s\": \"%s\" is not writable: %s",
			    what, path, there, strerrordesc_np(errno));
		problem_hint(plan, "run as its owner, or make the directory first and give it to "
				   "the user that runs the server");
	}
	return ERR_NONE;
}

/* What goes where, counted by file system. */
struct spaces {
	struct space {
		dev_t device;
		uint64_t wanted, free;
		const char *path;
	} space[RESTORE_TABLESPACES_MAX + 1];
	size_t count;
};

static enum err space_add(const struct env *env, struct spaces *s, const char *path,
			  uint64_t wanted, struct error *why)
{
	char there[PATH_MAX];
	struct stat st;
	struct space *space;
	int fd, answer;

	existing_part(env, path, there);
	fd = env->files->ops->open(env->files, AT_FDCWD, there, O_RDONLY | O_DIRECTORY, 0);
	if (fd == -EACCES || fd == -ENOTDIR)
		return ERR_NONE; /* a problem of its own */
	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "opening \"%s\"", there);
	answer = env->files->ops->stat_fd(env->files, fd, &st);
	for (size_t i = 0; answer >= 0 && i < s->count; i++) {
		if (s->space[i].device != st.st_dev)
			continue;
		s->space[i].wanted += wanted;
		goto out;
	}
	if (answer >= 0 && s->count < sizeof(s->space) / sizeof(s->space[0])) {
		space = &s->space[s->count];
		*space = (struct space){.device = st.st_dev, .wanted = wanted, .path = path};
		answer = env->files->ops->free_bytes(env->files, fd, &space->free);
		s->count++;
	}
out:
	(void)env->files->ops->close(env->files, fd); /* a directory */
	return answer < 0 ? error_set_os(why, error_kind_of_os(-answer), -answer,
					 "free space of \"%s\"", there)
			  : ERR_NONE;
}

/* Bytes of each tablespace, from the file table; only where there is more than one place. */
static enum err count_places(const struct env *env, const struct wal_archive *archive,
			     const struct manifest *manifest, const struct restore_plan *plan,
			     uint64_t *bytes, struct error *why)
{
	pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;
	struct source source = {
		.env = env, .archive = archive, .manifest = manifest, .speaking = &speaking};
	struct table table;
	enum err e = table_read(&source, &table, why);

	if (e != ERR_NONE)
		return e;
	for (size_t i = 0; i < plan->tablespaces; i++) {
		char front[32];
		size_t len;

		(void)snprintf(front, sizeof(front), "pg_tblspc/%" PRIu32 "/",
			       plan->tablespace[i].oid);
		len = strlen(front);
		for (size_t k = 0; k < table.files; k++)
			if (table.file[k].path.len > len &&
			    memcmp(table.file[k].path.data, front, len) == 0)
				bytes[i] += table.file[k].size;
	}
	table_release(&table);
	return ERR_NONE;
}

static enum err check_space(const struct env *env, const struct wal_archive *archive,
			    const struct manifest *manifest, const char *directory,
			    struct restore_plan *plan, struct error *why)
{
	struct spaces *s = calloc(1, sizeof(*s));
	uint64_t *bytes = calloc(plan->tablespaces + 1, sizeof(*bytes));
	uint64_t slack = (uint64_t)plan->backup.wal_segment_bytes * WAL_SLACK_SEGMENTS;
	uint64_t base = plan->bytes_to_write;
	enum err e = ERR_NONE;

	if (s == NULL || bytes == NULL)
		e = error_set(why, ERR_MEMORY, "restore: out of memory");
	if (e == ERR_NONE && plan->tablespaces > 0)
		e = count_places(env, archive, manifest, plan, bytes, why);
	for (size_t i = 0; e == ERR_NONE && i < plan->tablespaces; i++)
		base -= bytes[i] < base ? bytes[i] : base;
	if (e == ERR_NONE)
		e = space_add(env, s, directory, base + slack, why);
	for (size_t i = 0; e == ERR_NONE && i < plan->tablespaces; i++)
		e = space_add(env, s, plan->tablespace[i].to, bytes[i], why);
	if (e == ERR_NONE && s->count > 0)
		plan->bytes_free = s->space[0].free;
	/* What an interrupted run left there is removed first, so it counts as free; how much it
	 * is is not known, and a second run that does not fit says so itself. */
	for (size_t i = 0; e == ERR_NONE && !plan->resumes && i < s->count; i++) {
		const struct space *space = &s->space[i];
		char wanted[TEXT_SIZE_MAX], there[TEXT_SIZE_MAX];

		if (space->wanted <= space->free)
			continue;
		text_of_size(space->wanted, wanted);
		text_of_size(space->free, there);
		problem_add(plan, "no_space",
			    "\"%s\" has not enough space: %s are needed (with some for WAL), %s "
			    "are free",
			    space->path, wanted, there);
		problem_hint(plan, "free some space there, or name another directory");
	}
	free(bytes);
	free(s);
	return e;
}

/* No two places may be one or lie in each other. */
static void check_apart(const char *directory, struct restore_plan *plan)
{
	for (size_t i = 0; i < plan->tablespaces; i++) {
		const struct restore_place *a = &plan->tablespace[i];

		if (place_is_within(a->to, directory) || place_is_within(directory, a->to)) {
			problem_add(plan, "tablespace_in_directory",
				    "tablespace %" PRIu32 " would go to \"%s\", which is within "
				    "the data directory or holds it",
				    a->oid, a->to);
			problem_hint(plan,
				     "--tablespace %" PRIu32 "=DIR with a directory of its "
				     "own",
				     a->oid);
		}
		for (size_t k = 0; k < i; k++) {
			const struct restore_place *b = &plan->tablespace[k];

			if (!place_is_within(a->to, b->to) && !place_is_within(b->to, a->to))
				continue;
			problem_add(plan, "tablespaces_overlap",
				    "tablespaces %" PRIu32 " and %" PRIu32 " would go to \"%s\" "
				    "and \"%s\"",
				    b->oid, a->oid, b->to, a->to);
			problem_hint(plan,
				     "--tablespace %" PRIu32 "=DIR with a directory of its "
				     "own",
				     a->oid);
		}
	}
}

/* In place the service manager starts the server, and knows its programs. */
static void check_programs(const struct restore_request *request, struct restore_plan *plan)
{
	unsigned major = (unsigned)(plan->backup.server_version / 10000);
	char found[PATH_MAX];
	struct error cause;

	if (!request->start || !plan->side ||
	    start_find_binaries(major, request->search_path, found, &cause) == ERR_NONE)
		return;
	problem_add(plan, "no_server_programs", "--start: %s", cause.text);
	problem_hint(plan, "%s", cause.hint);
}

enum err target_check(const struct env *env, const struct wal_archive *archive,
		      const struct manifest *manifest, const struct restore_request *request,
		      struct restore_plan *plan, struct error *why)
{
	char directory[PATH_MAX];
	enum err e = place_real(request->directory, directory, why);

	if (e == ERR_NONE)
		e = check_directory(env, "directory", directory, NULL, plan, why);
	for (size_t i = 0; e == ERR_NONE && i < plan->tablespaces; i++) {
		char what[64];
		size_t before = plan->problems;

		(void)snprintf(what, sizeof(what), "directory of tablespace %" PRIu32,
			       plan->tablespace[i].oid);
		e = check_directory(env, what, plan->tablespace[i].to, directory, plan, why);
		if (plan->problems > before)
			problem_hint(plan,
				     "--tablespace %" PRIu32 "=DIR, or --tablespace-dir DIR for "
				     "all of them",
				     plan->tablespace[i].oid);
	}
	if (e == ERR_NONE) {
		check_programs(request, plan);
		check_apart(directory, plan);
		e = check_space(env, archive, manifest, directory, plan, why);
	}
	return e;
}
