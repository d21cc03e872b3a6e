/* repo/wal_object.c - names of WAL objects, and whether a segment is what its name says. */
#include "pgformat/page.h"
#include "repo/wal_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

void wal_key(const struct cluster *cluster, const struct wal_name *name, char out[STORE_KEY_MAX])
{
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	if (name->kind == WAL_NAME_HISTORY)
		(void)snprintf(out, STORE_KEY_MAX, "%swal/%s", cluster->prefix, text); /* fits */
	else
		(void)snprintf(out, STORE_KEY_MAX, "%swal/%08" PRIX32 "/%08" PRIX32 "/%s",
			       cluster->prefix, name->timeline, name->log, text); /* fits */
}

void wal_slice_key(const struct cluster *cluster, const struct wal_name *name, uint32_t from,
		   uint32_t to, char out[STORE_KEY_MAX])
{
	size_t len;

	wal_key(cluster, name, out);
	len = strlen(out);
	(void)snprintf(out + len, STORE_KEY_MAX - len, ".%08" PRIX32 "-%08" PRIX32, from,
		       to); /* fits */
}

enum object_class wal_class_of(enum wal_name_kind kind)
{
	switch (kind) {
	case WAL_NAME_SEGMENT:
		return OBJECT_WAL_SEGMENT;
	case WAL_NAME_PARTIAL:
		return OBJECT_WAL_PARTIAL;
	case WAL_NAME_HISTORY:
	case WAL_NAME_BACKUP:
		break;
	}
	return OBJECT_WAL_SMALL;
}

static enum err bad_segment(struct error *why, const struct wal_name *name, const char *what)
{
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	return error_set(why, ERR_CORRUPT, "WAL segment %s: %s", text, what);
}

/* The first page decides whose segment it is. */
static enum err check_first_page(const struct wal_checker *c, struct bytes content,
				 struct error *why)
{
	const struct cluster *cluster = c->cluster;
	struct wal_page page;
	char text[WAL_NAME_MAX];

	wal_name_to_text(c->name, text);
	if (!wal_page_decode(bytes_of(content.data, WAL_PAGE_BYTES), &page) ||
	    page.header_bytes != 40)
		return bad_segment(why, c->name,
				   "its first page is no WAL page of PostgreSQL 15-18");
	if (page.system_identifier != cluster->system_identifier)
		return error_set(why, ERR_CONFIG,
				 "WAL segment %s belongs to system identifier %" PRIu64
				 ", not to cluster %s (%" PRIu64 ")",
				 text, page.system_identifier, cluster->name,
				 cluster->system_identifier);
	if (page.segment_bytes != c->segment_bytes)
		return bad_segment(why, c->name, "its header names another segment size");
	if (page.address.value != c->at)
		return bad_segment(why, c->name,
				   "its pages have another address: the file has a wrong name");
	if (page.timeline > c->name->timeline)
		return bad_segment(why, c->name, "its first page is of a later timeline");
	return ERR_NONE;
}

enum err wal_checker_begin(struct wal_checker *c, const struct cluster *cluster,
			   const struct wal_name *name, uint32_t segment_bytes, uint64_t bytes,
			   struct error *why)
{
	uint64_t segno;

	if (!wal_name_segno(name, segment_bytes, &segno))
		return bad_segment(why, name, "no such name with this segment size");
	if (bytes != segment_bytes)
		return bad_segment(why, name, "its size is not the segment size");
	*c = (struct wal_checker){.cluster = cluster,
				  .name = name,
				  .segment_bytes = segment_bytes,
				  .at = wal_segment_start(segno, segment_bytes).value,
				  .first = true};
	return ERR_NONE;
}

enum err wal_checker_add(struct wal_checker *c, struct bytes piece, struct error *why)
{
	enum err e = c->first ? check_first_page(c, piece, why) : ERR_NONE;

	assert(piece.len % WAL_PAGE_BYTES == 0);
	if (e != ERR_NONE || c->name->kind == WAL_NAME_PARTIAL) {
		c->first = false;
		return e;
	}
	for (size_t at = 0; at < piece.len; at += WAL_PAGE_BYTES, c->at += WAL_PAGE_BYTES) {
		struct wal_page page;
		struct bytes in = bytes_of(piece.data + at, WAL_PAGE_BYTES);
		bool first = c->first;

		c->first = false;
		if (first ||
		    (!c->ended && wal_page_decode(in, &page) && page.address.value == c->at))
			continue;
		/* After a switch the server leaves the rest zero; nothing may follow. */
		if (!bytes_are_zero(in))
			return bad_segment(why, c->name,
					   "a page inside it is torn or from another segment");
		c->ended = true;
	}
	return ERR_NONE;
}

enum err wal_check_segment(const struct cluster *cluster, const struct wal_name *name,
			   uint32_t segment_bytes, struct bytes content, struct error *why)
{
	struct wal_checker c;
	enum err e = wal_checker_begin(&c, cluster, name, segment_bytes, content.len, why);

	return e == ERR_NONE ? wal_checker_add(&c, content, why) : e;
}

enum err wal_is_there(const struct cluster *cluster, const struct wal_name *name, struct error *why)
{
	struct store *store = cluster->repository->store;
	struct store_object object;
	char key[STORE_KEY_MAX];
	enum err e;

	wal_key(cluster, name, key);
	e = store_stat(store, key, &object, why);
	/* Whoever stores it may be about to sync it. */
	return e == ERR_NONE ? store_confirm(store, key, why) : e;
}
