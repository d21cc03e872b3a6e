/* backup/image.c - the backup_manifest of a backup that was put together: no server has one of it.
 *
 * It is what pg_verifybackup judges a restored directory by, and what the server gets as the manifest
 * of the backup before when the next incremental one is taken.
 */
#include "backup/backup_internal.h"
#include "crypto/crypto.h"

#include <stdlib.h>

enum {
	IMAGE_PIECE_MAX = 64 << 10 /* bytes of one entry: a path, all of it escaped, is far below */
};

struct image {
	struct pack_writer *packs;
	struct sha256 *sum;
	struct writer piece;
	bool has_file;
};

enum err image_new(struct pack_writer *packs, uint64_t system_identifier, struct image **out,
		   struct error *why)
{
	struct image *image = calloc(1, sizeof(*image));
	enum err e;

	if (image == NULL)
		return error_set(why, ERR_MEMORY, "backup manifest: out of memory");
	image->packs = packs;
	writer_init(&image->piece, IMAGE_PIECE_MAX);
	backup_manifest_begin(&image->piece, system_identifier);
	e = sha256_new(&image->sum, why);
	if (e == ERR_NONE)
		e = sha256_start(image->sum, why);
	if (e != ERR_NONE) {
		image_free(image);
		return e;
	}
	*out = image;
	return ERR_NONE;
}

void image_free(struct image *image)
{
	if (image == NULL)
		return;
	sha256_free(image->sum);
	writer_release(&image->piece);
	free(image);
}

/* What was written goes into the section. */
static enum err emit(struct image *image, bool summed, struct error *why)
{
	struct bytes piece = writer_view(&image->piece);
	enum err e = ERR_NONE;

	if (image->piece.bad)
		return error_set(why, ERR_LIMIT, "backup manifest: an entry does not fit");
	if (summed)
		e = sha256_add(image->sum, piece, why);
	if (e == ERR_NONE)
		e = pack_section_add(image->packs, SECTION_SERVER_MANIFEST, piece, why);
	writer_reset(&image->piece);
	return e;
}

enum err image_add(struct image *image, const struct file_record *file, struct error *why)
{
	const struct backup_manifest_entry entry = {.path = file->path,
						    .size = file->size,
						    .modified_s = file->modified_s,
						    .crc32c = file->crc};

	backup_manifest_add(&image->piece, !image->has_file, &entry);
	image->has_file = true;
	return emit(image, true, why);
}

enum err image_finish(struct image *image, const struct backup_manifest_range *range, size_t ranges,
		      struct error *why)
{
	uint8_t sum[CRYPTO_SHA256_BYTES];
	enum err e;

	backup_manifest_ranges(&image->piece, range, ranges);
	e = emit(image, true, why);
	if (e == ERR_NONE)
		e = sha256_end(image->sum, sum, why);
	if (e != ERR_NONE)
		return e;
	backup_manifest_finish(&image->piece, sum);
	return emit(image, false, why);
}
