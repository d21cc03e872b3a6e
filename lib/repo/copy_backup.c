/* repo/copy_backup.c - the backups, one after the other, the newest first: it is the one that is wanted
 * after a disaster.
 *
 * C1 the pins name it: at the source it is read, at the target it is about to be decided; C2 no sweep of
 * the target is under way that began before; C3 its manifest is read from the source, and there is no
 * tombstone there, nor a decision at the target; C4 what the target lacks of the packs in its table is
 * put, what it has is confirmed (W3); C5 all of them are listed (W4); C6 its WAL is there (W5); C7 the
 * manifest (W6).
 */
#include "repo/copy_internal.h"
#include "repo/decision_internal.h"
#include "repo/hide.h"
#include "repo/manifest_internal.h"
#include "repo/pack.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- which ones ---- */

static enum err add_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct copy_list *l = ctx;

	if (l->count == l->capacity) {
		size_t more = l->capacity == 0 ? 64 : 2 * l->capacity;
		struct copy_listed *bigger = reallocarray(l->backup, more, sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for a list of backups");
		l->backup = bigger;
		l->capacity = more;
	}
	l->backup[l->count++] = (struct copy_listed){.attempt = info->summary->attempt,
						     .started_us = info->summary->started_us,
						     .start = info->summary->start};
	return ERR_NONE;
}

static void tell(struct copying *c, const struct attempt *attempt, enum copy_outcome outcome,
		 uint64_t bytes, const char *text)
{
	c->totals->backups[outcome]++;
	c->options->backup(c->options->ctx, attempt, outcome, bytes, text);
}

static void tell_damage(struct copying *c, const struct attempt *attempt, uint64_t bytes,
			const char *text)
{
	char key[STORE_KEY_MAX];

	backup_key(c->from, attempt, key);
	c->totals->damaged++;
	c->options->damage(c->options->ctx, key, text);
	tell(c, attempt, COPY_DAMAGED, bytes, text);
}

static enum err pass_over(void *ctx, const struct backup_damage *damage, struct error *why)
{
	struct copy_list *l = ctx;

	(void)why; /* nothing here can fail */
	tell_damage(l->copying, &damage->attempt, 0, damage->reason->text);
	return ERR_NONE;
}

static int newest_first(const void *a, const void *b)
{
	const struct copy_listed *x = a, *y = b;

	if (x->started_us != y->started_us)
		return x->started_us < y->started_us ? 1 : -1;
	return attempt_compare(&y->attempt, &x->attempt);
}

/* What the target says about it, if it was decided or asked to go there.  *known = false: nothing. */
static enum err look_at_target(struct copying *c, const struct attempt *attempt, bool *known,
			       enum copy_outcome *out, struct error *why)
{
	struct hidden hidden;
	bool aborted = false;
	enum err e = decision_is_there(c->to, attempt, known, why);

	if (e == ERR_NONE && *known)
		e = decision_is_aborted(c->to, attempt, &aborted, why);
	*out = aborted ? COPY_ABORTED : COPY_THERE;
	if (e != ERR_NONE || *known)
		return e;
	e = hide_read(c->to, attempt, &hidden, why);
	*known = e == ERR_NONE && hidden.state != HIDE_SHOWN;
	*out = COPY_REMOVED;
	return e;
}

struct starts {
	struct copying *copying;
	bool any;
	struct lsn first;
};

static void add_start(struct starts *s, struct lsn start)
{
	if (!s->any || start.value < s->first.value)
		s->first = start;
	s->any = true;
}

static enum err add_start_there(void *ctx, const struct backup_info *info, struct error *why)
{
	struct starts *s = ctx;
	const struct wal_gap begins = {.timeline = info->summary->timeline,
				       .from = info->summary->start};

	add_start(s, info->summary->start);
	return wal_gaps_add(&s->copying->begins_there, &begins, why);
}

/* Where it starts nobody knows. */
static enum err add_unknown_start(void *ctx, const struct backup_damage *damage, struct error *why)
{
	(void)damage;
	(void)why;
	add_start(ctx, lsn_of(0));
	return ERR_NONE;
}

/* What no backup at the target would replay its sweep takes, and the next copy would bring it again.  No
 * timeline leads back behind the lowest start; where there is no backup, WAL may be all there is. */
static enum err find_wal_from(struct copying *c, const struct copy_list *l, struct error *why)
{
	struct starts s = {.copying = c};
	enum err e = backups_list_all(c->to, true, add_start_there, add_unknown_start, &s, why);

