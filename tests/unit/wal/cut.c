/* Where a recovery may stop before the locks of a transaction that its target cuts off, in WAL that PostgreSQL
 * 15 wrote. */
#include "wal_scene.h"

#include "base/crc32c.h"
#include "pgformat/history.h"
#include "wal/cut.h"

/* In segment D (seconds of 12:57, tests/unit/wal/tail.c): a commit at 0/D1C2F0 (9.227644), a lock behind it at
 * 0/D1C318 of the transaction that drops a table and commits at 0/D1CCB0 (9.255136).  In B: a commit at 0/B002E0
 * (9.152743), a lock behind it of a transaction that aborts at 0/B01360 (9.154320), one prepared at
 * 0/B01428 that commits at 0/B01528 (9.155076), and one prepared at 0/B015D8 that aborts at 0/B016D0. */
#define AT(us) (INT64_C(1795438629000000) + (us))
enum { FROM = 0xB00028, STOP = 0xB00068, END = 0x11000A0, COMMIT = 0xD1C2F0, DROP = 0xD1CCB0 };

struct world {
	struct repo_world repo;
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct history path;
	struct wal_cut_search search;
	struct error why;
};

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	scene_put_both(&w->repo);
	w->path = (struct history){.timeline = 2, .count = 1, .entry = {{1, {0xF000A0}}}};
	w->search = (struct wal_cut_search){.path = &w->path,
					    .segment_bytes = SHELF_SEGMENT,
					    .from = lsn_of(FROM),
					    .stop = lsn_of(STOP),
					    .end = lsn_of(END),
					    .bytes_max = UINT64_MAX / 2};
}

static uint64_t last(struct world *w)
{
	struct wal_cut cut;

	cr_assert_eq(wal_archive_cut(&w->env, &w->archive, &w->search, &cut, &w->why), ERR_NONE,
		     "%s", w->why.text);
	return cut.last.value;
}

static uint64_t last_at(struct world *w, int64_t time_us)
{
	w->search.after_us = time_us;
	return last(w);
}

Test(cut, before_a_dropped_table_is_behind_the_last_commit)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(last_at(&w, AT(227644)), COMMIT);
	cr_assert_eq(last_at(&w, AT(255135)), COMMIT);
	cr_assert_eq(last_at(&w, AT(153000)), 0xB002E0, "an abort ends it, too");
	repo_world_release(&w.repo);
}

Test(cut, where_nothing_is_locked_the_target_is_as_good)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(last_at(&w, AT(20000)), 0);
	cr_assert_eq(last_at(&w, AT(255136)), 0, "behind the drop");
	cr_assert_eq(last_at(&w, AT(154900)), 0, "prepared is not cut off");
	cr_assert_eq(last_at(&w, AT(900000)), 0, "no target");
	repo_world_release(&w.repo);
}

Test(cut, a_position_is_one_to_stop_before_or_behind)
{
	struct world w;

	world_init(&w);
	w.search.at = lsn_of(DROP);
	cr_assert_eq(last(&w), COMMIT);
	w.search.at = lsn_of(0xD1C318); /* the lock itself */
	cr_assert_eq(last(&w), 0);
	w.search.inclusive = true;
	cr_assert_eq(last(&w), COMMIT, "replayed, it locks");
	w.search.at = lsn_of(0xD1C2F8);
	cr_assert_eq(last(&w), COMMIT, "so does what begins at the position or behind it");
	w.search.at = lsn_of(COMMIT);
	cr_assert_eq(last(&w), 0);
	w.search.at = lsn_of(DROP);
	cr_assert_eq(last(&w), 0, "committed");
	repo_world_release(&w.repo);
}

/* Before its end a backup is not consistent. */
Test(cut, the_end_of_the_backup_is_the_first_place)
{
	struct world w;

	world_init(&w);
	w.search.from = lsn_of(0xD00000);
	w.search.stop = lsn_of(COMMIT + 0x28);
	cr_assert_eq(last_at(&w, AT(227644)), COMMIT, "its last record, with no commit behind");
	w.search.stop = lsn_of(0xD1C348); /* the first lock is in the backup */
	cr_assert_eq(last_at(&w, AT(227644)), 0xD1C348, "the next one is not");
	w.search.stop = lsn_of(DROP);
	cr_assert_eq(last_at(&w, AT(227644)), 0);
	repo_world_release(&w.repo);
}

