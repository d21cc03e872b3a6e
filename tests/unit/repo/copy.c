/* Copying from one repository of a family to another: all of it, byte for byte; damage stops only what it
 * concerns; nothing that a person or an expire took away comes back.
 */
#include "copy_world.h"
#include "repo/expire.h"
#include "repo/wal_gaps.h"
#include "still_clock.h"

/* ---- what arrives ---- */

Test(copy, everything_arrives_byte_for_byte_and_once)
{
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_DONE] == 2 && o.damage == 0);
	cr_assert(totals.packs == 2 && totals.wal == 2);
	expect_same(&from, &to);
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_THERE] == 2 && totals.bytes == 0);
	release(&from, &to);
}

Test(copy, what_is_hidden_or_nobodys_is_left_out)
{
	struct attempt first = attempt_number(1);
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	OK(hide_backup(&from.cluster, &first, "t", &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_DONE] == 1 && keys_below(&to, "backups/") == 1);
	cr_assert_eq(keys_below(&to, "packs/"), 2); /* the child needs the parent's too */
	cr_assert_eq(keys_below(&to, "hidden/"), 0);
	release(&from, &to);
}

/* Or each copy would bring what each expire takes away again. */
Test(copy, wal_that_no_backup_of_the_target_needs_is_left_out)
{
	static uint8_t page[8192];
	struct attempt first = attempt_number(1), second = attempt_number(2);
	struct repo_world from, to;
	struct copy_totals totals;
	struct wal_name name;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	for (unsigned segno = 1; segno <= 4; segno += 3) {
		wal_segment_name(1, segno, SEGMENT, &name);
		OK(wal_put_slice(&from.cluster, &name, SEGMENT, 1, 0, sizeof(page),
				 bytes_of(page, sizeof(page)), &why));
	}
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert_eq(totals.wal, 3); /* the history file, and segments 3 and 4 */
	release(&from, &to);

	/* Without a backup it may be all there is. */
	two_worlds(&from, &to);
	OK(hide_backup(&from.cluster, &first, "t", &why));
	OK(hide_backup(&from.cluster, &second, "t", &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert_eq(totals.wal, 2);
	release(&from, &to);
}

Test(copy, other_families_are_refused)
{
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;

	repo_world_init(&from, NULL);
	repo_world_init(&to, NULL);
	cr_assert_eq(copy(&from, &to, &o, &totals, &why), ERR_CONFIG);
	cr_assert_eq(keys_below(&to, ""), 0);
	release(&from, &to);
}

/* ---- damage ---- */

Test(copy, a_damaged_pack_keeps_only_what_needs_it_from_being_copied)
{
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;
	size_t len;

	two_worlds(&from, &to);
	put_backup(&from, 3);
	peek_pack(&from, 1, &len)[200] ^= 1;
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_DONE] == 1 && o.of[COPY_DAMAGED] == 2 && o.damage == 2);
	cr_assert_eq(keys_below(&to, "backups/"), 1);
	cr_assert_null(peek_pack(&to, 1, &len), "damage was copied");
	expect_whole(&to, 3);
	release(&from, &to);
}

Test(copy, a_damaged_byte_of_a_manifest_or_of_wal_is_never_put)
{
	static const char *const key[] = {
		"wal/00000001/00000000/000000010000000000000003.00000000-00002000",
		"wal/00000002.history", "backups/20261123T000001Z-0000000000000001"};

	for (size_t k = 0; k < sizeof(key) / sizeof(key[0]); k++) {
		for (size_t at = 0, len = 1; at < len; at += 7) {
			struct repo_world from, to;
			struct store_object object;
			struct copy_totals totals;
			char full[STORE_KEY_MAX];
			struct outcomes o;
			struct error why;
			uint8_t *data;

			two_worlds(&from, &to);
			(void)snprintf(full, sizeof(full), "%s%s", from.cluster.prefix, key[k]);
			data = store_memory_peek(from.memory, full, &len);
			cr_assert_not_null(data, "%s", full);
			data[at] ^= 0x40;
			OK(copy(&from, &to, &o, &totals, &why));
			cr_assert(o.damage > 0, "%s, byte %zu", full, at);
			cr_assert_eq(store_stat(to.memory, full, &object, &why), ERR_MISSING,
				     "%s, byte %zu", full, at);
			release(&from, &to);
		}
	}
}