	for (size_t i = 0; e == ERR_NONE && i < l->count; i++)
		if (!l->backup[i].known || l->backup[i].outcome == COPY_THERE)
			add_start(&s, l->backup[i].start);
	if (e == ERR_NONE && s.any)
		c->wal_from = s.first;
	return e;
}

enum err copy_list_backups(struct copying *c, struct copy_list *out, struct error *why)
{
	enum err e;

	*out = (struct copy_list){.copying = c};
	e = backups_list_all(c->from, false, add_backup, pass_over, out, why);
	if (e == ERR_NONE && out->count > 1)
		qsort(out->backup, out->count, sizeof(*out->backup), newest_first);
	for (size_t i = 0; e == ERR_NONE && i < out->count; i++) {
		struct copy_listed *b = &out->backup[i];

		e = look_at_target(c, &b->attempt, &b->known, &b->outcome, why);
	}
	return e == ERR_NONE ? find_wal_from(c, out, why) : e;
}

/* ---- one backup ---- */

/* What it was marked with, from the last word back, so that an older one never counts in between. */
static enum err copy_keeps(struct copying *c, const struct attempt *attempt, struct error *why)
{
	char name[ATTEMPT_TEXT_MAX], folder[80], key[STORE_KEY_MAX];
	struct key_list keeps = {.count = 0};
	enum err e;

	attempt_to_text(attempt, name);
	(void)snprintf(folder, sizeof(folder), "keeps/%s.", name);
	e = key_list_read(c->from, folder, &keeps, why);
	for (size_t i = keeps.count; e == ERR_NONE && i > 0; i--) {
		bool off = strstr(keeps.key[i - 1], ".off") != NULL;

		if (snprintf(key, sizeof(key), "%s%s%s", c->from->prefix, folder,
			     keeps.key[i - 1]) >= (int)sizeof(key))
			continue; /* nothing of ours */
		e = copy_record(c, key, off ? "keep-off" : "keep", why);
		if (e == ERR_EXISTS || e == ERR_MISSING || copy_is_damage(c, e, key, why))
			e = ERR_NONE;
	}
	key_list_release(&keeps);
	return e;
}

/* C1, C2. */
static enum err pin_it(struct copying *c, const struct attempt *attempt, struct error *why)
{
	enum err e = ERR_NONE;

	if (c->reading != NULL)
		e = keeper_set_backup(c->reading, attempt, why);
	if (e == ERR_NONE)
		e = keeper_set_backup(c->writing, attempt, why);
	return e == ERR_NONE ? sweep_outlast(c->to, &c->wait, why) : e;
}

static enum err read_source(struct copying *c, const struct attempt *attempt, struct manifest **out,
			    struct error *why)
{
	struct manifest *m = NULL;
	enum err e = manifest_read(c->from, attempt, &m, why);

	if (e == ERR_NONE)
		e = hide_check_no_tomb(c->from, attempt, why);
	if (e == ERR_NONE)
		*out = m;
	else
		manifest_free(m);
	return e;
}

static void expect(struct copying *c, const struct manifest *m, const bool *there)
{
	c->progress = (struct progress){.phase = "copy"};
	for (uint32_t i = 0; i < m->packs; i++)
		c->progress.total_bytes += there[i] ? 0 : m->pack[i].size;
}

/* C4. */
static enum err copy_packs(struct copying *c, const struct manifest *m, struct error *why)
{
	bool *there = calloc((size_t)m->packs + 1, sizeof(*there));
	enum err e;

	if (there == NULL)
		return error_set(why, ERR_MEMORY, "no memory for %u packs", m->packs);
	e = decision_find_packs(c->to, m, there, why);
	if (e == ERR_CORRUPT)
		(void)error_add(why, "in %s", c->to->repository->store->label);
	expect(c, m, there);
	for (uint32_t i = 0; e == ERR_NONE && i < m->packs; i++) {
		char key[STORE_KEY_MAX];

		pack_key(c->to, &m->pack[i].id, key);
		e = there[i] ? store_confirm(c->to->repository->store, key, why)
			     : copy_pack(c, &m->pack[i], why);
	}
	free(there);
	return e;
}

static enum err check_packs(struct copying *c, const struct manifest *m, struct error *why)
{
	enum err e = decision_check_packs(c->to, m, why);

