/* Sweeping WAL: what backups need stays, and what readers have seen. */
#include "dead_pin.h"
#include "pgformat/history.h"
#include "repo/manifest_internal.h"
#include "repo/sweep.h"
#include "repo/wal_gaps.h"
#include "repo/wal_object.h"

#include <string.h>

static const struct sweep_options plain = {.plan = false};

enum { SEGMENT = 16 << 20 };

static void put_segment(struct repo_world *w, uint32_t timeline, uint64_t segno)
{
	struct wal_name name;
	char key[STORE_KEY_MAX];
	struct error why;

	wal_segment_name(timeline, segno, SEGMENT, &name);
	wal_key(&w->cluster, &name, key);
	OK(store_put(w->memory, key, bytes_of_text("x"), &why)); /* it is not opened */
}

/* Segments 1 to 6 of timeline 1; a backup starts in segment 3. */
static void wal_world_init(struct repo_world *w, bool backup)
{
	const struct identity identity = {.server_version = 150020,
					  .wal_segment_bytes = SEGMENT,
					  .block_bytes = 8192,
					  .data_checksums = 1};
	struct manifest *m;
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	repo_world_init(w, NULL);
	OK(identity_ensure(&w->cluster, &identity, &why));
	for (uint64_t segno = 1; segno <= 6; segno++)
		put_segment(w, 1, segno);
	if (!backup)
		return;
	m = manifest_number(&w->cluster, 1);
	m->summary.start = (struct lsn){UINT64_C(3) * SEGMENT + 0x28};
	m->summary.stop = (struct lsn){UINT64_C(4) * SEGMENT};
	OK(manifest_commit(&w->cluster, m, sha256, &why));
	manifest_free(m);
}

