/* repo/manifest_internal.h - what manifest.c, manifest_codec.c, pack.c and decision.c share. */
#ifndef REPO_MANIFEST_INTERNAL_H
#define REPO_MANIFEST_INTERNAL_H

#include "repo/manifest.h"

enum {
	MANIFEST_BYTES_MAX = 16 << 20, /* of the whole object */
	MANIFEST_SECTIONS_MAX = 64,
	PACK_ENTRY_BYTES = 72,
	FRAME_REF_BYTES = 24
};

/* "<cluster>/<system>/backups/<attempt>". */
void backup_key(const struct cluster *, const struct attempt *, char out[STORE_KEY_MAX]);

/* The section, added when missing.  The pointer lives until the next one is added. */
enum err manifest_section_ensure(struct manifest *, const char *name, struct section **out,
				 struct error *why) MUST_CHECK;
enum err section_add_frame(struct section *, uint32_t pack, const struct frame_place *,
			   struct error *why) MUST_CHECK;

/* Frame references as stored in roots and file records. */
void put_frame_ref(uint8_t at[FRAME_REF_BYTES], uint32_t pack, const struct frame_place *);
void get_frame_ref(const uint8_t at[FRAME_REF_BYTES], uint32_t *pack, struct frame_place *);

/* The plain bytes of pack table and root. */
void pack_table_encode(const struct manifest *, struct writer *);
void root_encode(const struct manifest *, struct writer *);
/* Appends the entries of one frame. */
enum err pack_table_decode(struct bytes, struct manifest *, struct error *why) MUST_CHECK;
/* After all packs. */
enum err root_decode(struct bytes, struct manifest *, struct error *why) MUST_CHECK;

/* When `key` holds an abort marker: ERR_MISSING, and the text says who, when and why.  When it
 * holds anything else: ERR_NONE.  Other answers are the store's. */
enum err backup_check_aborted(const struct cluster *, const struct attempt *,
			      struct error *why) MUST_CHECK;

#endif
