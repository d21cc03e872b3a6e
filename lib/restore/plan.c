/* restore/plan.c - makes the plan: which backup, which timeline, how far, and what is in the way.
 *
 *  1  collect the backups of every repository
 *  2  resolve the timeline to a number, read its history
 *  3  choose the backup (choose.c), read its manifest
 *  4  see how far the WAL reaches from it, prove its first segment
 *  5  hold the target against that; freeze the latest to an LSN
 *  6  look at the directories (target_check.c)
 *
 * Nothing is changed anywhere.
 */
#include "repo/wal_object.h"
#include "restore/restore_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NEXT_XID_OFFSET = 64 /* in pg_control: nextXid of the checkpoint's copy */ };

struct planning {
	const struct env *env;
	const struct wal_archive *archive;
	const struct restore_request *request;
	struct restore_plan *plan;
	struct error *why;
	struct candidate *list; /* sorted by attempt */
	size_t count, max;
	struct history path; /* of the timeline to follow */
	struct manifest *manifest;
};

void restore_plan_release(struct restore_plan *plan)
{
	summary_release(&plan->backup);
	free(plan->tablespace);
	*plan = (struct restore_plan){.problems = 0};
}

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
	c = &p->list[p->count++];
	*c = (struct candidate){.attempt = s->attempt,
				.timeline = s->stop_timeline != 0 ? s->stop_timeline : s->timeline,
				.start = s->start,
				.stop = s->stop,
				.finished_us = s->finished_us};
	if (s->control_len >= NEXT_XID_OFFSET + 8) {
		c->has_next_xid = true;
		c->next_xid = (uint32_t)get_u64(s->control + NEXT_XID_OFFSET);
	}
	return ERR_NONE;
}

static int by_attempt(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	return attempt_compare(&left->attempt, &right->attempt);
}

static enum err collect(struct planning *p)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < p->archive->count; i++) {
		const struct cluster *cluster = &p->archive->cluster[i];

		/* With a backup named, its own manifest will tell; another one's damage does not
		 * stand in the way. */
		if (p->request->has_backup) {
			struct manifest *one = NULL;
			struct backup_info info = {.hidden = false};

			e = manifest_read(cluster, &p->request->backup, &one, p->why);
			if (e == ERR_NONE) {
				info.summary = &one->summary;
				e = take_backup(p, &info, p->why);
			}
			manifest_free(one);
		} else {
			e = backups_list(cluster, false, take_backup, p, p->why);
		}
		if (e == ERR_MISSING)
			e = ERR_NONE;
		if (e != ERR_NONE && i + 1 < p->archive->count) {
			observer_event(p->env->observer, LEVEL_WARNING,
				       "backups in %s cannot be read, trying the next repository: "
				       "%s",
				       cluster->repository->store->label, p->why->text);
			e = ERR_NONE;
		}
	}
	if (e == ERR_CORRUPT && !p->request->has_backup)
		error_hint(p->why, "pgagent verify shows what is damaged; a whole backup can be "
				   "restored by name: --backup ID");
	if (e == ERR_NONE && p->count > 0)
		qsort(p->list, p->count, sizeof(*p->list), by_attempt);
	return e;
}

/* ---- 2: the timeline ---- */

/* The newest timeline that any backup can reach.  Among the backups of one timeline the one that
 * starts first reaches all that the others reach. */
static enum err newest_timeline(struct planning *p, uint32_t *out)
{
	uint32_t newest = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct candidate *c = &p->list[i];
		bool first = true;
		uint32_t reached = 0;
		enum err e;

		for (size_t k = 0; k < p->count; k++)
			if (p->list[k].timeline == c->timeline &&
			    (p->list[k].start.value < c->start.value ||
			     (p->list[k].start.value == c->start.value && k < i)))
				first = false;
		if (!first)
			continue;
		e = wal_archive_latest_timeline(p->env, p->archive, c->start, c->timeline, &reached,
						p->why);
		if (e != ERR_NONE)
			return e;
		if (reached > newest)
			newest = reached;
	}
	*out = newest;
	return ERR_NONE;
}