Test(cut, damage_in_between_answers_nothing)
{
	struct world w;

	world_init(&w);
	shelf_damage(&w.repo, 1, 0xD);
	cr_assert_eq(last_at(&w, AT(227644)), 0);
	repo_world_release(&w.repo);
}

/* ---- WAL that is made: what a server writes in an order of ours, in segments of 1 MiB ---- */

enum { MADE_FIRST = 0x400, MADE_SEGMENTS_MAX = 40, BULK = 1 << 20 };
#define MADE_FROM ((uint64_t)MADE_FIRST * SHELF_SEGMENT + 40)

struct made {
	struct golden segment[MADE_SEGMENTS_MAX]; /* from MADE_FIRST on */
	uint64_t at, previous;
};

/* A place for one byte, behind the headers of a page that begins there. */
static uint8_t *made_byte(struct made *m, const struct world *w, uint32_t missing)
{
	uint64_t segno = m->at / SHELF_SEGMENT;
	struct golden *segment = &m->segment[segno - MADE_FIRST];

	cr_assert_lt(segno - MADE_FIRST, MADE_SEGMENTS_MAX);
	if (segment->data == NULL) {
		*segment = shelf_made(&w->repo, 1, segno, 0);
		for (size_t i = 0; i < segment->len; i += WAL_PAGE_BYTES)
			if (i > 0) /* never written */
				memset(segment->data + i, 0, WAL_PAGE_BYTES);
	}
	if (m->at % WAL_PAGE_BYTES == 0) {
		bool first = m->at % SHELF_SEGMENT == 0;
		uint8_t *page = segment->data + m->at % SHELF_SEGMENT;

		put_u16(page, 0xD110);
		put_u16(page + 2, (uint16_t)((first ? WAL_PAGE_LONG : 0) |
					     (missing > 0 ? WAL_PAGE_CONTINUES : 0)));
		put_u32(page + 4, 1);
		put_u64(page + 8, m->at);
		put_u32(page + 16, missing);
		m->at += first ? 40 : 24;
	}
	return segment->data + m->at++ % SHELF_SEGMENT;
}

static uint64_t made_record(struct world *w, struct made *m, uint8_t rmid, uint8_t info,
			    struct bytes main)
{
	uint32_t len = 24 + 5 + (uint32_t)main.len;
	uint8_t *record = calloc(1, len);
	uint64_t start = 0;

	cr_assert_not_null(record);
	put_u32(record, len);
	put_u64(record + 8, m->previous);
	record[16] = info;
	record[17] = rmid;
	record[24] = 254; /* main data with a long length */
	put_u32(record + 25, (uint32_t)main.len);
	memcpy(record + 29, main.data, main.len);
	put_u32(record + 20,
		crc32c_more(crc32c(bytes_of(record + 24, len - 24)), bytes_of(record, 20)));
	for (uint32_t i = 0; i < len; i++) {
		uint8_t *byte = made_byte(m, w, i > 0 ? len - i : 0);

		*byte = record[i];
		if (i == 0)
			start = m->at - 1;
	}
	free(record);
	m->previous = start;
	m->at = (m->at + 7) & ~UINT64_C(7);
	return start;
}

static uint64_t ends(struct world *w, struct made *m, uint8_t info, int64_t time_us)
{
	uint8_t main[8];

	put_u64(main, (uint64_t)(AT(time_us) - INT64_C(946684800000000)));
	return made_record(w, m, 1, info, bytes_of(main, sizeof(main)));
}

static uint64_t commits(struct world *w, struct made *m, int64_t time_us)
{
	return ends(w, m, 0x80, time_us);
}

static uint64_t is_prepared(struct world *w, struct made *m)
{
	return made_record(w, m, 1, 0x10, bytes_of_text("x"));
}

