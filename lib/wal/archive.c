/* wal/archive.c - archive-push and archive-get: one file in, one file out.
 *
 * Getting decides between three answers that PostgreSQL treats very differently: delivered,
 * proven absent (recovery ends here), and everything else (recovery must stop, not end).  Absence
 * is only proven when every repository answered, knows the cluster, has some WAL, has not the file
 * and nothing later of its timeline.
 */
#include "base/file.h"
#include "base/text.h"
#include "wal/archive_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAL_SMALL_FILE_MAX = 1 << 20 /* bytes of .history and .backup files */ };

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static bool is_segment_like(enum wal_name_kind kind)
{
	return kind == WAL_NAME_SEGMENT || kind == WAL_NAME_PARTIAL;
}

/* The segment size that a repository states; 0 when it has no identity yet (the first push ever) or
 * does not answer, which storing into it will then tell. */
static enum err stated_segment_bytes(const struct cluster *cluster, uint32_t *out,
				     struct error *why)
{
	struct identity identity;
	enum err e = identity_read(cluster, &identity, why);

	*out = e == ERR_NONE ? identity.wal_segment_bytes : 0;
	return e == ERR_CORRUPT || e == ERR_WRONG_KEY || e == ERR_CONFIG || e == ERR_MEMORY
		       ? e
		       : ERR_NONE;
}

/* What the file says about itself has to be right before a byte of it is stored.  *segment_bytes:
 * of a segment, or what the repositories state; 0 = nobody knows. */