static void unreachable(struct planning *p)
{
	p->plan->target_unreachable = true;
}

static enum err resolve_timeline(struct planning *p, bool *known)
{
	uint32_t timeline = p->request->timeline;
	enum err e = ERR_NONE;

	*known = true;
	if (timeline == 0)
		e = newest_timeline(p, &timeline);
	/* The end of a backup lies on its own timeline, whatever came later. */
	if (e == ERR_NONE && p->request->kind == TARGET_BACKUP_END && p->request->timeline == 0) {
		const struct candidate *last = &p->list[0];

		for (size_t i = 1; i < p->count; i++)
			if (p->list[i].finished_us >= last->finished_us)
				last = &p->list[i];
		timeline = last->timeline;
	}
	if (e != ERR_NONE)
		return e;
	p->plan->timeline = timeline;
	e = wal_archive_history(p->env, p->archive, timeline, &p->path, p->why);
	if (e != ERR_MISSING)
		return e;
	*known = false;
	problem_add(p->plan, "timeline_unknown",
		    "timeline %" PRIu32 " is not in the archive: no history file of it", timeline);
	problem_hint(p->plan,
		     "pgagent list shows the timelines; --timeline latest takes the newest");
	unreachable(p);
	return ERR_NONE;
}

/* ---- 3: the backup ---- */

static void describe_request(const struct planning *p, char out[128])
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

	describe_request(p, target);
	attempt_to_text(&first->attempt, id);
	time_to_text(first->finished_us, time);
	lsn_to_text(first->stop, lsn);
	problem_add(p->plan, "target_before_first_backup",
		    "%s is before the end of %s backup %s (%s, %s)", target,
		    any ? "the" : "the first", id, time, lsn);
	if (p->request->kind == TARGET_TIME)
		problem_hint(p->plan, "the earliest that can be reached%s: --to-time \"%s\"",
			     any ? " from it" : "", time);
	else
		problem_hint(p->plan,
			     "the earliest that can be reached%s: --to-backup-end --backup %s (%s)",
			     any ? " from it" : "", id, lsn);
	unreachable(p);
}

static enum err read_manifest(struct planning *p, const struct attempt *attempt)
{
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < p->archive->count; i++) {
		enum err e = manifest_read(&p->archive->cluster[i], attempt, &p->manifest, p->why);

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
static enum err check_packs(struct planning *p)
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

static enum err choose(struct planning *p, bool *found)
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
	enum choice_answer answer = choose_backup(p->list, p->count, &choice, &at, &earliest);

	*found = answer == CHOICE_FOUND;
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
		return read_manifest(p, &p->list[at].attempt);
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
	unreachable(p);
	return ERR_NONE;
}

/* ---- 4: the WAL ---- */

/* The first segment holds the checkpoint that everything starts from.  Read whole, since a damaged
 * one would be found only after all files were written. */
static enum err prove_first_segment(struct planning *p)
{
	const struct summary *s = &p->plan->backup;
	struct error first = {.kind = ERR_NONE};
	struct wal_name name;
	enum err e = ERR_NONE;

	wal_segment_name(s->timeline, wal_segno(s->start, s->wal_segment_bytes),
			 s->wal_segment_bytes, &name);
	for (size_t i = 0; i < p->archive->count; i++) {
		uint8_t *data = NULL;
		size_t len;

		e = wal_get(&p->archive->cluster[i], &name, &data, &len, p->why);
		free(data);
		if (e == ERR_NONE)
			return ERR_NONE;
		if (e != ERR_MISSING && first.kind == ERR_NONE)
			first = *p->why;
	}
	/* One that was never whole is in slices; that is wal_archive_reach's to judge. */
	if (first.kind == ERR_NONE)
		return ERR_NONE;
	*p->why = first;
	return first.kind;
}

static enum err reach(struct planning *p, bool *reaches)
{
	struct restore_plan *plan = p->plan;
	const struct summary *s = &plan->backup;
	struct lsn until = p->request->kind == TARGET_BACKUP_END ? s->stop : lsn_of(0);
	char id[ATTEMPT_TEXT_MAX], end[LSN_TEXT_MAX], stop[LSN_TEXT_MAX];
	enum err e = prove_first_segment(p);

