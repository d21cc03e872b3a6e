/* Self-renewal as a policy: which packs and frames of the parent are stored again. */
#include "repo/renewal.h"
#include "repo/verified_internal.h"
#include "repo_world.h"

#include <stdlib.h>

enum { MIB = 1 << 20 };
#define DAY_US INT64_C(86400000000)
#define NOW_US (INT64_C(1795442700) * 1000000) /* 2026-11-23 */

/* A pack of a backup taken `age_days` before now, with this many plain and live MiB. */
static void add_pack(struct manifest *m, int64_t age_days, uint32_t plain_mib, uint32_t live_mib)
{
	struct pack_id id = {.seq = m->packs};
	struct error why;
	uint32_t index;

	put_u64(id.attempt.id, (uint64_t)((NOW_US - age_days * DAY_US) / 1000000));
	OK(manifest_pack_index(m, &id, &index, &why));
	m->pack[index].plain_kib = plain_mib * 1024;
	m->pack[index].live_bytes = (uint64_t)live_mib * MIB;
	m->pack[index].size = 1;
}

static struct renewal decide(const struct manifest *m, int64_t period_days, int64_t since_days)
{
	struct renewal_policy policy = {.now_us = NOW_US,
					.since_last_us = since_days * DAY_US,
					.refresh_period_us = period_days * DAY_US};
	struct renewal r;
	struct error why;

	OK(renewal_decide(m, &policy, &r, &why));
	return r;
}

Test(renewal, a_quiet_young_parent_needs_nothing)
{
	struct manifest *m = manifest_new();
	struct renewal r;

	for (uint32_t i = 0; i < 100; i++)
		add_pack(m, 10, 40, 40 - i % 20);
	r = decide(m, 90, 1);
	cr_assert_eq(r.packs, 0);
	cr_assert_not(renewal_wants(&r, m, &m->pack[3].id));
	renewal_release(&r);
	manifest_free(m);
}

Test(renewal, packs_less_than_half_used_go_least_used_first_within_the_share)
{
	struct manifest *m = manifest_new();
	struct renewal r;
	uint32_t taken = 0;

	/* 4000 MiB used, all packs half dead at once: a twentieth is 200 MiB. */
	for (uint32_t i = 0; i < 400; i++)
		add_pack(m, 35, 40, i % 2 ? 19 : 1);
	r = decide(m, 0, 1);
	for (uint32_t i = 0; i < 400; i++) {
		taken += r.pack[i];
		if (r.pack[i])
			cr_assert_eq(i % 2, 0, "pack %u is used more than others", i);
	}
	cr_assert_eq(taken, r.packs);
	cr_assert_eq(taken, 200, "all that are used least, 200 MiB");
	renewal_release(&r);
	manifest_free(m);
}

Test(renewal, half_used_exactly_stays)
{
	struct manifest *m = manifest_new();
	struct renewal r;

	add_pack(m, 1, 40, 20);
	add_pack(m, 1, 40, 400); /* counts of a pack without its plain size */
	m->pack[1].plain_kib = 0;
	r = decide(m, 90, 1);
	cr_assert_eq(r.packs, 0);
	renewal_release(&r);
	manifest_free(m);
}

Test(renewal, old_copies_are_spread_over_a_period)
{
	struct manifest *m = manifest_new();
	struct renewal r;

	/* 9000 MiB, all from one day 91 days ago: a ninetieth a day. */
	for (uint32_t i = 0; i < 225; i++)
		add_pack(m, 91, 40, 40);
	r = decide(m, 90, 1);
	cr_assert_eq(r.packs, 3, "100 MiB and what crosses it, not %zu", r.packs);
	renewal_release(&r);
	r = decide(m, 90, 2);
	cr_assert_eq(r.packs, 6);
	renewal_release(&r);
	r = decide(m, 90, 400);
	cr_assert_eq(r.packs, 12, "the share of a run bounds it: 450 MiB");
	renewal_release(&r);
	r = decide(m, 92, 1);
	cr_assert_eq(r.packs, 0, "none is old enough");
	renewal_release(&r);
	r = decide(m, 0, 1);
	cr_assert_eq(r.packs, 0, "0 is off");
	renewal_release(&r);
	r = decide(m, 90, -1);
	cr_assert_eq(r.packs, 0, "a clock that went back");
	renewal_release(&r);
	manifest_free(m);
}

