/* sim/policy.c - retention: maintenance that goes by a policy, what it has promised, a recovery that replays far
 * behind its backup, a person who marks.
 *
 * As in `pgagent expire`: what there is, the verdicts, what goes is hidden and taken as far as it may go, then packs
 * and WAL are swept.  All of it by the shipped code; only the order of the calls is the command's.
 */
#include "pgformat/history.h"
#include "repo/keep.h"
#include "repo/retention_read.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	APART_US = 1000,      /* the backups of the set-up end so far apart */
	ARCHIVED_BETWEEN = 2, /* segments, behind each of them */
	MARKS = 3,
	RECOVERIES = 3
};

void policy_init(struct world *w)
{
	w->policy = (struct retention_policy){
		.backups = 1,
		/* So that a backup leaves the window while the processes run, or before, or not at all. */
		.window_us = sim_below(&w->random, 3) * APART_US + sim_below(&w->random, 400),
		.grace_us = sim_below(&w->random, 2) * sim_below(&w->random, 300),
	};
}

enum err policy_pause(struct actor *a, struct error *why)
{
	a->world->now_us += APART_US;
	return wal_archive(a, ARCHIVED_BETWEEN, why);
}

/* ---- what is promised ---- */

static bool is_shown(const struct truth *t, int i)
{
	return (t->manifests & ~t->tombs & 1U << i) != 0 && (t->hidden[i] < 0 || t->back[i]);
}

/* The later one in the WAL; what ended first by the clock may be it. */
static bool is_behind(const struct truth *t, int a, int b)
{
	return t->begins[a] != t->begins[b] ? t->begins[a] > t->begins[b]
					    : t->finished_us[a] > t->finished_us[b];
}

bool policy_promises(const struct world *w, int attempt)
{
	const struct truth *t = &w->truth;
	int64_t from_us = w->now_us - w->policy.window_us;
	int anchor = -1;

	if (!is_shown(t, attempt) || t->finished_us[attempt] > from_us)
		return is_shown(t, attempt);
	for (int i = 0; i < SIM_ATTEMPTS; i++)
		if (is_shown(t, i) && t->finished_us[i] <= from_us &&
		    (anchor < 0 || is_behind(t, i, anchor)))
			anchor = i;
	return anchor == attempt;
}

/* ---- maintenance ---- */

struct judging {
	struct actor *actor;
	struct retention_backup backup[SIM_ATTEMPTS];
	struct retention_verdict verdict[SIM_ATTEMPTS];
	struct attempt alone[SIM_ATTEMPTS];
	size_t count, alones;
	struct retention_lineage lineage;
};

static enum err take_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct judging *j = ctx;
	const struct summary *s = info->summary;

	(void)why;
	j->backup[j->count++] = (struct retention_backup){.attempt = s->attempt,
							  .system_identifier = s->system_identifier,
							  .timeline = s->timeline,
							  .start = s->start,
							  .stop = s->stop,
							  .finished_us = s->finished_us,
							  .keep = info->keep,
							  .hidden = info->hidden};
	return ERR_NONE;
}

static enum err judge(struct judging *j, struct error *why)
{
	struct actor *a = j->actor;
	struct retention_input in = {.policy = a->world->policy, .backup = j->backup};
	enum err e = backups_list(&a->cluster, true, take_backup, j, why);

	if (e == ERR_NONE)
		e = retention_read(&a->cluster, j->backup, j->count, &j->lineage, why);
	in.now_us = clock_now_us(a->env.clock);
	in.backups = j->count;
	in.timeline = j->lineage.timeline;
	in.timelines = j->lineage.count;
	if (e == ERR_NONE)
		e = retention_decide(&in, j->verdict, why);
	for (size_t i = 0; e == ERR_NONE && i < j->count; i++)
		if (!j->verdict[i].wal_to_end)
			j->alone[j->alones++] = j->backup[i].attempt;
	return e;
}

enum err policy_expire(struct actor *a, struct error *why)
{
	struct judging j = {.actor = a};
	struct sweep_options options = {.force = true, .alone = j.alone};
	struct wal_sweep_totals wal;
	struct sweep_totals packs;
	enum err e = judge(&j, why);

