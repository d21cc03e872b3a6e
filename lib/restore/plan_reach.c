/* restore/plan_reach.c - steps 4 and 5 of a plan: how far the WAL reaches, and the target in it. */
#include "repo/wal_object.h"
#include "restore/plan_internal.h"
#include "wal/cut.h"
#include "wal/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* How far back a time target looks for the last commits: in bytes, so that a few huge segments
 * take no longer than many small ones. */
enum { TAIL_SEGMENTS_MAX = 16, TAIL_SEGMENT_BYTES = 16 << 20 };

/* How far behind the backup's start a time target's locks are looked for. */
#define CUT_BYTES_MAX (UINT64_C(4) << 30)

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

enum err plan_reach(struct planning *p, bool *reaches)
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
		plan_unreachable(p);
		return ERR_NONE;
	}
	*reaches = true;
	return ERR_NONE;
}

/* ---- 5: the target ---- */

static void problem_too_late(struct planning *p)
{
	char target[128], end[LSN_TEXT_MAX], last[LSN_TEXT_MAX], option[PLAN_LATEST_MAX];

	plan_describe(p, target);
	lsn_to_text(p->plan->reach.end, end);
	lsn_to_text(p->plan->reach.last_record, last);
	problem_add(p->plan, "target_not_archived",
		    "%s is behind what the archive holds of timeline %" PRIu32 ": it ends at %s%s",
		    target, p->plan->timeline, end,
		    p->plan->reach.ends_in_hole ? ", where a segment is missing" : "");
	problem_hint(p->plan, "the latest that can be reached: %s (%s)",
		     plan_latest_option(p, option), last);
	plan_unreachable(p);
}

/* What recovery_target_time cannot do: PostgreSQL stops at a time only when it meets a commit or an
 * abort behind it, and ends with FATAL when there is none. */
static void problem_after_last(struct planning *p, const struct wal_tail *tail)
{
	const struct restore_plan *plan = p->plan;
	char target[128], last[TIME_TEXT_MAX], end[LSN_TEXT_MAX], id[ATTEMPT_TEXT_MAX];
	char latest[PLAN_LATEST_MAX];
	const char *newer = plan->reach.ends_in_hole
				    ? "what lies behind needs the missing segment"
				    : "newer WAL may not be archived yet: SELECT pg_switch_wal() "
				      "on the server, then try again";

	plan_describe(p, target);
	time_to_text(tail->latest_us, last);
	lsn_to_text(plan->reach.end, end);
	attempt_to_text(&plan->backup.attempt, id);
	problem_add(p->plan, "target_not_archived",
		    "no commit after %s is archived; %s is later, and timeline %" PRIu32
		    " ends at %s%s",
		    tail->latest_us != 0 ? last : "the start of the backup", target, plan->timeline,
		    end, plan->reach.ends_in_hole ? ", where a segment is missing" : "");
	if (tail->latest_us >= plan->backup.finished_us)
		problem_hint(p->plan,
			     "the latest that can be reached: --to-time '%s', or all of it: "
			     "%s; %s",
			     last, plan_latest_option(p, latest), newer);
	else
		problem_hint(p->plan, "what can be reached: %s, or --to-backup-end; %s",
			     plan_latest_option(p, latest), newer);
	plan_unreachable(p);
}

/* Where a transaction ends by its number PostgreSQL alone knows. */
static void note_locks(struct restore_plan *plan, uint32_t xid)
{
	char whose[64] = "transactions still open then";

	if (!plan->target_inclusive)
		(void)snprintf(whose, sizeof(whose), "transaction %" PRIu32, xid); /* fits */
	(void)snprintf(plan->note, sizeof(plan->note),
		       "tables that %s dropped, truncated or altered are locked while the server "
		       "is paused: to read them, promote it",
		       whose); /* fits */
}