	return e == ERR_CORRUPT ? error_add(why, "in %s", c->to->repository->store->label) : e;
}

/* C3 to C7. */
static enum err copy_pinned(struct copying *c, const struct attempt *attempt, struct error *why)
{
	struct manifest *m = NULL;
	char key[STORE_KEY_MAX];
	enum err e = read_source(c, attempt, &m, why);

	if (e != ERR_NONE)
		return e;
	backup_key(c->from, attempt, key);
	e = copy_keeps(c, attempt, why);
	if (e == ERR_NONE)
		e = copy_packs(c, m, why); /* W3 */
	if (e == ERR_NONE)
		e = check_packs(c, m, why); /* W4 */
	if (e == ERR_NONE)
		e = copy_check_wal(c, &m->summary, why); /* W5 */
	if (e == ERR_NONE)
		e = copy_sealed(c, key, OBJECT_MANIFEST, why); /* W6 */
	manifest_free(m);
	return e;
}

static const char *text_of(enum copy_outcome outcome)
{
	switch (outcome) {
	case COPY_ABORTED:
		return "it was given up at the target (a copy or backup of it fell silent there), and "
		       "can't be copied there any more; later backups can";
	case COPY_REMOVED:
		return "it was asked to go at the target";
	case COPY_GONE:
		return "it was removed from the source while it was copied";
	default:
		return NULL;
	}
}

/* Why it could not be copied: an answer about this backup, or the end of the run.  ERR_EXISTS: another copy
 * was faster, or this one was taken for dead meanwhile; or another object has the key of one of its packs. */
static enum err settle(struct copying *c, const struct attempt *attempt, uint64_t bytes, enum err e,
		       struct error *why)
{
	struct manifest *m = NULL;
	struct error look;
	enum copy_outcome outcome;
	bool known = false;
	enum err now;

	if (e != ERR_EXISTS && e != ERR_MISSING && e != ERR_CORRUPT && e != ERR_WRONG_KEY)
		return e;
	now = look_at_target(c, attempt, &known, &outcome, &look);
	if (now == ERR_NONE && known) {
		tell(c, attempt, outcome, bytes, text_of(outcome));
		return ERR_NONE;
	}
	/* What a backup lacks is damage only while the backup is to stay. */
	if (now == ERR_NONE)
		now = read_source(c, attempt, &m, &look);
	manifest_free(m);
	if (now == ERR_MISSING) {
		tell(c, attempt, COPY_GONE, bytes, text_of(COPY_GONE));
	} else if (now == ERR_NONE || now == ERR_CORRUPT || now == ERR_WRONG_KEY) {
		tell_damage(c, attempt, bytes, why->text);
	} else {
		*why = look;
		return now;
	}
	return ERR_NONE;
}

static enum err copy_known(struct copying *c, const struct copy_listed *b, struct error *why)
{
	enum err e = b->outcome == COPY_THERE ? copy_keeps(c, &b->attempt, why) : ERR_NONE;

	if (e == ERR_NONE)
		tell(c, &b->attempt, b->outcome, 0, text_of(b->outcome));
	return e;
}

static enum err copy_backup(struct copying *c, const struct attempt *attempt, struct error *why)
{
	uint64_t before = c->totals->bytes;
	enum copy_outcome outcome;
	bool known;
	enum err e = pin_it(c, attempt, why);

	if (e != ERR_NONE)
		return e;
	/* Once more, under the pin. */
	e = look_at_target(c, attempt, &known, &outcome, why);
	if (e == ERR_NONE)
		e = known ? error_set(why, ERR_EXISTS, "it was decided meanwhile")
			  : copy_pinned(c, attempt, why);
	if (e == ERR_NONE) {
		tell(c, attempt, COPY_DONE, c->totals->bytes - before, NULL);
		return ERR_NONE;
	}
	return settle(c, attempt, c->totals->bytes - before, e, why);
}

enum err copy_backups(struct copying *c, const struct copy_list *l, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < l->count; i++) {
		e = l->backup[i].known ? copy_known(c, &l->backup[i], why)
				       : copy_backup(c, &l->backup[i].attempt, why);
		if (e != ERR_NONE) {
			char name[ATTEMPT_TEXT_MAX];

			attempt_to_text(&l->backup[i].attempt, name);
			(void)error_add(why, "copying backup %s", name); /* the kind stays */
		}
	}
	return e;
}