Test(copy, a_backup_without_its_wal_is_not_committed)
{
	struct repo_world from, to;
	struct copy_totals totals;
	char key[STORE_KEY_MAX];
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	(void)snprintf(key, sizeof(key), "%swal/00000001/00000000/%s", from.cluster.prefix,
		       "000000010000000000000003.00000000-00002000");
	OK(store_remove(from.memory, key, &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_DAMAGED] == 2 && keys_below(&to, "backups/") == 0);
	release(&from, &to);
}

Test(copy, a_pack_of_another_size_at_the_target_is_left_as_it_is)
{
	struct pack_id id = {.attempt = attempt_number(1)};
	struct repo_world from, to;
	struct copy_totals totals;
	char key[STORE_KEY_MAX];
	struct outcomes o;
	struct error why;
	size_t len;

	two_worlds(&from, &to);
	pack_key(&to.cluster, &id, key);
	OK(store_put(to.memory, key, bytes_of_text("short"), &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_DAMAGED] == 2 && keys_below(&to, "backups/") == 0);
	cr_assert_not_null(peek_pack(&to, 1, &len));
	cr_assert_eq(len, 5);
	release(&from, &to);
}

/* ---- what goes meanwhile, and what does not come back ---- */

struct removing {
	struct repo_world *world;
	struct attempt attempt;
};

static void remove_backup(void *ctx)
{
	struct removing *r = ctx;
	struct repo_world *w = r->world;
	struct expire_result result;
	struct error why;

	w->fault.meanwhile = NULL;
	OK(hide_backup(&w->cluster, &r->attempt, "t", &why));
	OK(expire_advance(&w->cluster, &r->attempt, 0, &result, &why));
}

Test(copy, a_backup_that_goes_from_the_source_is_noticed_and_never_half_there)
{
	unsigned gone = 0, done = 0;

	for (unsigned n = 1; done < 20; n++) {
		struct repo_world from, to;
		struct removing removing = {.world = &from, .attempt = attempt_number(1)};
		struct copy_totals totals;
		struct outcomes o;
		struct error why;

		two_worlds(&from, &to);
		from.fault.meanwhile = remove_backup;
		from.fault.ctx = &removing;
		repo_world_fail(&from, FAULT_NONE, n, ERR_NONE);
		OK(copy(&from, &to, &o, &totals, &why));
		cr_assert_eq(o.damage, 0, "call %u: %s", n, o.key);
		gone += o.of[COPY_GONE];
		done += from.fault.meanwhile != NULL; /* the call never came */
		if (o.of[COPY_DONE] == 2)
			expect_whole(&to, 1);
		expect_whole(&to, 2);
		release(&from, &to);
	}
	cr_assert_gt(gone, 0);
}

/* Its source may keep it for a year. */
Test(copy, what_the_target_removed_long_ago_is_not_brought_back)
{
	struct attempt first = attempt_number(1);
	struct expire_result result;
	struct repo_world from, to;
	struct still_clock clock;
	struct copy_totals totals;
	struct outcomes o;
	size_t forgotten;
	struct error why;

	two_worlds(&from, &to);
	still_clock_init(&clock);
	to.env.clock = &clock.clock;
	OK(copy(&from, &to, &o, &totals, &why));
	OK(hide_backup(&to.cluster, &first, "t", &why));
	OK(expire_advance(&to.cluster, &first, 0, &result, &why));
	cr_assert_eq(result.outcome, EXPIRE_REMOVED);
	clock.now_us += INT64_C(366) * 86400 * 1000000;
	OK(expire_forget(&to.cluster, &forgotten, &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_REMOVED] == 1 && o.of[COPY_DONE] == 0);
	release(&from, &to);
}

