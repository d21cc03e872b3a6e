/* wal/archive.c - archive-get: one file out, and reading files of the archive for others.
 *
 * Getting decides between three answers that PostgreSQL treats very differently: delivered,
 * proven absent (recovery ends here), and everything else (recovery must stop, not end).  Absence
 * is only proven when every repository answered, knows the cluster, has some WAL, has not the file
 * and nothing later of its timeline.
 */
#include "base/file.h"
#include "wal/archive_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Asks one repository after the other for `name`, until `one` succeeds or sets *final: a failure
 * that is not the repository's. */
typedef enum err ask(void *ctx, const struct cluster *, bool *final, struct error *why);

static enum err ask_each(const struct env *env, const struct wal_archive *archive,
			 const struct wal_name *name, ask *one, void *ctx, struct error *why)
{
	struct error first = {.kind = ERR_NONE};
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	for (size_t i = 0; i < archive->count; i++) {
		const struct cluster *cluster = &archive->cluster[i];
		bool final = false;
		enum err e = one(ctx, cluster, &final, why);

		if (e == ERR_NONE || final)
			return e;
		if (e == ERR_MISSING)
			continue;
		observer_event(env->observer, LEVEL_WARNING, "%s not read from %s: %s", text,
			       cluster->repository->store->label, why->text);
		if (first.kind == ERR_NONE)
			first = *why;
	}
	if (first.kind == ERR_NONE)
		return error_set(why, ERR_MISSING, "%s is not in the archive", text);
	*why = first;
	return first.kind;
}

/* Where a file goes that was asked for. */
struct taker {
	const struct wal_name *name;
	uint32_t segment_bytes;
	ask *one; /* from a repository, whole */
	/* Joined from slices; the memory is taken, also on failure. */
	enum err (*joined)(void *ctx, uint8_t *take_data, size_t len, struct error *why);
	void *ctx;
};

/* Whole as an object, and not that segment. */
static enum err stored_wrong(enum err e, struct error *why)
{
	if (e == ERR_CORRUPT || e == ERR_CONFIG)
		error_hint(why, "the repository has this under the segment's name; what else is "
				"wrong with it: pgagent verify");
	return e;
}

/* Into memory. */
struct reading {
	const struct wal_name *name;
	uint32_t segment_bytes;
	uint8_t *data;
	size_t len;
};

static enum err read_one(void *ctx, const struct cluster *cluster, bool *final, struct error *why)
{
	struct reading *r = ctx;
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = wal_get(cluster, r->name, &data, &len, why);

	(void) final;
	if (e == ERR_NONE && r->name->kind == WAL_NAME_SEGMENT)
		e = stored_wrong(wal_check_segment(cluster, r->name, r->segment_bytes,
						   bytes_of(data, len), why),
				 why);
	if (e != ERR_NONE) {
		free(data);
		return e;
	}
	r->data = data;
	r->len = len;
	return ERR_NONE;
}

static enum err read_joined(void *ctx, uint8_t *take_data, size_t len, struct error *why)
{
	struct reading *r = ctx;

	(void)why;
	r->data = take_data;
	r->len = len;
	return ERR_NONE;
}

enum err archive_read(const struct env *env, const struct wal_archive *archive,
		      const struct wal_name *name, uint32_t segment_bytes, uint8_t **out,
		      size_t *len, struct error *why)
{
	struct reading r = {.name = name, .segment_bytes = segment_bytes};
	/* What is salvaged no repository has. */
	enum err e = salvage_read(archive->salvage, name, &r.data, &r.len, why);

	if (e == ERR_MISSING)
		e = ask_each(env, archive, name, read_one, &r, why);
	if (e == ERR_NONE) {
		*out = r.data;
		*len = r.len;
	}
	return e;
}

/* Into a file on its way to `dest`.  Renamed into place only when it is proven whole: PostgreSQL
 * never sees half a file.  It syncs what it keeps (durable_rename), and fetches again after a
 * crash. */
struct delivery {
	const struct env *env;
	const struct wal_name *name;
	uint32_t segment_bytes;
	int dir;
	const char *dest;
	/* Of the repository that is asked now. */
	const struct cluster *cluster;
	struct wal_checker checker;
	struct file_temp temp;
	bool begun;
	bool failed; /* here, not in the repository */
};

/* The answer "missing" is about the archive, never about a directory of this machine. */
static enum err failed_here(struct delivery *d, enum err e, struct error *why)
{
	d->failed = e != ERR_NONE;
	return e == ERR_MISSING ? (why->kind = ERR_CONFIG) : e;
}

static enum err deliver_begin(void *ctx, uint64_t bytes, struct error *why)
{
	struct delivery *d = ctx;
	enum err e = ERR_NONE;

