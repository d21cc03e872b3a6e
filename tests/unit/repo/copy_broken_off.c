/* A copy that breaks off at any call of either store, and one beside sweeps: the next run goes on. */
#include "copy_world.h"
#include "repo/lines.h"
#include "repo/sweep.h"
#include "still_clock.h"

enum { FAULTS_MAX = 2000 };

/* ---- broken off ---- */

/* What ends in order leaves no pin for which a backup would be given up once it is a day old. */
static void expect_no_promise(struct repo_world *w)
{
	struct pins pins;
	struct error why;

	OK(pins_read(&w->cluster, &pins, &why));
	for (size_t i = 0; i < pins.count; i++)
		cr_assert(pins.pin[i].is_copy && !pins.pin[i].has_attempt);
	pins_release(&pins);
}

/* Of one repository call n fails; the next run brings the rest. */
static void fails_and_goes_on(bool at_target, enum fault_mode mode, enum err kind)
{
	unsigned n = 0;

	for (bool over = false; !over;) {
		struct repo_world from, to, *failing = at_target ? &to : &from;
		struct copy_totals totals;
		struct outcomes o;
		struct error why;
		enum err e;

		two_worlds(&from, &to);
		repo_world_fail(failing, mode, ++n, kind);
		e = copy(&from, &to, &o, &totals, &why);
		over = failing->fault.calls < n;
		repo_world_fail(failing, FAULT_NONE, 0, ERR_NONE);
		if (mode == FAULT_LOST)
			cr_assert_eq(e, ERR_NONE, "call %u: %s", n, why.text);
		if (e == ERR_NONE)
			cr_assert_eq(o.of[COPY_DONE], 2, "call %u", n);
		if (e != ERR_NONE && mode == FAULT_FAIL)
			expect_no_promise(&to);
		for (unsigned done = 0; done < o.of[COPY_DONE]; done++)
			expect_whole(&to, 2 - done);
		OK(copy(&from, &to, &o, &totals, &why));
		cr_assert(o.of[COPY_DONE] + o.of[COPY_THERE] == 2 && o.damage == 0, "call %u: %s",
			  n, o.key);
		expect_whole(&to, 1);
		expect_whole(&to, 2);
		release(&from, &to);
		cr_assert_lt(n, FAULTS_MAX);
	}
	cr_assert_gt(n, 30);
}

Test(copy, a_target_that_goes_away_at_any_call_gets_the_rest_later)
{
	fails_and_goes_on(true, FAULT_DOWN, ERR_IO);
}

Test(copy, a_call_of_the_target_that_fails_once_loses_nothing)
{
	fails_and_goes_on(true, FAULT_FAIL, ERR_TRANSIENT);
}

Test(copy, answers_of_the_target_that_are_lost_are_settled)
{
	fails_and_goes_on(true, FAULT_LOST, ERR_NONE);
	fails_and_goes_on(true, FAULT_LOST_EARLY, ERR_NONE);
}

Test(copy, a_source_that_goes_away_at_any_call_is_read_again)
{
	fails_and_goes_on(false, FAULT_DOWN, ERR_IO);
}

Test(copy, a_source_that_fails_once_or_takes_no_pin_is_copied_all_the_same)
{
	fails_and_goes_on(false, FAULT_FAIL, ERR_TRANSIENT);
}

Test(copy, keeps_to_its_rate)
{
	struct copy_options options = {
		.max_rate = 1000, .backup = note_backup, .damage = note_damage};
	struct copy_totals totals = {.bytes = 0};
	struct repo_world from, to;
	struct still_clock clock;
	struct outcomes o = {.damage = 0};
	struct error why;
	int64_t began;

	two_worlds(&from, &to);
	still_clock_init(&clock);
	began = clock.now_us;
	to.env.clock = &clock.clock;
	options.ctx = &o;
	OK(copy_cluster(&from.cluster, &to.cluster, &options, &totals, &why));
	cr_assert_geq(clock.now_us - began, (int64_t)totals.bytes * 1000);
	cr_assert_lt(clock.now_us - began, (int64_t)totals.bytes * 1000 + 1000000);
	release(&from, &to);
}

