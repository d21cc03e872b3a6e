/* wal/archive.c - archive-push and archive-get: one file in, one file out.
 *
 * Getting decides between three answers that PostgreSQL treats very differently: delivered,
 * proven absent (recovery ends here), and everything else (recovery must stop, not end).  Absence
 * is only proven when every repository answered, knows the cluster, has some WAL, has not the file
 * and nothing later of its timeline.
 */
#include "wal/archive.h"
#include "base/file.h"
#include "base/text.h"

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

/* What the file says about itself has to be right before a byte of it is stored. */
static enum err check_file(const struct wal_archive *archive, const struct wal_name *name,
			   struct bytes content, struct error *why)
{
	if (content.len == 0)
		return error_set(why, ERR_CORRUPT, "%s is empty; nothing was stored",
				 name->kind == WAL_NAME_HISTORY ? "timeline history file"
								: "WAL file");
	if (!is_segment_like(name->kind))
		return ERR_NONE;
	for (size_t i = 0; i < archive->count; i++) {
		struct identity identity;
		enum err e = identity_read(&archive->cluster[i], &identity, why);

		/* No identity yet: the first push ever; the size itself must then make sense. */
		if (e == ERR_MISSING)
			identity.wal_segment_bytes = (uint32_t)content.len;
		else if (e != ERR_NONE)
			return e;
		if (!wal_is_segment_bytes(identity.wal_segment_bytes))
			return error_set(why, ERR_CORRUPT,
					 "WAL segment of %zu bytes: no size of a segment; nothing "
					 "was stored",
					 content.len);
		e = wal_check_segment(&archive->cluster[i], name, identity.wal_segment_bytes,
				      content, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

enum err wal_archive_push(const struct env *env, const struct wal_archive *archive, int dir,
			  const char *path, int level, struct wal_push_result *result,
			  struct error *why)
{
	struct wal_push_result got = {.bytes = 0};
	struct wal_name name;
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = wal_name_from_text(last_part(path), &name, why);

	if (e != ERR_NONE)
		return error_add(why, "archive-push \"%s\"", path), e;
	e = file_read_all(env->files, dir, path,
			  is_segment_like(name.kind) ? WAL_SEGMENT_BYTES_MAX : WAL_SMALL_FILE_MAX,
			  &data, &len, why);
	if (e == ERR_NONE)
		e = check_file(archive, &name, bytes_of(data, len), why);
	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++) {
		enum wal_put_result one;

		e = wal_put(&archive->cluster[i], &name, (uint32_t)len, level, bytes_of(data, len),
			    &one, why);
		if (e == ERR_NONE && one == WAL_PUT_NEW)
			got.stored++;
		else if (e == ERR_NONE)
			got.same++;
	}
	got.bytes = len;
	free(data);
	if (e == ERR_NONE)
		*result = got;
	return e;
}

/* Writes beside `dest`, fsyncs, renames into place: PostgreSQL never sees half a file. */
static enum err deliver(const struct env *env, int dir, const char *dest, struct bytes content,
			struct error *why)
{
	return file_replace(env->files, env->random, dir, dest, content, 0600, why);
}

/* Looks at one repository.  ERR_MISSING: it answered and has it not. */
static enum err get_from(const struct env *env, const struct cluster *cluster,
			 const struct wal_name *name, uint32_t segment_bytes, int dir,
			 const char *dest, struct error *why)
{
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = wal_get(cluster, name, &data, &len, why);

	if (e == ERR_NONE && name->kind == WAL_NAME_SEGMENT)
		e = wal_check_segment(cluster, name, segment_bytes, bytes_of(data, len), why);
	if (e == ERR_NONE)
		e = deliver(env, dir, dest, bytes_of(data, len), why);
	free(data);
	return e;
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

static enum err refuse_hole(const struct wal_archive *archive, const struct wal_name *name,
			    uint32_t segment_bytes, struct error *why)
{
	char text[WAL_NAME_MAX];
	uint64_t segno;

	wal_name_to_text(name, text);
	if (!wal_name_segno(name, segment_bytes, &segno))
		return error_set(why, ERR_CONFIG,
				 "no segment %s with segments of %" PRIu32 " bytes", text,
				 segment_bytes);
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

/* The open segment of a lost server, as far as slices of it were shipped. */
static enum err get_sliced(const struct env *env, const struct wal_archive *archive,
			   const struct wal_name *name, uint32_t segment_bytes, int dir,
			   const char *dest, struct error *why)
{
	uint8_t *best = NULL;
	uint32_t best_valid = 0;
	enum err e = ERR_NONE;

	for (size_t i = 0; i < archive->count; i++) {
		uint8_t *segment = NULL;
		uint32_t valid = 0;

		e = wal_get_sliced(&archive->cluster[i], name, segment_bytes, &segment, &valid,
				   why);
		if (e == ERR_MISSING)
			continue;
		if (e != ERR_NONE)
			goto out;
		if (valid > best_valid) {
			free(best);
			best = segment;
			best_valid = valid;
		} else {
			free(segment);
		}
	}
	e = best == NULL ? ERR_MISSING
			 : deliver(env, dir, dest, bytes_of(best, segment_bytes), why);
out:
	free(best);
	return e;
}

enum err wal_archive_get(const struct env *env, const struct wal_archive *archive,
			 const struct wal_name *name, uint32_t segment_bytes, int dir,
			 const char *dest, struct error *why)
{
	struct error first = {.kind = ERR_NONE};
	char text[WAL_NAME_MAX];
	enum err e;

	wal_name_to_text(name, text);
	for (size_t i = 0; i < archive->count; i++) {
		e = get_from(env, &archive->cluster[i], name, segment_bytes, dir, dest, why);
		if (e == ERR_NONE)
			return ERR_NONE;
		if (e == ERR_MISSING)
			continue;
		observer_event(env->observer, LEVEL_WARNING, "%s not delivered from %s: %s", text,
			       archive->cluster[i].repository->store->label, why->text);
		if (first.kind == ERR_NONE)
			first = *why;
	}
	/* Some repository did not answer whole: nothing is proven. */
	if (first.kind != ERR_NONE) {
		*why = first;
		return first.kind;
	}
	for (size_t i = 0; i < archive->count; i++) {
		e = refuse_stranger(&archive->cluster[i], why);
		if (e != ERR_NONE)
			return e;
	}
	if (name->kind == WAL_NAME_SEGMENT) {
		e = refuse_hole(archive, name, segment_bytes, why);
		if (e == ERR_NONE)
			e = get_sliced(env, archive, name, segment_bytes, dir, dest, why);
		if (e != ERR_MISSING)
			return e;
	}
	return error_set(why, ERR_MISSING, "%s is not in the archive, nor is anything later", text);
}
