/* restore/places.c - where tablespaces go: the mappings asked for, else below one directory, else
 * their old path.
 *
 * A tablespace is named by its name, its OID or its old path.  Names are in the backup only when
 * the role could open a database (section `tablespaces`).
 */
#include "repo/lines.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES_BYTES_MAX = 1 << 20 };

/* Appends the parts of `rest` to the path in `out`, without empty ones and "."; false when it does
 * not fit or goes up: "missing/.." would be resolved by nobody. */
static bool append_parts(char out[PATH_MAX], const char *rest)
{
	size_t used = strcmp(out, "/") == 0 ? 0 : strlen(out);

	while (*rest != '\0') {
		size_t len = strcspn(rest, "/");

		if (len == 2 && memcmp(rest, "..", 2) == 0)
			return false;
		if (len > 0 && !(len == 1 && *rest == '.')) {
			if (used + 1 + len >= PATH_MAX)
				return false;
			out[used++] = '/';
			memcpy(out + used, rest, len);
			used += len;
			out[used] = '\0';
		}
		rest += len + (rest[len] == '/');
	}
	return true;
}

enum err place_real(const char *path, char out[PATH_MAX], struct error *why)
{
	char head[PATH_MAX], real[PATH_MAX];
	size_t len = strlen(path);

	if (path[0] != '/')
		return error_set(why, ERR_CONFIG, "\"%s\" is no absolute path", path);
	if (len >= sizeof(head))
		return error_set(why, ERR_CONFIG, "a path is longer than %zu bytes: %.100s...",
				 sizeof(head) - 1, path);
	if (strchr(path, '\n') != NULL)
		return error_set(why, ERR_CONFIG, "a path with a newline cannot be configured: %s",
				 path);
	memcpy(head, path, len + 1);
	/* What exists is resolved, what does not is appended. */
	while (realpath(head, real) == NULL) {
		if (errno != ENOENT)
			return error_set_os(why, error_kind_of_os(errno), errno, "\"%s\"", head);
		while (len > 1 && head[len - 1] == '/')
			len--;
		while (len > 1 && head[len - 1] != '/')
			len--;
		head[len] = '\0';
	}
	if (!append_parts(real, path + len))
		return error_set(why, ERR_CONFIG,
				 "\"%s\" goes up from a directory that is missing, or is too long",
				 path);
	memcpy(out, real, strlen(real) + 1);
	return ERR_NONE;
}

