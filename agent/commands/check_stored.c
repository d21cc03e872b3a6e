/* commands/check_stored.c - what is wrong with the backups and the WAL that are stored, as far as looking
 * and what earlier verification has found can tell.
 */
#include "commands/check_stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The newest backup and the newest moment of one system. */
static void choose(const struct check *c, struct stored *s)
{
	const struct catalog *catalog = &s->catalog;

	if (c->has_system)
		s->system_identifier = c->system_identifier;
	else if (catalog->count > 0)
		s->system_identifier = catalog->entry[catalog->count - 1].summary.system_identifier;
	for (size_t i = 0; i < catalog->count; i++)
		if (catalog->entry[i].summary.system_identifier == s->system_identifier)
			s->newest = &catalog->entry[i];
	for (size_t i = 0; i < s->windows; i++) {
		const struct window *w = &s->window[i];

		if (w->system_identifier != s->system_identifier)
			continue;
		/* In order of timelines; the server's own comes before a later one of somebody else. */
		if (s->current == NULL || !c->has_system || s->current->timeline != c->timeline)
			s->current = w;
	}
}

void stored_read(struct check *c, const struct places *places, struct stored *out)
{
	const char *name = c->config->section.name;
	struct error why;

	*out = (struct stored){.places = places};
	if (catalog_read(places, name, &out->catalog, &why) != ERR_NONE) {
		check_fail(c, "backups", &why);
		return;
	}
	if (catalog_read_verified(places, &out->catalog, &why) != ERR_NONE)
		check_say(c, CHECK_WARNING, "verified", NULL,
			  "when backups were verified, and what was found, is not known: %s",
			  why.text);
	if (windows_read_all(&c->agent->env, places, name, &out->catalog, &out->window,
			     &out->windows, &why) != ERR_NONE) {
		check_fail(c, "windows", &why);
		free(out->window);
		out->window = NULL;
		out->windows = 0;
	}
	choose(c, out);
}

/* ---- what can be restored ---- */

/* False: it can't, and that was said. */
static bool judge_newest(struct check *c, const struct stored *s)
{
	const struct summary *newest = &s->newest->summary;
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&newest->attempt, id);
	c->wrong_key = c->wrong_key || newest->checksum_failures > 0;
	if (newest->checksum_failures > 0)
		check_say(c, CHECK_ERROR, "checksums",
			  "pgagent show latest lists the files; a moment before the damage can be "
			  "restored beside the server",
			  "the newest backup, %s, met %" PRIu64
			  " page(s) with a wrong checksum: the server's data is damaged",
			  id, newest->checksum_failures);
	if (s->window == NULL || windows_hold(s->window, s->windows, s->system_identifier,
					      newest->timeline, newest->stop))
		return true;
	check_say(c, CHECK_ERROR, "window", "take a new one: pgagent backup",
		  "the newest backup, %s, can't be restored: its WAL is missing", id);
	return false;
}

/* A hole at the end is behind all that can be restored: what the server does from then on is lost.  False:
 * there is one, and it was said. */
static bool judge_holes(struct check *c, const struct window *current)
{
	bool none = true;

	for (size_t i = 0; i < current->gaps; i++) {
		const struct window_gap *gap = &current->gap[i];
		bool last = gap->to.value == 0 || gap->to.value > current->to.value;
		char from[LSN_TEXT_MAX], to[LSN_TEXT_MAX];

		if (gap->by_retention)
			continue;
		none = false;
		lsn_to_text(gap->from, from);
		lsn_to_text(gap->to, to);
		if (last)
			check_say(c, CHECK_ERROR, "window",
				  "take a new backup, from which WAL counts again: pgagent backup",
				  "WAL is missing from %s on: nothing later can be restored", from);
		else
			check_say(c, CHECK_WARNING, "window",
				  "see where: pgagent list; another repository may have it",
				  "no moment between %s and %s can be restored: WAL is missing",
				  from, to);
	}
	return none;
}

static void judge_window(struct check *c, const struct stored *s)
{
	size_t errors = c->count[CHECK_ERROR];
	char to[LSN_TEXT_MAX];
	bool whole = s->newest == NULL || judge_newest(c, s);

	if (s->current != NULL && judge_holes(c, s->current) && whole) {
		lsn_to_text(s->current->to, to);
		check_say(c, CHECK_OK, "window", NULL,
			  "no WAL is missing up to %s on timeline %" PRIu32, to,
			  s->current->timeline);
	}
	c->only_config = c->only_config && c->count[CHECK_ERROR] == errors;
}

