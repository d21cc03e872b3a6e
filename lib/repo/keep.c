/* repo/keep.c - marks that hold a backup out of retention. */
#include "repo/keep.h"
#include "repo/decision_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GENERATION_DIGITS = 8 };

struct last_word {
	enum keep_mark mark;
	uint32_t generation;
};

static enum err read_last(const struct cluster *c, const struct attempt *attempt,
			  struct last_word *out, struct error *why)
{
	char folder[80], name[ATTEMPT_TEXT_MAX];
	struct key_list list = {.count = 0};
	enum err e;

	*out = (struct last_word){.mark = KEEP_NONE};
	attempt_to_text(attempt, name);
	(void)snprintf(folder, sizeof(folder), "keeps/%s.", name); /* fits */
	e = key_list_read(c, folder, &list, why);
	/* Ascending: the last one counts. */
	for (size_t i = 0; e == ERR_NONE && i < list.count; i++) {
		char *rest;
		unsigned long n = strtoul(list.key[i], &rest, 10);

		if (rest - list.key[i] != GENERATION_DIGITS ||
		    (*rest != '\0' && strcmp(rest, ".off") != 0))
			continue; /* nothing of ours */
		out->generation = (uint32_t)n;
		out->mark = *rest == '\0' ? KEEP_ON : KEEP_OFF;
	}
	key_list_release(&list);
	return e;
}

enum err keep_read(const struct cluster *c, const struct attempt *attempt, enum keep_mark *out,
		   struct error *why)
{
	struct last_word last;
	enum err e = read_last(c, attempt, &last, why);

	if (e == ERR_NONE)
		*out = last.mark;
	return e;
}

static enum err refuse_hidden(const struct cluster *c, const struct attempt *attempt,
			      struct error *why)
{
	char name[ATTEMPT_TEXT_MAX];
	struct hidden hidden;
	enum err e = hide_read(c, attempt, &hidden, why);

	if (e != ERR_NONE || hidden.state == HIDE_SHOWN)
		return e;
	attempt_to_text(attempt, name);
	(void)error_set(why, ERR_EXISTS, "backup %s is %s: a mark alone does not bring it back",
			name, hidden.state == HIDE_HIDDEN ? "hidden" : "being removed");
	error_hint(why, "within expire_grace: pgagent undelete %s", name);
	return ERR_EXISTS;
}

enum err keep_set(const struct cluster *c, const struct attempt *attempt, bool keep,
		  const char *reason, bool *changed, struct error *why)
{
	char name[ATTEMPT_TEXT_MAX], key[STORE_KEY_MAX];
	struct last_word last;
	enum err e = read_last(c, attempt, &last, why);

	if (e != ERR_NONE)
		return e;
	attempt_to_text(attempt, name);
	*changed = last.mark != (keep ? KEEP_ON : KEEP_OFF);
	if (*changed && keep && last.mark == KEEP_OFF)
		last.generation++;
	if (last.generation >= KEEP_GENERATIONS_MAX)
		return error_set(why, ERR_LIMIT, "backup %s was kept and given up %d times", name,
				 KEEP_GENERATIONS_MAX);
	(void)snprintf(key, sizeof(key), "%skeeps/%s.%08u%s", c->prefix, name, last.generation,
		       keep ? "" : ".off"); /* fits by its parts */
	if (*changed)
		e = mark_put(c, key, keep ? "keep" : "keep-off", attempt, reason, NULL, why);
	if (e == ERR_EXISTS) { /* another said the same meanwhile */
		*changed = false;
		e = ERR_NONE;
	}
	return e == ERR_NONE && keep ? refuse_hidden(c, attempt, why) : e;
}
