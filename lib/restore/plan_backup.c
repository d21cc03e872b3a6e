/* restore/plan_backup.c - steps 1 and 3 of a plan: the backups, and the one to start from. */
#include "repo/hide.h"
#include "restore/plan_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEXT_XID_OFFSET = 64 /* in pg_control: nextXid of the checkpoint's copy */ };

/* ---- 1: backups ---- */

static enum err take_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct planning *p = ctx;
	const struct summary *s = info->summary;
	struct candidate *c;

	if (info->hidden)
		return ERR_NONE;
	for (size_t i = 0; i < p->count; i++)
		if (attempt_compare(&p->list[i].attempt, &s->attempt) == 0)
			return ERR_NONE; /* known from another repository */
	if (p->count == p->max) {
		size_t max = p->max == 0 ? 32 : p->max * 2;
		struct candidate *more = realloc(p->list, max * sizeof(*more));

		if (more == NULL)
			return error_set(why, ERR_MEMORY, "list of backups: out of memory");
		p->list = more;
		p->max = max;
	}
	plan_see_recorded(p, s->data_directory);
	c = &p->list[p->count++];
	*c = (struct candidate){.attempt = s->attempt,
				.timeline = s->stop_timeline != 0 ? s->stop_timeline : s->timeline,
				.segment_bytes = s->wal_segment_bytes,
				.start = s->start,
				.stop = s->stop,
				.finished_us = s->finished_us};
	if (s->control_len >= NEXT_XID_OFFSET + 8) {
		c->has_next_xid = true;
		c->next_xid = (uint32_t)get_u64(s->control + NEXT_XID_OFFSET);
	}
	return ERR_NONE;
}

/* Loud, as a restore from an older one takes longer, and as it is no more there when it is needed. */
static void pass_over(struct planning *p, const struct attempt *attempt, const char *where,
		      const struct error *reason)
{
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, id);
	observer_event(p->env->observer, LEVEL_WARNING,
		       "BACKUP %s IS DAMAGED in %s and passed over (all that is wrong with it: "
		       "pgagent verify %s): %s",
		       id, where, id, reason->text);
	if (p->damaged++ == 0)
		p->first_damage = *reason;
}

static enum err pass_over_listed(void *ctx, const struct backup_damage *damage, struct error *why)
{
	struct planning *p = ctx;

	(void)why; /* nothing here can fail */
	pass_over(p, &damage->attempt, p->listed, damage->reason);
	return ERR_NONE;
}

static int by_attempt(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	return attempt_compare(&left->attempt, &right->attempt);
}

/* All, or the one that is asked for: with a backup named, its own manifest will tell; another one's
 * damage does not stand in the way. */
static enum err collect_from(struct planning *p, const struct cluster *cluster)
{
	struct manifest *one = NULL;
	struct backup_info info = {.hidden = false};
	enum err e;

	if (!p->request->has_backup) {
		p->listed = cluster->repository->store->label;
		return backups_list_all(cluster, false, take_backup, pass_over_listed, p, p->why);
	}
	e = manifest_read(cluster, &p->request->backup, &one, p->why);
	if (e == ERR_NONE) {
		info.summary = &one->summary;
		e = take_backup(p, &info, p->why);
	}
	manifest_free(one);
	return e == ERR_MISSING ? ERR_NONE : e;
}

enum err plan_collect(struct planning *p)
{
	struct error first = {.kind = ERR_NONE};
	size_t read = 0;

	for (size_t i = 0; i < p->archive->count; i++) {
		const struct cluster *cluster = &p->archive->cluster[i];
		enum err e = collect_from(p, cluster);

		if (e == ERR_CANCELLED || e == ERR_MEMORY)
			return e;
		read += e == ERR_NONE;
		if (e == ERR_NONE)
			continue;
		if (p->archive->count > 1)
			observer_event(p->env->observer, LEVEL_WARNING,
				       "backups in %s cannot be read, the other repositories are "
				       "asked: %s",
				       cluster->repository->store->label, p->why->text);
		if (first.kind == ERR_NONE)
			first = *p->why;
	}
	if (first.kind != ERR_NONE && (read == 0 || p->count == 0)) {
		*p->why = first;
		return first.kind;
	}
	if (p->count == 0 && p->damaged > 0) {
		*p->why = p->first_damage;
		(void)error_add(p->why, "no backup can be read");
		error_hint(p->why, "pgagent verify shows what is damaged");
		return p->why->kind;
	}
	if (p->count > 0)
		qsort(p->list, p->count, sizeof(*p->list), by_attempt);
	return ERR_NONE;
}

