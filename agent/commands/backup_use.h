/* commands/backup_use.h - where a backup's bytes lie and what reading them costs, from its manifest.
 *
 * Reading amplification: the stored bytes of the frames that a restore fetches, divided by the part
 * of them that this backup's pages make up (bytes-read and bytes-used of FORMAT.md).  1 when every
 * frame is used whole; self-renewal keeps it near or below 2.
 */
#ifndef COMMANDS_BACKUP_USE_H
#define COMMANDS_BACKUP_USE_H

#include "repo/manifest.h"
#include "report.h"

struct backup_use {
	double amplification;          /* 0 = no page is stored */
	uint64_t own_bytes, all_bytes; /* plain, in its own packs and in all */
	uint32_t packs, backups; /* that it refers to; whose packs those are, itself included */
	int64_t oldest_us;       /* when the oldest of those began; 0 = no pack */
};

/* ERR_MEMORY is the only failure. */
enum err backup_use_of(const struct manifest *, struct backup_use *out,
		       struct error *why) MUST_CHECK;
/* Lines of `show`. */
void backup_use_say(struct report *, const struct backup_use *);
/* reading_amplification (null: nothing to read), own_share (0..1, null: no pack), packs,
 * packs_of_backups, oldest_pack_at. */
void backup_use_json(json_t *object, const struct backup_use *);

#endif
