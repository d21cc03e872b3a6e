/* restore/plan_limits.c - which of the five settings that recovery needs the restored server would have too low.
 *
 * A copy is given all five.  A server in place keeps its configuration, so that is read here as the server will
 * read it: postgresql.conf and what it includes, out of the backup, or as it lies on this machine where it is
 * outside the data directory; then the backup's postgresql.auto.conf.  The last value of a name counts.  A file
 * that cannot be read is no error: what it may have said is not known.
 */
#include "base/file.h"
#include "pgformat/label.h"
#include "restore/plan_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	DEPTH_MAX = 10,   /* of includes, as the server's */
	NAMES_MAX = 256,  /* of one include_dir */
	FILES_MAX = 1000, /* in all */
	CONF_BYTES_MAX = 8 << 20
};

struct reading_conf {
	const struct planning *p;
	struct table table;
	struct fetcher *fetcher;
	struct limit_configured *out; /* RESTORE_LIMITS of them */
	const char *file;             /* being read */
	unsigned depth, files;
};

struct names {
	char *name[NAMES_MAX];
	size_t count;
	bool complete;
};

static void nothing_is_known(struct reading_conf *c)
{
	for (size_t i = 0; i < RESTORE_LIMITS; i++)
		c->out[i] = (struct limit_configured){.known = false};
}

/* The path below the data directory, or NULL: such a file will be the backup's. */
static const char *path_inside(const struct reading_conf *c, const char *path)
{
	const char *const roots[] = {c->p->plan->backup.data_directory, c->p->request->directory};

	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(roots[i]);

		if (len > 0 && strncmp(path, roots[i], len) == 0 && path[len] == '/')
			return path + len + 1;
	}
	return NULL;
}

static enum err read_file(const struct reading_conf *c, const char *path, uint8_t **text,
			  size_t *len, struct error *why)
{
	const char *inside = path_inside(c, path);

	if (inside == NULL)
		return file_read_all(c->p->env->files, AT_FDCWD, path, CONF_BYTES_MAX, text, len,
				     why);
	for (size_t i = 0; i < c->table.files; i++)
		if (c->table.file[i].kind == FILE_PLAIN && path_is(c->table.file[i].path, inside))
			return fetcher_file(c->fetcher, &c->table.file[i], CONF_BYTES_MAX, text,
					    len, why);
	return error_set(why, ERR_MISSING, "the backup has no file \"%s\"", inside);
}

static enum err read_conf(struct reading_conf *c, const char *path, bool must_exist,
			  struct error *why);

/* ---- include_dir ---- */

static int take_name(struct names *n, const char *name, size_t len)
{
	static const char end[] = ".conf";
	size_t tail = sizeof(end) - 1;

	if (len <= tail || name[0] == '.' || memcmp(name + len - tail, end, tail) != 0)
		return 0;
	if (n->count == NAMES_MAX || (n->name[n->count] = strndup(name, len)) == NULL)
		n->complete = false;
	else
		n->count++;
	return 0;
}

static int see_name(void *ctx, const char *name, mode_t type)
{
	return S_ISDIR(type) ? 0 : take_name(ctx, name, strlen(name));
}

static void list_inside(const struct reading_conf *c, const char *inside, struct names *n)
{
	size_t len = strlen(inside);

	for (size_t i = 0; i < c->table.files; i++) {
		struct bytes path = c->table.file[i].path;

		if (c->table.file[i].kind == FILE_PLAIN && path.len > len + 1 &&
		    memcmp(path.data, inside, len) == 0 && path.data[len] == '/' &&
		    memchr(path.data + len + 1, '/', path.len - len - 1) == NULL)
			(void)take_name(n, (const char *)path.data + len + 1, path.len - len - 1);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err read_directory(struct reading_conf *c, const char *path, struct error *why)
{
	struct files *files = c->p->env->files;
	const char *inside = path_inside(c, path);
	struct names names = {.complete = true};
	enum err e = ERR_NONE;

	if (inside != NULL)
		list_inside(c, inside, &names);
	else if (files->ops->list(files, AT_FDCWD, path, see_name, &names) < 0)
		names.complete = false;
	if (!names.complete)
		nothing_is_known(c);
	qsort(names.name, names.count, sizeof(names.name[0]), by_name);
	for (size_t i = 0; i < names.count; i++) {
		char file[PATH_MAX];

		if (e == ERR_NONE &&
		    snprintf(file, sizeof(file), "%s/%s", path, names.name[i]) < PATH_MAX)
			e = read_conf(c, file, true, why);
		free(names.name[i]);
	}
	return e;
}

/* ---- a file ---- */

/* Relative ones are meant from the directory of the file that names them. */
static enum err read_included(struct reading_conf *c, const char *how, const char *value,
			      struct error *why)
{
	const char *slash = strrchr(c->file, '/');
	char path[PATH_MAX];
	int n = value[0] == '/' ? snprintf(path, sizeof(path), "%s", value)
				: snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - c->file),
					   c->file, value);

	while (n > 1 && n < PATH_MAX && path[n - 1] == '/')
		path[--n] = '\0';
	if (n >= PATH_MAX)
		return nothing_is_known(c), ERR_NONE;
	return strcmp(how, "include_dir") == 0
		       ? read_directory(c, path, why)
		       : read_conf(c, path, strcmp(how, "include") == 0, why);
}

