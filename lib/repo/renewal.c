/* repo/renewal.c - which packs of the parent are worth storing again. */
#include "repo/renewal.h"
#include "repo/verified_internal.h"

#include <stdlib.h>

static int64_t age_us(const struct pack_entry *pack, const struct renewal_policy *policy)
{
	return policy->now_us - attempt_time_s(&pack->id.attempt) * INT64_C(1000000);
}

static uint64_t plain_bytes(const struct pack_entry *pack)
{
	return (uint64_t)pack->plain_kib * 1024;
}

static bool is_half_dead(const struct pack_entry *pack)
{
	return pack->live_bytes < plain_bytes(pack) / RENEWAL_ALIVE;
}

/* Least used first: a / plain(a) < b / plain(b), without division. */
static int by_use(const void *a, const void *b)
{
	const struct pack_entry *x = *(const struct pack_entry *const *)a;
	const struct pack_entry *y = *(const struct pack_entry *const *)b;
	double used_x = (double)x->live_bytes / (double)plain_bytes(x);
	double used_y = (double)y->live_bytes / (double)plain_bytes(y);

	return (used_x > used_y) - (used_x < used_y);
}

static int by_age(const void *a, const void *b)
{
	const struct pack_entry *x = *(const struct pack_entry *const *)a;
	const struct pack_entry *y = *(const struct pack_entry *const *)b;
	int order = attempt_compare(&x->id.attempt, &y->id.attempt);

	return order != 0 ? order : (x->id.seq > y->id.seq) - (x->id.seq < y->id.seq);
}

struct choosing {
	const struct manifest *parent;
	const struct pack_entry **list; /* room for all packs */
	struct renewal *out;
	uint64_t left; /* bytes of the run's share */
};

/* Takes packs of the list in order until `budget` bytes are met. */
static void take(struct choosing *c, size_t n, uint64_t budget)
{
	for (size_t i = 0; i < n && c->left > 0 && budget > 0; i++) {
		const struct pack_entry *pack = c->list[i];
		uint64_t bytes = pack->live_bytes;

		c->out->pack[pack - c->parent->pack] = true;
		c->out->packs++;
		c->left -= bytes < c->left ? bytes : c->left;
		budget -= bytes < budget ? bytes : budget;
	}
}

static void take_half_dead(struct choosing *c)
{
	size_t n = 0;

	for (uint32_t i = 0; i < c->parent->packs; i++)
		if (is_half_dead(&c->parent->pack[i]))
			c->list[n++] = &c->parent->pack[i];
	if (n > 0)
		qsort(c->list, n, sizeof(const struct pack_entry *), by_use);
	take(c, n, UINT64_MAX);
}

/* What is too old is spread over one more period by the time since the last backup. */
static void take_old(struct choosing *c, const struct renewal_policy *policy, uint64_t used)
{
	double part = (double)policy->since_last_us / (double)policy->refresh_period_us;
	size_t n = 0;

	if (policy->since_last_us <= 0)
		return;
	for (uint32_t i = 0; i < c->parent->packs; i++)
		if (!c->out->pack[i] &&
		    age_us(&c->parent->pack[i], policy) > policy->refresh_period_us)
			c->list[n++] = &c->parent->pack[i];
	if (n > 0)
		qsort(c->list, n, sizeof(const struct pack_entry *), by_age);
	take(c, n, part >= 1 ? used : (uint64_t)((double)used * part) + 1);
}

enum err renewal_decide(const struct manifest *parent, const struct renewal_policy *policy,
			struct renewal *out, struct error *why)
{
	struct renewal made = {.pack = calloc(parent->packs + 1U, sizeof(bool))};
	struct choosing c = {.parent = parent, .out = &made};
	uint64_t used = 0;

	c.list = calloc(parent->packs + 1U, sizeof(const struct pack_entry *));
	if (made.pack == NULL || c.list == NULL) {
		free(c.list);
		renewal_release(&made);
		return error_set(why, ERR_MEMORY, "choosing what to store again: out of memory");
	}
	for (uint32_t i = 0; i < parent->packs; i++)
		used += parent->pack[i].live_bytes;
	c.left = used < RENEWAL_SHARE ? 1 : used / RENEWAL_SHARE;
	take_half_dead(&c);
	if (policy->refresh_period_us > 0)
		take_old(&c, policy, used);
	free(c.list);
	*out = made;
	return ERR_NONE;
}

void renewal_add_damage(struct renewal *r, const struct manifest *parent,
			const struct verified *verified)
{
	const struct verified_damage *damage = verified->damage.at;
	uint32_t index;

	for (size_t n = 0; n < verified->damage.count; n++) {
		if (!manifest_pack_find(parent, &damage[n].pack, &index))
			continue;
		r->has_damage = true;
		r->packs += !r->pack[index];
		r->pack[index] = true;
	}
}

void renewal_release(struct renewal *r)
{
	free(r->pack);
	*r = (struct renewal){.packs = 0};
}

bool renewal_wants(const struct renewal *r, const struct manifest *parent,
		   const struct pack_id *pack)
{
	uint32_t index;

	return r->packs > 0 && manifest_pack_find(parent, pack, &index) && r->pack[index];
}