	a->phase = PHASE_EXPIRE;
	for (size_t i = 0; e == ERR_NONE && i < j.count; i++) {
		struct expire_result result;
		bool hid;

		if (j.verdict[i].drop)
			e = expire_hide(&a->cluster, &j.backup[i].attempt, &hid, why);
		if (e == ERR_NONE && (j.verdict[i].drop || j.backup[i].hidden))
			e = expire_advance(&a->cluster, &j.backup[i].attempt,
					   a->world->policy.grace_us, &result, why);
	}
	a->phase = PHASE_SWEEP;
	a->recorded = false;
	options.alones = j.alones;
	if (e == ERR_NONE)
		e = sweep_packs(&a->cluster, &options, &packs, why);
	if (e == ERR_NONE)
		e = sweep_wal(&a->cluster, &options, &wal, why);
	a->phase = PHASE_OTHER;
	retention_lineage_release(&j.lineage);
	return e;
}

/* ---- a restore, and the recovery behind it ---- */

static enum err recover(struct actor *a, const struct manifest *m, int backup, unsigned to,
			struct pin *pin, struct error *why)
{
	struct truth *t = &a->world->truth;
	enum err e;

	t->reads_to = to;
	t->reads = backup;
	e = restore_fetch_packs(a, m, why);
	for (unsigned i = t->begins[backup]; e == ERR_NONE && i <= to; i++) {
		e = wal_look(a, i, why);
		if (e == ERR_MISSING)
			world_violate(a->world, "a recovery misses WAL segment %u", i);
		if (e == ERR_NONE && sim_below(&a->random, 3) == 0)
			e = pin_put(&a->cluster, pin, why);
	}
	t->reads = -1;
	return e;
}

/* Planned first, then pinned, then everything that was planned is looked at again (restore/README.md). */
static enum err restore_once(struct actor *a, int backup, struct error *why)
{
	const struct history path = {.timeline = 1};
	unsigned first = a->world->truth.begins[backup], to = first;
	struct pin pin = {.kind = "restore", .holder = "restore-0123456789abcdef"};
	struct manifest *m = NULL;
	struct pin_seen sweep = {.n = 0};
	enum err e = ERR_NONE;

	while (e == ERR_NONE && to - first < 8)
		e = wal_look(a, to++, why);
	if (e != ERR_NONE && (e != ERR_MISSING || --to == first))
		return e;
	to = first + sim_below(&a->random, to - first);
	pin.has_backup = true;
	pin.backup = a->world->attempt[backup];
	e = pin_put(&a->cluster, &pin, why);
	if (e == ERR_NONE)
		e = manifest_read(&a->cluster, &pin.backup, &m, why);
	if (e == ERR_NONE)
		e = hide_check_no_tomb(&a->cluster, &pin.backup, why);
	if (e == ERR_NONE)
		e = sweep_threatens(&a->cluster, &path, wal_lsn(first), wal_lsn(to + 1), &sweep,
				    why);
	for (unsigned i = first; e == ERR_NONE && i <= to; i++)
		e = wal_look(a, i, why);
	if (e == ERR_NONE && (sweep.holder[0] == '\0' || to == first))
		e = recover(a, m, backup, to, &pin, why);
	manifest_free(m);
	ignore(pin_drop(&a->cluster, pin.holder, why)); /* a crashed one stays */
	return e == ERR_MISSING ? ERR_NONE : e;
}

void recovery_run(struct actor *a)
{
	struct error why;
	enum err e = ERR_NONE;

	for (int i = 0; e == ERR_NONE && i < RECOVERIES; i++) {
		/* By name also one that is hidden may be asked for. */
		int backup = choose_backup(a, sim_below(&a->random, 2) == 0);

		if (backup >= 0)
			e = restore_once(a, backup, &why);
	}
}

/* ---- a person who marks ---- */

void marker_run(struct actor *a)
{
	struct truth *t = &a->world->truth;
	struct error why;

	for (int i = 0; i < MARKS; i++) {
		int backup = choose_backup(a, true);
		bool changed;

		if (backup < 0)
			return;
		if (sim_below(&a->random, 3) == 0) {
			if (hide_undelete(&a->cluster, &a->world->attempt[backup], "sim", &why) ==
			    ERR_NONE)
				truth_undeleted(a, backup);
		} else if (keep_set(&a->cluster, &a->world->attempt[backup], true, "sim", &changed,
				    &why) == ERR_NONE) {
			if ((t->tombs & 1U << backup) != 0)
				world_violate(a->world, "%d was marked under its tombstone",
					      backup);
			t->kept |= 1U << backup;
		}
	}
}
