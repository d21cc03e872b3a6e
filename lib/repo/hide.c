/* repo/hide.c - hidden records, their ends, tombstones. */
#include "repo/hide.h"
#include "repo/decision_internal.h"
#include "repo/lines.h"

#include <stdio.h>
#include <stdlib.h>

enum { GENERATION_DIGITS = 8 };

static void hidden_key(const struct cluster *c, const struct attempt *attempt, uint32_t generation,
		       const char *end, char out[STORE_KEY_MAX])
{
	char name[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, name);
	(void)snprintf(out, STORE_KEY_MAX, "%shidden/%s.%08u%s", c->prefix, name, generation,
		       end); /* fits by its parts */
}

static void tomb_key(const struct cluster *c, const struct attempt *attempt,
		     char out[STORE_KEY_MAX])
{
	char name[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, name);
	(void)snprintf(out, STORE_KEY_MAX, "%stombs/%s", c->prefix, name); /* as above */
}

enum err mark_put(const struct cluster *c, const char *key, const char *type,
		  const struct attempt *attempt, const char *reason, const char *end,
		  struct error *why)
{
	const struct env *env = c->repository->env;
	char text[TIME_TEXT_MAX];
	struct host_identity here;
	struct writer body;
	enum err e;

	host_identify(env, &here);
	writer_init(&body, RECORD_BYTES_MAX);
	attempt_to_text(attempt, text);
	lines_put(&body, "attempt", text);
	if (end != NULL)
		lines_put(&body, "end", end);
	lines_put(&body, "reason", reason);
	lines_put(&body, "host", here.host);
	time_to_text(clock_now_us(env->clock), text);
	lines_put(&body, "time", text);
	e = body.bad ? error_set(why, ERR_MEMORY, "%s: no memory", key)
		     : record_put(c->repository, key, type, writer_view(&body), why);
	writer_release(&body);
	return e;
}

/* ---- what there is ---- */

/* The newest generation in a listing of "hidden/<attempt>.", and whether its end is there. */
static bool newest_generation(const struct key_list *list, size_t name_len, uint32_t *generation,
			      bool *ended)
{
	bool any = false;

	*ended = false;
	for (size_t i = 0; i < list->count; i++) {
		const char *digits = list->key[i] + name_len;
		char *rest;
		unsigned long n = strtoul(digits, &rest, 10);

		if (rest - digits != GENERATION_DIGITS || (*rest != '\0' && strcmp(rest, ".end")))
			continue; /* nothing of ours */
		if (!any || n > *generation)
			*ended = false;
		any = true;
		*generation = (uint32_t)n;
		*ended = *ended || *rest == '.';
	}
	return any;
}

static enum err read_end(const struct cluster *c, const struct attempt *attempt,
			 uint32_t generation, enum hide_state *out, struct error *why)
{
	char key[STORE_KEY_MAX], end[16] = "";
	struct writer body;
	enum err e;

	hidden_key(c, attempt, generation, ".end", key);
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(c->repository, key, "hidden-end", &body, why);
	if (e == ERR_NONE) {
		(void)lines_get(writer_view(&body), "end", end, sizeof(end));
		if (strcmp(end, "undeleted") == 0)
			*out = HIDE_SHOWN;
		else if (strcmp(end, "removed") == 0)
			*out = HIDE_REMOVED;
		else
			e = error_set(why, ERR_CORRUPT, "record %s says \"%s\"", key, end);
	}
	writer_release(&body);
	return e;
}

static enum err read_hidden(const struct cluster *c, const struct attempt *attempt,
			    struct hidden *out, struct error *why)
{
	char key[STORE_KEY_MAX], text[TIME_TEXT_MAX] = "", reason[sizeof(HIDE_BY_POLICY)] = "";
	struct writer body;
	enum err e;

	hidden_key(c, attempt, out->generation, "", key);
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(c->repository, key, "hidden", &body, why);
	if (e == ERR_NONE && (!lines_get(writer_view(&body), "time", text, sizeof(text)) ||
			      !time_from_text(text, &out->since_us)))
		e = error_set(why, ERR_CORRUPT, "record %s does not say when", key);
	/* A longer reason is another one. */
	out->by_policy = e == ERR_NONE &&
			 lines_get(writer_view(&body), "reason", reason, sizeof(reason)) &&
			 strcmp(reason, HIDE_BY_POLICY) == 0;
	writer_release(&body);
	return e;
}

static enum err read_tomb(const struct cluster *c, const struct attempt *attempt, bool *out,
			  struct error *why)
{
	struct store_object object;
	char key[STORE_KEY_MAX];
	enum err e;

	tomb_key(c, attempt, key);
	e = store_stat(c->repository->store, key, &object, why);
	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	*out = e == ERR_NONE;
	return ERR_NONE;
}

enum err hide_read(const struct cluster *c, const struct attempt *attempt, struct hidden *out,
		   struct error *why)
{
	char folder[80], name[ATTEMPT_TEXT_MAX];
	struct hidden h = {.state = HIDE_SHOWN};
	struct key_list list;
	bool ended = false;
	enum err e;

	attempt_to_text(attempt, name);
	(void)snprintf(folder, sizeof(folder), "hidden/%s.", name);
	e = key_list_read(c, folder, &list, why);
	if (e == ERR_NONE)
		h.has_record = newest_generation(&list, 0, &h.generation, &ended);
	key_list_release(&list);
	if (e == ERR_NONE)
		e = read_tomb(c, attempt, &h.tomb, why);
	if (e == ERR_NONE && h.has_record && ended)
		e = read_end(c, attempt, h.generation, &h.state, why);
	else if (e == ERR_NONE && h.has_record)
		h.state = HIDE_HIDDEN;
	if (e == ERR_NONE && h.state == HIDE_HIDDEN)
		e = read_hidden(c, attempt, &h, why);
	if (h.tomb)
		h.state = HIDE_REMOVED;
	if (e == ERR_NONE)
		*out = h;
	return e;
}

