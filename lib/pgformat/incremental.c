/* pgformat/incremental.c - the header of INCREMENTAL files, checked as it is read. */
#include "pgformat/incremental.h"

#include "pgformat/page.h"

#include <inttypes.h>

#define INCREMENTAL_MAGIC UINT32_C(0xd3ae1f0d)
#define INCREMENTAL_PREFIX "INCREMENTAL."

enum { FORK_FSM = 1 };

enum err incremental_decode_head(struct bytes head, uint64_t file_bytes, struct incremental *out,
				 struct error *why)
{
	struct incremental found = {.header_bytes = INCREMENTAL_HEAD_BYTES};
	uint64_t expected;

	if (head.len != INCREMENTAL_HEAD_BYTES || get_u32(head.data) != INCREMENTAL_MAGIC)
		return error_set(why, ERR_CORRUPT, "incremental file: it does not begin like one");
	found.blocks = get_u32(head.data + 4);
	found.truncated = get_u32(head.data + 8);
	if (found.blocks > INCREMENTAL_BLOCKS_MAX)
		return error_set(why, ERR_CORRUPT,
				 "incremental file: %" PRIu32 " blocks, a segment has %d",
				 found.blocks, INCREMENTAL_BLOCKS_MAX);
	if (found.truncated > INCREMENTAL_BLOCKS_MAX) {
		(void)error_set(why, ERR_PEER,
				"incremental file: truncated to %" PRIu32
				" blocks, a segment has %d: a defect of PostgreSQL 17.0-17.7 and "
				"18.0-18.1",
				found.truncated, INCREMENTAL_BLOCKS_MAX);
		error_hint(why, "update the server; until then: pgagent backup --type full");
		return ERR_PEER;
	}
	/* Images begin at a whole page; without any there is no padding. */
	if (found.blocks > 0) {
		found.header_bytes += found.blocks * 4;
		found.header_bytes += (PAGE_BYTES - found.header_bytes % PAGE_BYTES) % PAGE_BYTES;
	}
	expected = found.header_bytes + (uint64_t)found.blocks * PAGE_BYTES;
	if (file_bytes != expected)
		return error_set(why, ERR_CORRUPT,
				 "incremental file: %" PRIu32 " blocks take %" PRIu64
				 " bytes, it has %" PRIu64,
				 found.blocks, expected, file_bytes);
	*out = found;
	return ERR_NONE;
}

enum err incremental_decode_blocks(const struct incremental *inc, struct bytes rest,
				   uint32_t *block, uint32_t *length, struct error *why)
{
	size_t list_bytes = (size_t)inc->blocks * 4;
	uint32_t end = 0; /* behind the last block so far */

	if (rest.len != inc->header_bytes - INCREMENTAL_HEAD_BYTES)
		return error_set(why, ERR_CORRUPT, "incremental file: its header is cut");
	for (uint32_t i = 0; i < inc->blocks; i++) {
		block[i] = get_u32(rest.data + (size_t)i * 4);
		if (block[i] < end || block[i] >= INCREMENTAL_BLOCKS_MAX)
			return error_set(why, ERR_CORRUPT,
					 "incremental file: block %" PRIu32 " where %" PRIu32
					 " to %d may come",
					 block[i], end, INCREMENTAL_BLOCKS_MAX - 1);
		end = block[i] + 1;
	}
	if (rest.len > list_bytes &&
	    !bytes_are_zero(bytes_of(rest.data + list_bytes, rest.len - list_bytes)))
		return error_set(why, ERR_CORRUPT,
				 "incremental file: its header does not end in zeros");
	*length = end > inc->truncated ? end : inc->truncated;
	return ERR_NONE;
}

bool incremental_path(const char *path, char *out, size_t out_len)
{
	const char *slash = strrchr(path, '/');
	size_t prefix_len = strlen(INCREMENTAL_PREFIX);
	struct relation_file file;
	size_t folder_len, name_len;

	if (slash == NULL || strncmp(slash + 1, INCREMENTAL_PREFIX, prefix_len) != 0)
		return false;
	folder_len = (size_t)(slash + 1 - path);
	name_len = strlen(slash + 1 + prefix_len);
	if (folder_len + name_len >= out_len)
		return false;
	memmove(out, path, folder_len);
	memmove(out + folder_len, slash + 1 + prefix_len, name_len + 1);
	/* The server sends free space maps whole, since they are not in the WAL. */
	return relation_file_from_path(out, &file) && file.fork != FORK_FSM;
}
