/* repo/expire.c - steps E2 to E5 of removing a backup, and forgetting it afterwards. */
#include "repo/expire.h"
#include "repo/decision_internal.h"
#include "repo/keep.h"
#include "repo/lines.h"
#include "repo/manifest_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char grace_over[] = "its grace is over";

static bool names(const struct pin_seen *pin, const struct attempt *attempt)
{
	for (size_t i = 0; i < pin->backups; i++)
		if (attempt_compare(&pin->backup[i], attempt) == 0)
			return true;
	return false;
}

enum err expire_holder(const struct cluster *c, const struct pins *pins,
		       const struct attempt *attempt, const struct pin_seen **out,
		       struct error *why)
{
	*out = NULL;
	for (size_t i = 0; i < pins->count; i++) {
		const struct pin_seen *pin = &pins->pin[i];
		bool holds = pin->unreadable || names(pin, attempt);

		if (holds && pin->is_writer && !pin->unreadable) {
			/* The pin of a decided attempt protects nothing: its manifest names the
			 * packs itself. */
			bool decided;
			enum err e = decision_is_there(c, &pin->attempt, &decided, why);

			if (e != ERR_NONE)
				return e;
			holds = !decided;
		}
		if (holds) {
			*out = pin;
			return ERR_NONE;
		}
	}
	return ERR_NONE;
}

/* E4 and E5. */
static enum err remove_manifest(const struct cluster *c, const struct attempt *attempt,
				struct expire_result *out, struct error *why)
{
	const struct pin_seen *holder;
	char key[STORE_KEY_MAX];
	struct pins pins;
	enum err e = pins_read(c, &pins, why); /* E4 */

	if (e == ERR_NONE)
		e = expire_holder(c, &pins, attempt, &holder, why);
	if (e != ERR_NONE)
		goto out;
	if (holder != NULL) {
		out->outcome = EXPIRE_PINNED;
		(void)snprintf(out->pinned_by, sizeof(out->pinned_by), "%s", holder->holder);
		goto out;
	}
	backup_key(c, attempt, key);
	e = store_remove(c->repository->store, key, why); /* E5 */
	if (e == ERR_NONE)
		out->outcome = EXPIRE_REMOVED;
out:
	pins_release(&pins);
	return e;
}

/* Somebody may have marked what a policy hid, between its verdict and its record: his word counts. */
static enum err yield_to_mark(const struct cluster *c, const struct attempt *attempt, bool *yielded,
			      struct error *why)
{
	enum keep_mark mark;
	enum err e = keep_read(c, attempt, &mark, why);

	*yielded = e == ERR_NONE && mark == KEEP_ON;
	if (!*yielded)
		return e;
	e = hide_undelete(c, attempt, "it was marked by keep meanwhile", why);
	/* undeleted by him, too; or by a run before ours too late */
	*yielded = e != ERR_EXISTS;
	return e == ERR_MISSING || e == ERR_EXISTS ? ERR_NONE : e;
}

enum err expire_hide(const struct cluster *c, const struct attempt *attempt, bool *hid,
		     struct error *why)
{
	bool yielded;
	enum err e = hide_backup(c, attempt, HIDE_BY_POLICY, why); /* E1 */

	*hid = e == ERR_NONE;
	if (e == ERR_NONE)
		e = yield_to_mark(c, attempt, &yielded, why);
	*hid = *hid && e == ERR_NONE && !yielded;
	return e == ERR_EXISTS ? ERR_NONE : e;
}

enum err expire_advance(const struct cluster *c, const struct attempt *attempt, int64_t grace_us,
			struct expire_result *out, struct error *why)
{
	int64_t now_us = clock_now_us(c->repository->env->clock);
	bool yielded = false;
	struct hidden hidden;
	enum err e = hide_read(c, attempt, &hidden, why);

