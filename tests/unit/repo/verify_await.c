/* Facts about holes in WAL that an archiver may still fill: a backup's own WAL lies behind them. */
#include "verify_world.h"

enum { AT_TWO = 14 * 3600, SEGMENT_BEGIN = 0x28, SEGMENT_MIDDLE = 0x100 };

static const int64_t minute_us = INT64_C(60000000);

/* A backup with just a part of one segment. */
static void put_backup(struct world *w, unsigned n, uint64_t segno)
{
	struct manifest *m = manifest_number(&w->repo.cluster, n);
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	m->summary.start = lsn_of(segno * SHELF_SEGMENT + SEGMENT_BEGIN);
	m->summary.stop = lsn_of(segno * SHELF_SEGMENT + SEGMENT_MIDDLE);
	m->summary.wal_segment_bytes = SHELF_SEGMENT;
	OK(manifest_commit(&w->repo.cluster, m, sha256, &why));
	manifest_free(m);
	shelf_put_golden(&w->repo, 1, (unsigned)segno);
}

/* An early backup in B, and segment D, some minutes past two; C is missing. */
static void begin(struct world *w, struct still_clock *clock, int64_t minutes)
{
	const struct attempt two = attempt_number(AT_TWO);
	struct identity identity = {.server_version = 150020,
				    .wal_segment_bytes = SHELF_SEGMENT,
				    .block_bytes = 8192,
				    .data_checksums = -1};
	struct error why;

	world_init(w);
	world_stand_still(w, clock);
	clock->now = attempt_time_s(&two) * 1000000 + minutes * minute_us;
	OK(identity_ensure(&w->repo.cluster, &identity, &why));
	put_backup(w, 1, 0xB);
	shelf_put_golden(&w->repo, 1, 0xD);
}

static void assert_awaited(struct world *w, uint64_t segments)
{
	cr_assert_eq(everything(w), ERR_NONE, "%s", w->text);
	cr_assert_eq(w->findings, 0);
	cr_assert_eq(w->totals.wal_awaited, segments);
}

static void assert_hole(struct world *w)
{
	cr_assert_eq(everything(w), ERR_CORRUPT);
	cr_assert_eq(w->totals.wal_awaited, 0);
	cr_assert_not_null(strstr(w->text, "hole"), "%s", w->text);
	cr_assert_not_null(strstr(w->key, "00000001000000000000000D"), "%s", w->key);
}

Test(verify_await, a_hole_before_what_a_backup_streamed_lately_may_be_filled)
{
	struct still_clock clock;
	struct world w;

	begin(&w, &clock, 59);
	assert_hole(&w); /* who put D nobody knows */
	put_backup(&w, AT_TWO, 0xD);
	assert_awaited(&w, 1);
	/* What two backups lack is told once. */
	put_backup(&w, 2, 0xB);
	assert_awaited(&w, 1);
	clock.now += 2 * minute_us;
	assert_hole(&w);
	shelf_put_golden(&w.repo, 1, 0xC);
	assert_awaited(&w, 0);
	world_release(&w);
}

Test(verify_await, a_hole_that_the_archiver_has_passed_is_one)
{
	struct golden e = shelf_golden(1, 0xE);
	struct still_clock clock;
	struct world w;

	begin(&w, &clock, 1);
	put_backup(&w, AT_TWO, 0xD);
	shelf_put_slice(&w.repo, 1, 0xE, e, 0, WAL_PAGE_BYTES); /* streamed too: none is archived */
	assert_awaited(&w, 1);
	shelf_put(&w.repo, 1, 0xE, shelf_golden(1, 0xE));
	assert_hole(&w);
	/* Unless that is a younger backup's own. */
	put_backup(&w, AT_TWO + 30, 0xE);
	assert_awaited(&w, 1);
	world_release(&w);
}

Test(verify_await, a_backup_that_runs_has_streamed_all_from_its_start_on)
{
	struct pin pin = {.kind = "backup",
			  .start = lsn_of(0xD * SHELF_SEGMENT + SEGMENT_BEGIN),
			  .timeline = 1};
	const struct attempt two = attempt_number(AT_TWO);
	struct still_clock clock;
	struct error why;
	struct world w;

	begin(&w, &clock, 1);
	shelf_put_golden(&w.repo, 1, 0xE);
	attempt_to_text(&two, pin.holder);
	OK(pin_put(&w.repo.cluster, &pin, &why));
	assert_awaited(&w, 1);
	clock.now += 60 * minute_us;
	assert_hole(&w);
	world_release(&w);
}

Test(verify_await, what_an_old_backup_has_streamed_nobody_waits_for)
{
	struct still_clock clock;
	struct world w;

	begin(&w, &clock, 1);
	put_backup(&w, 3, 0xD);
	assert_hole(&w);
	/* That another one began there lately makes the hole no younger. */
	put_backup(&w, AT_TWO, 0xD);
	assert_hole(&w);
	world_release(&w);
}
