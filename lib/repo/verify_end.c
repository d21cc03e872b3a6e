/* repo/verify_end.c - the end of a run: what damage means for each backup, and what is remembered. */
#include "repo/pack.h"
#include "repo/verify_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Damage that earlier runs found in packs which this one did not come to. */
static enum err carry_damage(struct verify_run *r, struct error *why)
{
	const struct verified_damage *damage = r->before->damage.at;
	enum err e = ERR_NONE;

	for (size_t i = 0; i < r->before->damage.count && e == ERR_NONE; i++) {
		struct verify_pack *pack;
		uint32_t index;

		if (!verify_table_find(&r->table, &damage[i].pack, &index) ||
		    r->table.pack[index].read)
			continue;
		pack = &r->table.pack[index];
		pack->damages++;
		if (pack->text == NULL)
			pack->text = strdup("found damaged by an earlier run"); /* as above */
		e = verified_add_damage(r->now, &damage[i], why);
	}
	return e;
}

/* Segments that earlier runs found damaged, that are still there and that this one did not read whole. */
static enum err carry_segments(struct verify_run *r, struct error *why)
{
	const struct verified_segment *known;
	size_t count = verified_wal_damaged(r->before, &known);
	enum err e = ERR_NONE;

	for (size_t i = 0; i < count && e == ERR_NONE; i++) {
		const struct verified_segment *s = &known[i];
		char key[STORE_KEY_MAX];
		struct store_object object;
		struct wal_name name;
		struct error ignored; /* a store that does not answer has not lost it */

		if (verified_wal_us(r->now, s->timeline, s->segment_bytes, s->segno) != 0)
			continue;
		wal_segment_name(s->timeline, s->segno, s->segment_bytes, &name);
		wal_key(r->cluster, &name, key);
		if (store_stat(r->cluster->repository->store, key, &object, &ignored) !=
		    ERR_MISSING)
			e = verified_add_segment(r->now, s, why);
	}
	return e;
}

/* When everything in its packs was last proven; 0 = not all of it.  `touched`: damage may be its. */
static int64_t packs_us(struct verify_run *r, const struct manifest *m, bool *touched)
{
	int64_t us = INT64_MAX;

	*touched = false;
	for (uint32_t i = 0; i < m->packs; i++) {
		uint32_t index;

		if (!verify_table_find(&r->table, &m->pack[i].id, &index)) {
			us = 0; /* it was committed while the run went on */
			continue;
		}
		r->table.pack[index].needed = true;
		*touched = *touched || r->table.pack[index].damages > 0;
		/* Damage in what this backup does not need is not its own. */
		if (r->table.pack[index].damages == 0 && r->table.pack[index].proven_us < us)
			us = r->table.pack[index].proven_us;
	}
	return us;
}

static enum err conclude_backup(struct verify_run *r, struct verify_backup *backup, int64_t *us,
				enum verify_state *state, struct error *why)
{
	struct manifest *m = NULL;
	uint64_t found = 0;
	bool touched = false;
	enum err e;

	*us = 0;
	*state = VERIFY_DAMAGED;
	if (backup->unreadable)
		return ERR_NONE;
	e = manifest_read(r->cluster, &backup->attempt, &m, why);
	if (e != ERR_NONE)
		return e;
	*us = packs_us(r, m, &touched);
	if (touched && !r->options->quick)
		e = verify_name(r, m, &found, why);
	manifest_free(m);
	if (e != ERR_NONE)
		return e;
	/* Maps and packs never change: once proven, pages are as whole as the packs. */
	if (backup->maps_us == 0)
		*us = 0;
	if (backup->wal_us < *us)
		*us = backup->wal_us;
	if (found == 0 && !backup->wal_bad && !backup->wrong_map && !(touched && r->options->quick))
		*state = *us != 0 ? VERIFY_WHOLE : VERIFY_UNFINISHED;
	/* Pages with a sound copy in a damaged pack were read just now, but nobody says when the
	 * rest of it fails. */
	if (touched || backup->wal_bad || backup->wrong_map)
		*us = 0;
	return ERR_NONE;
}

