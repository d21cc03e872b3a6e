/* wal/salvage_put.c - puts what was found into the archive; and shows it as if it were there. */
#include "wal/archive_internal.h"
#include "wal/salvage_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- putting ---- */

static enum err push(const struct wal_salvage *s, const struct wal_archive *one, const char *name,
		     int level, struct error *why)
{
	struct wal_push_result result;

	return wal_archive_push(s->local.env, one, s->local.dir, name, level, &result, why);
}

/* The path's own history files, as far as the directory has them. */
static enum err put_histories(const struct wal_salvage *s, const struct wal_archive *one, int level,
			      struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i <= s->path.count; i++) {
		struct wal_name name = {.kind = WAL_NAME_HISTORY,
					.timeline = i < s->path.count ? s->path.entry[i].timeline
								      : s->path.timeline};
		char text[WAL_NAME_MAX];
		struct stat st;

		wal_name_to_text(&name, text);
		if (name.timeline > 1 &&
		    s->local.env->files->ops->stat(s->local.env->files, s->local.dir, text,
						   AT_SYMLINK_NOFOLLOW, &st) >= 0)
			e = push(s, one, text, level, why);
	}
	return e;
}

static enum err put_piece(const struct wal_salvage *s, const struct wal_archive *one,
			  const struct salvage_piece *piece, int level, struct error *why)
{
	const struct local_wal *local = &s->local;
	struct wal_name name;
	char text[WAL_NAME_MAX];
	struct bytes content;
	enum err e;

	local_name(local, piece->timeline, piece->segno, &name, text);
	if (piece->bytes == local->segment_bytes)
		return push(s, one, text, level, why);
	e = local_read(local, text, piece->bytes, &content, why);
	if (e == ERR_NONE && content.len < piece->bytes)
		e = error_set(why, ERR_CORRUPT, "\"%s\" became shorter", text);
	return e == ERR_NONE ? wal_put_slice(&one->cluster[0], &name, local->segment_bytes, level,
					     0, piece->bytes, content, why)
			     : e;
}

/* One that was made anew has to know the cluster before it is asked for its WAL. */
static enum err introduce(const struct wal_archive *archive, const struct cluster *cluster,
			  struct error *why)
{
	struct identity identity;
	enum err e = identity_read(cluster, &identity, why);

	for (size_t i = 0; e == ERR_MISSING && i < archive->count; i++)
		if (identity_read(&archive->cluster[i], &identity, why) == ERR_NONE)
			return identity_ensure(cluster, &identity, why);
	return e;
}

static enum err put_into(const struct wal_salvage *s, const struct wal_archive *one, int level,
			 struct progress *progress, struct error *why)
{
	enum err e = introduce(s->local.archive, &one->cluster[0], why);

	if (e == ERR_NONE)
		e = put_histories(s, one, level, why);
	for (size_t i = 0; e == ERR_NONE && i < s->pieces; i++) {
		if (*s->local.env->cancelled)
			return error_set(why, ERR_CANCELLED, "salvaging WAL: stopped on request");
		e = put_piece(s, one, &s->piece[i], level, why);
		progress->done_bytes += s->piece[i].bytes;
		progress->done_items++;
		observer_progress(s->local.env->observer, progress);
	}
	return e;
}

enum err wal_salvage_put(const struct wal_salvage *s, int level, size_t *complete,
			 struct error *why)
{
	const struct wal_archive *archive = s->local.archive;
	struct error first = {.kind = ERR_NONE}, unheard;
	struct progress progress = {.phase = "saving WAL",
				    .total_items = archive->count * s->pieces};
	size_t has_all = 0;

