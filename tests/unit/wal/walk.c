#include "wal/walk.h"

#include "base/crc32c.h"
#include "golden.h"

enum { SEGMENT = 1 << 20, SEGMENTS_MAX = 10 };

/* Segments in memory, in which a test can do damage. */
struct shelf {
	struct {
		uint32_t timeline;
		uint64_t segno;
		struct golden bytes;
	} segment[SEGMENTS_MAX];
	size_t count;
	enum err failure; /* for every call, when it is set */
};

static const struct {
	uint32_t timeline;
	uint64_t segno;
} on_shelf[SEGMENTS_MAX] = {
	{1, 0xB}, {1, 0xC},  {1, 0xD},  {1, 0xE},  {1, 0xF},
	{2, 0xF}, {2, 0x10}, {2, 0x11}, {2, 0x12}, {2, 0x13},
};

static struct shelf shelf_of(unsigned major)
{
	struct shelf s = {0};

	for (size_t i = 0; i < SEGMENTS_MAX; i++) {
		char path[100];

		(void)snprintf(path, sizeof(path), "tests/golden/wal/%u/%08X%08X%08X.runs", major,
			       on_shelf[i].timeline, 0, (unsigned)on_shelf[i].segno);
		s.segment[i].timeline = on_shelf[i].timeline;
		s.segment[i].segno = on_shelf[i].segno;
		s.segment[i].bytes = golden_read_runs(path, SEGMENT);
	}
	s.count = SEGMENTS_MAX;
	return s;
}

static struct golden *shelf_find(struct shelf *s, uint32_t timeline, uint64_t segno)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->segment[i].timeline == timeline && s->segment[i].segno == segno)
			return &s->segment[i].bytes;
	return NULL;
}

/* The byte at `lsn` in the segment of `timeline`. */
static uint8_t *byte_at(struct shelf *s, uint32_t timeline, uint64_t lsn)
{
	return shelf_find(s, timeline, lsn / SEGMENT)->data + lsn % SEGMENT;
}

static void shelf_remove(struct shelf *s, uint32_t timeline, uint64_t segno)
{
	shelf_find(s, timeline, segno)->data = NULL;
}

static enum err shelf_segment(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			      struct error *why)
{
	struct shelf *s = ctx;
	struct golden *g = shelf_find(s, timeline, segno);

	if (s->failure != ERR_NONE)
		return error_set(why, s->failure, "the shelf is broken");
	if (g == NULL || g->data == NULL)
		return error_set(why, ERR_MISSING, "not on the shelf");
	*out = golden_view(*g);
	return ERR_NONE;
}

static struct history path_1(void)
{
	return (struct history){.timeline = 1};
}

static struct history path_2(uint64_t switch_at)
{
	return (struct history){.timeline = 2, .count = 1, .entry = {{1, {switch_at}}}};
}

static struct wal_walk_end walk_on(struct shelf *s, const struct history *path, uint64_t start)
{
	struct wal_walk how = {
		.source = {s, shelf_segment},
		.path = path,
		.segment_bytes = SEGMENT,
		.start = lsn_of(start),
	};
	struct wal_walk_end end;
	struct error why;

	cr_assert_eq(wal_walk(&how, &end, &why), ERR_NONE, "%s", why.text);
	return end;
}

/* From the first golden segment along the path that was really taken. */
static struct wal_walk_end walk(struct shelf *s)
{
	struct history path = path_2(0xF000A0);

	return walk_on(s, &path, 0xB00000);
}

static void assert_end(struct wal_walk_end end, enum wal_stop stop, uint64_t at, uint64_t last,
		       uint64_t behind)
{
	cr_assert_eq(end.stop, stop, "stop: %s at %lX", wal_stop_text(end.stop), end.stop_at.value);
	cr_assert_eq(end.stop_at.value, at, "stop_at: %lX", end.stop_at.value);
	cr_assert_eq(end.last.value, last, "last: %lX", end.last.value);
	cr_assert_eq(end.end.value, behind, "end: %lX", end.end.value);
}

/* Makes the record's CRC right again after a change, as long as it lies on one page. */
static void seal(uint8_t *record)
{
	uint32_t len = get_u32(record);
	uint32_t crc = crc32c(bytes_of(record + 24, len - 24));

	put_u32(record + 20, crc32c_more(crc, bytes_of(record, 20)));
}