/* Damage that none of the backups has to suffer from. */
static void report_packs(struct verify_run *r, bool named)
{
	for (uint32_t i = 0; i < r->table.count; i++) {
		const struct verify_pack *pack = &r->table.pack[i];
		char key[STORE_KEY_MAX], text[1200];

		if (pack->damages == 0 || pack->named || !pack->in_scope ||
		    (named && !pack->needed))
			continue;
		pack_key(r->cluster, &pack->id, key);
		(void)snprintf(text, sizeof(text), "%.1000s%s",
			       pack->text != NULL ? pack->text : "it is damaged",
			       named && !r->options->quick
				       ? "; every page that a backup needs of it could be read"
				       : ""); /* cut where it is too long */
		verify_report(r, &(struct verify_finding){.key = key, .text = text});
	}
}

/* What was found damaged stays so until it is found whole; `state` is what this run found. */
static enum err note_hit(struct verify_run *r, const struct attempt *attempt,
			 enum verify_state state, struct error *why)
{
	const struct verified_hit *known = verified_find_hit(r->before, attempt);
	struct verified_hit hit = {.attempt = *attempt,
				   .us = known != NULL ? known->us : r->started_us,
				   .stated_us = r->started_us};

	if (state == VERIFY_WHOLE || (state == VERIFY_UNFINISHED && known == NULL))
		return ERR_NONE;
	return verified_add_hit(r->now, &hit, why);
}

/* One that is not looked at: as it was. */
static enum err pass_on(struct verify_run *r, const struct attempt *attempt, struct error *why)
{
	const struct verified_backup *known = verified_find_backup(r->before, attempt);
	const struct verified_hit *hit = verified_find_hit(r->before, attempt);
	enum err e = known != NULL ? verified_add_backup(r->now, known, why) : ERR_NONE;

	return e == ERR_NONE && hit != NULL ? verified_add_hit(r->now, hit, why) : e;
}

/* The entry of one backup for the record; `read`: everything was gone through. */
static enum err conclude_one(struct verify_run *r, struct verify_backup *backup, bool read,
			     struct error *why)
{
	const struct verified_backup *known = verified_find_backup(r->before, &backup->attempt);
	struct verified_backup entry = {.attempt = backup->attempt,
					.maps_us = backup->maps_us,
					.stated_us = r->started_us,
					.records = backup->records};
	enum verify_state state = VERIFY_UNFINISHED;
	bool stays = true;
	enum err e;

	if (!backup->in_scope)
		return pass_on(r, &backup->attempt, why);
	if (!read) {
		entry.whole_us = known != NULL ? known->whole_us : 0;
		e = note_hit(r, &backup->attempt, state, why);
		return e == ERR_NONE ? verified_add_backup(r->now, &entry, why) : e;
	}
	e = conclude_backup(r, backup, &entry.whole_us, &state, why);
	if (verify_is_damage(e)) /* it was readable a moment ago: is it going? */
		e = verify_backup_stays(r, &backup->attempt, &stays, why);
	if (e != ERR_NONE || !stays)
		return e;
	r->totals->backups++;
	if (r->options->backup != NULL)
		r->options->backup(r->options->ctx, &backup->attempt, state);
	/* Whoever lists sees by himself what can't be read; with another key it may be whole. */
	e = note_hit(r, &backup->attempt, backup->unreadable ? VERIFY_UNFINISHED : state, why);
	return e == ERR_NONE ? verified_add_backup(r->now, &entry, why) : e;
}

/* The first failure ends the looking; all that is known is kept for the record. */
static enum err conclude(struct verify_run *r, bool read, struct error *why)
{
	enum err e = ERR_NONE;
	struct error later;

	for (size_t i = 0; i < r->backups; i++) {
		if (e == ERR_NONE && read)
			e = verify_go_on(r, why);
		if (e == ERR_NONE)
			e = conclude_one(r, &r->backup[i], read, why);
		else if (conclude_one(r, &r->backup[i], false, &later) != ERR_NONE)
			break; /* no memory: the record says less */
	}
	return e;
}

