/* wal/walk.c - the walk over WAL records.
 *
 *  1. The first page is opened; what it continues from before is passed over.
 *  2. A record's length stands on its first page.  Its bytes are taken page by page: the first ones
 *     are kept for the visitor, the body goes into a running CRC, so that a record of a gigabyte
 *     needs no memory.  Header and link are checked as soon as they are whole, before a senseless
 *     length leads through other segments.
 *  3. The CRC is over the body first and then over the header; it decides.
 *  4. The next record starts at the next multiple of 8, after a switch at the next segment.
 * A page that says that it overwrites the record before it makes that one void, and the walk goes on
 * there.  Anything else that does not fit is the end of the WAL, not an error.
 */
#include "wal/walk.h"

#include "base/crc32c.h"
#include "pgformat/page.h"

struct walk {
	const struct wal_walk *how;
	struct wal_walk_end end;
	enum err failed; /* of the source or the visitor */
	struct error *why;

	struct bytes segment;
	uint64_t segno; /* of `segment`; UINT64_MAX = none yet */
	uint32_t segment_timeline;
	uint64_t segment_limit; /* where the path leaves that timeline */

	uint64_t page_at; /* address of `page`; UINT64_MAX = none yet */
	struct wal_page header;
	uint8_t page[WAL_PAGE_BYTES];

	uint64_t at;     /* the next record */
	uint64_t voided; /* start of the record that the next one must overwrite; 0 = none */
	uint8_t seen[WAL_RECORD_SEEN_MAX];
};

const char *wal_stop_text(enum wal_stop stop)
{
	switch (stop) {
	case WAL_STOP_UNTIL:
		return "the place that was looked for";
	case WAL_STOP_SEGMENT_MISSING:
		return "no segment";
	case WAL_STOP_ZERO:
		return "zeros";
	case WAL_STOP_STALE_PAGE:
		return "a page of older WAL";
	case WAL_STOP_BAD_PAGE:
		return "no WAL page";
	case WAL_STOP_FOREIGN_PAGE:
		return "a page of another cluster";
	case WAL_STOP_BAD_TIMELINE:
		return "WAL of a timeline that is not on the path";
	case WAL_STOP_BAD_RECORD:
		return "no record";
	case WAL_STOP_BAD_PREV:
		return "a record that does not follow from the one before";
	case WAL_STOP_BAD_CRC:
		return "a record whose checksum does not match";
	case WAL_STOP_TORN:
		return "a page that does not continue the record before it";
	}
	return "nothing known";
}

/* The functions below answer whether the walk goes on: false after stop_at() or a failure. */

static bool stop_at(struct walk *w, enum wal_stop stop, uint64_t at)
{
	w->end.stop = stop;
	w->end.stop_at = lsn_of(at);
	return false;
}

static bool fail(struct walk *w, enum err kind)
{
	w->failed = kind;
	return false;
}

/* Asks for the segment on the newest timeline of the path that has a part in it, then on older
 * ones: after a crash right behind a promotion the child's copy may never have been archived.  Of a
 * parent's segment only what lies before the switch is on the path (segment_limit). */
static bool segment_open(struct walk *w, uint64_t segno)
{
	const struct history *path = w->how->path;
	uint64_t begin = segno * w->how->segment_bytes, behind = begin + w->how->segment_bytes;

	if (w->segno == segno)
		return true;
	for (size_t i = path->count + 1; i-- > 0;) {
		uint32_t timeline = i < path->count ? path->entry[i].timeline : path->timeline;
		uint64_t entered = i > 0 ? path->entry[i - 1].end.value : 0;
		uint64_t left = i < path->count ? path->entry[i].end.value : UINT64_MAX;
		struct bytes segment = bytes_of(NULL, 0);
		enum err kind;

		if (entered >= behind)
			continue;
		if (left <= begin || timeline < w->segment_timeline)
			break;
		kind = w->how->source.segment(w->how->source.ctx, timeline, segno, &segment,
					      w->why);
		if (kind == ERR_MISSING)
			continue;
		if (kind != ERR_NONE)
			return fail(w, kind);
		w->segment = segment;
		w->segno = segno;
		w->segment_timeline = timeline;
		w->segment_limit = left;
		return true;
	}
	return stop_at(w, WAL_STOP_SEGMENT_MISSING, begin);
}

/* The page's timeline must be on the path, not ahead of the place and not older than the page
 * before; recovery asks no more, so that the walk must not either. */
static bool timeline_fits(const struct walk *w, const struct wal_page *page)
{
	struct lsn begin, end;

	return page->timeline <= history_timeline_at(w->how->path, page->address) &&
	       page->timeline >= w->header.timeline &&
	       history_has(w->how->path, page->timeline, &begin, &end);
}

