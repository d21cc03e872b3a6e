/* commands/expire_report.c - what `pgagent expire` tells. */
#include "agent.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/expire.h"
#include "commands/window_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_name[] = {
	[EXPIRE_KEPT] = "kept",
	[EXPIRE_GRACE] = "hidden",
	[EXPIRE_PINNED] = "pinned",
	[EXPIRE_REMOVED] = "removed",
};

/* One backup as it is told of. */
struct line {
	struct expire_part *part;
	const char *id;
	char finished[BACKUP_TIME_MAX], stored[TEXT_SIZE_MAX];
	const struct expire_going *going; /* NULL = it stays */
	const struct pin_seen *pin;       /* because of which something waits; NULL = none */
	char reason[EXPIRE_REASON_MAX];   /* "" = none is known */
};

static void say_columns(const struct line *l, const char *verdict)
{
	report_text(&l->part->expiry->agent->report, "  %-33s  %-19s  %8s  %-6s  ", l->id,
		    l->finished, l->stored, verdict);
}

/* What --confirm would do is in capitals, what is so already is not. */
static void say_going(const struct line *l)
{
	struct report *r = &l->part->expiry->agent->report;
	const struct expire_result *result = &l->going->result;
	bool plan = !l->part->expiry->confirm;
	const char *why = l->reason, *then = *why != '\0' ? "; " : "";
	char due[BACKUP_TIME_MAX];

	backup_time_to_text(result->due_us, due);
	switch (result->outcome) {
	case EXPIRE_GRACE:
		if (plan && l->going->hides) {
			say_columns(l, "HIDE");
			report_text(r, "%s%s--confirm hides it; removed after %s UTC\n", why, then,
				    due);
			break;
		}
		say_columns(l, "hidden");
		report_text(r, "%s%sto be removed after %s UTC; until then: pgagent undelete %s\n",
			    why, then, due, l->id);
		break;
	case EXPIRE_PINNED:
		say_columns(l, plan && l->going->hides ? "HIDE" : "waits");
		report_text(r, "%s%s%s%s\n", why, then,
			    plan && l->going->hides ? "--confirm hides it, then it waits: " : "",
			    l->pin != NULL ? "it is in use" : "it was in use until now");
		if (l->pin != NULL)
			expire_say_pin(l->part, l->pin, "it goes");
		break;
	case EXPIRE_REMOVED:
		say_columns(l, plan ? "REMOVE" : "gone");
		report_text(r, "%s%s%s\n", why, then, plan ? "--confirm removes it" : "removed");
		break;
	case EXPIRE_KEPT:
		say_columns(l, "keep");
		report_text(r, "undeleted meanwhile\n");
		break;
	}
}

static const char *step_name(const struct expire_going *going)
{
	switch (going->result.outcome) {
	case EXPIRE_REMOVED:
		return "remove";
	case EXPIRE_GRACE:
	case EXPIRE_PINNED:
		return going->hides ? "hide" : "wait";
	case EXPIRE_KEPT:
		break;
	}
	return "keep";
}

static void put_going(json_t *object, const struct line *l)
{
	const struct expire_result *result = l->going != NULL ? &l->going->result : NULL;
	bool plan = !l->part->expiry->confirm;

	report_put(object, "state",
		   report_json_text(result == NULL                              ? NULL
				    : plan && result->outcome == EXPIRE_REMOVED ? "due"
				    : plan && l->going->hides                   ? "shown"
							      : state_name[result->outcome]));
	/* What this run does, or of a plan would do. */
	report_put(object, "step", report_json_text(result != NULL ? step_name(l->going) : NULL));
	report_put(object, "due_at",
		   report_json_time(
			   result != NULL && result->outcome == EXPIRE_GRACE ? result->due_us : 0));
	report_put(object, "pinned_by",
		   report_json_text(result != NULL && result->outcome == EXPIRE_PINNED
					    ? result->pinned_by
					    : NULL));
	report_put(object, "pin", expire_pin_json(l->part, l->pin));
}

static const struct expire_going *going_of(const struct expire_part *part,
					   const struct attempt *attempt)
{
	for (size_t i = 0; i < part->count; i++)
		if (part->going[i].told && attempt_compare(&part->going[i].attempt, attempt) == 0)
			return &part->going[i];
	return NULL;
}