static enum err check_file(const struct wal_archive *archive, const struct wal_name *name,
			   struct bytes content, uint32_t *segment_bytes, struct error *why)
{
	*segment_bytes = 0;
	if (content.len == 0)
		return error_set(why, ERR_CORRUPT, "the file is empty; nothing was stored");
	for (size_t i = 0; i < archive->count; i++) {
		uint32_t stated;
		enum err e = stated_segment_bytes(&archive->cluster[i], &stated, why);

		if (e != ERR_NONE)
			return e;
		if (stated == 0 && is_segment_like(name->kind))
			stated = (uint32_t)content.len;
		if (stated != 0)
			*segment_bytes = stated;
		if (!is_segment_like(name->kind))
			continue;
		if (!wal_is_segment_bytes(stated))
			return error_set(why, ERR_CORRUPT,
					 "%zu bytes: no size of a segment; nothing was stored",
					 content.len);
		e = wal_check_segment(&archive->cluster[i], name, stated, content, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

/* One repository that fails must not keep the file from the others; the first failure is the answer. */
static enum err put_everywhere(const struct env *env, const struct wal_archive *archive,
			       const struct wal_name *name, uint32_t segment_bytes, int level,
			       struct bytes content, struct wal_push_result *result,
			       struct error *why)
{
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < archive->count; i++) {
		enum wal_put_result one;
		enum err e = wal_put(&archive->cluster[i], name, segment_bytes, level, content,
				     &one, why);

		if (e == ERR_NONE && one == WAL_PUT_NEW)
			result->stored++;
		else if (e == ERR_NONE)
			result->same++;
		else if (first.kind == ERR_NONE)
			first = *why;
		else
			observer_event(env->observer, LEVEL_WARNING, "nor stored in %s: %s",
				       archive->cluster[i].repository->store->label, why->text);
	}
	result->bytes = content.len;
	if (first.kind != ERR_NONE)
		*why = first;
	return first.kind;
}

enum err wal_archive_push(const struct env *env, const struct wal_archive *archive, int dir,
			  const char *path, int level, struct wal_push_result *result,
			  struct error *why)
{
	struct wal_push_result got = {.bytes = 0};
	struct wal_name name;
	uint8_t *data = NULL;
	size_t len = 0;
	uint32_t segment_bytes = 0;
	enum err e = wal_name_from_text(last_part(path), &name, why);

	if (e != ERR_NONE)
		return error_add(why, "archive-push \"%s\"", path);
	e = file_read_all(env->files, dir, path,
			  is_segment_like(name.kind) ? WAL_SEGMENT_BYTES_MAX : WAL_SMALL_FILE_MAX,
			  &data, &len, why);
	if (e == ERR_NONE)
		e = check_file(archive, &name, bytes_of(data, len), &segment_bytes, why);
	if (e == ERR_NONE)
		e = put_everywhere(env, archive, &name, segment_bytes, level, bytes_of(data, len),
				   &got, why);
	free(data);
	if (e == ERR_CORRUPT || e == ERR_LIMIT)
		return error_add(why, "archive-push \"%s\"", path);
	if (e == ERR_NONE)
		*result = got;
	return e;
}

enum err archive_read(const struct env *env, const struct wal_archive *archive,
		      const struct wal_name *name, uint32_t segment_bytes, uint8_t **out,
		      size_t *len, struct error *why)
{
	struct error first = {.kind = ERR_NONE};
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	for (size_t i = 0; i < archive->count; i++) {
		const struct cluster *cluster = &archive->cluster[i];
		uint8_t *data = NULL;
		size_t data_len = 0;
		enum err e = wal_get(cluster, name, &data, &data_len, why);

		if (e == ERR_NONE && name->kind == WAL_NAME_SEGMENT)
			e = wal_check_segment(cluster, name, segment_bytes,
					      bytes_of(data, data_len), why);
		if (e == ERR_NONE) {
			*out = data;
			*len = data_len;
			return ERR_NONE;
		}
		free(data);
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
static enum err segment_absent(const struct wal_archive *archive, const struct wal_name *name,
			       uint32_t segment_bytes, uint8_t **out, size_t *len,
			       struct error *why)
{
	char text[WAL_NAME_MAX];
	uint64_t segno;
	uint32_t valid;
	enum err e;

	wal_name_to_text(name, text);
	if (!wal_name_segno(name, segment_bytes, &segno))
		return error_set(why, ERR_CONFIG,
				 "no segment %s with segments of %" PRIu32 " bytes", text,
				 segment_bytes);
	e = refuse_hole(archive, name, segno, segment_bytes, why);
	if (e == ERR_NONE)
		e = archive_read_sliced(archive, name, segment_bytes, out, &valid, why);
	if (e == ERR_NONE)
		*len = segment_bytes;
	return e;
}

enum err wal_archive_read(const struct env *env, const struct wal_archive *archive,
			  const struct wal_name *name, uint32_t segment_bytes, uint8_t **out,
			  size_t *len, struct error *why)
{
	char text[WAL_NAME_MAX];
	enum err e = archive_read(env, archive, name, segment_bytes, out, len, why);

	if (e != ERR_MISSING)
		return e;
	wal_name_to_text(name, text);
	e = ERR_NONE;
	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++)
		e = refuse_stranger(&archive->cluster[i], why);
	if (e != ERR_NONE)
		return e;
	e = ERR_MISSING;
	if (name->kind == WAL_NAME_SEGMENT)
		e = segment_absent(archive, name, segment_bytes, out, len, why);
	if (e == ERR_CORRUPT) {
		struct error hole = *why;

		/* It and its successor may have come between the two looks. */
		e = archive_read(env, archive, name, segment_bytes, out, len, why);
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

enum err wal_archive_get(const struct env *env, const struct wal_archive *archive,
			 const struct wal_name *name, uint32_t segment_bytes, int dir,
			 const char *dest, struct error *why)
{
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = wal_archive_read(env, archive, name, segment_bytes, &data, &len, why);

	if (e != ERR_NONE)
		return e;
	/* Renamed into place: PostgreSQL never sees half a file.  It syncs what it keeps
	 * (durable_rename), and fetches again after a crash. */
	e = file_replace_unsynced(env->files, env->random, dir, dest, bytes_of(data, len), 0600,
				  why);
	/* The answer "missing" is about the archive, never about a directory of this machine. */
	if (e == ERR_MISSING)
		e = why->kind = ERR_CONFIG;
	free(data);
	return e;
}