	if (d->name->kind == WAL_NAME_SEGMENT)
		e = stored_wrong(wal_checker_begin(&d->checker, d->cluster, d->name,
						   d->segment_bytes, bytes, why),
				 why);
	if (e != ERR_NONE)
		return e;
	e = file_temp_begin(&d->temp, d->env->files, d->env->random, d->dir, d->dest, 0600, why);
	d->begun = e == ERR_NONE;
	return failed_here(d, e, why);
}

static enum err deliver_take(void *ctx, struct bytes piece, struct error *why)
{
	struct delivery *d = ctx;
	enum err e = ERR_NONE;

	if (d->name->kind == WAL_NAME_SEGMENT)
		e = stored_wrong(wal_checker_add(&d->checker, piece, why), why);
	if (e != ERR_NONE)
		return e;
	return failed_here(d, file_temp_append(&d->temp, piece, why), why);
}

static enum err deliver_one(void *ctx, const struct cluster *cluster, bool *final,
			    struct error *why)
{
	struct delivery *d = ctx;
	const struct wal_sink sink = {.begin = deliver_begin, .take = deliver_take, .ctx = d};
	enum err e;

	d->cluster = cluster;
	d->begun = false;
	e = wal_get_to(cluster, d->name, &sink, why);
	if (e == ERR_NONE)
		e = failed_here(d, file_temp_replace_unsynced(&d->temp, d->dest, why), why);
	else if (d->begun)
		file_temp_abandon(&d->temp);
	*final = d->failed;
	return e;
}

static enum err deliver_joined(void *ctx, uint8_t *take_data, size_t len, struct error *why)
{
	struct delivery *d = ctx;
	enum err e = file_temp_begin(&d->temp, d->env->files, d->env->random, d->dir, d->dest, 0600,
				     why);

	if (e == ERR_NONE) {
		e = file_temp_append(&d->temp, bytes_of(take_data, len), why);
		if (e == ERR_NONE)
			e = file_temp_replace_unsynced(&d->temp, d->dest, why);
		else
			file_temp_abandon(&d->temp);
	}
	free(take_data);
	return failed_here(d, e, why);
}

/* A repository that has never seen this cluster, or any WAL of it, proves nothing: it was
 * re-created, or the command names the wrong one. */
static enum err refuse_stranger(const struct cluster *cluster, struct error *why)
{
	struct identity identity;
	bool any = false;
	enum err e = identity_read(cluster, &identity, why);

	if (e == ERR_NONE)
		e = wal_any(cluster, &any, why);
	if (e == ERR_NONE && any)
		return ERR_NONE;
	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	(void)error_set(why, ERR_CONFIG,
			"repository %s holds no WAL of cluster %s (system identifier %" PRIu64
			"): it is empty or was re-created, so nothing is proven absent",
			cluster->repository->store->label, cluster->name,
			cluster->system_identifier);
	error_hint(why,
		   "check restore_command's --repo, --config and --cluster; then: pgagent list");
	return ERR_CONFIG;
}

/* Segment `segno`, called `name`, is missing: is anything behind it there? */
static enum err refuse_hole(const struct wal_archive *archive, const struct wal_name *name,
			    uint64_t segno, uint32_t segment_bytes, struct error *why)
{
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	for (size_t i = 0; i < archive->count; i++) {
		bool later = false;
		enum err e = wal_has_later(&archive->cluster[i], name->timeline, segno + 1,
					   segment_bytes, &later, why);

		if (e != ERR_NONE)
			return e;
		if (!later)
			continue;
		(void)error_set(why, ERR_CORRUPT,
				"segment %s is missing from the archive, but later ones are there: "
				"a hole, recovery must not end here",
				text);
		error_hint(why,
			   "push it from another copy of pg_wal (pgagent archive-push), or restore "
			   "to a moment before it: pgagent list shows what is reachable");
		return ERR_CORRUPT;
	}
	return ERR_NONE;
}

enum err archive_read_sliced(const struct wal_archive *archive, const struct wal_name *name,
			     uint32_t segment_bytes, uint8_t **out, uint32_t *valid,
			     struct error *why)
{
	uint8_t *best = NULL;
	uint32_t best_valid = 0;
	enum err salvaged = salvage_read_slice(archive->salvage, name, &best, &best_valid, why);

	if (salvaged != ERR_NONE && salvaged != ERR_MISSING)
		return salvaged;
	/* One that fails might have more than the others: then nothing is answered. */
	for (size_t i = 0; i < archive->count; i++) {
		uint8_t *segment = NULL;
		uint32_t has = 0;
		enum err e = wal_get_sliced(&archive->cluster[i], name, segment_bytes, &segment,
					    &has, why);

		if (e == ERR_MISSING)
			continue;
		if (e != ERR_NONE) {
			free(best);
			return e;
		}
		if (has > best_valid) {
			free(best);
			best = segment;
			best_valid = has;
		} else {
			free(segment);
		}
	}
	if (best == NULL)
		return error_set(why, ERR_MISSING, "no slices in the archive");
	*out = best;
	*valid = best_valid;
	return ERR_NONE;
}

