/* repo/file_record.c - records of the file table (FORMAT.md section 9). */
#include "repo/manifest_internal.h"

enum {
	SHARD_REF_BYTES = FILE_SHARD_REF_BYTES,
	RECORD_CRC_AT = 24,
	MODE_BITS = 07777,
	LINK_TARGET_MAX = 4096,
	RECORD_HEAD_BYTES = 4 /* its own length */
};

void put_frame_ref(uint8_t at[FRAME_REF_BYTES], uint32_t pack, const struct frame_place *place)
{
	put_u32(at, pack);
	put_u32(at + 4, place->ordinal);
	put_u64(at + 8, place->offset);
	put_u32(at + 16, place->stored_len);
	put_u32(at + 20, place->plain_len);
}

void get_frame_ref(const uint8_t at[FRAME_REF_BYTES], uint32_t *pack, struct frame_place *place)
{
	*pack = get_u32(at);
	place->ordinal = get_u32(at + 4);
	place->offset = get_u64(at + 8);
	place->stored_len = get_u32(at + 16);
	place->plain_len = get_u32(at + 20);
}

void file_shard_ref_decode(const uint8_t *at, struct file_shard_ref *out)
{
	get_frame_ref(at, &out->pack, &out->place);
	out->offset = get_u32(at + FRAME_REF_BYTES);
	out->len = get_u32(at + FRAME_REF_BYTES + 4);
}

void file_shard_ref_encode(const struct file_shard_ref *ref, uint8_t at[SHARD_REF_BYTES])
{
	put_frame_ref(at, ref->pack, &ref->place);
	put_u32(at + FRAME_REF_BYTES, ref->offset);
	put_u32(at + FRAME_REF_BYTES + 4, ref->len);
}

void file_record_encode(const struct file_record *f, struct writer *out)
{
	static const uint8_t nothing[SHARD_REF_BYTES];
	size_t start = out->len;

	writer_u32(out, 0); /* the length, known below */
	writer_u8(out, (uint8_t)f->kind);
	writer_u8(out, f->flags);
	writer_u16(out, f->mode);
	writer_u64(out, f->size);
	writer_u64(out, (uint64_t)f->modified_s);
	writer_u32(out, f->crc);
	writer_short_bytes(out, f->path);
	writer_short_bytes(out, f->target);
	writer_u32(out, f->shards);
	if (f->shard_refs != NULL)
		writer_bytes(out, bytes_of(f->shard_refs, (size_t)f->shards * SHARD_REF_BYTES));
	for (uint32_t i = 0; f->shard_refs == NULL && i < f->shards; i++)
		writer_bytes(out, bytes_of(nothing, SHARD_REF_BYTES));
	if (!out->bad)
		put_u32(out->data + start, (uint32_t)(out->len - start));
}

void file_record_set_crc(uint8_t *record, uint32_t crc)
{
	put_u32(record + RECORD_CRC_AT, crc);
}

static enum err corrupt(struct error *why, const struct file_record *f, const char *what)
{
	return error_set(why, ERR_CORRUPT, "file table: record of '%.*s': %s",
			 (int)(f->path.len > 200 ? 200 : f->path.len),
			 f->path.data ? (const char *)f->path.data : "", what);
}

static bool is_path(struct bytes path)
{
	size_t start = 0;

	if (path.len == 0 || path.len >= FILE_PATH_MAX || memchr(path.data, '\0', path.len))
		return false;
	for (size_t i = 0; i <= path.len; i++) {
		const uint8_t *part = path.data + start;
		size_t len = i - start;

		if (i < path.len && path.data[i] != '/')
			continue;
		if (len == 0 || (len == 1 && part[0] == '.') ||
		    (len == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		start = i + 1;
	}
	return true;
}

static enum err check_shards(const struct file_record *f, struct error *why)
{
	/* ceil without overflow */
	uint64_t wanted = f->size / SHARD_FILE_BYTES + (f->size % SHARD_FILE_BYTES != 0);

	if (f->shards != wanted)
		return corrupt(why, f, "its shards are not as many as its size needs");
	for (uint32_t i = 0; i < f->shards; i++) {
		struct file_shard_ref ref;

		file_shard_ref_decode(f->shard_refs + (size_t)i * SHARD_REF_BYTES, &ref);
		if (ref.place.plain_len > FRAME_SECTION_MAX || ref.len == 0 ||
		    ref.len > SHARD_ENCODED_MAX || ref.offset > ref.place.plain_len ||
		    ref.len > ref.place.plain_len - ref.offset)
			return corrupt(why, f, "a shard does not lie in its frame");
	}
	return ERR_NONE;
}

static enum err check_record(const struct file_record *f, uint8_t kind, struct error *why)
{
	bool link = kind == FILE_SYMLINK;

	if (!is_path(f->path))
		return corrupt(why, f, "this is no path below the data directory");
	if (kind != FILE_PLAIN && kind != FILE_DIRECTORY && kind != FILE_SYMLINK)
		return corrupt(why, f, "its kind is not known");
	if (f->mode & ~MODE_BITS)
		return corrupt(why, f, "its mode has unknown bits");
	if (link != (f->target.len > 0) || f->target.len >= LINK_TARGET_MAX ||
	    (f->target.len && memchr(f->target.data, '\0', f->target.len)))
		return corrupt(why, f, "its link target makes no sense");
	if (kind != FILE_PLAIN && (f->size != 0 || f->crc != 0))
		return corrupt(why, f, "it is no file and has a size");
	return check_shards(f, why);
}

enum err file_record_decode(struct reader *r, struct file_record *out, struct error *why)
{
	struct file_record f = {.path = {NULL, 0}};
	struct reader in = *r, record;
	uint32_t len = reader_u32(&in);
	struct bytes refs;
	uint8_t kind;
	enum err err;

	if (in.bad || len < RECORD_HEAD_BYTES || len - RECORD_HEAD_BYTES > in.left)
		return corrupt(why, &f, "it ends beyond its frame");
	record = reader_of(reader_take(&in, len - RECORD_HEAD_BYTES));
	kind = reader_u8(&record);
	f.kind = (enum file_kind)kind;
	f.flags = reader_u8(&record);
	f.mode = reader_u16(&record);
	f.size = reader_u64(&record);
	f.modified_s = (int64_t)reader_u64(&record);
	f.crc = reader_u32(&record);
	f.path = reader_short_bytes(&record);
	f.target = reader_short_bytes(&record);
	f.shards = reader_u32(&record);
	refs = reader_take(&record, record.left);
	if (record.bad || refs.len % SHARD_REF_BYTES || refs.len / SHARD_REF_BYTES != f.shards)
		return corrupt(why, &f, "its length is not that of its parts");
	f.shard_refs = refs.data;
	err = check_record(&f, kind, why);
	if (err)
		return err;
	*out = f;
	*r = in;
	return ERR_NONE;
}
