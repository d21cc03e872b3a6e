/* restore/target_internal.h - what the files about the target's directories share. */
#ifndef RESTORE_TARGET_INTERNAL_H
#define RESTORE_TARGET_INTERNAL_H

#include "restore/restore_internal.h"

enum { MODE_BITS = 07777 };

/* "creating \"ROOT/PATH\"" for an answer of the files' table. */
enum err target_failed(struct error *, int answer, const char *what, const char *root,
		       const char *path);
enum err target_sync_dir(const struct target *, int dir, const char *root,
			 struct error *why) MUST_CHECK;

#endif