	*out = (struct expire_result){.outcome = EXPIRE_KEPT};
	if (e != ERR_NONE || hidden.state == HIDE_SHOWN)
		return e;
	if (hidden.state == HIDE_HIDDEN) {
		/* A time in the future is a clock that jumped: waiting loses nothing. */
		out->due_us = hidden.since_us + grace_us;
		if (hidden.since_us > now_us || now_us - hidden.since_us < grace_us) {
			out->outcome = EXPIRE_GRACE;
			return ERR_NONE;
		}
		/* Whoever hid it may have ended before his look at the marks, or be about to. */
		if (hidden.by_policy)
			e = yield_to_mark(c, attempt, &yielded, why);
		if (e != ERR_NONE || yielded)
			return e;
		e = hide_decide_removed(c, attempt, grace_over, why); /* E2 */
		if (e == ERR_MISSING)                                 /* undeleted meanwhile */
			return ERR_NONE;
	}
	if (e == ERR_NONE)
		e = hide_put_tomb(c, attempt, grace_over, why); /* E3 */
	return e == ERR_NONE ? remove_manifest(c, attempt, out, why) : e;
}

/* ---- afterwards ---- */

struct forgetting {
	const struct cluster *cluster;
	int64_t now_us;
	size_t forgotten;
};

static enum err tomb_age(const struct forgetting *f, const char *key, bool *old, struct error *why)
{
	char text[TIME_TEXT_MAX] = "";
	struct writer body;
	int64_t since_us = 0;
	enum err e;

	*old = false;
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(f->cluster->repository, key, "tomb", &body, why);
	if (e == ERR_NONE && lines_get(writer_view(&body), "time", text, sizeof(text)) &&
	    time_from_text(text, &since_us))
		*old = f->now_us >= since_us && f->now_us - since_us >= TOMB_KEPT_US;
	writer_release(&body);
	return e == ERR_MISSING ? ERR_NONE : e;
}

/* Removes the objects below `folder` that begin with the attempt's name and a dot. */
static enum err remove_beside(const struct cluster *c, const char *folder,
			      const struct attempt *attempt, struct error *why)
{
	char name[ATTEMPT_TEXT_MAX], prefix[80], key[STORE_KEY_MAX];
	struct key_list list;
	enum err e;

	attempt_to_text(attempt, name);
	(void)snprintf(prefix, sizeof(prefix), "%s%s.", folder, name);
	e = key_list_read(c, prefix, &list, why);
	for (size_t i = list.count; e == ERR_NONE && i > 0; i--) {
		if (snprintf(key, sizeof(key), "%s%s%s", c->prefix, prefix, list.key[i - 1]) >=
		    (int)sizeof(key))
			continue; /* nothing of ours */
		e = store_remove(c->repository->store, key, why);
	}
	key_list_release(&list);
	return e;
}

static enum err forget_one(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct forgetting *f = ctx;
	const struct cluster *c = f->cluster;
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	bool there, old;
	enum err e = decision_is_there(c, attempt, &there, why);

	if (e != ERR_NONE || there)
		return e;
	attempt_to_text(attempt, name);
	(void)snprintf(key, sizeof(key), "%stombs/%s", c->prefix, name); /* fits by its parts */
	e = tomb_age(f, key, &old, why);
	if (e != ERR_NONE || !old)
		return e;
	/* The tombstone last: it is what says that the rest means nothing any more. */
	e = remove_beside(c, "keeps/", attempt, why);
	if (e == ERR_NONE)
		e = remove_beside(c, "hidden/", attempt, why);
	if (e == ERR_NONE)
		e = store_remove(c->repository->store, key, why);
	f->forgotten += e == ERR_NONE;
	return e;
}

enum err expire_forget(const struct cluster *c, size_t *forgotten, struct error *why)
{
	struct forgetting f = {.cluster = c, .now_us = clock_now_us(c->repository->env->clock)};
	enum err e = hide_list(c, forget_one, &f, why);

	*forgotten = f.forgotten;
	return e;
}
