/* Known gaps of WAL: what they cover together, and that only whole records count. */
#include "repo/wal_gaps.h"
#include "repo_world.h"

static struct wal_gap gap(uint32_t timeline, uint64_t from, uint64_t to)
{
	return (struct wal_gap){
		.timeline = timeline, .from = lsn_of(from << 24), .to = lsn_of(to << 24)};
}

static bool covered(const struct wal_gaps *g, struct wal_gap wanted)
{
	return wal_gaps_cover(g, &wanted);
}

Test(wal_gaps, neighbours_cover_together_and_timelines_apart)
{
	struct wal_gap known[] = {gap(1, 3, 5), gap(1, 5, 9), gap(1, 10, 12), gap(2, 9, 10)};
	struct wal_gaps g = {.gap = known, .count = 4};

	cr_assert(covered(&g, gap(1, 3, 9)));
	cr_assert(covered(&g, gap(1, 4, 6)));
	cr_assert(covered(&g, gap(1, 10, 12)));
	cr_assert(!covered(&g, gap(1, 2, 4)));
	cr_assert(!covered(&g, gap(1, 8, 11)), "9 is no gap of timeline 1");
	cr_assert(!covered(&g, gap(2, 3, 5)));
	cr_assert(!covered(&(struct wal_gaps){.count = 0}, gap(1, 1, 2)));
}

Test(wal_gaps, those_that_meet_become_one)
{
	struct wal_gap known[] = {gap(2, 1, 4),   gap(1, 10, 12), gap(1, 3, 5),  gap(1, 5, 9),
				  gap(1, 11, 15), gap(1, 16, 17), gap(1, 10, 11)};
	static const uint64_t expected[][3] = {{1, 3, 9}, {1, 10, 15}, {1, 16, 17}, {2, 1, 4}};
	struct wal_gaps g = {.gap = known, .count = sizeof(known) / sizeof(known[0])};

	for (int again = 0; again < 2; again++) {
		wal_gaps_join(&g);
		cr_assert_eq(g.count, 4);
		for (size_t i = 0; i < g.count; i++) {
			cr_assert_eq(g.gap[i].timeline, expected[i][0]);
			cr_assert_eq(g.gap[i].from.value, expected[i][1] << 24);
			cr_assert_eq(g.gap[i].to.value, expected[i][2] << 24);
		}
	}
	g.count = 0;
	wal_gaps_join(&g);
	cr_assert_eq(g.count, 0);
}

Test(wal_gaps, what_is_put_is_read_in_order_until_it_is_removed)
{
	struct wal_gap second = gap(1, 7, 9), first = gap(1, 3, 5), other = gap(2, 1, 2);
	struct repo_world w;
	struct wal_gaps g;
	struct error why;

	repo_world_init(&w, NULL);
	OK(wal_gap_put(&w.cluster, &other, "t", &why));
	OK(wal_gap_put(&w.cluster, &second, "t", &why));
	OK(wal_gap_put(&w.cluster, &first, "t", &why));
	OK(wal_gap_put(&w.cluster, &first, "t", &why));
	OK(wal_gaps_read(&w.cluster, &g, &why));
	cr_assert_eq(g.count, 3);
	cr_assert_eq(g.gap[0].from.value, first.from.value);
	cr_assert_eq(g.gap[1].to.value, second.to.value);
	cr_assert_eq(g.gap[2].timeline, 2);
	wal_gaps_release(&g);
	OK(wal_gap_remove(&w.cluster, &second, &why));
	OK(wal_gap_remove(&w.cluster, &second, &why));
	OK(wal_gaps_read(&w.cluster, &g, &why));
	cr_assert_eq(g.count, 2);
	cr_assert(!covered(&g, second));
	wal_gaps_release(&g);
	repo_world_release(&w);
}