/* Counts and positions are those of pg_waldump 15 and of an independent reader for 18. */
Test(walk, real_wal_of_postgresql_15_across_a_promotion)
{
	struct shelf s = shelf_of(15);
	struct wal_walk_end end = walk(&s);

	assert_end(end, WAL_STOP_ZERO, 0x11000A0, 0x1100028, 0x11000A0);
	cr_assert_eq(end.records, 114 + 7 + 13 + 3 + 1);
	cr_assert_eq(end.first.value, 0xB00028);
	cr_assert_eq(end.timeline, 2);
}

Test(walk, real_wal_of_postgresql_18_across_a_promotion)
{
	struct shelf s = shelf_of(18);
	struct wal_walk_end end = walk(&s);

	assert_end(end, WAL_STOP_ZERO, 0x11000A0, 0x1100028, 0x11000A0);
	cr_assert_eq(end.records, 110 + 7 + 13 + 3 + 1);
}

Test(walk, path_of_the_parent_ends_in_the_parents_segment)
{
	struct shelf s = shelf_of(15);
	struct history path = path_1();
	struct wal_walk_end end = walk_on(&s, &path, 0xB00000);

	assert_end(end, WAL_STOP_ZERO, 0xF000A0, 0xF00028, 0xF000A0);
	cr_assert_eq(end.records, 114 + 7 + 1);
	cr_assert_eq(end.timeline, 1);
}

Test(walk, record_that_was_never_finished_is_void)
{
	for (unsigned major = 15; major <= 18; major += 3) {
		struct shelf s = shelf_of(major);
		struct history path = path_2(0xF000A0);
		struct wal_walk_end end = walk_on(&s, &path, 0x1200000);

		assert_end(end, WAL_STOP_ZERO, 0x13001B0, 0x1300138, 0x13001B0);
		cr_assert_eq(end.records, 7);
	}
}

Test(walk, record_in_the_place_of_a_void_one_must_name_it)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	uint8_t *record = byte_at(&s, 2, 0x1300028);

	put_u64(record + 26, 0x1200068);
	seal(record);
	assert_end(walk_on(&s, &path, 0x1200000), WAL_STOP_BAD_RECORD, 0x1300028, 0x1200068,
		   0x1200090);
}

Test(walk, starts_at_any_record)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	struct wal_walk_end end = walk_on(&s, &path, 0xB00178);

	cr_assert_eq(end.first.value, 0xB00178);
	cr_assert_eq(end.records, 138 - 6);
	end = walk_on(&s, &path, 0x1100028);
	cr_assert_eq(end.records, 1);
}

Test(walk, record_continued_from_before_the_start_is_passed_over)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	/* All of segment C is the middle of one record, which ends in D. */
	static const uint64_t starts[] = {0xB02000, 0xC00000, 0xC02000, 0xD00000, 0xD1C000};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct wal_walk_end end = walk_on(&s, &path, starts[i]);

		cr_assert_eq(end.first.value, 0xD1C270, "from %lX: %lX", starts[i],
			     end.first.value);
		assert_end(end, WAL_STOP_ZERO, 0x11000A0, 0x1100028, 0x11000A0);
	}
	put_u32(byte_at(&s, 1, 0xC04010), 4711);
	assert_end(walk_on(&s, &path, 0xC00000), WAL_STOP_TORN, 0xC04000, 0, 0xC00000);
}

Test(walk, stops_behind_the_record_that_reaches_the_bound)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	struct wal_walk how = {
		.source = {&s, shelf_segment},
		.path = &path,
		.segment_bytes = SEGMENT,
		.start = lsn_of(0xB00000),
		.until = lsn_of(0xD1C270),
	};
	struct wal_walk_end end;

	cr_assert_eq(wal_walk(&how, &end, NULL), ERR_NONE);
	assert_end(end, WAL_STOP_UNTIL, 0xD1C270, 0xB01700, 0xD1C270);
	how.until = lsn_of(0xD1C271);
	cr_assert_eq(wal_walk(&how, &end, NULL), ERR_NONE);
	assert_end(end, WAL_STOP_UNTIL, 0xD1C2B0, 0xD1C270, 0xD1C2B0);
	/* Behind a switch the next record starts in the next segment. */
	how.until = lsn_of(0xDFFFFF);
	cr_assert_eq(wal_walk(&how, &end, NULL), ERR_NONE);
	assert_end(end, WAL_STOP_UNTIL, 0xE00000, 0xD1D190, 0xE00000);
}

