/* Facts about waiting for the archive to bring a backup's WAL, on a clock that a test moves. */
#include "backup/backup_internal.h"
#include "wal_shelf.h"

/* Sleeping puts the next segment into the repository, up to `last`. */
struct slow_archive {
	struct clock clock;
	struct repo_world *w;
	int64_t now_us;
	unsigned next, last;
	volatile int cancelled;
	unsigned cancel_after; /* sleeps; 0 = never */
	unsigned sleeps;
};

static int64_t now(struct clock *c)
{
	return ((struct slow_archive *)c)->now_us;
}

static void sleep_us(struct clock *c, int64_t us)
{
	struct slow_archive *s = (struct slow_archive *)c;

	s->now_us += us;
	s->sleeps++;
	if (s->next <= s->last)
		shelf_put_golden(s->w, 1, s->next++);
	if (s->sleeps == s->cancel_after)
		s->cancelled = 1;
}

static enum err wait_for(struct slow_archive *s, struct repo_world *w, int64_t us,
			 struct error *why)
{
	static const struct clock_ops ops = {now, now, now, sleep_us};
	struct env env = w->env;

	s->clock.ops = &ops;
	s->w = w;
	env.clock = &s->clock;
	env.cancelled = &s->cancelled;
	return wal_wait(&env, &w->cluster, 1, lsn_of(0xB00028), lsn_of(0xD00100), 1, SHELF_SEGMENT,
			us, why);
}

Test(wal_wait, ends_when_the_last_segment_has_come)
{
	struct slow_archive s = {.next = 0xB, .last = 0xE};
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	OK(wait_for(&s, &w, 60 * 1000 * 1000, &why));
	cr_assert_eq(s.sleeps, 3);
	repo_world_release(&w);
}

Test(wal_wait, names_the_segment_that_did_not_come_in_time)
{
	struct slow_archive s = {.next = 0xB, .last = 0xC};
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	cr_assert_eq(wait_for(&s, &w, 10 * 1000 * 1000, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "00000001000000000000000D"), "%s", why.text);
	cr_assert_not_null(strstr(why.hint, "pg_stat_archiver"), "%s", why.hint);
	cr_assert_geq(s.now_us, 10 * 1000 * 1000);
	repo_world_release(&w);
}

Test(wal_wait, a_stop_at_the_end_of_a_segment_needs_not_the_next)
{
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	shelf_put_golden(&w, 1, 0xB);
	OK(wal_wait(&w.env, &w.cluster, 1, lsn_of(0xB00028), lsn_of(0xC00000), 1, SHELF_SEGMENT, 0,
		    &why));
	repo_world_release(&w);
}

Test(wal_wait, stops_on_request_and_on_a_store_that_fails)
{
	struct slow_archive s = {.next = 1, .last = 0, .cancel_after = 2};
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	cr_assert_eq(wait_for(&s, &w, 60 * 1000 * 1000, &why), ERR_CANCELLED);
	repo_world_fail(&w, FAULT_FAIL, 1, ERR_DENIED);
	cr_assert_eq(wait_for(&s, &w, 60 * 1000 * 1000, &why), ERR_DENIED);
	repo_world_release(&w);
}

Test(wal_find_missing, names_the_first_that_any_repository_lacks)
{
	struct repo_world w, sibling;
	struct cluster clusters[2];
	struct wal_name name;
	char text[WAL_NAME_MAX];
	struct error why;
	bool missing;

	shelf_world(&w, NULL);
	shelf_world(&sibling, &w);
	clusters[0] = w.cluster;
	clusters[1] = sibling.cluster;
	for (unsigned segno = 0xB; segno <= 0xD; segno++)
		shelf_put_golden(&w, 1, segno);
	shelf_put_golden(&sibling, 1, 0xB);
	shelf_put_golden(&sibling, 1, 0xD);
	OK(wal_find_missing(clusters, 1, lsn_of(0xB00028), lsn_of(0xD00100), 1, SHELF_SEGMENT,
			    &missing, &name, &why));
	cr_assert_not(missing);
	OK(wal_find_missing(clusters, 2, lsn_of(0xB00028), lsn_of(0xD00100), 1, SHELF_SEGMENT,
			    &missing, &name, &why));
	cr_assert(missing);
	wal_name_to_text(&name, text);
	cr_assert_str_eq(text, "00000001000000000000000C");
	repo_world_fail(&sibling, FAULT_FAIL, 1, ERR_DENIED);
	cr_assert_eq(wal_find_missing(clusters, 2, lsn_of(0xB00028), lsn_of(0xD00100), 1,
				      SHELF_SEGMENT, &missing, &name, &why),
		     ERR_DENIED);
	repo_world_release(&sibling);
	repo_world_release(&w);
}

static enum err prove(const struct cluster *cluster, size_t clusters, struct error *why)
{
	return wal_prove(cluster, clusters, lsn_of(0xB00028), lsn_of(0xD00100), 1, SHELF_SEGMENT,
			 why);
}

Test(wal_prove, every_segment_is_in_every_repository_before_the_commit)
{
	struct repo_world w, sibling;
	struct cluster clusters[2];
	struct error why;

	shelf_world(&w, NULL);
	shelf_world(&sibling, &w);
	clusters[0] = w.cluster;
	clusters[1] = sibling.cluster;
	for (unsigned segno = 0xB; segno <= 0xD; segno++) {
		shelf_put_golden(&w, 1, segno);
		shelf_put_golden(&sibling, 1, segno);
	}
	OK(prove(clusters, 2, &why));
	for (unsigned segno = 0xB; segno <= 0xD; segno++) {
		shelf_remove(&sibling, 1, segno);
		cr_assert_eq(prove(clusters, 2, &why), ERR_MISSING, "%x", segno);
		cr_assert_not_null(strstr(why.text, "00000001000000000000000"), "%s", why.text);
		OK(prove(clusters, 1, &why));
		shelf_put_golden(&sibling, 1, segno);
	}
	repo_world_fail(&sibling, FAULT_FAIL, 1, ERR_DENIED);
	cr_assert_eq(prove(clusters, 2, &why), ERR_DENIED);
	repo_world_release(&sibling);
	repo_world_release(&w);
}

Test(wal_prove, a_slice_does_for_the_last_segment_when_it_reaches_the_stop)
{
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	shelf_put_golden(&w, 1, 0xB);
	shelf_put_golden(&w, 1, 0xC);
	shelf_put_slice(&w, 1, 0xD, shelf_golden(1, 0xD), 0, 0xFF);
	cr_assert_eq(prove(&w.cluster, 1, &why), ERR_MISSING);
	shelf_put_slice(&w, 1, 0xD, shelf_golden(1, 0xD), 0, 0x100);
	OK(prove(&w.cluster, 1, &why));
	/* Behind it lies more: archive-get would not give it out. */
	shelf_put_golden(&w, 1, 0xE);
	cr_assert_eq(prove(&w.cluster, 1, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "00000001000000000000000D"), "%s", why.text);
	cr_assert_not_null(strstr(why.text, "in part"), "%s", why.text);
	shelf_put_golden(&w, 1, 0xD);
	OK(prove(&w.cluster, 1, &why));
	repo_world_release(&w);
}