Test(copy, what_the_target_gave_up_or_removed_is_not_brought_back)
{
	struct attempt first = attempt_number(1), second = attempt_number(2);
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	OK(decision_abort(&to.cluster, &first, "t", &why));
	OK(hide_backup(&to.cluster, &second, "t", &why));
	put_child(&from, 3, 1);
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_ABORTED] == 1 && o.of[COPY_REMOVED] == 1 && o.of[COPY_DONE] == 1);
	expect_whole(&to, 3); /* with the packs of the one that was given up */
	release(&from, &to);
}

Test(copy, what_a_person_said_about_keeping_comes_along)
{
	static const char *const record[] = {"00000000", "00000000.off", "00000001"};
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	OK(copy(&from, &to, &o, &totals, &why));
	for (size_t i = 0; i < 3; i++) {
		char key[STORE_KEY_MAX];

		(void)snprintf(key, sizeof(key), "%skeeps/20261123T000001Z-0000000000000001.%s",
			       from.cluster.prefix, record[i]);
		OK(record_put(from.repository, key, i == 1 ? "keep-off" : "keep",
			      bytes_of_text("reason t\n"), &why));
	}
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert_eq(totals.others, 3);
	expect_same(&from, &to);
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert_eq(totals.others, 0);
	release(&from, &to);
}

/* ---- what the source lacks on purpose ---- */

static struct wal_gap gap_of(uint32_t timeline, uint64_t first, uint64_t behind)
{
	return (struct wal_gap){.timeline = timeline,
				.from = wal_segment_start(first, SEGMENT),
				.to = wal_segment_start(behind, SEGMENT)};
}

static void put_gap(struct repo_world *w, struct wal_gap gap)
{
	struct error why;

	OK(wal_gap_put(&w->cluster, &gap, "t", &why));
}

static void put_segment(struct repo_world *w, uint64_t segno)
{
	struct wal_name name;
	char key[STORE_KEY_MAX];
	struct error why;

	wal_segment_name(1, segno, SEGMENT, &name);
	wal_key(&w->cluster, &name, key);
	OK(store_put(w->memory, key, bytes_of_text("x"), &why)); /* it is not opened */
}

static void expect_gap(const struct wal_gaps *g, bool known, struct wal_gap gap)
{
	cr_assert_eq(wal_gaps_cover(g, &gap), known, "%u: from segment %u", gap.timeline,
		     (unsigned)wal_segno(gap.from, SEGMENT));
}

Test(copy, of_a_gap_only_what_the_target_lacks_is_one_there)
{
	static uint8_t page[8192];
	struct repo_world from, to;
	struct copy_totals totals;
	struct wal_name name;
	struct outcomes o;
	struct error why;
	struct wal_gaps g;

	two_worlds(&from, &to);
	put_gap(&from, gap_of(1, 1, 3)); /* before all backups */
	put_gap(&from, gap_of(1, 4, 9));
	put_gap(&from, gap_of(1, 12, 14));
	put_gap(&from, gap_of(1, 20, 22));
	put_gap(&from, gap_of(2, 4, 9));
	put_segment(&to, 5);
	put_segment(&to, 6);
	put_segment(&to, 12);
	put_segment(&to, 13);
	put_segment(&to, 17);
	wal_segment_name(1, 7, SEGMENT, &name);
	OK(wal_put_slice(&to.cluster, &name, SEGMENT, 1, 0, sizeof(page),
			 bytes_of(page, sizeof(page)), &why));
	for (int again = 0; again < 2; again++) {
		OK(copy(&from, &to, &o, &totals, &why));
		cr_assert_eq(totals.others, again ? 0 : 5); /* the identity, and four gaps */
		OK(wal_gaps_read(&to.cluster, &g, &why));
		cr_assert_eq(g.count, 4);
		expect_gap(&g, true, gap_of(1, 4, 5));
		expect_gap(&g, false, gap_of(1, 5, 6));
		expect_gap(&g, false, gap_of(1, 6, 7));
		expect_gap(&g, true, gap_of(1, 7, 9));
		expect_gap(&g, false, gap_of(1, 12, 13));
		expect_gap(&g, false, gap_of(1, 13, 14));
		expect_gap(&g, true, gap_of(1, 20, 22));
		expect_gap(&g, true, gap_of(2, 4, 9));
		wal_gaps_release(&g);
	}
	release(&from, &to);
}

