/* repo/copy.c - one run of a copy: its pins, and in which order what is copied.
 *
 * (1) the identity; (2) a pin at the source, which reads, and one at the target, which holds sweeps
 * back; (3) pins that copies left at the target whose processes are gone are dropped; (4) no sweep of the
 * target is under way; (5) the backups of the source are listed, and only then (6) WAL is copied, so that
 * what these need is among it; (7) the backups; (8) the pins are dropped.
 *
 * Broken off anywhere the next run goes on: objects that are there are not put again.  The pin at the
 * target lives on for a day, so that they stay there.
 */
#include "repo/copy_internal.h"
#include "repo/decision_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What the source has sealed last, the target's slots open too: a copy is worth its keys. */
static enum err check_keys(const struct repository *from, const struct repository *to,
			   struct error *why)
{
	uint32_t epoch = keyring_epoch(from->keyring);
	uint8_t one[CRYPTO_KEY_BYTES], other[CRYPTO_KEY_BYTES];
	enum err e = keyring_class_key(from->keyring, KEY_CLASS_DATA, epoch, one, why);
	bool same = false;

	if (e != ERR_NONE)
		return e;
	e = keyring_class_key(to->keyring, KEY_CLASS_DATA, epoch, other, why);
	if (e == ERR_NONE)
		same = crypto_same(one, other, sizeof(one)) &&
		       crypto_same(from->clear_key, to->clear_key, CRYPTO_KEY_BYTES);
	explicit_bzero(one, sizeof(one));
	explicit_bzero(other, sizeof(other));
	if (e != ERR_NONE && e != ERR_WRONG_KEY)
		return e;
	return same ? ERR_NONE
		    : error_set(why, ERR_CONFIG,
				"the keys of %s do not open what %s seals now (epoch %" PRIu32 ")",
				to->store->label, from->store->label, epoch);
}

enum err copy_check_family(const struct repository *from, const struct repository *to,
			   struct error *why)
{
	if (memcmp(from->id, to->id, REPOSITORY_ID_BYTES) != 0)
		return error_set(why, ERR_CONFIG,
				 "%s was made apart from %s: a copy goes between repositories that "
				 "share their keys",
				 to->store->label, from->store->label);
	if (from->encryption != to->encryption)
		return error_set(why, ERR_CONFIG, "of %s and %s only one is encrypted",
				 from->store->label, to->store->label);
	return check_keys(from, to, why);
}

/* (1) */
static enum err copy_identity(struct copying *c, struct error *why)
{
	struct identity identity;
	char key[STORE_KEY_MAX];
	enum err e;

	(void)snprintf(key, sizeof(key), "%sidentity", c->from->prefix); /* fits by its parts */
	e = copy_record(c, key, "identity", why);
	if (e == ERR_EXISTS || e == ERR_NONE)
		e = identity_read(c->from, &identity, why);
	if (e != ERR_NONE)
		return e;
	c->segment_bytes = identity.wal_segment_bytes;
	return identity_ensure(c->to, &identity, why);
}

/* (2); a source that takes no pin may be all that is left of a repository. */
static enum err pin_both(struct copying *c, struct error *why)
{
	struct pin reads = {.kind = "copy"}, writes = {.kind = PIN_COPY_TO};
	struct error cause;
	enum err e = pin_holder_new(c->env, "copy", writes.holder, why);

	if (e != ERR_NONE)
		return e;
	memcpy(reads.holder, writes.holder, sizeof(reads.holder));
	if (keeper_start(c->env, c->from, 1, &reads, &c->reading, &cause) != ERR_NONE) {
		c->reading = NULL;
		observer_event(c->env->observer, LEVEL_WARNING,
			       "going on without a pin: nothing keeps an expire from removing what "
			       "is copied: %s",
			       cause.text);
	}
	return keeper_start(c->env, c->to, 1, &writes, &c->writing, why);
}

/* (3); they can't come back, and ours is there. */
static enum err drop_left_behind(struct copying *c, struct error *why)
{
	struct pins pins;
	enum err e = pins_read(c->to, &pins, why);

	for (size_t i = 0; e == ERR_NONE && i < pins.count; i++)
		if (pins.pin[i].is_copy && pins.pin[i].gone)
			e = pin_drop(c->to, pins.pin[i].holder, why);
	pins_release(&pins);
	return e;
}

/* (5) to (7) */
static enum err copy_all(struct copying *c, struct error *why)
{
	struct copy_list list = {.count = 0};
	enum err e = copy_list_backups(c, &list, why);

	if (e == ERR_NONE)
		e = copy_wal(c, why);
	if (e == ERR_NONE)
		e = copy_backups(c, &list, why);
	free(list.backup);
	return e;
}

static enum err run(struct copying *c, struct error *why)
{
	enum err e = copy_identity(c, why);

	if (e == ERR_NONE)
		e = pin_both(c, why);
	if (e == ERR_NONE)
		e = drop_left_behind(c, why);
	if (e == ERR_NONE)
		e = sweep_outlast(c->to, &c->wait, why);
	if (e == ERR_NONE)
		e = copy_all(c, why);
	keeper_stop(c->reading, true);
	/* After a failure it stays, as after a crash, for the next run to go on; but where space is to be
	 * made it must not be in the way. */
	if (e == ERR_NONE || e == ERR_FULL)
		keeper_stop(c->writing, true);
	else
		keeper_rest(c->writing);
	return e;
}

enum err copy_cluster(const struct cluster *from, const struct cluster *to,
		      const struct copy_options *options, struct copy_totals *totals,
		      struct error *why)
{
	const struct env *env = to->repository->env;
	struct copying c = {.env = env,
			    .from = from,
			    .to = to,
			    .options = options,
			    .totals = totals,
			    .wait = {.who = "copy", .seen = options->seen},
			    .piece = malloc(COPY_PIECE_ROOM),
			    .began_us = clock_monotonic_us(env->clock)};
	enum err e = copy_check_family(from->repository, to->repository, why);

	if (e == ERR_NONE && c.piece == NULL)
		e = error_set(why, ERR_MEMORY, "no memory for a copy");
	if (e == ERR_NONE)
		e = object_reader_new(from->repository, &c.reader, why);
	if (e == ERR_NONE)
		e = run(&c, why);
	wal_gaps_release(&c.begins_there);
	wal_gaps_release(&c.wal_there);
	object_reader_free(c.reader);
	free(c.piece);
	return e;
}