void plan_unreachable(struct planning *p)
{
	p->plan->target_unreachable = true;
}

/* ---- 3: the backup ---- */

void plan_describe(const struct planning *p, char out[128])
{
	const struct restore_request *r = p->request;
	char time[TIME_TEXT_MAX], lsn[LSN_TEXT_MAX];

	switch (r->kind) {
	case TARGET_TIME:
		time_to_text(r->time_us, time);
		(void)snprintf(out, 128, "the target %s", time);
		break;
	case TARGET_LSN:
		lsn_to_text(r->lsn, lsn);
		(void)snprintf(out, 128, "the target LSN %s", lsn);
		break;
	case TARGET_XID:
		(void)snprintf(out, 128, "transaction %" PRIu32, r->xid);
		break;
	case TARGET_NAME:
		(void)snprintf(out, 128, "the restore point \"%.80s\"", r->name);
		break;
	case TARGET_LATEST:
	case TARGET_BACKUP_END:
		(void)snprintf(out, 128, "the target");
		break;
	}
}

static void problem_too_early(struct planning *p, const struct candidate *first)
{
	char target[128], id[ATTEMPT_TEXT_MAX], time[TIME_TEXT_MAX], lsn[LSN_TEXT_MAX];
	bool any = p->request->has_backup;

	plan_describe(p, target);
	attempt_to_text(&first->attempt, id);
	time_to_text(first->finished_us, time);
	lsn_to_text(first->stop, lsn);
	problem_add(p->plan, "target_before_first_backup",
		    "%s is before the end of %s backup %s (%s, %s)", target,
		    any ? "the" : "the first", id, time, lsn);
	/* Not --to-time with that time: PostgreSQL ends it with FATAL when no transaction follows. */
	problem_hint(p->plan,
		     "the earliest that can be reached%s: --to-backup-end --backup %s (%s)",
		     any ? " from it" : "", id, p->request->kind == TARGET_TIME ? time : lsn);
	plan_unreachable(p);
}

static enum err read_manifest(struct planning *p, const struct attempt *attempt)
{
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < p->archive->count; i++) {
		const struct cluster *cluster = &p->archive->cluster[i];
		enum err e = hide_check_no_tomb(cluster, attempt, p->why);

		if (e == ERR_NONE)
			e = manifest_read(cluster, attempt, &p->manifest, p->why);
		if (e == ERR_NONE) {
			p->plan->backup = p->manifest->summary;
			p->manifest->summary = (struct summary){.tablespaces = 0}; /* moved */
			return ERR_NONE;
		}
		if (first.kind == ERR_NONE || first.kind == ERR_MISSING)
			first = *p->why;
	}
	*p->why = first;
	return first.kind;
}

/* What is lost is better said before the first byte is written than after half of them.  Of several
 * repositories each may have what the others lack: there only reading tells. */
enum err plan_check_packs(struct planning *p)
{
	struct error first = {.kind = ERR_NONE};
	char id[ATTEMPT_TEXT_MAX];

	for (size_t i = 0; i < p->archive->count; i++) {
		enum err e = decision_check_packs(&p->archive->cluster[i], p->manifest, p->why);

		if (e == ERR_NONE)
			return ERR_NONE;
		if (first.kind == ERR_NONE)
			first = *p->why;
	}
	*p->why = first;
	if (p->archive->count == 1) {
		attempt_to_text(&p->plan->backup.attempt, id);
		(void)error_add(p->why, "backup %s is damaged", id);
		error_hint(
			p->why,
			"all that is wrong with it: pgagent verify %s; from another one: pgagent "
			"list, then --backup ID",
			id);
		return first.kind;
	}
	observer_event(p->env->observer, LEVEL_WARNING, "no repository has all of it: %s",
		       first.text);
	return ERR_NONE;
}