struct met {
	size_t commits, aborts, committed_prepared, aborted_prepared, points, switches;
	int64_t prepared_us;
	char point[4][WAL_RESTORE_POINT_NAME_MAX];
	int64_t point_us;
	uint32_t largest;
	size_t largest_seen;
	uint64_t previous, fail_at;
};

static enum err meet(void *ctx, const struct wal_record *record, struct error *why)
{
	struct met *m = ctx;
	int64_t us = 0;
	bool has_time = wal_record_time(record, &us);

	if (record->lsn.value == m->fail_at)
		return error_set(why, ERR_FULL, "enough");
	cr_assert(m->previous == 0 || record->prev.value == m->previous);
	m->previous = record->lsn.value;
	cr_assert_eq(record->timeline, record->lsn.value < 0xF000A0 ? 1 : 2);
	if (record->len > m->largest) {
		m->largest = record->len;
		m->largest_seen = record->seen.len;
	}
	switch (wal_record_kind(record)) {
	case WAL_RECORD_COMMIT:
		m->commits++;
		cr_assert(has_time);
		break;
	case WAL_RECORD_ABORT:
		m->aborts++;
		cr_assert(has_time);
		break;
	case WAL_RECORD_COMMIT_PREPARED:
		m->committed_prepared++;
		m->prepared_us = us;
		break;
	case WAL_RECORD_ABORT_PREPARED:
		m->aborted_prepared++;
		break;
	case WAL_RECORD_RESTORE_POINT:
		cr_assert(m->points < 4 &&
			  wal_record_restore_point(record, m->point[m->points], &m->point_us));
		m->points++;
		break;
	case WAL_RECORD_SWITCH:
		m->switches++;
		break;
	default:
		cr_assert_not(has_time);
	}
	return ERR_NONE;
}

Test(walk, visitor_gets_every_record_in_order)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	struct met m = {0};
	struct wal_walk how = {
		.source = {&s, shelf_segment},
		.visitor = {&m, meet},
		.path = &path,
		.segment_bytes = SEGMENT,
		.system_identifier = UINT64_C(7711350187797085647),
		.start = lsn_of(0xB00000),
	};
	struct wal_walk_end end;
	struct error why;

	cr_assert_eq(wal_walk(&how, &end, &why), ERR_NONE);
	cr_assert_eq(m.commits, 5 + 2 + 1 + 1);
	cr_assert_eq(m.aborts, 1);
	cr_assert_eq(m.committed_prepared, 1);
	cr_assert_eq(m.prepared_us, INT64_C(1795438629155076), "2026-11-23 12:57:09.155076 UTC");
	cr_assert_eq(m.aborted_prepared, 1);
	cr_assert_eq(m.points, 3);
	cr_assert_str_eq(m.point[0], "before_drop");
	cr_assert_str_eq(m.point[1], "last");
	cr_assert_str_eq(m.point[2], "on two");
	cr_assert_eq(m.point_us, INT64_C(1795438629733073), "2026-11-23 12:57:09.733073 UTC");
	cr_assert_eq(m.switches, 4);
	cr_assert_eq(m.largest, 2200057);
	cr_assert_eq(m.largest_seen, WAL_RECORD_SEEN_MAX);
	m = (struct met){.fail_at = 0xD1C270};
	end.records = 4711;
	cr_assert_eq(wal_walk(&how, &end, &why), ERR_FULL);
	cr_assert_str_eq(why.text, "enough");
	cr_assert_eq(end.records, 4711, "outputs stay untouched");
}

Test(walk, flipped_byte_ends_it_before_the_record)
{
	struct shelf s = shelf_of(15);

	*byte_at(&s, 1, 0xD1CCB0 + 1244) ^= 1; /* the last byte of a commit */
	assert_end(walk(&s), WAL_STOP_BAD_CRC, 0xD1CCB0, 0xD1CC78, 0xD1CCB0);
	*byte_at(&s, 1, 0xC80000 + 5000) ^= 1; /* deep in a record over three segments */
	assert_end(walk(&s), WAL_STOP_BAD_CRC, 0xB01700, 0xB016D0, 0xB01700);
}

