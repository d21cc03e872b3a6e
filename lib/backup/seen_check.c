/* backup/seen_check.c - the server's manifest, read while it comes, against what was received. */
#include "backup/backup_internal.h"
#include "pgformat/incremental.h"

enum { SERVER_MANIFEST_MAX = 1 << 30 /* bytes; ten million files */ };

struct checking {
	struct seen *seen;
	bool composed; /* INCREMENTAL files were put together with others */
	struct backup_manifest_range range[IMAGE_RANGES_MAX];
	size_t ranges;
};

static enum err match_file(void *ctx, const struct backup_manifest_file *file, struct error *why)
{
	const struct checking *c = ctx;
	const char *path = file->path;
	char stands_for[FILE_PATH_MAX];

	if (c->composed && incremental_path(path, stands_for, sizeof(stands_for)))
		path = stands_for;
	return seen_match(c->seen, path, file->size, file->has_crc32c, file->crc32c, why);
}

static enum err match_range(void *ctx, const struct backup_manifest_range *range, struct error *why)
{
	struct checking *c = ctx;

	if (c->ranges == IMAGE_RANGES_MAX)
		return error_set(why, ERR_LIMIT,
				 "the server's manifest has more than %d WAL ranges",
				 IMAGE_RANGES_MAX);
	c->range[c->ranges++] = *range;
	return ERR_NONE;
}

/* The bytes of the manifest, to the reader and, where they are kept, into the section. */
static enum err read_manifest(struct base_backup *source, struct backup_manifest_reader *reader,
			      struct pack_writer *keep, struct error *why)
{
	uint64_t bytes = 0;

	for (;;) {
		struct bytes piece;
		enum err e = base_backup_read_manifest(source, &piece, why);

		if (e != ERR_NONE || piece.len == 0)
			return e;
		bytes += piece.len;
		if (bytes > SERVER_MANIFEST_MAX)
			return error_set(why, ERR_LIMIT, "the server's manifest is above %d bytes",
					 SERVER_MANIFEST_MAX);
		e = backup_manifest_reader_take(reader, piece, why);
		if (e == ERR_NONE && keep != NULL)
			e = pack_section_add(keep, SECTION_SERVER_MANIFEST, piece, why);
		if (e != ERR_NONE)
			return e;
	}
}

enum err seen_check(struct seen *seen, struct base_backup *source, struct pack_writer *packs,
		    struct image *image, struct error *why)
{
	struct checking c = {.seen = seen, .composed = image != NULL};
	struct backup_manifest_visitor visitor = {
		.ctx = &c, .file = match_file, .range = match_range};
	struct backup_manifest_summary summary;
	struct backup_manifest_reader *reader = NULL;
	enum err e = backup_manifest_reader_new(&visitor, &reader, why);

	if (e == ERR_NONE)
		e = read_manifest(source, reader, image == NULL ? packs : NULL, why);
	if (e == ERR_NONE)
		e = backup_manifest_reader_end(reader, &summary, why);
	if (e == ERR_NONE)
		e = seen_all_matched(seen, why);
	if (e == ERR_NONE && image != NULL)
		e = image_finish(image, c.range, c.ranges, why);
	backup_manifest_reader_free(reader);
	return e;
}
