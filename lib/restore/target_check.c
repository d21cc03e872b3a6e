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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAL_SLACK_SEGMENTS = 8 /* what recovery keeps in pg_wal at a time, as a rule */ };

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

/* What is looked at: the data directory, or that of a tablespace. */
struct looking {
	const struct env *env;
	const struct wal_archive *archive;
	const struct restore_request *request;
	const char *what, *path;
	const char *target; /* of a tablespace: the data directory, looked at first */
	const struct restore_place *place; /* NULL for the data directory */
	struct restore_plan *plan;
};

/* Why a delta restore may not reuse it; NULL when it may. */
static const char *reuse_refused(const struct looking *l, char text[DELTA_TEXT_MAX])
{
	const char *path = l->target != NULL ? l->target : l->path, *refused;
	struct files *files = l->env->files;
	int dir = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (dir == -ENOENT) /* it was moved away, and its tablespaces were not */
		return "is not empty, and there is no data directory that is linked to it";
	if (dir < 0)
		return "cannot be opened";
	refused = l->place == NULL
			  ? delta_refuses(l->env, dir, &l->plan->backup, text)
			  : delta_refuses_place(l->env, dir, l->target, l->place, l->plan, text);
	if (refused == NULL && l->place == NULL)
		l->plan->bytes_present += delta_bytes_present(l->env, dir);
	(void)files->ops->close(files, dir); /* a directory */
	return refused;
}