	*reaches = false;
	if (e == ERR_NONE)
		e = wal_archive_reach(p->env, p->archive, s->start, s->timeline, plan->timeline,
				      s->wal_segment_bytes, until, &plan->reach, p->why);
	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	plan->wal_bytes = plan->reach.segments * s->wal_segment_bytes;
	attempt_to_text(&s->attempt, id);
	lsn_to_text(s->stop, stop);
	if (e == ERR_MISSING || plan->reach.end.value < s->stop.value) {
		lsn_to_text(plan->reach.end, end);
		problem_add(plan, "wal_missing",
			    "backup %s needs WAL up to %s, but the archive has it only up to %s",
			    id, stop, e == ERR_MISSING ? "before its start" : end);
		problem_hint(plan, "push what is missing from a copy of pg_wal (pgagent "
				   "archive-push), or start from another backup (--backup)");
		unreachable(p);
		return ERR_NONE;
	}
	*reaches = true;
	return ERR_NONE;
}

/* ---- 5: the target ---- */

static void problem_too_late(struct planning *p)
{
	char target[128], end[LSN_TEXT_MAX], last[LSN_TEXT_MAX];

	describe_request(p, target);
	lsn_to_text(p->plan->reach.end, end);
	lsn_to_text(p->plan->reach.last_record, last);
	problem_add(p->plan, "target_not_archived",
		    "%s is behind what the archive holds of timeline %" PRIu32 ": it ends at %s%s",
		    target, p->plan->timeline, end,
		    p->plan->reach.ends_in_hole ? ", where a segment is missing" : "");
	problem_hint(p->plan, "the latest that can be reached: --to-latest (%s)", last);
	unreachable(p);
}

static void freeze(struct planning *p)
{
	struct restore_plan *plan = p->plan;
	const struct restore_request *r = p->request;
	char at[LSN_TEXT_MAX];

	switch (r->kind) {
	case TARGET_LATEST:
		plan->target_lsn = plan->reach.last_record;
		if (plan->reach.ends_in_hole) {
			lsn_to_text(plan->reach.hole, at);
			observer_event(p->env->observer, LEVEL_WARNING,
				       "the archive has a hole at %s: the latest is what lies "
				       "before it, although there is more behind",
				       at);
		}
		break;
	case TARGET_LSN:
		/* PostgreSQL stops at the first record that starts at the LSN or behind it. */
		if (r->lsn.value > plan->reach.last_record.value)
			problem_too_late(p);
		break;
	case TARGET_BACKUP_END:
	case TARGET_NAME:
	case TARGET_TIME:
	case TARGET_XID:
		break;
	}
}

/* ---- the whole ---- */

static enum err check_request(const struct restore_request *r, struct error *why)
{
	if (r->directory == NULL || r->directory[0] != '/')
		return error_set(why, ERR_CONFIG, "restore: the directory is not absolute: %s",
				 r->directory != NULL ? r->directory : "");
	if (r->standby)
		return error_set(why, ERR_CONFIG, "restore: a standby cannot be made yet");
	if (r->sets > RESTORE_SETTINGS_MAX || r->keep_settings > RESTORE_SETTINGS_MAX ||
	    r->tablespaces > RESTORE_TABLESPACES_MAX)
		return error_set(why, ERR_CONFIG, "restore: too many settings or tablespaces");
	if (r->kind == TARGET_NAME && (r->name == NULL || r->name[0] == '\0'))
		return error_set(why, ERR_CONFIG, "restore: the restore point has no name");
	return settings_check(r, why);
}

/* In place is where the cluster was; everything else is a copy. */
static enum err decide_side(struct planning *p)
{
	char directory[PATH_MAX], recorded[PATH_MAX];
	struct identity identity = {.data_directory = ""};
	const char *was = p->plan->backup.data_directory;
	enum err e = identity_read(&p->archive->cluster[0], &identity, p->why);

	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	if (was[0] == '\0')
		was = identity.data_directory;
	e = place_real(p->request->directory, directory, p->why);
	if (e != ERR_NONE)
		return e;
	if (was[0] != '/' || place_real(was, recorded, NULL) != ERR_NONE)
		recorded[0] = '\0';
	p->plan->side = strcmp(directory, recorded) != 0;
	return ERR_NONE;
}

