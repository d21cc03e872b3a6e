/* restore/target_internal.h - what the files about the target's directories share. */
#ifndef RESTORE_TARGET_INTERNAL_H
#define RESTORE_TARGET_INTERNAL_H

#include "restore/restore_internal.h"

enum { MODE_BITS = 07777, TREE_DEPTH_MAX = 64 };

/* The names in a directory. */
struct target_names {
	char **name;
	mode_t *type;
	size_t count, max;
};
/* Appends to ctx, a struct target_names: a visit of files_ops.list. */
int target_names_add(void *ctx, const char *name, mode_t type);
void target_names_release(struct target_names *);

/* Removes all that is in `dir`, which is `depth` below a root; at depth 0 all but the marker. */
enum err target_empty(const struct target *, int dir, const char *path, unsigned depth,
		      struct error *why) MUST_CHECK;
/* Removes one name, with all that is below. */
enum err target_remove(const struct target *, int dir, const char *path, unsigned depth,
		       const char *name, mode_t type, struct error *why) MUST_CHECK;

/* "creating \"ROOT/PATH\"" for an answer of the files' table. */
enum err target_failed(struct error *, int answer, const char *what, const char *root,
		       const char *path);
enum err target_sync_dir(const struct target *, int dir, const char *root,
			 struct error *why) MUST_CHECK;

#endif