/* Paused before a transaction ends, a server holds what that one had locked, and nobody can read it. */
static enum err cut_before_locks(struct planning *p)
{
	const struct restore_request *r = p->request;
	struct restore_plan *plan = p->plan;
	struct wal_cut_search search = {
		.path = &p->path,
		.segment_bytes = plan->backup.wal_segment_bytes,
		.from = plan->backup.start,
		.stop = plan->backup.stop,
		.end = plan->reach.end,
		.after_us = plan->target_inclusive ? r->time_us : r->time_us - 1,
		.bytes_max = CUT_BYTES_MAX,
		.inclusive = plan->target_inclusive,
	};
	struct wal_cut cut = {.last = lsn_of(0)};
	enum err e;

	if (plan->target_unreachable || plan->action != ACTION_PAUSE)
		return ERR_NONE;
	if (plan->kind == TARGET_XID) {
		note_locks(plan, r->xid);
		return ERR_NONE;
	}
	if (plan->kind == TARGET_LSN)
		search.at = plan->target_lsn;
	e = wal_archive_cut(p->env, p->archive, &search, &cut, p->why);
	plan->stop_behind = cut.last;
	return e;
}

/* The last commits decide whether there is one to stop at, by PostgreSQL's own rule: the first
 * record in the order of the WAL whose time is greater than the target's (exclusive: or equal).  A
 * time equal to the greatest one is the end of the archive, which an LSN can name. */
static enum err freeze_time(struct planning *p)
{
	struct restore_plan *plan = p->plan;
	int64_t time_us = p->request->time_us;
	struct wal_tail_search search = {
		.path = &p->path,
		.segment_bytes = plan->backup.wal_segment_bytes,
		.from = plan->backup.start,
		.end = plan->reach.end,
		.after_us = plan->target_inclusive ? time_us : time_us - 1,
		.bytes_max = (uint64_t)TAIL_SEGMENTS_MAX * TAIL_SEGMENT_BYTES,
	};
	struct wal_tail tail;
	char last[TIME_TEXT_MAX];
	enum err e;

	if (plan->target_unreachable)
		return ERR_NONE;
	e = wal_archive_tail(p->env, p->archive, &search, &tail, p->why);
	if (e != ERR_NONE)
		return e;
	if (tail.latest_us > search.after_us)
		return cut_before_locks(p);
	if (tail.latest_us == 0 && !tail.whole) {
		observer_event(p->env->observer, LEVEL_WARNING,
			       "the last WAL in the archive holds no commit; if none follows the "
			       "target, PostgreSQL stops with FATAL, and --to-latest is the state "
			       "at that time");
		return ERR_NONE;
	}
	if (tail.latest_us != time_us || !plan->target_inclusive) {
		problem_after_last(p, &tail);
		return ERR_NONE;
	}
	plan->kind = TARGET_LSN;
	plan->target_lsn = plan->reach.last_record;
	time_to_text(time_us, last);
	(void)snprintf(plan->note, sizeof(plan->note),
		       "the state at %s is the end of the archive: no later commit is there", last);
	return cut_before_locks(p);
}

/* recovery_target = 'immediate' stops before the record behind the end, or at a commit.  Behind a primary's
 * backup always comes the switch of the segment; behind a standby's there may be nothing, and then the server
 * ends with FATAL.  The last record that the backup needs is there. */
static void freeze_backup_end(struct restore_plan *plan)
{
	if (!plan->backup.from_standby)
		return;
	plan->kind = TARGET_LSN;
	plan->target_lsn = plan->reach.last_record;
	plan->target_inclusive = true;
}

enum err plan_freeze(struct planning *p)
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
		return cut_before_locks(p);
	case TARGET_TIME:
		return freeze_time(p);
	case TARGET_BACKUP_END:
		freeze_backup_end(plan);
		break;
	case TARGET_XID:
		return cut_before_locks(p);
	case TARGET_NAME:
		break;
	}
	return ERR_NONE;
}