	if (why == NULL)
		why = &unheard;
	for (size_t i = 0; i < s->pieces; i++)
		progress.total_bytes += archive->count * (uint64_t)s->piece[i].bytes;
	for (size_t i = 0; i < archive->count; i++) {
		const struct wal_archive one = {.cluster = {archive->cluster[i]}, .count = 1};
		enum err e = put_into(s, &one, level, &progress, why);

		if (e == ERR_CANCELLED || e == ERR_MEMORY || e == ERR_EXISTS)
			return error_add(why, "salvaging WAL");
		has_all += e == ERR_NONE;
		if (e == ERR_NONE)
			continue;
		observer_event(s->local.env->observer, LEVEL_WARNING,
			       "WAL NOT SALVAGED into %s: %s",
			       one.cluster[0].repository->store->label, why->text);
		if (first.kind == ERR_NONE)
			first = *why;
	}
	if (has_all == 0) {
		*why = first;
		return error_add(why, "salvaging WAL");
	}
	*complete = has_all;
	return ERR_NONE;
}

/* ---- as if it were there ---- */

static const struct salvage_piece *find_piece(const struct wal_salvage *s,
					      const struct wal_name *name)
{
	uint64_t segno;

	if (s == NULL || name->kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(name, s->local.segment_bytes, &segno))
		return NULL;
	for (size_t i = 0; i < s->pieces; i++)
		if (s->piece[i].timeline == name->timeline && s->piece[i].segno == segno)
			return &s->piece[i];
	return NULL;
}

static enum err copy(const struct wal_salvage *s, const struct wal_name *name, size_t bytes,
		     size_t room, uint8_t **out, size_t *len, struct error *why)
{
	char text[WAL_NAME_MAX];
	struct bytes content;
	uint8_t *data;
	enum err e;

	wal_name_to_text(name, text);
	e = local_read(&s->local, text, bytes, &content, why);
	if (e != ERR_NONE)
		return e;
	data = calloc(1, room > content.len ? room : content.len);
	if (data == NULL)
		return error_set(why, ERR_MEMORY, "no memory for \"%s\"", text);
	memcpy(data, content.data, content.len);
	*out = data;
	*len = content.len;
	return ERR_NONE;
}

enum err salvage_list(const struct wal_salvage *s, uint32_t timeline, uint64_t from_segno,
		      enum err (*visit)(void *ctx, const struct wal_listed *, struct error *why),
		      void *ctx, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; s != NULL && e == ERR_NONE && i < s->pieces; i++) {
		const struct salvage_piece *piece = &s->piece[i];
		struct wal_listed listed = {.slice = piece->bytes < s->local.segment_bytes,
					    .to = piece->bytes,
					    .stored_bytes = piece->bytes};

		if (piece->timeline != timeline || piece->segno < from_segno)
			continue;
		wal_segment_name(timeline, piece->segno, s->local.segment_bytes, &listed.name);
		e = visit(ctx, &listed, why);
	}
	return e;
}

enum err salvage_read(const struct wal_salvage *s, const struct wal_name *name, uint8_t **out,
		      size_t *len, struct error *why)
{
	const struct salvage_piece *piece = find_piece(s, name);

	if (piece != NULL && piece->bytes == s->local.segment_bytes)
		return copy(s, name, piece->bytes, 0, out, len, why);
	if (s != NULL && s->adopts && name->kind == WAL_NAME_HISTORY &&
	    name->timeline == s->path.timeline)
		return copy(s, name, HISTORY_FILE_MAX, 0, out, len, why);
	return error_set(why, ERR_MISSING, "not salvaged");
}

enum err salvage_read_slice(const struct wal_salvage *s, const struct wal_name *name, uint8_t **out,
			    uint32_t *valid, struct error *why)
{
	const struct salvage_piece *piece = find_piece(s, name);
	size_t len = 0;
	enum err e;

	if (piece == NULL || piece->bytes == s->local.segment_bytes)
		return error_set(why, ERR_MISSING, "not salvaged");
	e = copy(s, name, piece->bytes, s->local.segment_bytes, out, &len, why);
	if (e == ERR_NONE)
		*valid = (uint32_t)len;
	return e;
}

uint32_t salvage_new_timeline(const struct wal_salvage *s)
{
	return s != NULL && s->adopts && s->found.answer == WAL_SALVAGE_FOUND ? s->path.timeline
									      : 0;
}