static enum err take_line(void *ctx, const char *name, const char *value, struct error *why)
{
	struct reading_conf *c = ctx;

	if (strncmp(name, "include", strlen("include")) == 0)
		return read_included(c, name, value, why);
	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		struct limit_configured *out = &c->out[i];

		if (strcmp(name, limit_names[i]) != 0)
			continue;
		out->known = true;
		(void)snprintf(out->value, sizeof(out->value), "%s", value);
		(void)snprintf(out->file, sizeof(out->file), "%s", c->file); /* cut: still told */
	}
	return ERR_NONE;
}

static enum err read_conf(struct reading_conf *c, const char *path, bool must_exist,
			  struct error *why)
{
	const char *outer = c->file;
	struct error cause;
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e = c->depth == DEPTH_MAX || c->files++ == FILES_MAX
			     ? error_set(&cause, ERR_LIMIT, "files include each other")
			     : read_file(c, path, &text, &len, &cause);

	if (e != ERR_NONE) {
		if (e != ERR_MISSING || must_exist)
			nothing_is_known(c);
		return ERR_NONE;
	}
	c->file = path;
	c->depth++;
	e = conf_decode(bytes_of(text, len), take_line, c, why);
	c->depth--;
	c->file = outer;
	free(text);
	return e;
}

static enum err read_configuration(struct reading_conf *c, struct error *why)
{
	const struct summary *s = &c->p->plan->backup;
	const char *directory =
		s->data_directory[0] == '/' ? s->data_directory : c->p->request->directory;
	char conf[PATH_MAX], auto_conf[PATH_MAX];
	enum err e;

	if (s->config_file[0] == '/')
		(void)snprintf(conf, sizeof(conf), "%s", s->config_file); /* fits */
	else
		(void)snprintf(conf, sizeof(conf), "%s/postgresql.conf",
			       directory); /* cut: not found */
	(void)snprintf(auto_conf, sizeof(auto_conf), "%s/postgresql.auto.conf", directory);
	e = read_conf(c, conf, true, why);
	return e == ERR_NONE ? read_conf(c, auto_conf, false, why) : e;
}

static enum err limits_configured(const struct planning *p,
				  struct limit_configured out[RESTORE_LIMITS], struct error *why)
{
	pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;
	struct source source = {.env = p->env,
				.archive = p->archive,
				.manifest = p->manifest,
				.speaking = &speaking};
	struct reading_conf c = {.p = p, .out = out};
	enum err e = table_read(&source, &c.table, why);

	if (e != ERR_NONE)
		return e;
	limits_by_default(out);
	e = fetcher_new(&source, &c.fetcher, why);
	if (e == ERR_NONE)
		e = read_configuration(&c, why);
	fetcher_free(c.fetcher);
	table_release(&c.table);
	return e;
}

enum err plan_limits(struct planning *p)
{
	struct limit_configured configured[RESTORE_LIMITS];
	enum err e;

	if (p->plan->side)
		return limits_plan(p->request, NULL, p->plan, p->why);
	e = limits_configured(p, configured, p->why);
	return e == ERR_NONE ? limits_plan(p->request, configured, p->plan, p->why) : e;
}