/* ---- what is done ---- */

enum err hide_backup(const struct cluster *c, const struct attempt *attempt, const char *reason,
		     struct error *why)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct hidden h;
	enum err e = hide_read(c, attempt, &h, why);

	attempt_to_text(attempt, name);
	if (e != ERR_NONE)
		return e;
	if (h.state != HIDE_SHOWN)
		return error_set(why, ERR_EXISTS, "backup %s is %s already", name,
				 h.state == HIDE_HIDDEN ? "hidden" : "being removed");
	if (h.has_record && h.generation + 1 >= HIDE_GENERATIONS_MAX)
		return error_set(why, ERR_LIMIT, "backup %s was hidden %d times", name,
				 HIDE_GENERATIONS_MAX);
	hidden_key(c, attempt, h.has_record ? h.generation + 1 : 0, "", key);
	return mark_put(c, key, "hidden", attempt, reason, NULL, why);
}

/* Competes for the end of the hidden generation.  ERR_MISSING: there is none to end. */
static enum err decide(const struct cluster *c, const struct attempt *attempt, const char *reason,
		       enum hide_state wanted, enum hide_state *decided, struct error *why)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct hidden h;
	enum err e = hide_read(c, attempt, &h, why);

	attempt_to_text(attempt, name);
	if (e != ERR_NONE)
		return e;
	*decided = h.state;
	if (h.state == HIDE_SHOWN)
		return error_set(why, ERR_MISSING, "backup %s is not hidden", name);
	if (h.state == HIDE_REMOVED)
		return ERR_NONE;
	hidden_key(c, attempt, h.generation, ".end", key);
	e = mark_put(c, key, "hidden-end", attempt, reason,
		     wanted == HIDE_REMOVED ? "removed" : "undeleted", why);
	if (e == ERR_NONE)
		*decided = wanted;
	if (e != ERR_EXISTS)
		return e;
	return read_end(c, attempt, h.generation, decided, why); /* somebody else was faster */
}

enum err hide_undelete(const struct cluster *c, const struct attempt *attempt, const char *reason,
		       struct error *why)
{
	char name[ATTEMPT_TEXT_MAX];
	enum hide_state decided;
	enum err e = decide(c, attempt, reason, HIDE_SHOWN, &decided, why);

	attempt_to_text(attempt, name);
	if (e == ERR_NONE && decided != HIDE_SHOWN)
		e = error_set(why, ERR_EXISTS,
			      "backup %s: too late, its grace is over and it is being removed",
			      name);
	return e;
}

enum err hide_decide_removed(const struct cluster *c, const struct attempt *attempt,
			     const char *reason, struct error *why)
{
	char name[ATTEMPT_TEXT_MAX];
	enum hide_state decided;
	enum err e = decide(c, attempt, reason, HIDE_REMOVED, &decided, why);

	attempt_to_text(attempt, name);
	if (e == ERR_NONE && decided != HIDE_REMOVED)
		e = error_set(why, ERR_MISSING, "backup %s was undeleted", name);
	return e;
}

enum err hide_put_tomb(const struct cluster *c, const struct attempt *attempt, const char *reason,
		       struct error *why)
{
	char key[STORE_KEY_MAX];
	enum err e;

	tomb_key(c, attempt, key);
	e = mark_put(c, key, "tomb", attempt, reason, NULL, why);
	if (e != ERR_EXISTS)
		return e;
	return store_confirm(c->repository->store, key,
			     why); /* another run's, durable from now on */
}

enum err hide_check_no_tomb(const struct cluster *c, const struct attempt *attempt,
			    struct error *why)
{
	char name[ATTEMPT_TEXT_MAX];
	bool tomb = false;
	enum err e = read_tomb(c, attempt, &tomb, why);

	attempt_to_text(attempt, name);
	if (e == ERR_NONE && tomb)
		e = error_set(why, ERR_MISSING, "backup %s is being removed", name);
	return e;
}

enum err hide_list(const struct cluster *c,
		   enum err (*visit)(void *ctx, const struct attempt *, struct error *why),
		   void *ctx, struct error *why)
{
	struct key_list hidden = {.count = 0}, tombs = {.count = 0};
	struct attempt last = {.id = {0}};
	enum err e = key_list_read(c, "hidden/", &hidden, why);
	size_t h = 0, t = 0;

	if (e == ERR_NONE)
		e = key_list_read(c, "tombs/", &tombs, why);
	/* Both ascend by the attempt, with which their names begin. */
	while (e == ERR_NONE && (h < hidden.count || t < tombs.count)) {
		char name[ATTEMPT_TEXT_MAX];
		struct attempt attempt;
		const char *next;

		if (t == tombs.count)
			next = hidden.key[h++];
		else if (h == hidden.count ||
			 strncmp(tombs.key[t], hidden.key[h], ATTEMPT_TEXT_MAX - 1) <= 0)
			next = tombs.key[t++];
		else
			next = hidden.key[h++];
		(void)snprintf(name, sizeof(name), "%.*s", ATTEMPT_TEXT_MAX - 1, next);
		if (!attempt_from_text(name, &attempt) || attempt_compare(&attempt, &last) == 0)
			continue; /* nothing of ours, or visited */
		last = attempt;
		e = visit(ctx, &attempt, why);
	}
	key_list_release(&hidden);
	key_list_release(&tombs);
	return e;
}