/* Entry `i` of the policy's catalog. */
static void say_judged(struct expire_part *part, size_t i)
{
	const struct expire_policy *p = part->policy;
	const struct summary *s = &p->catalog.entry[i].summary;
	bool hidden = p->backup[i].hidden, drop = p->verdict[i].drop;
	char id[ATTEMPT_TEXT_MAX];
	struct line l = {.part = part,
			 .id = id,
			 .going = going_of(part, &s->attempt),
			 .pin = expire_pin_of(part, &s->attempt)};
	json_t *object = json_object();

	attempt_to_text(&s->attempt, id);
	backup_time_to_text(s->finished_us, l.finished);
	text_of_size(s->bytes_stored, l.stored);
	if (!hidden)
		expire_policy_reason(p, i, l.reason);
	if (l.going != NULL) {
		say_going(&l);
	} else {
		say_columns(&l, drop ? "drop" : "keep");
		report_text(&part->expiry->agent->report, "%s\n", l.reason);
		if (l.pin != NULL)
			expire_say_pin(part, l.pin, "the WAL behind its end goes");
	}
	report_put(object, "id", report_json_text(id));
	report_put(object, "verdict", report_json_text(hidden ? "hidden" : drop ? "drop" : "keep"));
	report_put(object, "rules", expire_policy_rules(p, i));
	report_put(object, "reason", report_json_text(hidden ? NULL : l.reason));
	report_put(object, "wal", report_json_text(p->verdict[i].wal_to_end ? "to_end" : "own"));
	report_put(object, "finished_at", report_json_time(s->finished_us));
	report_put(object, "bytes_stored", report_json_u64(s->bytes_stored));
	put_going(object, &l);
	(void)json_array_append_new(part->backups, object); /* without memory the dump fails */
}

/* One of which nothing but the name is known: damaged, or no policy was asked. */
static void say_named(struct expire_part *part, const struct attempt *attempt,
		      const struct expire_going *going)
{
	bool target = expire_is_target(part, attempt);
	char id[ATTEMPT_TEXT_MAX];
	struct line l = {.part = part,
			 .id = id,
			 .finished = "-",
			 .stored = "-",
			 .going = going,
			 .pin = going != NULL ? expire_pin_of(part, attempt) : NULL};
	json_t *object = json_object();

	attempt_to_text(attempt, id);
	if (target)
		(void)snprintf(l.reason, sizeof(l.reason), "asked for by name"); /* fits */
	if (going != NULL) {
		say_going(&l);
	} else {
		say_columns(&l, "keep");
		report_text(&part->expiry->agent->report,
			    "DAMAGED, goes only by name: pgagent expire --backup %s\n", id);
	}
	report_put(object, "id", report_json_text(id));
	report_put(object, "verdict",
		   report_json_text(going == NULL            ? "damaged"
				    : target && going->hides ? "asked"
							     : "hidden"));
	put_going(object, &l);
	(void)json_array_append_new(part->backups, object); /* as above */
}

static void say_all_judged(struct expire_part *part)
{
	const struct expire_policy *p = part->policy;
	uint64_t system = part->cluster.system_identifier;

	for (size_t i = p->catalog.damages; i > 0; i--) {
		const struct catalog_damage *damage = &p->catalog.damage[i - 1];
		const struct expire_going *going = going_of(part, &damage->attempt);

		if (damage->system_identifier == system)
			say_named(part, &damage->attempt, going);
	}
	for (size_t i = p->catalog.count; i > 0; i--)
		if (p->backup[i - 1].system_identifier == system)
			say_judged(part, i - 1);
}

void expire_say_backups(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct report *r = &x->agent->report;
	char settings[EXPIRE_REASON_MAX], grace[TEXT_DURATION_MAX];

	report_text(r, "cluster %s, system identifier %" PRIu64 ", repository %s\n",
		    part->cluster.name, part->cluster.system_identifier, place_name(part->place));
	if (part->policy != NULL) {
		expire_policy_settings(x->config, settings);
		text_of_duration(x->config->expire_grace_us, grace);
		report_text(r, "retention: %s; what goes is hidden for %s first (expire_grace)\n\n",
			    settings, grace);
		report_text(r, "  %-33s  %-19s  %8s  %-6s  %s\n", "backup", "finished (UTC)",
			    "stored", "", "why");
		say_all_judged(part);
		report_text(r, "\n");
		return;
	}
	for (size_t i = 0; i < part->count; i++)
		if (part->going[i].told)
			say_named(part, &part->going[i].attempt, &part->going[i]);
	if (part->count == 0)
		report_text(r, "  no backup is hidden or being removed\n");
}