Test(walk, no_flipped_byte_of_records_goes_unseen)
{
	struct shelf s = shelf_of(15);
	struct history path = path_1();
	uint64_t whole = walk_on(&s, &path, 0xE00000).records;
	size_t unseen = 0;

	for (uint64_t at = 0xE00000; at < 0xE001C8; at++) {
		struct wal_walk_end end;

		*byte_at(&s, 1, at) ^= 0x10;
		end = walk_on(&s, &path, 0xE00000);
		*byte_at(&s, 1, at) ^= 0x10;
		if (end.records == whole)
			unseen++;
		else
			cr_assert_leq(end.end.value, at, "%lX", at);
	}
	/* What nothing covers: padding behind the records (28 bytes) and in the page header (4) and,
	 * since no system is asked for, its system identifier (8). */
	cr_assert_eq(unseen, 28 + 4 + 8, "%zu", unseen);
}

Test(walk, cut_tail_ends_it_where_the_bytes_end)
{
	struct shelf s = shelf_of(15);
	struct golden *d = shelf_find(&s, 1, 0xD);

	d->len = 0x1C2F0; /* between two records */
	assert_end(walk(&s), WAL_STOP_ZERO, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	d->len = 0x1C2F0 + 10; /* in a header: its link is zero */
	assert_end(walk(&s), WAL_STOP_BAD_PREV, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	d->len = 0x1C2F0 + 30; /* in a body */
	assert_end(walk(&s), WAL_STOP_BAD_CRC, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	d->len = 0x1C000 + 30; /* where the long record ends */
	assert_end(walk(&s), WAL_STOP_BAD_CRC, 0xB01700, 0xB016D0, 0xB01700);
	d->len = 0x14000; /* between two pages of a record */
	assert_end(walk(&s), WAL_STOP_ZERO, 0xD14000, 0xB016D0, 0xB01700);
	d->len = 0;
	assert_end(walk(&s), WAL_STOP_ZERO, 0xD00000, 0xB016D0, 0xB01700);
}

Test(walk, cut_anywhere_never_counts_a_record_that_is_not_whole)
{
	struct shelf s = shelf_of(15);
	struct history path = path_1();
	struct golden *e = shelf_find(&s, 1, 0xE);

	for (size_t len = 0; len < 0x1C8; len++) {
		struct wal_walk_end end;
		size_t same = len;

		/* Zeros that are cut off are still read as zeros. */
		while (e->data[same] == 0)
			same++;
		e->len = len;
		end = walk_on(&s, &path, 0xE00000);
		cr_assert_leq(end.end.value, 0xE00000 + same, "%zu", len);
		cr_assert_lt(end.records, 7);
	}
}

Test(walk, stale_page_ends_it)
{
	struct shelf s = shelf_of(15);

	put_u64(byte_at(&s, 1, 0xD1C008), 0x71C000);
	assert_end(walk(&s), WAL_STOP_STALE_PAGE, 0xD1C000, 0xB016D0, 0xB01700);
	/* A whole segment of older WAL, as in a file that is used again. */
	memcpy(shelf_find(&s, 2, 0x11)->data, shelf_find(&s, 1, 0xE)->data, SEGMENT);
	assert_end(walk_on(&s,
			   &(struct history){.timeline = 2, .count = 1, .entry = {{1, {0xF000A0}}}},
			   0xE00000),
		   WAL_STOP_STALE_PAGE, 0x1100000, 0x1000090, 0x1100000);
}

Test(walk, wrong_link_ends_it)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	uint8_t *record = byte_at(&s, 1, 0xD1C2F0);

	put_u64(record + 8, 0xD1C268);
	seal(record);
	assert_end(walk(&s), WAL_STOP_BAD_PREV, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	/* The first record's link cannot be known, but it points back. */
	assert_end(walk_on(&s, &path, 0xD1C2F0), WAL_STOP_ZERO, 0x11000A0, 0x1100028, 0x11000A0);
	put_u64(record + 8, 0xD1C2F0);
	seal(record);
	assert_end(walk_on(&s, &path, 0xD1C2F0), WAL_STOP_BAD_PREV, 0xD1C2F0, 0, 0xD1C2F0);
}

Test(walk, senseless_header_ends_it)
{
	struct shelf s = shelf_of(15);
	uint8_t *record = byte_at(&s, 1, 0xD1C2F0);

	record[17] = 22; /* no resource manager */
	seal(record);
	assert_end(walk(&s), WAL_STOP_BAD_RECORD, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	record[17] = 128; /* one of an extension */
	seal(record);
	assert_end(walk(&s), WAL_STOP_ZERO, 0x11000A0, 0x1100028, 0x11000A0);
	put_u32(record, 23);
	assert_end(walk(&s), WAL_STOP_BAD_RECORD, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	put_u32(record, WAL_RECORD_BYTES_MAX + 1);
	assert_end(walk(&s), WAL_STOP_BAD_RECORD, 0xD1C2F0, 0xD1C2B0, 0xD1C2F0);
	put_u32(record, WAL_RECORD_BYTES_MAX); /* the next page does not continue it */
	assert_end(walk(&s), WAL_STOP_ZERO, 0xD1E000, 0xD1C2B0, 0xD1C2F0);
}

Test(walk, page_that_does_not_fit_the_record_ends_it)
{
	struct shelf s = shelf_of(15);
	uint8_t *page = byte_at(&s, 1, 0xC40000);
	uint32_t remaining = get_u32(page + 16);

	put_u32(page + 16, remaining + 1);
	assert_end(walk(&s), WAL_STOP_TORN, 0xC40000, 0xB016D0, 0xB01700);
	put_u16(page + 2, 4); /* continues nothing */
	put_u32(page + 16, 0);
	assert_end(walk(&s), WAL_STOP_TORN, 0xC40000, 0xB016D0, 0xB01700);
	put_u16(page + 2, 5);
	put_u32(page + 16, remaining);
	page = byte_at(&s, 1, 0xE00000); /* continues a record that is whole */
	put_u16(page + 2, 7);
	put_u32(page + 16, 100);
	assert_end(walk(&s), WAL_STOP_TORN, 0xE00000, 0xD1D190, 0xE00000);
}

Test(walk, what_is_no_page_of_this_cluster_ends_it)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);
	struct wal_walk how = {
		.source = {&s, shelf_segment},
		.path = &path,
		.segment_bytes = SEGMENT,
		.system_identifier = 4711,
		.start = lsn_of(0xB00000),
	};
	struct wal_walk_end end;

	cr_assert_eq(wal_walk(&how, &end, NULL), ERR_NONE);
	assert_end(end, WAL_STOP_FOREIGN_PAGE, 0xB00000, 0, 0xB00000);
	how.system_identifier = 0;
	put_u32(byte_at(&s, 1, 0xE00020), 16 << 20);
	cr_assert_eq(wal_walk(&how, &end, NULL), ERR_NONE);
	assert_end(end, WAL_STOP_FOREIGN_PAGE, 0xE00000, 0xD1D190, 0xE00000);
	put_u16(byte_at(&s, 1, 0xE00002), 4); /* a segment begins with the long header */
	assert_end(walk(&s), WAL_STOP_BAD_PAGE, 0xE00000, 0xD1D190, 0xE00000);
	put_u16(byte_at(&s, 1, 0xE00000), 0xBEEF);
	assert_end(walk(&s), WAL_STOP_BAD_PAGE, 0xE00000, 0xD1D190, 0xE00000);
}

Test(walk, timelines_must_be_on_the_path_and_not_go_back)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xF000A0);

	put_u32(byte_at(&s, 1, 0xE00004), 2); /* ahead of the switch */
	assert_end(walk(&s), WAL_STOP_BAD_TIMELINE, 0xE00000, 0xD1D190, 0xE00000);
	put_u32(byte_at(&s, 1, 0xE00004), 1);
	put_u32(byte_at(&s, 2, 0x1100004), 1); /* behind a page of timeline 2 */
	assert_end(walk(&s), WAL_STOP_BAD_TIMELINE, 0x1100000, 0x1000090, 0x1100000);
	put_u32(byte_at(&s, 2, 0x1100004), 3);
	assert_end(walk(&s), WAL_STOP_BAD_TIMELINE, 0x1100000, 0x1000090, 0x1100000);
	path.timeline = 5; /* not 2: its pages are none of ours */
	shelf_find(&s, 2, 0x10);
	for (size_t i = 0; i < s.count; i++)
		if (s.segment[i].timeline == 2)
			s.segment[i].timeline = 5;
	assert_end(walk_on(&s, &path, 0xE00000), WAL_STOP_BAD_TIMELINE, 0x1000000, 0xF00368,
		   0x1000000);
}

Test(walk, missing_segment_ends_it)
{
	struct shelf s = shelf_of(15);

	shelf_remove(&s, 2, 0x11);
	assert_end(walk(&s), WAL_STOP_SEGMENT_MISSING, 0x1100000, 0x1000090, 0x1100000);
	shelf_remove(&s, 1, 0xE);
	assert_end(walk(&s), WAL_STOP_SEGMENT_MISSING, 0xE00000, 0xD1D190, 0xE00000);
	shelf_remove(&s, 1, 0xD); /* in the middle of a record */
	assert_end(walk(&s), WAL_STOP_SEGMENT_MISSING, 0xD00000, 0xB016D0, 0xB01700);
	shelf_remove(&s, 1, 0xB);
	assert_end(walk(&s), WAL_STOP_SEGMENT_MISSING, 0xB00000, 0, 0xB00000);
}

Test(walk, parents_segment_serves_up_to_the_switch_only)
{
	struct shelf s = shelf_of(15);
	struct history path = path_2(0xD1C270);

	shelf_remove(&s, 2, 0xF);
	assert_end(walk(&s), WAL_STOP_SEGMENT_MISSING, 0xF000A0, 0xF00028, 0xF000A0);
	/* The parent went on behind the switch: those records are of another branch. */
	assert_end(walk_on(&s, &path, 0xB00000), WAL_STOP_SEGMENT_MISSING, 0xD1C270, 0xB01700,
		   0xD1C270);
	path = path_2(0xD05000); /* inside a record of the parent */
	assert_end(walk_on(&s, &path, 0xB00000), WAL_STOP_BAD_TIMELINE, 0xB01700, 0xB016D0,
		   0xB01700);
	path = path_2(0xD00000); /* at the boundary: nothing of D is the parent's */
	assert_end(walk_on(&s, &path, 0xB00000), WAL_STOP_SEGMENT_MISSING, 0xD00000, 0xB016D0,
		   0xB01700);
}

Test(walk, senseless_questions_are_refused)
{
	struct shelf s = {0};
	struct history path = path_1();
	struct wal_walk how = {
		.source = {&s, shelf_segment}, .path = &path, .segment_bytes = SEGMENT};
	struct wal_walk_end end;
	struct error why;

	cr_assert_eq(wal_walk(&how, &end, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "0/0"));
	how.start = lsn_of(0xB00029);
	cr_assert_eq(wal_walk(&how, &end, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "0/B00029"));
	how.start = lsn_of(0xB00028);
	how.segment_bytes = 4711;
	cr_assert_eq(wal_walk(&how, &end, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "4711"));
	how.segment_bytes = SEGMENT;
	how.start = lsn_of(UINT64_MAX - 7);
	cr_assert_eq(wal_walk(&how, &end, &why), ERR_NONE);
	cr_assert_eq(end.stop, WAL_STOP_SEGMENT_MISSING);
}

Test(walk, failure_of_the_source_is_no_end)
{
	struct shelf s = {.failure = ERR_IO};
	struct history path = path_1();
	struct wal_walk how = {.source = {&s, shelf_segment},
			       .path = &path,
			       .segment_bytes = SEGMENT,
			       .start = lsn_of(0xB00028)};
	struct wal_walk_end end = {.records = 4711};
	struct error why;

	cr_assert_eq(wal_walk(&how, &end, &why), ERR_IO);
	cr_assert_str_eq(why.text, "the shelf is broken");
	cr_assert_eq(end.records, 4711);
}

Test(walk, every_stop_has_its_words)
{
	for (int i = WAL_STOP_UNTIL; i <= WAL_STOP_TORN; i++)
		for (int j = WAL_STOP_UNTIL; j < i; j++)
			cr_assert_str_neq(wal_stop_text((enum wal_stop)i),
					  wal_stop_text((enum wal_stop)j));
}