Test(copy, slices_of_a_segment_that_is_whole_are_left_out)
{
	static uint8_t content[SEGMENT];
	struct repo_world from, to;
	enum wal_put_result result;
	struct copy_totals totals;
	struct wal_name name;
	struct outcomes o;
	struct error why;

	two_worlds(&from, &to);
	wal_segment_name(1, 3, SEGMENT, &name);
	OK(wal_put(&from.cluster, &name, SEGMENT, 1, bytes_of(content, sizeof(content)), &result,
		   &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert(o.of[COPY_DONE] == 2 && totals.wal == 2);
	cr_assert(keys_below(&from, "wal/") == 3 && keys_below(&to, "wal/") == 2);
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert_eq(totals.wal, 0);
	release(&from, &to);
}

Test(copy, what_was_brought_over_is_not_brought_again)
{
	struct repo_world from, to;
	struct copy_totals first, second;
	struct outcomes o;
	struct error why;
	unsigned n = 1;

	/* The manifest of the child, the first one that is committed, does not get through. */
	for (;; n++) {
		enum err e;

		two_worlds(&from, &to);
		repo_world_fail(&to, FAULT_DOWN, n, ERR_IO);
		e = copy(&from, &to, &o, &first, &why);
		cr_assert_neq(e, ERR_NONE);
		if (first.packs == 2)
			break;
		release(&from, &to);
	}
	repo_world_fail(&to, FAULT_NONE, 0, ERR_NONE);
	OK(copy(&from, &to, &o, &second, &why));
	cr_assert(o.of[COPY_DONE] == 2 && second.packs == 0 && second.wal == 0);
	/* Both found and confirmed: whoever put them may not have come to the last sync. */
	cr_assert_geq(to.fault.confirms, 4);
	release(&from, &to);
}

/* ---- beside a sweep ---- */

static void pin(struct repo_world *w, const char *kind, const char *holder, unsigned attempt)
{
	struct pin p = {.kind = kind, .has_backup = attempt != 0};
	struct error why;

	if (attempt != 0)
		p.backup = attempt_number(attempt);
	(void)snprintf(p.holder, sizeof(p.holder), "%s", holder);
	OK(pin_put(&w->cluster, &p, &why));
}

Test(copy, waits_for_a_sweep_and_gives_up_in_the_end)
{
	struct still_clock clock;
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;
	int64_t began;

	two_worlds(&from, &to);
	still_clock_init(&clock);
	to.env.clock = &clock.clock;
	began = clock.now_us;
	pin(&to, PIN_SWEEP, "sweep-0123456789abcdef", 0);
	cr_assert_eq(copy(&from, &to, &o, &totals, &why), ERR_TRANSIENT);
	cr_assert_geq(clock.now_us - began, SWEEP_WAIT_US);
	cr_assert(keys_below(&to, "packs/") == 0 && keys_below(&to, "wal/") == 0);
	OK(pin_drop(&to.cluster, "sweep-0123456789abcdef", &why));
	OK(copy(&from, &to, &o, &totals, &why));
	cr_assert_eq(o.of[COPY_DONE], 2);
	release(&from, &to);
}

Test(copy, holds_sweeps_of_packs_and_of_wal_back)
{
	const struct sweep_options options = {.force = true};
	struct wal_sweep_totals wal;
	struct sweep_totals packs;
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;
	struct pack_id id = {.attempt = attempt_number(7)};
	char key[STORE_KEY_MAX];

	two_worlds(&from, &to);
	OK(copy(&from, &to, &o, &totals, &why));
	pack_key(&to.cluster, &id, key);
	OK(store_put(to.memory, key, bytes_of_text("dead"), &why));
	pin(&to, PIN_COPY_TO, "copy-0123456789abcdef", 0);
	OK(sweep_packs(&to.cluster, &options, &packs, &why));
	OK(sweep_wal(&to.cluster, &options, &wal, &why));
	cr_assert(packs.held && wal.held && packs.packs_removed == 0 && wal.removed == 0);
	cr_assert_eq(keys_below(&to, "packs/"), 3);
	OK(pin_drop(&to.cluster, "copy-0123456789abcdef", &why));
	OK(sweep_packs(&to.cluster, &options, &packs, &why));
	cr_assert(!packs.held && packs.packs_removed == 1);
	cr_assert_eq(keys_below(&to, "pins/"), 0, "a sweep left its pin");
	release(&from, &to);
}

/* A pin as a process of an earlier boot of this machine left it. */
static void pin_of_the_dead(struct repo_world *w)
{
	static const char key[] = "pins/copy-0123456789abcdef/00000000";
	char full[STORE_KEY_MAX], machine[64], host[256];
	struct writer body;
	struct error why;

	pin(w, PIN_COPY_TO, "copy-0123456789abcdef", 0);
	(void)snprintf(full, sizeof(full), "%s%s", w->cluster.prefix, key);
	writer_init(&body, RECORD_BYTES_MAX);
	OK(record_get(w->repository, full, "pin", &body, &why));
	cr_assert(lines_get(writer_view(&body), "machine", machine, sizeof(machine)) &&
		  lines_get(writer_view(&body), "host", host, sizeof(host)));
	writer_reset(&body);
	writer_text(&body, "kind %s\nhost %s\nmachine %s\n", PIN_COPY_TO, host, machine);
	writer_text(&body, "boot an-earlier-one\npid-space 1\npid 1\n");
	OK(store_remove(w->memory, full, &why));
	OK(record_put(w->repository, full, "pin", writer_view(&body), &why));
	writer_release(&body);
}

Test(copy, what_one_left_that_is_certainly_gone_waits_a_day_or_for_force)
{
	struct pack_id id = {.attempt = attempt_number(7)};
	struct sweep_options options = {.force = false};
	struct sweep_totals packs;
	char key[STORE_KEY_MAX];
	struct repo_world w;
	struct error why;
	size_t aborted;

	repo_world_init(&w, NULL);
	pack_key(&w.cluster, &id, key);
	OK(store_put(w.memory, key, bytes_of_text("half"), &why));
	pin_of_the_dead(&w);
	OK(decision_abort_dead(&w.cluster, &aborted, &why));
	cr_assert(aborted == 0 && keys_below(&w, "pins/") == 1);
	OK(sweep_packs(&w.cluster, &options, &packs, &why));
	cr_assert(packs.held && keys_below(&w, "packs/") == 1);
	options.force = true;
	OK(sweep_packs(&w.cluster, &options, &packs, &why));
	cr_assert(!packs.held && packs.packs_removed == 1);
	repo_world_release(&w);
}

Test(copy, leaves_no_pin_where_space_is_to_be_made)
{
	struct repo_world from, to;
	struct copy_totals totals;
	struct outcomes o;
	struct error why;
	unsigned n = 20; /* behind the pins */

	two_worlds(&from, &to);
	repo_world_fail(&to, FAULT_FAIL, n, ERR_FULL);
	cr_assert_eq(copy(&from, &to, &o, &totals, &why), ERR_FULL);
	cr_assert_eq(keys_below(&to, "pins/"), 0);
	release(&from, &to);
}

Test(copy, one_that_fell_silent_can_not_commit_any_more)
{
	struct sightings *seen = NULL;
	struct repo_world w;
	struct pins pins;
	struct error why;
	size_t ended;
	bool aborted, decided;
	struct attempt first = attempt_number(1);

	repo_world_init(&w, NULL);
	pin(&w, PIN_COPY_TO, "copy-0123456789abcdef", 1);
	OK(sightings_new("boot", &seen, &why));
	OK(pins_read(&w.cluster, &pins, &why));
	OK(sightings_note(seen, &w.cluster, &pins, 1, &why));
	OK(pins_end_stale(&w.cluster, &pins, seen, STALE_READER_US, &ended, &why));
	cr_assert_eq(ended, 0, "before a day is over");
	OK(pins_end_stale(&w.cluster, &pins, seen, STALE_READER_US + 1, &ended, &why));
	cr_assert_eq(ended, 1);
	OK(decision_is_aborted(&w.cluster, &first, &aborted, &why));
	cr_assert(aborted && keys_below(&w, "pins/") == 0);
	/* A process that certainly is no more can't commit: the next copy of it may. */
	OK(store_remove(w.memory,
			"main/7301234567890123456/backups/"
			"20261123T000001Z-0000000000000001",
			&why));
	pins.pin[0].gone = true;
	OK(pins_end_stale(&w.cluster, &pins, seen, STALE_READER_US + 1, &ended, &why));
	OK(decision_is_there(&w.cluster, &first, &decided, &why));
	cr_assert_not(decided);
	pins_release(&pins);
	sightings_free(seen);
	repo_world_release(&w);
}
