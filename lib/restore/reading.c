/* restore/reading.c - the pin comes first: what was seen before it may be gone. */
#include "restore/reading.h"
#include "repo/hide.h"
#include "repo/pins.h"

#include <stdio.h>

static enum err pin(struct reading *r, const struct env *env, const struct wal_archive *archive,
		    struct error *why)
{
	struct error cause;
	enum err e = pin_holder_new(env, "restore", r->pin.holder, why);

	if (e != ERR_NONE)
		return e;
	r->pin.kind = "restore";
	r->pin.has_backup = true;
	if (keeper_start(env, archive->cluster, archive->count, &r->pin, &r->keeper, &cause) ==
	    ERR_NONE)
		return ERR_NONE;
	r->keeper = NULL;
	observer_event(env->observer, LEVEL_WARNING,
		       "going on without a pin: nothing keeps an expire from removing what is "
		       "read: %s",
		       cause.text);
	return ERR_NONE;
}

/* A tombstone that was there before the pin: the pin holds nothing back. */
static enum err read_one(const struct cluster *cluster, const struct attempt *backup,
			 struct manifest **out, struct error *why)
{
	struct manifest *manifest = NULL;
	enum err e = manifest_read(cluster, backup, &manifest, why);

	if (e == ERR_NONE)
		e = hide_check_no_tomb(cluster, backup, why);
	if (e == ERR_NONE)
		*out = manifest;
	else
		manifest_free(manifest);
	return e;
}

enum err reading_begin(struct reading *r, const struct env *env, const struct wal_archive *archive,
		       struct manifest **out, struct error *why)
{
	struct error first = {.kind = ERR_NONE};
	enum err e;

	r->keeper = NULL;
	e = pin(r, env, archive, why);
	if (e != ERR_NONE)
		return e;
	for (size_t i = 0; i < archive->count; i++) {
		e = read_one(&archive->cluster[i], &r->pin.backup, out, why);
		if (e == ERR_NONE)
			return ERR_NONE;
		if (first.kind == ERR_NONE || first.kind == ERR_MISSING)
			first = *why;
	}
	reading_end(r);
	*why = first;
	if (first.kind == ERR_MISSING)
		(void)error_add(why, "removed since it was chosen"); /* the kind stays */
	if (first.kind == ERR_MISSING)
		error_hint(why, "the backups that there are: pgagent list");
	return first.kind;
}

void reading_end(struct reading *r)
{
	keeper_stop(r->keeper, true);
	r->keeper = NULL;
}

void reading_leave(struct reading *r)
{
	keeper_leave(r->keeper);
	r->keeper = NULL;
}