static bool page_check(struct walk *w, uint64_t address)
{
	bool first = address % w->how->segment_bytes == 0;
	struct wal_page page;

	if (bytes_are_zero(bytes_of(w->page, 24)))
		return stop_at(w, WAL_STOP_ZERO, address);
	if (!wal_page_decode(bytes_of(w->page, sizeof(w->page)), &page))
		return stop_at(w, WAL_STOP_BAD_PAGE, address);
	if (page.address.value != address)
		return stop_at(w, WAL_STOP_STALE_PAGE, address);
	if (((page.info & WAL_PAGE_LONG) != 0) != first)
		return stop_at(w, WAL_STOP_BAD_PAGE, address);
	if (first && (page.segment_bytes != w->how->segment_bytes ||
		      (w->how->system_identifier != 0 &&
		       page.system_identifier != w->how->system_identifier)))
		return stop_at(w, WAL_STOP_FOREIGN_PAGE, address);
	if (!timeline_fits(w, &page))
		return stop_at(w, WAL_STOP_BAD_TIMELINE, address);
	w->header = page;
	w->page_at = address;
	return true;
}

/* Copied, so that a segment that ends inside a page needs no second way to look at it. */
static bool page_open(struct walk *w, uint64_t address)
{
	uint64_t offset = address % w->how->segment_bytes;
	size_t len;

	if (w->page_at == address)
		return true;
	if (!segment_open(w, address / w->how->segment_bytes))
		return false;
	len = offset < w->segment.len ? w->segment.len - (size_t)offset : 0;
	if (len > sizeof(w->page))
		len = sizeof(w->page);
	w->page_at = UINT64_MAX;
	memset(w->page + len, 0, sizeof(w->page) - len);
	if (len > 0)
		memcpy(w->page, w->segment.data + offset, len);
	return page_check(w, address);
}

static uint64_t page_of(uint64_t at)
{
	return at - at % WAL_PAGE_BYTES;
}

static uint64_t aligned(uint64_t at)
{
	return (at + 7) & ~UINT64_C(7);
}

/* Step 1: w->at from the start that was asked for.  The rest of a record from before may fill
 * several pages. */
static bool walk_begin(struct walk *w)
{
	uint64_t address = page_of(w->how->start.value), rest;

	w->at = w->how->start.value;
	if (!page_open(w, address))
		return false;
	if (w->at - address >= w->header.header_bytes)
		return true;
	for (rest = w->header.remaining; rest > WAL_PAGE_BYTES - w->header.header_bytes;) {
		rest -= WAL_PAGE_BYTES - w->header.header_bytes;
		address += WAL_PAGE_BYTES;
		if (!page_open(w, address))
			return false;
		if ((w->header.info & WAL_PAGE_OVERWRITES) != 0)
			rest = 0;
		if (w->header.remaining != rest)
			return stop_at(w, WAL_STOP_TORN, address);
	}
	w->at = aligned(address + w->header.header_bytes + rest);
	return true;
}

/* Known to PostgreSQL 15 to 18, or to an extension. */
static bool is_rmid(uint8_t rmid)
{
	return rmid <= 21 || rmid >= 128;
}

/* The header is whole: does the record make sense and follow from the one before? */
static bool header_check(struct walk *w, struct wal_record *record)
{
	bool follows;

	record->xid = get_u32(w->seen + 4);
	record->prev = lsn_of(get_u64(w->seen + 8));
	record->info = w->seen[16];
	record->rmid = w->seen[17];
	follows = w->end.records > 0 ? record->prev.value == w->end.last.value
				     : record->prev.value < record->lsn.value;
	if (!is_rmid(record->rmid))
		return stop_at(w, WAL_STOP_BAD_RECORD, record->lsn.value);
	return follows || stop_at(w, WAL_STOP_BAD_PREV, record->lsn.value);
}

/* The page behind a record's bytes so far; *again when it makes the record void. */
static bool continue_page(struct walk *w, const struct wal_record *record, uint64_t at,
			  uint32_t missing, bool *again)
{
	if (!page_open(w, at))
		return false;
	if ((w->header.info & WAL_PAGE_OVERWRITES) != 0) {
		w->voided = record->lsn.value;
		w->at = at;
		*again = true;
		return true;
	}
	return w->header.remaining == missing || stop_at(w, WAL_STOP_TORN, at);
}

/* Step 2: all bytes of the record that starts at record->lsn; *crc is the body's.  record->end is
 * left behind its last byte. */
static bool record_take(struct walk *w, struct wal_record *record, uint32_t *crc, bool *again)
{
	uint64_t at = record->lsn.value;
	uint32_t taken = 0;

	*crc = 0;
	for (;;) {
		const uint8_t *from = w->page + at % WAL_PAGE_BYTES;
		uint32_t room = (uint32_t)(WAL_PAGE_BYTES - at % WAL_PAGE_BYTES);
		uint32_t len = room < record->len - taken ? room : record->len - taken;
		bool had_header = taken >= WAL_RECORD_HEADER_BYTES;
		uint32_t header = had_header ? 0 : WAL_RECORD_HEADER_BYTES - taken;

		if (taken < sizeof(w->seen))
			memcpy(w->seen + taken, from,
			       len < sizeof(w->seen) - taken ? len : sizeof(w->seen) - taken);
		if (len > header)
			*crc = crc32c_more(*crc, bytes_of(from + header, len - header));
		taken += len;
		at += len;
		if (!had_header && taken >= WAL_RECORD_HEADER_BYTES && !header_check(w, record))
			return false;
		if (taken == record->len)
			break;
		if (!continue_page(w, record, at, record->len - taken, again))
			return false;
		if (*again)
			return true;
		at += w->header.header_bytes;
	}
	record->end = lsn_of(at);
	return true;
}

