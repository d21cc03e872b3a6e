/* commands/check_stored.c - what is wrong with the backups that are stored, as far as looking and what
 * earlier verification has found can tell.
 */
#include "commands/check_stored.h"

#include <inttypes.h>
#include <stdio.h>

bool stored_read(struct check *c, const struct places *places, struct stored *out)
{
	struct error why;

	*out = (struct stored){.places = places};
	if (catalog_read(places, c->config->section.name, &out->catalog, &why) != ERR_NONE) {
		check_fail(c, "backups", &why);
		return false;
	}
	if (catalog_read_verified(places, &out->catalog, &why) != ERR_NONE)
		check_say(c, CHECK_WARNING, "verified", NULL,
			  "when backups were verified, and what was found, is not known: %s",
			  why.text);
	return true;
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

void stored_judge(struct check *c, const struct stored *s)
{
	bool unreadable = judge_unreadable(c, s), found = judge_verified(c, s);

	if (!unreadable && !found && s->catalog.count > 0)
		check_say(c, CHECK_OK, "damaged", "prove it: pgagent verify",
			  "none of %zu backup(s) is known to be", s->catalog.count);
}

void stored_release(struct stored *s)
{
	catalog_release(&s->catalog);
}
