/* restore/plan.c - makes the plan: which backup, which timeline, how far, and what is in the way.
 *
 *  1  collect the backups of every repository
 *     what a lost server has and the archive has not counts as if it were there (salvage.c)
 *  2  resolve the timeline to a number, read its history
 *  3  choose the backup (choose.c), read its manifest
 *  4  see how far the WAL reaches from it, prove its first segment
 *  5  hold the target against that; freeze the latest to an LSN
 *  6  look at the directories (target_check.c)
 *
 * Nothing is changed anywhere.
 */
#include "restore/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>

void restore_plan_release(struct restore_plan *plan)
{
	summary_release(&plan->backup);
	free(plan->tablespace);
	*plan = (struct restore_plan){.problems = 0};
}

static enum err check_request(const struct restore_request *r, struct error *why)
{
	if (r->directory == NULL || r->directory[0] != '/')
		return error_set(why, ERR_CONFIG, "restore: the directory is not absolute: %s",
				 r->directory != NULL ? r->directory : "");
	if (r->standby && (r->kind != TARGET_LATEST || r->action != ACTION_DEFAULT))
		return error_set(
			why, ERR_CONFIG,
			"restore: a standby goes on with what comes: it has no target, and "
			"no action at one");
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
	plan_describe(p, target);
	problem_add(p->plan, "target_in_future", "%s is later than now", target);
	problem_hint(p->plan, "--to-latest takes everything that is archived");
	plan_unreachable(p);
}

static enum err problem_removed(struct planning *p)
{
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&p->plan->backup.attempt, id);
	problem_add(p->plan, "backup_removed", "backup %s was removed while the plan was made", id);
	problem_hint(p->plan, "pgagent list shows the backups that there are");
	plan_unreachable(p);
	return ERR_NONE;
}

static enum err plan_backup(struct planning *p)
{
	struct restore_plan *plan = p->plan;
	bool go_on = true;
	enum err e = plan_collect(p);

	if (e == ERR_NONE)
		e = plan_salvage(p);
	if (e != ERR_NONE)
		return e;
	if (p->count == 0 && !p->request->has_backup) {
		problem_add(plan, "no_backup", "there is no backup of cluster %s",
			    p->archive->cluster[0].name);
		problem_hint(plan, "pgagent list shows what is there; pgagent backup takes one");
		plan_unreachable(p);
		return ERR_NONE;
	}
	if (p->count == 0) /* an unknown one: no timeline to ask about */
		return plan_choose(p, &go_on);
	problem_of_time(p);
	e = plan_timeline(p, &go_on);
	if (e == ERR_NONE && go_on)
		e = plan_choose(p, &go_on);
	if (e != ERR_NONE || p->manifest == NULL)
		return e;
	e = plan_check_packs(p);
	if (e == ERR_NONE)
		e = plan_reach(p, &go_on);
	if ((e == ERR_CORRUPT || (e == ERR_NONE && !go_on)) && plan_is_removed(p)) {
		plan->problems -= e == ERR_NONE; /* of the WAL */
		return problem_removed(p);
	}
	if (e != ERR_NONE)
		return e;
	if (go_on)
		e = plan_freeze(p);
	if (e == ERR_NONE && go_on)
		e = plan_threat(p);
	plan->bytes_to_write = plan->backup.bytes_cluster;
	if (e == ERR_NONE && go_on && p->request->copy_wal)
		e = plan_copy_wal(p);
	if (e == ERR_NONE)
		e = decide_side(p);
	if (e == ERR_NONE)
		plan_settings(p);
	/* The manifest's own summary was moved into the plan. */
	p->manifest->summary = plan->backup;
	if (e == ERR_NONE)
		e = plan_limits(p);
	if (e == ERR_NONE)
		e = plan_waking(p);
	if (e == ERR_NONE)
		e = places_resolve(p->env, p->archive, p->manifest, p->request, plan, p->why);
	if (e == ERR_NONE)
		e = target_check(p->env, p->archive, p->manifest, p->request, plan, p->why);
	if (e == ERR_NONE)
		plan_moved(p);
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
		.env = env, .request = request, .plan = plan, .why = why, .lost_wal = -1};
	p->as_if = *archive;
	p->archive = &p->as_if;
	e = check_request(request, why);
	if (e != ERR_NONE)
		goto out;
	plan->kind = request->kind;
	plan->action = request->action != ACTION_DEFAULT || request->standby ? request->action
		       : request->kind == TARGET_LATEST                      ? ACTION_PROMOTE
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
	if (p->lost_is_in_use) {
		plan->problems = 1;
		plan->target_unreachable = false;
	}
	plan->reachable = plan->problems == 0;
	if (plan->problems > 0)
		(void)snprintf(plan->reason, sizeof(plan->reason), "%s", plan->problem[0].message);
	*out = *plan;
	free(plan);
	plan = NULL;
out:
	if (p != NULL) {
		plan_salvage_release(p);
		manifest_free(p->manifest);
		free(p->list);
	}
	free(p);
	if (plan != NULL)
		restore_plan_release(plan);
	free(plan);
	return e;
}