/* Between WAL that it has, and behind a backup: verify has told of it there, and the source's retention, which removes
 * that WAL later, makes no gap of it. */
Test(copy, what_the_target_had_lost_stays_a_loss_there)
{
	struct repo_world from, to;
	struct copy_totals totals;
	struct wal_gaps g;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	OK(copy(&from, &to, &o, &totals, &why));
	for (uint64_t segno = 3; segno < 10; segno++)
		if (segno != 6)
			put_segment(&to, segno);
	put_gap(&from, gap_of(1, 4, 9));
	put_gap(&from, gap_of(1, 12, 14));
	for (int again = 0; again < 2; again++) {
		OK(copy(&from, &to, &o, &totals, &why));
		OK(wal_gaps_read(&to.cluster, &g, &why));
		expect_gap(&g, false, gap_of(1, 6, 7));
		expect_gap(&g, true, gap_of(1, 12, 14)); /* nothing of it ever came */
		cr_assert_eq(g.count, 1);
		wal_gaps_release(&g);
	}
	release(&from, &to);
}

static void put_whole_segment(struct repo_world *w, uint64_t segno)
{
	static uint8_t segment[SEGMENT];
	enum wal_put_result result;
	struct wal_name name;
	struct error why;

	wal_segment_name(1, segno, SEGMENT, &name);
	OK(wal_put(&w->cluster, &name, SEGMENT, 1, bytes_of(segment, sizeof(segment)), &result,
		   &why));
}

/* What comes behind a gap, comes after it: else the next copy would take the hole for one that the target had. */
Test(copy, killed_anywhere_it_leaves_no_hole_that_is_not_noted)
{
	unsigned noted = 0;
	bool over = false;

	for (unsigned n = 1; !over; n++) {
		struct repo_world from, to;
		struct copy_totals totals;
		struct outcomes o;
		struct error why;

		two_worlds(&from, &to);
		OK(copy(&from, &to, &o, &totals, &why));
		put_segment(&to, 3);
		put_gap(&from, gap_of(1, 4, 9));
		put_whole_segment(&from, 9);
		repo_world_fail(&to, FAULT_DOWN, n, ERR_TRANSIENT);
		over = copy(&from, &to, &o, &totals, &why) == ERR_NONE;
		repo_world_fail(&to, FAULT_NONE, 0, ERR_NONE);
		noted += keys_below(&to, "gaps/") > 0;
		OK(copy(&from, &to, &o, &totals, &why));
		cr_assert_eq(keys_below(&to, "gaps/"), 1, "call %u", n);
		release(&from, &to);
	}
	cr_assert_gt(noted, 1);
}

/* Recorded, and not removed yet: it comes, and a loss of it at the target will be one. */
Test(copy, what_of_a_gap_the_source_still_has_is_copied_and_none_at_the_target)
{
	struct repo_world from, to;
	struct copy_totals totals;
	struct wal_gaps g;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	put_gap(&from, gap_of(1, 4, 9));
	put_whole_segment(&from, 5);
	OK(copy(&from, &to, &o, &totals, &why));
	OK(wal_gaps_read(&to.cluster, &g, &why));
	expect_gap(&g, true, gap_of(1, 4, 5));
	expect_gap(&g, false, gap_of(1, 5, 6));
	expect_gap(&g, true, gap_of(1, 6, 9));
	wal_gaps_release(&g);
	release(&from, &to);
}