Test(renewal, the_oldest_goes_first_and_one_pack_is_never_too_much)
{
	struct manifest *m = manifest_new();
	struct renewal r;

	add_pack(m, 100, 40, 40);
	add_pack(m, 200, 40, 40);
	add_pack(m, 150, 40, 40);
	r = decide(m, 90, 1);
	cr_assert(r.pack[1] && !r.pack[0] && !r.pack[2]);
	cr_assert(renewal_wants(&r, m, &m->pack[1].id));
	renewal_release(&r);
	manifest_free(m);
}

static struct verified *damaged(struct pack_id pack, uint32_t ordinal)
{
	struct verified *v = verified_new();
	struct verified_damage damage = {pack, ordinal, VERIFIED_ALL, 1};
	struct error why;

	OK(verified_add_damage(v, &damage, &why));
	verified_settle(v);
	return v;
}

static void add_damage(struct renewal *r, const struct manifest *m, struct pack_id pack,
		       uint32_t ordinal)
{
	struct verified *v = damaged(pack, ordinal);

	renewal_add_damage(r, m, v);
	verified_free(v);
}

Test(renewal, packs_with_damage_are_never_deferred)
{
	struct manifest *m = manifest_new();
	struct pack_id elsewhere = {.seq = 77};
	struct renewal r;

	for (uint32_t i = 0; i < 3; i++)
		add_pack(m, 1, 40, 40);
	r = decide(m, 90, 1);
	add_damage(&r, m, elsewhere, 1);
	cr_assert_not(r.has_damage, "the parent has no such pack");
	cr_assert_eq(r.packs, 0);
	add_damage(&r, m, m->pack[1].id, 9);
	add_damage(&r, m, m->pack[1].id, VERIFIED_ALL); /* in another repository */
	cr_assert(r.has_damage);
	cr_assert(renewal_wants(&r, m, &m->pack[1].id), "one repository is enough");
	cr_assert_not(renewal_wants(&r, m, &m->pack[0].id));
	cr_assert_eq(r.packs, 1);
	renewal_release(&r);
	manifest_free(m);
}

Test(renewal, thirty_five_nights_of_two_percent_never_store_half_at_once)
{
	enum { PACKS = 200, NIGHTS = 200 };
	/* 40 MiB packs of which each night 2 % die; what is renewed or changed fills new packs. */
	struct manifest *m = manifest_new();
	double live[PACKS * 20];
	uint32_t packs = 0;
	double most = 0, dead_most = 0;

	for (uint32_t i = 0; i < PACKS; i++)
		live[packs++] = 40;
	for (int night = 0; night < NIGHTS; night++) {
		double total = 0, added = 0, size = 0;
		struct renewal r;

		for (uint32_t i = 0; i < packs; i++) {
			added += live[i] * 0.02;
			live[i] *= 0.98;
		}
		manifest_free(m);
		m = manifest_new();
		for (uint32_t i = 0; i < packs; i++) {
			add_pack(m, 1, 40, 1);
			m->pack[i].live_bytes = (uint64_t)(live[i] * MIB);
			total += live[i];
			size += live[i] > 0.01 ? 40 : 0;
		}
		r = decide(m, 0, 1);
		double renewed = 0;
		for (uint32_t i = 0; i < packs; i++)
			if (r.pack[i]) {
				renewed += live[i];
				live[i] = 0;
			}
		renewal_release(&r);
		most = renewed / (total + added) > most ? renewed / (total + added) : most;
		dead_most = size / (total + added) > dead_most ? size / (total + added) : dead_most;
		for (added += renewed; added > 0.01; added -= 40)
			live[packs++] = added < 40 ? added : 40;
	}
	cr_assert_lt(most, 0.06, "%f of all in one night", most);
	cr_assert_lt(dead_most, 2.4, "amplification grew to %f", dead_most);
	manifest_free(m);
}