/* ---- 7: what is remembered ---- */

static int by_pack_id(const void *left, const void *right)
{
	const struct verify_pack *a = *(const struct verify_pack *const *)left;
	const struct verify_pack *b = *(const struct verify_pack *const *)right;
	int order = attempt_compare(&a->id.attempt, &b->id.attempt);

	return order != 0 ? order : (a->id.seq > b->id.seq) - (a->id.seq < b->id.seq);
}

static enum err remember_packs(struct verify_run *r, struct error *why)
{
	const struct verify_pack **pack = calloc((size_t)r->table.count + 1, sizeof(*pack));
	uint32_t count = 0;
	enum err e = ERR_NONE;

	if (pack == NULL)
		return error_set(why, ERR_MEMORY, "verify: out of memory");
	for (uint32_t i = 0; i < r->table.count; i++)
		if (r->table.pack[i].proven_us != 0 && r->table.pack[i].damages == 0)
			pack[count++] = &r->table.pack[i];
	if (count > 1)
		qsort(pack, count, sizeof(*pack), by_pack_id);
	for (uint32_t i = 0, n = 0; i < count && e == ERR_NONE; i += n) {
		struct verified_packs range = {.attempt = pack[i]->id.attempt,
					       .first = pack[i]->id.seq,
					       .us = pack[i]->proven_us};

		for (n = 1; i + n < count && pack[i + n]->proven_us == range.us &&
			    pack[i + n]->id.seq == range.first + n &&
			    attempt_compare(&pack[i + n]->id.attempt, &range.attempt) == 0;)
			n++;
		range.last = range.first + n - 1;
		e = verified_add_packs(r->now, &range, why);
	}
	free(pack);
	return e;
}

static enum err remember(struct verify_run *r, bool complete, struct error *why)
{
	const struct env *env = r->cluster->repository->env;
	struct verified_run run = {
		.started_us = r->started_us,
		.finished_us = clock_now_us(env->clock),
		.complete = complete,
		.only = r->options->only,
	};
	enum err e = attempt_new(env, &run.run, why);

	if (e == ERR_NONE)
		e = remember_packs(r, why);
	if (e == ERR_NONE) {
		verified_settle(r->now);
		e = verified_write(r->cluster, &run, r->now, r->before, why);
	}
	if (e != ERR_DENIED && e != ERR_FULL && e != ERR_LIMIT)
		return e;
	observer_event(env->observer, LEVEL_WARNING,
		       "what was verified is not remembered%s, the next verify reads it again: %s",
		       r->now->hits.count + r->now->lost.count > 0
			       ? ", so neither status nor check nor list knows of the damage"
			       : "",
		       why->text);
	return ERR_NONE;
}

/* After `read`: damage is named and all is remembered, also when something else ended the run. */
enum err verify_end(struct verify_run *r, enum err read, struct error *why)
{
	const struct verify_totals *t = r->totals;
	bool complete = read == ERR_NONE && !verify_is_over(r) && t->packs_left == 0 &&
			t->wal_left == 0 && t->backups_left == 0;
	struct error reason, ignored;
	enum err e = carry_damage(r, &reason), concluded;

	if (e == ERR_NONE && !r->options->quick && !r->options->bare)
		e = carry_segments(r, &reason);
	verified_settle(r->now);
	concluded = e == ERR_NONE ? conclude(r, read == ERR_NONE, &reason) : e;
	report_packs(r, read == ERR_NONE && concluded == ERR_NONE);
	if (!r->options->quick && !r->options->bare && e == ERR_NONE)
		e = remember(r, complete && concluded == ERR_NONE,
			     concluded == ERR_NONE ? &reason : &ignored);
	if (read != ERR_NONE)
		return read; /* `why` is of it */
	if (concluded != ERR_NONE)
		e = concluded;
	if (e != ERR_NONE)
		*why = reason;
	return e;
}