static void problem_of_time(struct planning *p)
{
	char target[128];

	if (p->request->kind != TARGET_TIME || p->request->time_us <= clock_now_us(p->env->clock))
		return;
	describe_request(p, target);
	problem_add(p->plan, "target_in_future", "%s is later than now", target);
	problem_hint(p->plan, "--to-latest takes everything that is archived");
	unreachable(p);
}

static enum err plan_backup(struct planning *p)
{
	struct restore_plan *plan = p->plan;
	bool go_on = true;
	enum err e = collect(p);

	if (e != ERR_NONE)
		return e;
	if (p->count == 0 && !p->request->has_backup) {
		problem_add(plan, "no_backup", "there is no backup of cluster %s",
			    p->archive->cluster[0].name);
		problem_hint(plan, "pgagent list shows what is there; pgagent backup takes one");
		unreachable(p);
		return ERR_NONE;
	}
	if (p->count == 0) /* an unknown one: no timeline to ask about */
		return choose(p, &go_on);
	problem_of_time(p);
	e = resolve_timeline(p, &go_on);
	if (e == ERR_NONE && go_on)
		e = choose(p, &go_on);
	if (e != ERR_NONE || p->manifest == NULL)
		return e;
	e = check_packs(p);
	if (e != ERR_NONE)
		return e;
	e = reach(p, &go_on);
	if (e == ERR_NONE && go_on)
		freeze(p);
	plan->bytes_to_write = plan->backup.bytes_cluster;
	if (e == ERR_NONE)
		e = decide_side(p);
	/* The manifest's own summary was moved into the plan. */
	p->manifest->summary = plan->backup;
	if (e == ERR_NONE)
		e = places_resolve(p->env, p->archive, p->manifest, p->request, plan, p->why);
	if (e == ERR_NONE)
		e = target_check(p->env, p->archive, p->manifest, p->request, plan, p->why);
	p->manifest->summary = (struct summary){.tablespaces = 0};
	return e;
}

enum err restore_plan(const struct env *env, const struct wal_archive *archive,
		      const struct restore_request *request, struct restore_plan *out,
		      struct error *why)
{
	struct restore_plan *plan = calloc(1, sizeof(*plan));
	struct planning *p = calloc(1, sizeof(*p));
	struct error unheard;
	enum err e = ERR_NONE;

	if (why == NULL)
		why = &unheard;
	if (plan == NULL || p == NULL) {
		e = error_set(why, ERR_MEMORY, "restore: out of memory");
		goto out;
	}
	*p = (struct planning){
		.env = env, .archive = archive, .request = request, .plan = plan, .why = why};
	e = check_request(request, why);
	if (e != ERR_NONE)
		goto out;
	plan->kind = request->kind;
	plan->action = request->action != ACTION_DEFAULT ? request->action
		       : request->kind == TARGET_LATEST  ? ACTION_PROMOTE
							 : ACTION_PAUSE;
	plan->target_inclusive = !request->exclusive || request->kind == TARGET_LATEST ||
				 request->kind == TARGET_BACKUP_END || request->kind == TARGET_NAME;
	if (request->kind == TARGET_LSN)
		plan->target_lsn = request->lsn;
	plan->side = true;
	plan->estimated_seconds = -1;
	e = plan_backup(p);
	if (e != ERR_NONE)
		goto out;
	plan->reachable = plan->problems == 0;
	if (plan->problems > 0)
		(void)snprintf(plan->reason, sizeof(plan->reason), "%s", plan->problem[0].message);
	*out = *plan;
	free(plan);
	plan = NULL;
out:
	if (p != NULL) {
		manifest_free(p->manifest);
		free(p->list);
	}
	free(p);
	if (plan != NULL)
		restore_plan_release(plan);
	free(plan);
	return e;
}