static void place_bytes_present(const struct looking *l)
{
	struct files *files = l->env->files;
	int dir =
		files->ops->open(files, AT_FDCWD, l->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (dir < 0)
		return;
	l->plan->bytes_present += delta_bytes_present(l->env, dir);
	(void)files->ops->close(files, dir); /* a directory */
}

/* Something is there that an ordinary restore leaves alone. */
static void say_not_empty(const struct looking *l, enum directory_state state)
{
	char text[DELTA_TEXT_MAX];
	bool reusable =
		state != DIRECTORY_NONE && !l->request->delta && reuse_refused(l, text) == NULL;
	bool movable = inside_is_data_directory(l->env, l->path);

	l->plan->bytes_present = 0; /* nothing is going to be reused */
	problem_add(l->plan, "directory_not_empty",
		    state == DIRECTORY_FOREIGN ? "%s \"%s\" is not empty"
		    : state == DIRECTORY_OTHERS && l->target != NULL
			    ? "%s \"%s\" holds another restore"
		    : state == DIRECTORY_OTHERS ? "%s \"%s\" holds an interrupted restore "
						  "of another backup"
						: "%s \"%s\" is no directory",
		    l->what, l->path);
	/* Whatever else lies there, nobody should be told to move it: it may be "/". */
	problem_hint(l->plan, "name a directory that is empty or does not exist yet%s%s%s%s",
		     movable ? ", or move \"" : "", movable ? l->path : "",
		     movable ? "\" away first" : "",
		     reusable ? "; or reuse what is in it, and lose what the backup does not have: "
				"--delta"
			      : "");
}

/* With --delta: something is there, and it is to be reused. */
static enum err check_reuse(const struct looking *l, struct error *why)
{
	char text[DELTA_TEXT_MAX];
	const char *refused = reuse_refused(l, text);

	if (refused == NULL) {
		l->plan->delta = true;
		if (l->place == NULL)
			return delta_check_wal(l->env, l->archive, l->request, l->path, l->plan,
					       why);
		place_bytes_present(l);
		return ERR_NONE;
	}
	problem_add(l->plan, "directory_foreign", "%s \"%s\" %s", l->what, l->path, refused);
	problem_hint(l->plan, "--delta reuses a data directory of the same cluster, or an "
			      "interrupted restore; name an empty directory, without --delta");
	return ERR_NONE;
}

static void say_in_use(const struct looking *l, enum directory_use use, const char *how)
{
	char hint[PATH_MAX + 256];

	directory_use_hint(use, l->path, hint, sizeof(hint));
	problem_add(l->plan, "server_running", "%s \"%s\" %s in use by a server: %s", l->what,
		    l->path, use == DIRECTORY_USED ? "is" : "may be", how);
	problem_hint(l->plan, "%s%s",
		     l->request->delta ? "" : "restore into another, empty directory; or ", hint);
}

static enum err check_directory(const struct looking *l, struct error *why)
{
	struct restore_plan *plan = l->plan;
	enum directory_state state;
	enum directory_use use;
	char how[256], there[PATH_MAX];
	const struct inside inside = {.env = l->env,
				      .request = l->request,
				      .plan = plan,
				      .what = l->what,
				      .path = l->path,
				      .target = l->target};
	enum err e;

	if (inside_refuses(&inside))
		return ERR_NONE;
	e = directory_look(l->env, l->path, &plan->backup.attempt, l->target, &state, why);
	if (e == ERR_DENIED) {
		problem_add(plan, "directory_not_readable", "%s: %s", l->what, why->text);
		problem_hint(plan, "run as the user that is to own the restored server");
		return ERR_NONE;
	}
	if (e != ERR_NONE)
		return e;
	use = directory_is_in_use(l->env, l->path, how, sizeof(how));
	if (use != DIRECTORY_FREE) {
		say_in_use(l, use, how);
		return ERR_NONE;
	}
	if (state == DIRECTORY_OURS && l->target != NULL && !plan->resumes && !plan->delta)
		state = DIRECTORY_OTHERS;
	if (l->request->delta &&
	    (state == DIRECTORY_FOREIGN || state == DIRECTORY_OTHERS || state == DIRECTORY_OURS)) {
		e = check_reuse(l, why);
	} else if (state == DIRECTORY_FOREIGN || state == DIRECTORY_OTHERS ||
		   state == DIRECTORY_NONE) {
		say_not_empty(l, state);
		return ERR_NONE;
	}
	if (e != ERR_NONE)
		return e;
	plan->resumes = plan->resumes || state == DIRECTORY_OURS;
	existing_part(l->env, l->path, there);
	if (faccessat(AT_FDCWD, there, W_OK | X_OK, AT_EACCESS) != 0) {
		problem_add(plan, "directory_not_writable", "%s \"%s\": \"%s\" is not writable: %s",
			    l->what, l->path, there, strerrordesc_np(errno));
		problem_hint(plan, "run as its owner, or make the directory first and give it to "
				   "the user that runs the server");
	}
	return ERR_NONE;
}

/* Files of the lost server lie at the old path, where a restore in place wants to write. */
static bool is_left(const struct looking *l, const char *code)
{
	char was[PATH_MAX];

	return !l->plan->side &&
	       (strcmp(code, "directory_not_empty") == 0 ||
		strcmp(code, "directory_foreign") == 0) &&
	       place_real(l->place->from, was, NULL) == ERR_NONE && strcmp(was, l->path) == 0 &&
	       inside_is_tablespace(l->env, l->path);
}

/* What to type about the tablespace that the problem added last is about.  In place "elsewhere" is not what
 * is wanted first. */
static void hint_place(const struct looking *l)
{
	struct restore_plan *plan = l->plan;
	const struct restore_problem *last = &plan->problem[plan->problems - 1];
	char word[PLACE_TEXT_MAX], first[PATH_MAX + 128] = "";

	place_word(l->place, word);
	if (!l->request->delta && strstr(last->hint, "--delta") != NULL)
		(void)snprintf(first, sizeof(first),
			       "with --delta it is reused, as the data "
			       "directory is; or elsewhere: "); /* fits */
	else if (is_left(l, last->code))
		(void)snprintf(first, sizeof(first),
			       "if it is the lost server's, and its data directory was moved away, "
			       "move \"%s\" away, too; or elsewhere: ",
			       l->path); /* fits */
	problem_hint(plan, "%s--tablespace %s=DIR, or --tablespace-dir DIR for all of them", first,
		     word);
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
	 * is is not known, and a second run that does not fit says so itself.  What is reused counts
	 * as free, too, on whichever file system it is. */
	for (size_t i = 0; e == ERR_NONE && !plan->resumes && i < s->count; i++) {
		const struct space *space = &s->space[i];
		char wanted[TEXT_SIZE_MAX], there[TEXT_SIZE_MAX];

		if (space->wanted <= space->free + plan->bytes_present)
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

static void add_apart_hint(struct restore_plan *plan, const struct restore_place *place)
{
	char word[PLACE_TEXT_MAX];

	place_word(place, word);
	problem_hint(plan, "--tablespace %s=DIR with a directory of its own", word);
}

/* No two places may be one or lie in each other. */
static void check_apart(const char *directory, struct restore_plan *plan)
{
	char one[PLACE_TEXT_MAX], other[PLACE_TEXT_MAX];

	for (size_t i = 0; i < plan->tablespaces; i++) {
		const struct restore_place *a = &plan->tablespace[i];

		place_describe(a, one);
		if (place_is_within(a->to, directory) || place_is_within(directory, a->to)) {
			problem_add(plan, "tablespace_in_directory",
				    "tablespace %s would go to \"%s\", which is within the data "
				    "directory or holds it",
				    one, a->to);
			add_apart_hint(plan, a);
		}
		for (size_t k = 0; k < i; k++) {
			const struct restore_place *b = &plan->tablespace[k];

			if (!place_is_within(a->to, b->to) && !place_is_within(b->to, a->to))
				continue;
			place_describe(b, other);
			problem_add(plan, "tablespaces_overlap",
				    "tablespaces %s and %s would go to \"%s\" and \"%s\"", other,
				    one, b->to, a->to);
			add_apart_hint(plan, a);
		}
	}
}

/* In place the service manager starts the server, and knows its programs. */
static void check_programs(const struct env *env, const struct restore_request *request,
			   struct restore_plan *plan)
{
	unsigned major = (unsigned)(plan->backup.server_version / 10000);
	char found[PATH_MAX];
	struct error cause;

	if (!request->start || !plan->side ||
	    programs_find(env, major, request->search_path, found, &cause) == ERR_NONE)
		return;
	problem_add(plan, "no_server_programs", "--start: %s", cause.text);
	problem_hint(plan, "%s", cause.hint);
}

enum err target_check(const struct env *env, const struct wal_archive *archive,
		      const struct manifest *manifest, const struct restore_request *request,
		      struct restore_plan *plan, struct error *why)
{
	struct looking l = {.env = env,
			    .archive = archive,
			    .request = request,
			    .what = "directory",
			    .plan = plan};
	char directory[PATH_MAX];
	enum err e = place_real(request->directory, directory, why);

	l.path = directory;
	if (e == ERR_NONE)
		e = check_directory(&l, why);
	for (size_t i = 0; e == ERR_NONE && i < plan->tablespaces; i++) {
		char described[PLACE_TEXT_MAX], what[PLACE_TEXT_MAX + 32];
		size_t before = plan->problems;

		place_describe(&plan->tablespace[i], described);
		(void)snprintf(what, sizeof(what), "directory of tablespace %s", described);
		l.what = what;
		l.path = plan->tablespace[i].to;
		l.target = directory;
		l.place = &plan->tablespace[i];
		e = check_directory(&l, why);
		if (plan->problems > before)
			hint_place(&l);
	}
	if (e == ERR_NONE) {
		check_programs(env, request, plan);
		check_apart(directory, plan);
		e = check_space(env, archive, manifest, directory, plan, why);
	}
	return e;
}