bool place_is_within(const char *path, const char *below)
{
	size_t len = strlen(below);

	if (strcmp(below, "/") == 0)
		return true;
	return strncmp(path, below, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

void place_describe(const struct restore_place *place, char out[PLACE_TEXT_MAX])
{
	if (place->name[0] != '\0')
		(void)snprintf(out, PLACE_TEXT_MAX, "%s (%" PRIu32 ")", place->name,
			       place->oid); /* fits */
	else
		(void)snprintf(out, PLACE_TEXT_MAX, "%" PRIu32, place->oid); /* fits */
}

void place_word(const struct restore_place *place, char out[PLACE_TEXT_MAX])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-";
	size_t len = strspn(place->name, plain);

	if (len > 0 && place->name[len] == '\0')
		(void)snprintf(out, PLACE_TEXT_MAX, "%s", place->name); /* fits */
	else
		(void)snprintf(out, PLACE_TEXT_MAX, "%" PRIu32, place->oid); /* fits */
}

/* Names are lines "tablespace OID<TAB>NAME". */
static enum err see_name(void *ctx, const char *name, const char *value, struct error *why)
{
	struct restore_place *place = ctx;
	char *end;
	unsigned long oid = strtoul(value, &end, 10);

	(void)why;
	if (strcmp(name, "tablespace") == 0 && *end == '\t' && oid == place->oid &&
	    strlen(end + 1) < sizeof(place->name))
		(void)snprintf(place->name, sizeof(place->name), "%s", end + 1); /* fits */
	return ERR_NONE;
}

static bool is_named(const struct restore_place *place, const char *wanted)
{
	char oid[16];

	(void)snprintf(oid, sizeof(oid), "%" PRIu32, place->oid); /* fits */
	return strcmp(wanted, place->name) == 0 || strcmp(wanted, oid) == 0 ||
	       strcmp(wanted, place->from) == 0;
}

static enum err place_one(const struct restore_request *request, struct restore_place *place,
			  bool *used, struct error *why)
{
	const char *wanted = NULL;
	char path[PATH_MAX], real[PATH_MAX];
	enum err e;
	int n;

	for (size_t i = 0; i < request->tablespaces; i++) {
		if (!is_named(place, request->tablespace[i].name_or_oid))
			continue;
		used[i] = true;
		wanted = request->tablespace[i].directory;
	}
	if (wanted == NULL && request->tablespace_dir != NULL) {
		n = snprintf(path, sizeof(path), "%s/%" PRIu32, request->tablespace_dir,
			     place->oid);
		if (n < 0 || (size_t)n >= sizeof(path))
			return error_set(why, ERR_CONFIG, "--tablespace-dir is too long");
		wanted = path;
	}
	e = place_real(wanted != NULL ? wanted : place->from, real, why);
	if (e != ERR_NONE)
		return error_add(why, "tablespace %" PRIu32, place->oid);
	if (strlen(real) >= sizeof(place->to))
		return error_set(why, ERR_CONFIG, "tablespace %" PRIu32 ": its path is too long",
				 place->oid);
	memcpy(place->to, real, strlen(real) + 1);
	return ERR_NONE;
}

static enum err refuse_unused(const struct restore_request *request,
			      const struct restore_plan *plan, const bool *used, struct error *why)
{
	char described[PLACE_TEXT_MAX];
	struct writer known;

	for (size_t i = 0; i < request->tablespaces; i++) {
		if (used[i])
			continue;
		(void)error_set(why, ERR_CONFIG,
				"--tablespace %s=%s: the backup has no such "
				"tablespace",
				request->tablespace[i].name_or_oid,
				request->tablespace[i].directory);
		writer_init(&known, ERROR_HINT_MAX);
		for (size_t k = 0; k < plan->tablespaces; k++) {
			place_describe(&plan->tablespace[k], described);
			writer_text(&known, "\n%s at %s", described, plan->tablespace[k].from);
		}
		writer_u8(&known, 0);
		if (plan->tablespaces > 0 && !known.bad)
			error_hint(why, "it has these, to be named by name, OID or old path:%s",
				   (const char *)known.data);
		writer_release(&known);
		return ERR_CONFIG;
	}
	return ERR_NONE;
}

enum err places_resolve(const struct env *env, const struct wal_archive *archive,
			const struct manifest *manifest, const struct restore_request *request,
			struct restore_plan *plan, struct error *why)
{
	const struct summary *s = &manifest->summary;
	pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;
	bool used[RESTORE_TABLESPACES_MAX] = {false};
	struct source source = {
		.env = env, .archive = archive, .manifest = manifest, .speaking = &speaking};
	uint8_t *names = NULL;
	size_t len = 0;
	enum err e = ERR_NONE;

	if (s->tablespaces > 0)
		e = source_section(&source, "tablespaces", NAMES_BYTES_MAX, &names, &len, why);
	/* Where nothing is asked for by name, names are only shown. */
	if (e != ERR_NONE && e != ERR_MISSING && request->tablespaces > 0)
		return e;
	plan->tablespace = calloc(s->tablespaces + 1, sizeof(*plan->tablespace));
	if (plan->tablespace == NULL)
		e = error_set(why, ERR_MEMORY, "restore: out of memory");
	else
		e = ERR_NONE;
	for (size_t i = 0; e == ERR_NONE && i < s->tablespaces; i++) {
		struct restore_place *place = &plan->tablespace[i];

		place->oid = s->tablespace[i].oid;
		(void)snprintf(place->from, sizeof(place->from), "%s", s->tablespace[i].path);
		if (len > 0)
			e = lines_walk(bytes_of(names, len), see_name, place, why);
		if (e == ERR_NONE)
			e = place_one(request, place, used, why);
		if (e == ERR_NONE)
			plan->tablespaces = i + 1;
	}
	if (e == ERR_NONE)
		e = refuse_unused(request, plan, used, why);
	free(names);
	return e;
}
