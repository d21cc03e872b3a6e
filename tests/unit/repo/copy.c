/* Copying from one repository of a family to another: all of it, byte for byte; resumable; damage stops
 * only what it concerns; nothing that a person or an expire took away comes back.
 */
#include "repo/copy.h"
#include "repo/expire.h"
#include "repo/pins.h"
#include "repo/sweep.h"
#include "repo/wal_object.h"
#include "small_backup.h"
#include "still_clock.h"

#include <string.h>

enum { SEGMENT = 16 << 20, FAULTS_MAX = 2000 };

struct outcomes {
	unsigned of[COPY_DAMAGED + 1];
	unsigned damage;
	char key[STORE_KEY_MAX]; /* of the last damage */
};

static void note_backup(void *ctx, const struct attempt *attempt, enum copy_outcome outcome,
			uint64_t bytes, const char *text)
{
	struct outcomes *o = ctx;

	(void)attempt;
	(void)bytes;
	cr_assert_eq(text == NULL, outcome == COPY_DONE || outcome == COPY_THERE);
	o->of[outcome]++;
}

static void note_damage(void *ctx, const char *key, const char *text)
{
	struct outcomes *o = ctx;

	cr_assert_neq(text[0], '\0');
	o->damage++;
	(void)snprintf(o->key, sizeof(o->key), "%s", key);
}

static enum err copy(struct repo_world *from, struct repo_world *to, struct outcomes *o,
		     struct copy_totals *totals, struct error *why)
{
	const struct copy_options options = {
		.backup = note_backup, .damage = note_damage, .ctx = o};

	*o = (struct outcomes){.damage = 0};
	*totals = (struct copy_totals){.bytes = 0};
	return copy_cluster(&from->cluster, &to->cluster, &options, totals, why);
}

/* ---- two repositories ---- */

static void put_wal(struct repo_world *w)
{
	static uint8_t page[8192];
	struct wal_name name;
	enum wal_put_result result;
	struct error why;

	wal_segment_name(1, 3, SEGMENT, &name);
	OK(wal_put_slice(&w->cluster, &name, SEGMENT, 1, 0, sizeof(page),
			 bytes_of(page, sizeof(page)), &why));
	name = (struct wal_name){.kind = WAL_NAME_HISTORY, .timeline = 2};
	OK(wal_put(&w->cluster, &name, SEGMENT, 1, bytes_of_text("1\t0/3000100\tno reason\n"),
		   &result, &why));
}

/* A backup of one file; its pages are told by `n`. */
static void put_backup(struct repo_world *w, unsigned n)
{
	uint8_t content[3 * MAP_PAGE_BYTES];
	struct small_backup b;

	memset(content, (int)n, sizeof(content));
	small_backup_begin(&b, w, n);
	small_backup_file(&b, "base/1/1", bytes_of(content, sizeof(content)));
	small_backup_commit(&b);
}

/* A backup whose table names the packs of another one too. */
static void put_child(struct repo_world *w, unsigned n, unsigned parent)
{
	struct attempt attempt = attempt_number(parent);
	struct manifest *known = NULL;
	uint8_t content[MAP_PAGE_BYTES];
	struct small_backup b;
	struct error why;

	OK(manifest_read(&w->cluster, &attempt, &known, &why));
	memset(content, (int)n, sizeof(content));
	small_backup_begin(&b, w, n);
	for (uint32_t i = 0; i < known->packs; i++)
		OK(pack_borrow(b.packs, &known->pack[i], MAP_PAGE_BYTES, &why));
	small_backup_file(&b, "base/1/2", bytes_of(content, sizeof(content)));
	small_backup_commit(&b);
	manifest_free(known);
}

static void two_worlds(struct repo_world *from, struct repo_world *to)
{
	const struct identity identity = {.server_version = 150020,
					  .wal_segment_bytes = SEGMENT,
					  .block_bytes = 8192,
					  .data_checksums = 1};
	struct error why;

	repo_world_init(from, NULL);
	repo_world_init(to, from);
	OK(identity_ensure(&from->cluster, &identity, &why));
	put_wal(from);
	put_backup(from, 1);
	put_child(from, 2, 1);
}

static void release(struct repo_world *from, struct repo_world *to)
{
	repo_world_release(from);
	repo_world_release(to);
}

static enum err compare_size(void *ctx, const struct store_object *object, struct error *why)
{
	struct store *other = ctx;
	uint8_t *there = NULL;
	size_t len = 0;

	cr_assert_eq(store_get(other, object->key, 64 << 20, &there, &len, why), ERR_NONE);
	cr_assert_eq(len, object->size, "%s", object->key);
	free(there);
	return ERR_NONE;
}

static enum err compare_bytes(void *ctx, const struct store_object *object, struct error *why)
{
	struct repo_world **w = ctx;
	uint8_t *a = NULL, *b = NULL;
	size_t a_len = 0, b_len = 0;

	cr_assert_eq(store_get(w[0]->memory, object->key, 64 << 20, &a, &a_len, why), ERR_NONE,
		     "%s", object->key);
	cr_assert_eq(store_get(w[1]->memory, object->key, 64 << 20, &b, &b_len, why), ERR_NONE,
		     "%s", object->key);
	cr_assert(a_len == b_len && memcmp(a, b, a_len) == 0, "%s", object->key);
	free(a);
	free(b);
	return ERR_NONE;
}

/* The clusters' parts are the same, object by object. */
static void expect_same(struct repo_world *from, struct repo_world *to)
{
	struct repo_world *both[2] = {from, to};
	struct error why;

	OK(store_list(from->memory, from->cluster.prefix, compare_bytes, both, &why));
	OK(store_list(to->memory, to->cluster.prefix, compare_size, from->memory, &why));
}

static uint8_t *peek_pack(struct repo_world *w, unsigned attempt, size_t *len)
{
	struct pack_id id = {.attempt = attempt_number(attempt)};
	char key[STORE_KEY_MAX];

	pack_key(&w->cluster, &id, key);
	return store_memory_peek(w->memory, key, len);
}

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

/* ---- broken off ---- */

static void expect_whole(struct repo_world *w, unsigned n)
{
	struct attempt attempt = attempt_number(n);
	struct manifest *m = NULL;
	struct error why;

	OK(manifest_read(&w->cluster, &attempt, &m, &why));
	OK(decision_check_packs(&w->cluster, m, &why));
	manifest_free(m);
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
		if (e == ERR_NONE)
			cr_assert_eq(o.of[COPY_DONE], 2, "call %u", n);
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
	cr_assert_geq(clock.now_us - began, COPY_SWEEP_WAIT_US);
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