static uint64_t locks(struct world *w, struct made *m)
{
	return made_record(w, m, 8, 0, bytes_of_text("x"));
}

/* Rows of a transaction that has not ended: more than a segment, in records of some pages. */
static void loads(struct world *w, struct made *m, size_t len)
{
	static const uint8_t rows[30000];

	for (size_t done = 0; done < len; done += sizeof(rows))
		(void)made_record(w, m, 10, 0, bytes_of(rows, sizeof(rows)));
}

/* A backup, which ends behind the commit of its second 1. */
static void made_begin(struct world *w, struct made *m)
{
	memset(w, 0, sizeof(*w));
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	w->path = (struct history){.timeline = 1};
	*m = (struct made){.at = MADE_FROM};
	(void)commits(w, m, 1);
	w->search = (struct wal_cut_search){.path = &w->path,
					    .segment_bytes = SHELF_SEGMENT,
					    .from = lsn_of(MADE_FROM),
					    .stop = lsn_of(m->at),
					    .bytes_max = UINT64_MAX / 2};
}

static void made_end(struct world *w, struct made *m)
{
	w->search.end = lsn_of(m->at);
	for (size_t i = 0; i < MADE_SEGMENTS_MAX && m->segment[i].data != NULL; i++)
		shelf_put(&w->repo, 1, MADE_FIRST + i, m->segment[i]);
}

/* Some segments with small transactions. */
static void goes_on(struct world *w, struct made *m, unsigned segments, int64_t time_us)
{
	for (uint64_t from = m->at; m->at < from + (uint64_t)segments * SHELF_SEGMENT;) {
		(void)commits(w, m, time_us);
		loads(w, m, 100000);
	}
	(void)commits(w, m, time_us);
}

/* A table is dropped, and nothing commits for some segments. */
Test(cut, segments_without_a_commit_do_not_lead_past_the_target)
{
	struct world w;
	struct made m;
	uint64_t x;

	made_begin(&w, &m);
	x = commits(&w, &m, 10);
	(void)locks(&w, &m);
	(void)commits(&w, &m, 20);
	loads(&w, &m, 12 * BULK);
	(void)is_prepared(&w, &m);
	(void)locks(&w, &m);
	(void)commits(&w, &m, 30);
	made_end(&w, &m);
	cr_assert_eq(last_at(&w, AT(10)), x, "%lX", last_at(&w, AT(10)));
	repo_world_release(&w.repo);
}

Test(cut, a_commit_behind_segments_without_one_is_found)
{
	struct world w;
	struct made m;
	uint64_t x, y, z;

	made_begin(&w, &m);
	goes_on(&w, &m, 3, 5);
	x = commits(&w, &m, 10);
	(void)locks(&w, &m);
	loads(&w, &m, 12 * BULK); /* its middle is that of the WAL */
	y = commits(&w, &m, 20);
	(void)locks(&w, &m);
	loads(&w, &m, 3 * BULK);
	z = commits(&w, &m, 30);
	loads(&w, &m, BULK);
	(void)commits(&w, &m, 40);
	made_end(&w, &m);
	cr_assert_eq(last_at(&w, AT(10)), x);
	cr_assert_eq(last_at(&w, AT(19)), x);
	cr_assert_eq(last_at(&w, AT(20)), y);
	cr_assert_eq(last_at(&w, AT(29)), y);
	cr_assert_eq(last_at(&w, AT(30)), 0, "no lock behind %lX", z);
	repo_world_release(&w.repo);
}

/* PostgreSQL stops at the first later commit in the order of the WAL. */
Test(cut, a_clock_that_was_set_back_does_not_lead_past_the_target)
{
	struct world w;
	struct made m;
	uint64_t x;

	made_begin(&w, &m);
	x = commits(&w, &m, 10);
	(void)locks(&w, &m);
	(void)commits(&w, &m, 40);
	for (int i = 0; i < 12; i++) {
		(void)commits(&w, &m, 11 + i);
		loads(&w, &m, BULK);
	}
	(void)commits(&w, &m, 25);
	(void)locks(&w, &m);
	(void)commits(&w, &m, 50);
	made_end(&w, &m);
	cr_assert_eq(last_at(&w, AT(30)), x, "behind 25 it would be past 40");
	repo_world_release(&w.repo);
}

