/* repo/parent.c - which earlier backup a new one may share pages with (protocol step W2). */
#include "repo/parent.h"
#include "repo/hide.h"

#include <stdio.h>

bool parent_fits(const struct summary *s, uint64_t system_identifier, const struct history *path)
{
	struct lsn begin, end;

	return s->system_identifier == system_identifier && s->timeline == s->stop_timeline &&
	       history_has(path, s->timeline, &begin, &end) && s->stop.value <= end.value;
}

struct choosing {
	const struct cluster *cluster;
	const struct history *path;
	struct attempt newest[PARENT_CANDIDATES_MAX]; /* newest first */
	int64_t started_us[PARENT_CANDIDATES_MAX];
	size_t found;
};

/* Attempts of one second sort by chance, so it is the summary that tells which is newer. */
static enum err look_at(void *ctx, const struct backup_info *info, struct error *why)
{
	const struct summary *s = info->summary;
	struct choosing *c = ctx;
	size_t at = 0;

	(void)why;
	if (!parent_fits(s, c->cluster->system_identifier, c->path))
		return ERR_NONE;
	while (at < c->found && c->started_us[at] > s->started_us)
		at++;
	if (at == PARENT_CANDIDATES_MAX)
		return ERR_NONE;
	if (c->found < PARENT_CANDIDATES_MAX)
		c->found++;
	for (size_t i = c->found - 1; i > at; i--) {
		c->newest[i] = c->newest[i - 1];
		c->started_us[i] = c->started_us[i - 1];
	}
	c->newest[at] = s->attempt;
	c->started_us[at] = s->started_us;
	return ERR_NONE;
}

enum err parent_candidates(const struct cluster *cluster, const struct history *path,
			   struct attempt out[PARENT_CANDIDATES_MAX], size_t *found,
			   struct error *why)
{
	struct choosing c = {.cluster = cluster, .path = path};
	enum err e = backups_list(cluster, false, look_at, &c, why);

	if (e != ERR_NONE && e != ERR_CORRUPT) /* the event names what is damaged */
		return e;
	memcpy(out, c.newest, c.found * sizeof(*out));
	*found = c.found;
	return ERR_NONE;
}

enum err parent_prove(const struct cluster *cluster, size_t clusters, const struct attempt *attempt,
		      struct manifest **out, struct error *why)
{
	struct manifest *first = NULL;
	enum err e = ERR_NONE;

	for (size_t i = 0; i < clusters && e == ERR_NONE; i++) {
		struct manifest *here = NULL;

		/* Manifest before tombstone: it is removed after the tombstone is there. */
		e = manifest_read(&cluster[i], attempt, &here, why);
		if (e == ERR_NONE)
			e = hide_check_no_tomb(&cluster[i], attempt, why);
		if (e == ERR_NONE)
			e = decision_check_packs(&cluster[i], here, why);
		if (e != ERR_NONE)
			(void)error_add(why, "in %s", cluster[i].repository->store->label);
		if (e == ERR_NONE && i == 0)
			first = here;
		else
			manifest_free(here);
	}
	if (e != ERR_NONE)
		manifest_free(first);
	else
		*out = first;
	return e;
}