/* As after a promotion, until the first segment came. */
static void judge_timeline(struct check *c, const struct stored *s)
{
	if (c->has_system && s->current != NULL && s->current->timeline != c->timeline)
		check_say(c, CHECK_WARNING, "timeline",
			  "let it end its segment, and see whether that comes: psql -c "
			  "'SELECT pg_switch_wal()'; then: pgagent check",
			  "the server is on timeline %" PRIu32
			  ", of which nothing is archived: what it did since it was promoted can't "
			  "be restored",
			  c->timeline);
}

/* ---- damage ---- */

enum { HINT_MAX = 512, PLACES_TEXT_MAX = 256 };

/* "", or ", and N more". */
static const char *more(size_t count, char out[32])
{
	out[0] = '\0';
	if (count > 1)
		(void)snprintf(out, 32, ", and %zu more", count - 1); /* fits */
	return out;
}

static void say_damaged(struct check *c, const struct attempt *attempt, const char *text)
{
	char id[ATTEMPT_TEXT_MAX], hint[HINT_MAX];

	attempt_to_text(attempt, id);
	(void)snprintf(hint, sizeof(hint),
		       "what it hits: pgagent verify %s\n"
		       "a new backup stores damaged pages again: pgagent backup\n"
		       "no more of it once it is whole again, or gone: pgagent expire --backup %s",
		       id, id); /* fits */
	c->wrong_key = true;
	check_say(c, CHECK_ERROR, "damaged", hint, "backup %s %s", id, text);
}

/* Those of which not even the manifest can be read. */
static bool judge_unreadable(struct check *c, const struct stored *s)
{
	const struct catalog_damage *damage = s->catalog.damage;
	char where[PLACES_TEXT_MAX], others[32], text[ERROR_TEXT_MAX + PLACES_TEXT_MAX];

	if (s->catalog.damages == 0)
		return false;
	catalog_places(s->places, damage->places, where, sizeof(where));
	(void)snprintf(text, sizeof(text), "can't be read in %s%s: %.600s", where,
		       more(s->catalog.damages, others), damage->text); /* cut is still text */
	say_damaged(c, &damage->attempt, text);
	return true;
}

/* Those that verify found damaged, the newest by name. */
static bool judge_verified(struct check *c, const struct stored *s)
{
	const struct catalog_entry *newest = NULL;
	char where[PLACES_TEXT_MAX], others[32], at[TIME_TEXT_MAX], text[512];
	size_t count = 0;

	for (size_t i = 0; i < s->catalog.count; i++) {
		if (s->catalog.entry[i].damaged_places == 0)
			continue;
		newest = &s->catalog.entry[i];
		count++;
	}
	if (newest == NULL)
		return false;
	catalog_places(s->places, newest->damaged_places, where, sizeof(where));
	time_to_text(newest->damaged_us, at);
	(void)snprintf(text, sizeof(text),
		       "can't be restored in full from %s, as verify found at %s%s", where, at,
		       more(count, others)); /* fits */
	say_damaged(c, &newest->summary.attempt, text);
	return true;
}

/* WAL that verify found damaged: behind the beginning of the newest backup all that follows is lost with it. */
static bool judge_segments(struct check *c, const struct stored *s)
{
	const struct catalog_wal_damage *d = &s->catalog.wal_damage;
	const struct summary *newest = s->newest != NULL ? &s->newest->summary : NULL;
	bool passed = d->system_identifier != s->system_identifier ||
		      (newest != NULL &&
		       (newest->timeline > d->timeline ||
			(newest->timeline == d->timeline && newest->start.value >= d->end.value)));
	char where[PLACES_TEXT_MAX], others[32], at[TIME_TEXT_MAX];

	if (d->count == 0)
		return false;
	catalog_places(s->places, d->place, where, sizeof(where));
	time_to_text(d->us, at);
	c->wrong_key = c->wrong_key || !passed;
	check_say(
		c, passed ? CHECK_WARNING : CHECK_ERROR, "damaged",
		passed ? "the newest backup does without it: pgagent list"
		       : "take a new backup, from which WAL counts again: pgagent backup",
		"WAL segment %s in %s, as verify found at %s%s: from there no restore gets past it",
		d->segment, where, at, more(d->count, others));
	return true;
}

static void judge_damage(struct check *c, const struct stored *s)
{
	bool unreadable = judge_unreadable(c, s), found = judge_verified(c, s);
	bool segments = judge_segments(c, s);

	if (!unreadable && !found && !segments && s->catalog.count > 0)
		check_say(c, CHECK_OK, "damaged", "prove it: pgagent verify",
			  "nothing of %zu backup(s) is known to be", s->catalog.count);
}

void stored_judge(struct check *c, const struct stored *s)
{
	judge_window(c, s);
	judge_timeline(c, s);
	judge_damage(c, s);
}

void stored_release(struct stored *s)
{
	free(s->window);
	catalog_release(&s->catalog);
}