Test(cut, a_commit_in_the_backup_that_is_later_leaves_it_to_the_server)
{
	struct world w;
	struct made m;

	made_begin(&w, &m);
	(void)commits(&w, &m, 40);
	w.search.stop = lsn_of(m.at);
	goes_on(&w, &m, 3, 5);
	(void)locks(&w, &m);
	(void)commits(&w, &m, 50);
	made_end(&w, &m);
	cr_assert_neq(last_at(&w, AT(40)), 0);
	cr_assert_eq(last_at(&w, AT(39)), 0);
	repo_world_release(&w.repo);
}

Test(cut, a_prepared_transaction_stays_before_the_place)
{
	struct world w;
	struct made m;
	uint64_t x;

	made_begin(&w, &m);
	goes_on(&w, &m, 3, 5);
	(void)locks(&w, &m);
	loads(&w, &m, BULK);
	x = is_prepared(&w, &m);
	(void)locks(&w, &m);
	(void)commits(&w, &m, 50);
	w.search.at = lsn_of(m.previous);
	made_end(&w, &m);
	cr_assert_eq(last(&w), x);
	w.search.at = lsn_of(0);
	cr_assert_eq(last_at(&w, AT(20)), x);
	repo_world_release(&w.repo);
}

Test(cut, what_is_too_far_to_be_proven_is_left_to_the_server)
{
	struct world w;
	struct made m;
	uint64_t x, target;
	unsigned calls;

	made_begin(&w, &m);
	goes_on(&w, &m, 8, 5);
	x = commits(&w, &m, 10);
	(void)locks(&w, &m);
	target = commits(&w, &m, 20);
	made_end(&w, &m);
	w.search.bytes_max = target - MADE_FROM;
	w.repo.fault.calls = 0;
	cr_assert_eq(last_at(&w, AT(10)), 0);
	calls = w.repo.fault.calls;
	w.search.bytes_max++;
	w.repo.fault.calls = 0;
	cr_assert_eq(last_at(&w, AT(10)), x);
	cr_assert_gt(w.repo.fault.calls, calls + 8, "nor is it tried: %u calls of %u", calls,
		     w.repo.fault.calls);
	repo_world_release(&w.repo);
}

/* Nothing is read twice where there is no lock, nor all of it once. */
Test(cut, without_a_lock_at_the_target_nothing_is_proven)
{
	struct world w;
	struct made m;
	int64_t i = 0;

	made_begin(&w, &m);
	(void)locks(&w, &m);
	while (m.at < MADE_FROM + (uint64_t)(MADE_SEGMENTS_MAX - 2) * SHELF_SEGMENT) {
		(void)commits(&w, &m, 10 + i++);
		loads(&w, &m, 100000);
	}
	(void)commits(&w, &m, 10 + i);
	made_end(&w, &m);
	w.repo.fault.calls = 0;
	cr_assert_eq(last_at(&w, AT(10 + i / 3)), 0);
	cr_assert_lt(w.repo.fault.calls, MADE_SEGMENTS_MAX, "%u", w.repo.fault.calls);
	repo_world_release(&w.repo);
}

Test(cut, a_time_that_cannot_be_read_answers_nothing)
{
	struct world w;
	struct made m;
	uint64_t x;

	made_begin(&w, &m);
	x = commits(&w, &m, 10);
	(void)locks(&w, &m);
	(void)made_record(&w, &m, 1, 0x80, bytes_of_text("short"));
	(void)commits(&w, &m, 50);
	made_end(&w, &m);
	cr_assert_eq(last_at(&w, AT(20)), 0);
	w.search.at = lsn_of(m.previous);
	cr_assert_neq(x, 0);
	cr_assert_eq(last(&w), 0, "a position needs no time");
	repo_world_release(&w.repo);
}