Test(sweep_wal, what_lies_before_the_oldest_backup_goes)
{
	struct wal_sweep_totals totals;
	struct repo_world w;
	struct error why;

	wal_world_init(&w, true);
	OK(sweep_wal(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.objects, 6);
	cr_assert_eq(totals.removed, 2);
	cr_assert_eq(keys_below(&w, "wal/"), 4);
	repo_world_release(&w);
}

Test(sweep_wal, without_a_backup_nothing_goes)
{
	struct wal_sweep_totals totals;
	struct repo_world w;
	struct error why;

	wal_world_init(&w, false);
	OK(sweep_wal(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.removed, 0);
	cr_assert_eq(keys_below(&w, "wal/"), 6);
	repo_world_release(&w);
}

/* After pg_upgrade: nobody writes on what is left of the old system. */
Test(sweep_wal, of_a_system_that_is_superseded_only_what_backups_need_stays)
{
	struct attempt first = attempt_number(1);
	struct sweep_options options = {.alone = &first, .alones = 1};
	struct wal_sweep_totals totals;
	struct repo_world w;
	struct error why;

	wal_world_init(&w, true);
	OK(sweep_wal(&w.cluster, &options, &totals, &why));
	cr_assert_eq(totals.removed, 0);
	options.superseded = true;
	OK(sweep_wal(&w.cluster, &options, &totals, &why));
	cr_assert_eq(totals.removed, 5);
	cr_assert_eq(keys_below(&w, "wal/"), 1);
	repo_world_release(&w);
	wal_world_init(&w, false);
	OK(sweep_wal(&w.cluster, &options, &totals, &why));
	cr_assert_eq(keys_below(&w, "wal/"), 0);
	repo_world_release(&w);
}

Test(sweep_wal, an_attempt_that_has_not_said_where_it_starts_keeps_all)
{
	struct pin pin = {.kind = "backup"};
	struct attempt second = attempt_number(2);
	struct wal_sweep_totals totals;
	struct repo_world w;
	struct error why;

	wal_world_init(&w, true);
	attempt_to_text(&second, pin.holder);
	OK(pin_put(&w.cluster, &pin, &why));
	OK(sweep_wal(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.removed, 0);
	pin.start = (struct lsn){UINT64_C(2) * SEGMENT + 1};
	pin.timeline = 1;
	OK(pin_put(&w.cluster, &pin, &why));
	OK(sweep_wal(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.removed, 1);
	cr_assert_eq(keys_below(&w, "wal/"), 5);
	repo_world_release(&w);
}

Test(sweep_wal, after_any_failure_the_next_run_finishes)
{
	unsigned done = 0;

	for (unsigned nth = 1; nth < 40; nth++) {
		struct wal_sweep_totals totals;
		struct repo_world w;
		struct error why;

		wal_world_init(&w, true);
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		done += sweep_wal(&w.cluster, &plain, &totals, &why) == ERR_NONE;
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		cr_assert(keys_below(&w, "wal/") >= 4);
		OK(sweep_wal(&w.cluster, &plain, &totals, &why));
		cr_assert_eq(keys_below(&w, "wal/"), 4);
		repo_world_release(&w);
	}
	cr_assert(done > 0, "the loop must pass the last call");
}

/* ---- WAL behind a backup that has just its own ---- */

/* The first backup of wal_world_init has just its own WAL; another one is on timeline 2, from segment 9 on. */
static void alone_world_init(struct repo_world *w, struct sweep_options *options,
			     struct attempt *alone)
{
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct manifest *m;
	struct error why;

	wal_world_init(w, true);
	for (uint64_t segno = 7; segno <= 9; segno++)
		put_segment(w, 2, segno);
	m = manifest_number(&w->cluster, 2);
	m->summary.timeline = m->summary.stop_timeline = 2;
	m->summary.start = (struct lsn){UINT64_C(9) * SEGMENT + 0x28};
	m->summary.stop = (struct lsn){UINT64_C(10) * SEGMENT};
	OK(manifest_commit(&w->cluster, m, sha256, &why));
	manifest_free(m);
	*alone = attempt_number(1);
	*options = (struct sweep_options){.alone = alone, .alones = 1};
}

static bool threatens(struct repo_world *w, uint32_t timeline, uint64_t from, uint64_t to)
{
	struct history path = {.timeline = timeline};
	struct error why;
	struct pin_seen by = {.n = 0};

	if (timeline == 2) {
		path.count = 1;
		path.entry[0] = (struct history_entry){1, {UINT64_C(7) * SEGMENT + 0x100}};
	}
	OK(sweep_threatens(&w->cluster, &path, (struct lsn){from * SEGMENT},
			   (struct lsn){to * SEGMENT}, &by, &why));
	return by.holder[0] != '\0';
}

Test(sweep_wal, a_reader_hears_of_what_is_about_to_go_while_a_sweep_is_under_way)
{
	struct pin sweeper = {.kind = PIN_SWEEP, .holder = "sweep-0123456789abcdef"};
	struct wal_sweep_totals totals;
	struct sweep_options options;
	struct attempt alone;
	struct repo_world w;
	struct error why;

	alone_world_init(&w, &options, &alone);
	OK(sweep_wal(&w.cluster, &options, &totals, &why));
	cr_assert_eq(totals.removed, 2 + 3 + 2);
	cr_assert_eq(keys_below(&w, "gaps/"), 2, "behind it, and where another timeline goes on");
	cr_assert_not(threatens(&w, 1, 3, 6), "nobody sweeps");
	OK(pin_put(&w.cluster, &sweeper, &why));
	cr_assert(threatens(&w, 1, 3, 6));
	cr_assert(threatens(&w, 2, 3, 9));
	cr_assert(threatens(&w, 2, 7, 9));
	cr_assert_not(threatens(&w, 1, 3, 4), "its own stays");
	cr_assert_not(threatens(&w, 2, 9, 10));
	/* Nothing of the other timeline lies behind the gap there: the next one forgets it. */
	OK(sweep_wal(&w.cluster, &options, &totals, &why));
	cr_assert_eq(keys_below(&w, "gaps/"), 1);
	repo_world_release(&w);
}

static struct wal_gap gap_of(uint64_t from, uint64_t to)
{
	return (struct wal_gap){.timeline = 1, .from = {from * SEGMENT}, .to = {to * SEGMENT}};
}

/* Each night's gap begins where the last one ended.  Whatever fails, what was known stays so. */
Test(sweep_wal, gaps_that_meet_are_recorded_as_one)
{
	struct wal_gap next = gap_of(7, 8), apart = gap_of(20, 21), all = gap_of(4, 8);
	unsigned done = 0;

	for (unsigned nth = 1; nth < 60; nth++) {
		struct wal_sweep_totals totals;
		struct sweep_options options;
		struct attempt alone;
		struct repo_world w;
		struct wal_gaps g;
		struct error why;

		alone_world_init(&w, &options, &alone);
		OK(wal_gap_put(&w.cluster, &next, "t", &why));
		OK(wal_gap_put(&w.cluster, &apart, "t", &why));
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		done += sweep_wal(&w.cluster, &options, &totals, &why) == ERR_NONE;
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		OK(wal_gaps_read(&w.cluster, &g, &why));
		cr_assert(wal_gaps_cover(&g, &next) && wal_gaps_cover(&g, &apart), "%u", nth);
		wal_gaps_release(&g);
		OK(sweep_wal(&w.cluster, &options, &totals, &why));
		OK(wal_gaps_read(&w.cluster, &g, &why));
		cr_assert(wal_gaps_cover(&g, &all) && wal_gaps_cover(&g, &apart), "%u", nth);
		wal_gaps_release(&g);
		cr_assert(keys_below(&w, "gaps/00000001.") == 2, "%u", nth);
		repo_world_release(&w);
	}
	cr_assert(done > 0, "the loop must pass the last call");
}

struct beginning {
	struct repo_world *w;
	bool begun, told;
	size_t seen; /* of segments behind it, when it looked */
};

/* As a restore begins: it pins, then asks. */
static void begin_alone(void *ctx)
{
	struct pin pin = {
		.kind = "restore", .holder = "restore-0123456789abcdef", .has_backup = true};
	struct beginning *b = ctx;
	struct error why;

	pin.backup = attempt_number(1);
	OK(pin_put(&b->w->cluster, &pin, &why));
	b->told = threatens(b->w, 1, 3, 6);
	b->seen = keys_below(b->w, "wal/00000001/");
	b->begun = true;
}

Test(sweep_wal, a_reader_that_begins_at_any_moment_keeps_what_it_sees_or_is_told)
{
	unsigned kept = 0, told = 0;

	for (unsigned nth = 1; kept + told + 1 == nth; nth++) {
		struct wal_sweep_totals totals;
		struct sweep_options options;
		struct attempt alone;
		struct repo_world w;
		struct beginning beginning = {.w = &w};
		struct error why;

		alone_world_init(&w, &options, &alone);
		repo_world_fail(&w, FAULT_NONE, nth, ERR_NONE);
		w.fault.meanwhile = begin_alone;
		w.fault.ctx = &beginning;
		OK(sweep_wal(&w.cluster, &options, &totals, &why));
		told += beginning.told;
		kept += beginning.begun && !beginning.told;
		cr_assert(!beginning.begun || beginning.told || beginning.seen < 4 ||
				  keys_below(&w, "wal/00000001/") >= 4,
			  "call %u", nth);
		repo_world_release(&w);
	}
	cr_assert(kept > 2 && told > 2, "%u kept, %u told", kept, told);
}

static enum err sweep_of_listing(void *ctx, const struct store_object *object, struct error *why)
{
	char *holder = ctx;
	const char *name = strstr(object->key, "/pins/sweep-");

	(void)why;
	if (name != NULL)
		(void)snprintf(holder, PIN_HOLDER_MAX, "%.22s", name + strlen("/pins/"));
	return ERR_NONE;
}

/* Its pin and the gaps that it recorded are left, and what they name may be there.  As it removes nothing any more, who
 * begins then counts on what he sees, and the next one sees him. */
Test(sweep_wal, one_that_was_killed_at_any_moment_threatens_nobody)
{
	unsigned killed = 0, left = 0;

	for (unsigned nth = 1; nth < 200; nth++) {
		char holder[PIN_HOLDER_MAX] = "";
		struct wal_sweep_totals totals;
		struct sweep_options options;
		struct attempt alone;
		struct repo_world w;
		struct beginning beginning = {.w = &w};
		struct error why;
		enum err e;

		alone_world_init(&w, &options, &alone);
		repo_world_fail(&w, FAULT_DOWN, nth, ERR_TRANSIENT);
		e = sweep_wal(&w.cluster, &options, &totals, &why);
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		if (e == ERR_NONE) {
			repo_world_release(&w);
			break;
		}
		OK(store_list(w.memory, w.cluster.prefix, sweep_of_listing, holder, &why));
		if (*holder != '\0') {
			left += keys_below(&w, "gaps/") > 0;
			pin_dies(&w, holder);
		}
		begin_alone(&beginning);
		cr_assert_not(beginning.told, "call %u", nth);
		OK(sweep_wal(&w.cluster, &options, &totals, &why));
		/* Those before it go first; its own and three behind that are four. */
		cr_assert_eq(keys_below(&w, "wal/00000001/"),
			     beginning.seen > 4 ? 4 : beginning.seen, "call %u", nth);
		killed++;
		repo_world_release(&w);
	}
	cr_assert(killed > 10 && left > 2, "%u killed, %u with gaps", killed, left);
}