/* "2 backups", "no backup" */
static void backups_text(uint64_t count, char out[32])
{
	if (count == 0)
		(void)snprintf(out, 32, "no backup"); /* fits */
	else
		(void)snprintf(out, 32, "%" PRIu64 " backup%s", count, count == 1 ? "" : "s");
}

/* "2 of 7 packs (12 MiB) and 1 of 9 WAL files (16 MiB)" */
static void sweep_text(const struct sweep *s, char out[160])
{
	char packs[TEXT_SIZE_MAX], wal[TEXT_SIZE_MAX];

	text_of_size(s->packs.packs_removed_bytes, packs);
	text_of_size(s->wal.removed_bytes, wal);
	(void)snprintf(out, 160,
		       "%" PRIu64 " of %" PRIu64 " packs (%s) and %" PRIu64 " of %" PRIu64
		       " WAL files (%s)",
		       s->packs.packs_removed, s->packs.packs, packs, s->wal.removed,
		       s->wal.objects, wal); /* fits */
}

/* What is done now, and what only a later run does. */
static void say_steps(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct report *r = &x->agent->report;
	uint64_t hides = 0, waits = 0, grace = 0;
	int64_t last_us = 0;
	bool differ = false;
	char hidden[32], removed[32], later[32], swept[160], last[BACKUP_TIME_MAX];

	for (size_t i = 0; i < part->count; i++) {
		const struct expire_going *going = &part->going[i];

		if (!going->told)
			continue;
		hides += going->hides && going->result.outcome != EXPIRE_REMOVED;
		waits += going->result.outcome == EXPIRE_PINNED;
		if (going->result.outcome != EXPIRE_GRACE)
			continue;
		differ = differ || (grace > 0 && going->result.due_us != last_us);
		grace++;
		if (going->result.due_us > last_us)
			last_us = going->result.due_us;
	}
	backups_text(hides, hidden);
	backups_text(part->due_now, removed);
	sweep_text(&part->now, swept);
	report_text(r, "  %s %s, %s %s", x->confirm ? "hid" : "--confirm hides", hidden,
		    x->confirm ? "removed" : "removes", removed);
	if (!part->now_failed)
		report_text(r, "; %s %s\n", x->confirm ? "freed" : "frees", swept);
	else
		report_text(r, "; frees nothing: %s\n", part->now_why.text);
	if (grace + waits == 0)
		return;
	backups_text(grace + waits, later);
	backup_time_to_text(last_us, last);
	report_text(r, "  a later backup or expire removes %s", later);
	if (grace > 0)
		report_text(r, ", after %s%s UTC", differ ? "their times, the last " : "", last);
	if (waits > 0 && grace > 0)
		report_text(r, ", %" PRIu64 " of them when %s not in use any more", waits,
			    waits == 1 ? "it is" : "they are");
	else if (waits > 0)
		report_text(r, ", when %s not in use any more", waits == 1 ? "it is" : "they are");
	sweep_text(&part->swept, swept);
	report_text(r, x->confirm ? "\n" : "; in all that frees %s\n", swept);
	report_text(
		r,
		"\n  hidden: no list shows it, no restore chooses it; pgagent undelete BACKUP brings "
		"it back until it\n  is removed, pgagent keep BACKUP then keeps it.  What other "
		"backups need of its packs stays\n");
}

static json_t *now_json(const struct expire_part *part)
{
	const struct sweep *now = &part->now;
	json_t *object;

	if (part->now_failed)
		return json_null();
	object = json_object();
	report_put(object, "packs_removed", report_json_u64(now->packs.packs_removed));
	report_put(object, "wal_files_removed", report_json_u64(now->wal.removed));
	report_put(object, "bytes_freed",
		   report_json_u64(now->packs.packs_removed_bytes + now->wal.removed_bytes));
	return object;
}