/* Nobody has the file whole.  The open segment of a lost server may be there as slices; else it is
 * proven absent, unless a later one is there. */
static enum err segment_absent(const struct wal_archive *archive, const struct taker *t,
			       struct error *why)
{
	char text[WAL_NAME_MAX];
	uint8_t *data = NULL;
	uint64_t segno;
	uint32_t valid;
	enum err e;

	wal_name_to_text(t->name, text);
	if (!wal_name_segno(t->name, t->segment_bytes, &segno))
		return error_set(why, ERR_CONFIG,
				 "no segment %s with segments of %" PRIu32 " bytes", text,
				 t->segment_bytes);
	e = refuse_hole(archive, t->name, segno, t->segment_bytes, why);
	if (e == ERR_NONE)
		e = archive_read_sliced(archive, t->name, t->segment_bytes, &data, &valid, why);
	if (e == ERR_NONE)
		e = t->joined(t->ctx, data, t->segment_bytes, why);
	return e;
}

/* From a repository, or joined, or proven absent. */
static enum err find(const struct env *env, const struct wal_archive *archive,
		     const struct taker *t, struct error *why)
{
	char text[WAL_NAME_MAX];
	enum err e = ask_each(env, archive, t->name, t->one, t->ctx, why);

	if (e != ERR_MISSING)
		return e;
	wal_name_to_text(t->name, text);
	e = ERR_NONE;
	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++)
		e = refuse_stranger(&archive->cluster[i], why);
	if (e != ERR_NONE)
		return e;
	e = ERR_MISSING;
	if (t->name->kind == WAL_NAME_SEGMENT)
		e = segment_absent(archive, t, why);
	if (e == ERR_CORRUPT) {
		struct error hole = *why;

		/* It and its successor may have come between the two looks. */
		e = ask_each(env, archive, t->name, t->one, t->ctx, why);
		if (e == ERR_MISSING) {
			*why = hole;
			return ERR_CORRUPT;
		}
	}
	if (e == ERR_MISSING)
		return error_set(why, ERR_MISSING,
				 "%s is not in the archive, nor is anything later", text);
	return e;
}

enum err wal_archive_read(const struct env *env, const struct wal_archive *archive,
			  const struct wal_name *name, uint32_t segment_bytes, uint8_t **out,
			  size_t *len, struct error *why)
{
	struct reading r = {.name = name, .segment_bytes = segment_bytes};
	const struct taker taker = {.name = name,
				    .segment_bytes = segment_bytes,
				    .one = read_one,
				    .joined = read_joined,
				    .ctx = &r};
	enum err e = find(env, archive, &taker, why);

	if (e == ERR_NONE) {
		*out = r.data;
		*len = r.len;
	}
	return e;
}

struct leftovers {
	struct files *files;
	int dir;
};

static int remove_leftover(void *ctx, const char *name, mode_t type)
{
	const struct leftovers *l = ctx;

	if (S_ISREG(type) && file_temp_is_left(name))
		(void)l->files->ops->unlink(l->files, l->dir, name, 0); /* else the next one will */
	return 0;
}

/* What an archive-get that was killed left beside the destination: nobody else clears up in pg_wal.  A
 * living one's is spared, since whoever fetches into a pg_wal runs where its server runs, and is seen. */
static void remove_leftovers(const struct env *env, int dir, const char *dest)
{
	struct leftovers l = {.files = env->files};
	char parent[PATH_MAX];

	if (file_parent(dest, parent, NULL) != ERR_NONE)
		return;
	l.dir = l.files->ops->open(l.files, dir, parent, O_RDONLY | O_DIRECTORY, 0);
	if (l.dir < 0)
		return; /* whoever writes there finds out, and says so */
	(void)l.files->ops->list(l.files, l.dir, ".", remove_leftover, &l); /* best effort */
	(void)l.files->ops->close(l.files, l.dir);                          /* a directory */
}

enum err wal_archive_get(const struct env *env, const struct wal_archive *archive,
			 const struct wal_name *name, uint32_t segment_bytes, int dir,
			 const char *dest, struct error *why)
{
	struct delivery d = {
		.env = env, .name = name, .segment_bytes = segment_bytes, .dir = dir, .dest = dest};
	const struct taker taker = {.name = name,
				    .segment_bytes = segment_bytes,
				    .one = deliver_one,
				    .joined = deliver_joined,
				    .ctx = &d};

	remove_leftovers(env, dir, dest);
	return find(env, archive, &taker, why);
}