/* A record in the place of a void one must name it. */
static bool overwrites(const struct walk *w, const struct wal_record *record)
{
	struct bytes main;

	return wal_record_kind(record) == WAL_RECORD_OVERWRITES && wal_record_main(record, &main) &&
	       main.len >= 8 && get_u64(main.data) == w->voided;
}

/* A switch lies between two records.  One that reaches across it is of the parent's other branch. */
static bool is_on_path(const struct walk *w, const struct wal_record *record)
{
	struct lsn begin, left;

	return history_has(w->how->path, record->timeline, &begin, &left) &&
	       record->end.value <= left.value;
}

/* Steps 3 and 4: the record counts, is shown, and the walk stands behind it. */
static bool record_count(struct walk *w, struct wal_record *record)
{
	uint32_t segment_bytes = w->how->segment_bytes;

	record->end = lsn_of(aligned(record->end.value));
	if (wal_record_kind(record) == WAL_RECORD_SWITCH)
		record->end = lsn_of((record->end.value + segment_bytes - 1) / segment_bytes *
				     segment_bytes);
	if (w->end.records == 0)
		w->end.first = record->lsn;
	w->end.records++;
	w->end.last = record->lsn;
	w->end.end = record->end;
	w->end.timeline = record->timeline;
	w->voided = 0;
	w->at = record->end.value;
	if (w->how->visitor.record != NULL) {
		enum err kind = w->how->visitor.record(w->how->visitor.ctx, record, w->why);

		if (kind != ERR_NONE)
			return fail(w, kind);
	}
	if (w->how->until.value != 0 && record->end.value >= w->how->until.value)
		return stop_at(w, WAL_STOP_UNTIL, record->end.value);
	return true;
}

/* The record at w->at, or behind the page header when that is where w->at points. */
static bool record_begin(struct walk *w, struct wal_record *record)
{
	uint64_t address = page_of(w->at), at = w->at;

	if (!page_open(w, address))
		return false;
	if (at == address) {
		if (w->header.remaining != 0)
			return stop_at(w, WAL_STOP_TORN, address);
		at += w->header.header_bytes;
	}
	if (at >= w->segment_limit)
		return stop_at(w, WAL_STOP_SEGMENT_MISSING, at);
	*record = (struct wal_record){
		.lsn = lsn_of(at),
		.timeline = history_timeline_at(w->how->path, lsn_of(at)),
		.len = get_u32(w->page + (at - address)),
	};
	if (record->len == 0)
		return stop_at(w, WAL_STOP_ZERO, at);
	if (record->len < WAL_RECORD_HEADER_BYTES || record->len > WAL_RECORD_BYTES_MAX)
		return stop_at(w, WAL_STOP_BAD_RECORD, at);
	return true;
}

static bool walk_step(struct walk *w)
{
	struct wal_record record;
	uint32_t crc;
	bool again = false;

	if (!record_begin(w, &record) || !record_take(w, &record, &crc, &again))
		return false;
	if (again)
		return true;
	record.seen =
		bytes_of(w->seen, record.len < sizeof(w->seen) ? record.len : sizeof(w->seen));
	crc = crc32c_more(crc, bytes_of(w->seen, 20));
	if (crc != get_u32(w->seen + 20))
		return stop_at(w, WAL_STOP_BAD_CRC, record.lsn.value);
	if (w->voided != 0 && !overwrites(w, &record))
		return stop_at(w, WAL_STOP_BAD_RECORD, record.lsn.value);
	if (!is_on_path(w, &record))
		return stop_at(w, WAL_STOP_BAD_TIMELINE, record.lsn.value);
	return record_count(w, &record);
}

enum err wal_walk(const struct wal_walk *how, struct wal_walk_end *out, struct error *why)
{
	struct walk w = {
		.how = how,
		.end = {.end = how->start},
		.why = why,
		.segno = UINT64_MAX,
		.page_at = UINT64_MAX,
	};

	if (!wal_is_segment_bytes(how->segment_bytes))
		return error_set(why, ERR_CONFIG, "reading WAL: %u bytes are no segment size",
				 how->segment_bytes);
	if (how->start.value == 0 || how->start.value % 8 != 0) {
		char text[LSN_TEXT_MAX];

		lsn_to_text(how->start, text);
		return error_set(why, ERR_CONFIG, "reading WAL: %s: no record starts there", text);
	}
	if (walk_begin(&w))
		while (walk_step(&w))
			continue;
	if (w.failed != ERR_NONE)
		return w.failed;
	*out = w.end;
	return ERR_NONE;
}
