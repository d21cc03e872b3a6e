/* repo/pack.h - the packs one backup writes: frames appended in order, a new pack every 16 MiB.
 *
 * The caller is one thread; another commits a full pack while the next one is filled, so that a later
 * call may be the one that answers with its failure.  What was committed is garbage until the manifest is
 * (FORMAT.md 7, protocol step W3).
 */
#ifndef REPO_PACK_H
#define REPO_PACK_H

#include "repo/manifest.h"

enum { PACK_BYTES = 16 << 20 };

/* Several stores may be written at once with the same bytes (one family of repositories): the
 * sealed bytes are made once. */
struct pack_writer;
enum err pack_writer_new(const struct cluster *const *clusters, size_t n, const struct attempt *,
			 struct manifest *manifest, struct pack_writer **out,
			 struct error *why) MUST_CHECK;
/* Appends a frame of codec output; `ref` says where it went (its pack is in the manifest's table
 * from now on, live bytes counted). */
enum err pack_add(struct pack_writer *, enum frame_class, enum codec, struct bytes payload,
		  uint32_t plain_len, struct frame_ref *ref, struct error *why) MUST_CHECK;
/* The index of a pack in the manifest's table, for references from file records. */
enum err pack_index(struct pack_writer *, const struct pack_id *, uint32_t *out,
		    struct error *why) MUST_CHECK;
/* Counts `plain_bytes` that lie in a pack of an earlier backup, as `known` in that backup's table, and
 * lists the pack in the manifest's table. */
enum err pack_borrow(struct pack_writer *, const struct pack_entry *known, uint64_t plain_bytes,
		     struct error *why) MUST_CHECK;
/* Appends plain bytes to the named section, cutting frames; `whole` bytes are never cut apart. */
enum err pack_section_add(struct pack_writer *, const char *section, struct bytes whole,
			  struct error *why) MUST_CHECK;
/* Writes out what sections hold back, commits the last pack, fills size and digest in the table. */
enum err pack_writer_finish(struct pack_writer *, struct error *why) MUST_CHECK;
uint64_t pack_stored_bytes(const struct pack_writer *);
void pack_writer_free(struct pack_writer *); /* before finish: abandons the open pack */

void pack_key(const struct cluster *, const struct pack_id *, char out[STORE_KEY_MAX]);

#endif
