/* commands/expire_target.c - which backup `pgagent expire --backup` means, and whether it may go. */
#include "agent.h"
#include "commands/expire.h"

#include <inttypes.h>
#include <string.h>

struct looking {
	struct expiry *expiry;
	const struct repository *repository;
	bool found;
};

static enum err look_for_target(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct looking *l = ctx;
	struct cluster cluster;
	bool there = false, aborted = false;
	enum err e;

	if (l->found || strcmp(name, l->expiry->config->section.name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, l->repository, name, system);
	e = decision_is_there(&cluster, &l->expiry->target, &there, why);
	if (e == ERR_NONE && there)
		e = decision_is_aborted(&cluster, &l->expiry->target, &aborted, why);
	/* What never was a backup keeps its marker: it holds a suspended writer back. */
	if (e == ERR_NONE && there && !aborted) {
		l->found = true;
		l->expiry->target_system = system;
	}
	return e;
}

/* By its whole name, without reading it: a damaged one can be removed, too. */
static enum err find_by_name(struct expiry *x, bool *found, struct error *why)
{
	enum err e = ERR_NONE;

	*found = false;
	for (size_t i = 0; e == ERR_NONE && !*found && i < x->places->count; i++) {
		struct looking l = {.expiry = x, .repository = x->places->place[i].repository};

		e = clusters_list(l.repository, look_for_target, &l, why);
		*found = l.found;
	}
	return e;
}

/* Whether the manifest can be read to its end somewhere: the catalog saw but its beginning. */
static enum err is_whole(const struct expiry *x, const struct catalog_entry *entry, bool *out,
			 struct error *why)
{
	*out = false;
	for (size_t i = 0; !*out && i < x->places->count; i++) {
		struct manifest *manifest = NULL;
		struct cluster cluster;
		enum err e;

		if ((entry->places & (1u << i)) == 0)
			continue;
		cluster_init(&cluster, x->places->place[i].repository, entry->summary.cluster,
			     entry->summary.system_identifier);
		e = manifest_read(&cluster, &entry->summary.attempt, &manifest, why);
		manifest_free(manifest);
		*out = e == ERR_NONE;
		if (e != ERR_NONE && e != ERR_CORRUPT && e != ERR_WRONG_KEY && e != ERR_MISSING)
			return e;
	}
	return ERR_NONE;
}

/* Whether a whole one of the same system stays; the newest is looked at first. */
static enum err is_another(const struct expiry *x, bool *out, struct error *why)
{
	const struct catalog *catalog = &x->catalog;
	enum err e = ERR_NONE;

	*out = false;
	for (size_t i = catalog->count; e == ERR_NONE && !*out && i > 0; i--) {
		const struct catalog_entry *entry = &catalog->entry[i - 1];

		if (entry->summary.system_identifier == x->target_system &&
		    attempt_compare(&entry->summary.attempt, &x->target) != 0)
			e = is_whole(x, entry, out, why);
	}
	return e;
}

/* Refuses what must not happen by accident. */
static enum err admit_target(const struct expiry *x, struct error *why)
{
	const struct catalog_entry *entry =
		catalog_entry_of(&x->catalog, x->target_system, &x->target);
	const struct catalog_damage *damage =
		catalog_damage_of(&x->catalog, x->target_system, &x->target);
	/* Of a damaged one only the marks beside it tell; a wish at its birth is lost with it, and must
	 * not keep what can't be restored, and all that stands behind it, for ever. */
	bool keep = (entry != NULL && entry->keep) || (damage != NULL && damage->keep);
	char id[ATTEMPT_TEXT_MAX];
	bool another = false;
	enum err e;

	if (x->force)
		return ERR_NONE;
	attempt_to_text(&x->target, id);
	e = is_another(x, &another, why);
	if (e != ERR_NONE || (another && !keep))
		return e;
	if (keep)
		(void)error_set(why, ERR_DENIED, "backup %s is kept: somebody wanted it to stay",
				id);
	else if (entry == NULL && damage != NULL)
		(void)error_set(why, ERR_DENIED,
				"backup %s is damaged, and no whole one is beside it: take a new "
				"one first",
				id);
	else
		(void)error_set(why, ERR_DENIED,
				"backup %s is the only one of system identifier %" PRIu64
				" that can be read: without it nothing of that can be restored",
				id, x->target_system);
	error_hint(why, "if it shall go all the same: pgagent expire --backup %s --confirm --force",
		   id);
	return ERR_DENIED;
}

enum err expire_find_target(struct expiry *x, struct error *why)
{
	const char *text = option_text(&x->agent->options, OPTION_BACKUP);
	struct catalog_named named;
	bool found = false;
	enum err e = catalog_read(x->places, x->config->section.name, &x->catalog, why);

	if (e != ERR_NONE || text == NULL)
		return e;
	x->has_target = attempt_from_text(text, &x->target);
	if (x->has_target) {
		e = find_by_name(x, &found, why);
		if (e == ERR_NONE && !found) {
			e = error_set(why, ERR_MISSING, "there is no backup \"%s\"", text);
			error_hint(why, "see which there are: pgagent list");
		}
	} else {
		e = catalog_name(&x->catalog, text, &named, why);
		if (e == ERR_NONE) {
			x->has_target = true;
			x->target = named.attempt;
			x->target_system = named.system_identifier;
		}
	}
	return e == ERR_NONE ? admit_target(x, why) : e;
}