bool plan_is_removed(const struct planning *p)
{
	for (size_t i = 0; i < p->archive->count; i++) {
		const struct cluster *cluster = &p->archive->cluster[i];
		bool there = false;
		struct error why;
		enum err e = hide_check_no_tomb(cluster, &p->plan->backup.attempt, &why);

		if (e == ERR_NONE)
			e = decision_is_there(cluster, &p->plan->backup.attempt, &there, &why);
		if (there || (e != ERR_NONE && e != ERR_MISSING))
			return false;
	}
	return true;
}

/* The best of those whose manifest can be read whole; the summary, which they were chosen by, is but
 * the beginning of it.  One that was asked for by name is not replaced. */
static enum err choose_readable(struct planning *p, const struct choice *choice,
				enum choice_answer *answer, size_t *at, size_t *earliest)
{
	struct error passed = {.kind = ERR_NONE};

	for (;;) {
		struct attempt attempt;
		enum err e;

		*answer = choose_backup(p->list, p->count, choice, at, earliest);
		if (*answer != CHOICE_FOUND)
			break;
		attempt = p->list[*at].attempt;
		e = read_manifest(p, &attempt);
		if (choice->backup != NULL || (e != ERR_CORRUPT && e != ERR_WRONG_KEY))
			return e;
		if (passed.kind == ERR_NONE)
			passed = *p->why;
		pass_over(p, &attempt, "every repository that has it", p->why);
		p->count--;
		memmove(&p->list[*at], &p->list[*at + 1], (p->count - *at) * sizeof(*p->list));
	}
	if (passed.kind == ERR_NONE)
		return ERR_NONE;
	/* It was reachable until the damage: that is no question of the target. */
	*p->why = passed;
	error_hint(p->why, "no other backup reaches the target; see them: pgagent list");
	return passed.kind;
}

enum err plan_choose(struct planning *p, bool *found)
{
	const struct restore_request *r = p->request;
	struct choice choice = {.kind = r->kind,
				.lsn = r->lsn,
				.time_us = r->time_us,
				.xid = r->xid,
				.backup = r->has_backup ? &r->backup : NULL,
				.path = &p->path};
	char id[ATTEMPT_TEXT_MAX] = "";
	size_t at = 0, earliest = 0;
	enum choice_answer answer;
	enum err e = choose_readable(p, &choice, &answer, &at, &earliest);

	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	*found = answer == CHOICE_FOUND && e == ERR_NONE;
	if (r->has_backup)
		attempt_to_text(&r->backup, id);
	switch (answer) {
	case CHOICE_FOUND:
		/* Where a name or an xid lies is not known before the WAL is replayed. */
		if (at != earliest && !r->has_backup &&
		    (r->kind == TARGET_NAME || r->kind == TARGET_XID))
			observer_event(p->env->observer, LEVEL_INFO,
				       "the target is looked for from the newest backup on that "
				       "fits; where it is older, name an older one with --backup");
		if (e == ERR_NONE)
			return ERR_NONE;
		problem_add(p->plan, "backup_removed", "%s", p->why->text);
		problem_hint(p->plan, "pgagent list shows the backups that there are");
		break;
	case CHOICE_UNKNOWN_BACKUP:
		problem_add(p->plan, "backup_unknown", "there is no backup %s", id);
		problem_hint(p->plan, "pgagent list shows the backups");
		break;
	case CHOICE_OFF_PATH:
		problem_add(p->plan, "backup_off_timeline",
			    "no backup%s%s lies on the way to timeline %" PRIu32,
			    r->has_backup ? " " : "", id, p->plan->timeline);
		problem_hint(p->plan, "pgagent list shows the backups and their timelines; "
				      "--timeline N takes another one");
		break;
	case CHOICE_TOO_EARLY:
		problem_too_early(p, &p->list[earliest]);
		return ERR_NONE;
	}
	plan_unreachable(p);
	return ERR_NONE;
}