void expire_say_sweep(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct report *r = &x->agent->report;
	const struct sweep *swept = &part->swept;
	char system[24];
	json_t *object = json_object();

	say_steps(part);
	if (swept->packs.needs_force && !x->confirm && !x->force)
		report_text(r,
			    "  more than half of all packs, and %" PRIu64
			    " of them are of no backup that was removed: is one missing in "
			    "pgagent list?\n  If not, it needs --force; without it --confirm "
			    "removes no packs\n",
			    swept->packs.packs_unaccounted);
	if (swept->packs.held || swept->wal.held)
		report_text(
			r,
			"  a copy into this repository is under way, or broke off less than a day ago: "
			"packs and\n  WAL stay until it is over; what one left that broke off on this "
			"host goes with --force\n");
	(void)snprintf(system, sizeof(system), "%" PRIu64, part->cluster.system_identifier);
	report_put(object, "repository", report_json_text(place_name(part->place)));
	report_put(object, "system_identifier", report_json_text(system));
	report_put(object, "backups", json_incref(part->backups));
	report_put(object, "packs", report_json_u64(swept->packs.packs));
	report_put(object, "packs_removed", report_json_u64(swept->packs.packs_removed));
	report_put(object, "bytes_freed",
		   report_json_u64(swept->packs.packs_removed_bytes + swept->wal.removed_bytes));
	report_put(object, "now", now_json(part));
	report_put(object, "needs_force", json_boolean(swept->packs.needs_force));
	report_put(object, "wal_files", report_json_u64(swept->wal.objects));
	report_put(object, "wal_files_removed", report_json_u64(swept->wal.removed));
	report_put(object, "held_by_copy", json_boolean(swept->packs.held || swept->wal.held));
	(void)json_array_append_new(x->repositories, object); /* as above */
}

/* ---- windows ---- */

static void say_windows(struct expiry *x, const struct catalog *catalog, size_t alone,
			const char *text, const char *name)
{
	struct report *r = &x->agent->report;
	struct window *window = NULL;
	json_t *list = json_array();
	size_t count = 0;
	struct error why;

	report_text(r, "%s\n", text);
	if (windows_read_all(&x->agent->env, x->places, x->config->section.name, catalog, &window,
			     &count, &why) != ERR_NONE)
		report_warning(r, "%s is not known: %s", text, why.text);
	else if (count == 0 && alone == 0)
		report_text(r, "NOTHING can be restored\n");
	for (size_t i = 0; i < count; i++) {
		window_say(r, &window[i]);
		window_put(list, &window[i]);
	}
	if (alone > 0)
		report_text(r,
			    "and %zu older backup(s), each just as it was: restore --backup BACKUP "
			    "--to-backup-end\n",
			    alone);
	free(window);
	report_put(x->agent->report.root, name, list);
}

/* The entries that begin a window; `alone` counts those that stay without one.  False: no memory. */
static bool select_entries(const struct expiry *x, bool afterwards, struct catalog *out,
			   size_t *alone)
{
	const struct catalog *all = &x->catalog;

	*alone = 0;
	*out = (struct catalog){.count = 0};
	out->entry = calloc(all->count + 1, sizeof(*out->entry));
	for (size_t i = 0; out->entry != NULL && i < all->count; i++) {
		unsigned there = all->entry[i].places & ~(afterwards ? x->gone[i] : 0);

		if ((there & ~(afterwards ? x->alone[i] : 0)) != 0)
			out->entry[out->count++] = all->entry[i];
		else if (there != 0)
			++*alone;
	}
	return out->entry != NULL;
}

void expire_say_windows(struct expiry *x)
{
	struct catalog before = {.count = 0}, after = {.count = 0};
	struct report *r = &x->agent->report;
	bool changes = x->freed_bytes > 0;
	size_t none, alone;

	for (size_t i = 0; i < x->catalog.count; i++)
		changes = changes || x->gone[i] != 0;
	if (!select_entries(x, false, &before, &none) || !select_entries(x, true, &after, &alone)) {
		report_warning(r, "windows are not known: no memory");
		goto out;
	}
	report_text(r, "\n");
	say_windows(x, &before, none, "can be restored now:", "windows_before");
	if (changes && after.count < before.count) {
		say_windows(x, &after, alone,
			    "can be restored when all that is hidden is removed:", "windows_after");
	} else {
		report_text(r, "when all that is hidden is removed: the same\n");
		report_put(x->agent->report.root, "windows_after",
			   json_incref(json_object_get(x->agent->report.root, "windows_before")));
	}
out:
	free(before.entry);
	free(after.entry);
}
