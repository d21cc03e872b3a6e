/* Facts about backups that share packs, about order, interruption and neighbours. */
#include "verify_world.h"

/* Backup 2 refers to file 1259 of backup 1, shard by shard, and has a file of its own. */
struct pair {
	struct world first;
	struct made_backup second;
	char named[8][ATTEMPT_TEXT_MAX + 32]; /* "ATTEMPT FILE" of findings */
	unsigned count;
	enum verify_state state[2];
};

static void take_named(void *ctx, const struct verify_finding *f)
{
	struct pair *p = ctx;

	cr_assert_lt(p->count, 8);
	(void)snprintf(p->named[p->count++], sizeof(p->named[0]), "%s %s",
		       f->backup != NULL ? f->backup : "-", f->file != NULL ? f->file : "-");
}

static void take_state(void *ctx, const struct attempt *attempt, enum verify_state state)
{
	struct pair *p = ctx;

	p->state[attempt_compare(attempt, &p->first.made.attempt) == 0 ? 0 : 1] = state;
}

static enum err share(void *ctx, struct bytes frame, struct error *unused)
{
	struct pair *p = ctx;
	const struct manifest *theirs = p->first.made.manifest;
	struct reader in = reader_of(frame);
	struct file_record file;
	struct file_shard_ref ref;
	struct writer out;
	uint8_t stored[32];
	struct error why;

	(void)unused;
	OK(file_record_decode(&in, &file, &why));
	cr_assert_eq(file.shards, 1);
	file_shard_ref_decode(file.shard_refs, &ref);
	OK(pack_borrow(p->second.packs, &theirs->pack[ref.pack], file.size, &why));
	OK(pack_index(p->second.packs, &theirs->pack[ref.pack].id, &ref.pack, &why));
	file_shard_ref_encode(&ref, stored);
	file.shard_refs = stored;
	writer_init(&out, FRAME_SECTION_MAX);
	file_record_encode(&file, &out);
	OK(pack_section_add(p->second.packs, "files", writer_view(&out), &why));
	writer_release(&out);
	return ERR_NONE;
}

static void pair_init(struct pair *p)
{
	struct error why;

	memset(p, 0, sizeof(*p));
	world_init(&p->first);
	world_backup(&p->first);
	made_begin(&p->second, &p->first.repo.cluster, 2);
	made_file(&p->second, "base/5/2000", 7, 6 * MAP_PAGE_BYTES);
	OK(section_walk(&p->first.repo.cluster, p->first.made.manifest, "files", share, p, &why));
	p->second.manifest->summary.has_parent = true;
	p->second.manifest->summary.parent = p->first.made.attempt;
	world_summary(&p->second.manifest->summary);
	made_commit(&p->second, &p->first.repo.cluster);
	p->first.options.finding = take_named;
	p->first.options.backup = take_state;
	p->first.options.ctx = p;
	p->first.options.all = false;
}

static void pair_release(struct pair *p)
{
	made_release(&p->second);
	world_release(&p->first);
}

static enum err run(struct pair *p)
{
	p->count = 0;
	return everything(&p->first);
}

static uint8_t *pack_of(struct pair *p, const struct made_backup *made, size_t *len)
{
	struct pack_id id = {.attempt = made->attempt};
	char key[STORE_KEY_MAX];

	pack_key(&p->first.repo.cluster, &id, key);
	return store_memory_peek(p->first.repo.memory, key, len);
}

static bool is_named(const struct pair *p, unsigned n, const char *file)
{
	char text[sizeof(p->named[0])], id[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(n);

	attempt_to_text(&attempt, id);
	(void)snprintf(text, sizeof(text), "%s %s", id, file);
	for (unsigned i = 0; i < p->count; i++)
		if (strcmp(p->named[i], text) == 0)
			return true;
	return false;
}

Test(verify_shared, pages_in_a_proven_place_are_not_read_again)
{
	struct pair p;

	pair_init(&p);
	cr_assert_eq(run(&p), ERR_NONE, "%s", p.first.why.text);
	cr_assert_eq(p.first.totals.pages, 11 + 6); /* 1259 once, 1260, 2000 */
	cr_assert_eq(p.first.totals.objects, 2 + 2 + 3);
	cr_assert_eq(p.state[0], VERIFY_WHOLE);
	cr_assert_eq(p.state[1], VERIFY_WHOLE);
	pair_release(&p);
}

Test(verify_shared, damage_is_named_for_each_backup_that_needs_it)
{
	static const struct {
		bool in_second;
		unsigned frame;
		bool first, second;
		const char *file;
	} cases[] = {
		{false, 0, true, true, "base/5/1259"},
		{false, 3, true, true, "base/5/1259"}, /* its map */
		{false, 4, true, false, "base/5/1260"},
		{true, 0, false, true, "base/5/2000"},
	};
	struct pair p;
	size_t len;

	pair_init(&p);
	p.first.options.all = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *pack = pack_of(&p, cases[i].in_second ? &p.second : &p.first.made, &len);
		size_t at = OBJECT_HEADER_BYTES;

		for (unsigned f = 0; f < cases[i].frame; f++)
			at += get_u32(pack + at + 16) + FRAME_OVERHEAD_BYTES;
		pack[at + FRAME_HEADER_BYTES] ^= 1;
		cr_assert_eq(run(&p), ERR_CORRUPT, "case %zu", i);
		cr_assert_eq(is_named(&p, 1, cases[i].file), cases[i].first, "case %zu", i);
		cr_assert_eq(is_named(&p, 2, cases[i].file), cases[i].second, "case %zu", i);
		cr_assert_eq(p.state[0], cases[i].first ? VERIFY_DAMAGED : VERIFY_WHOLE, "case %zu",
			     i);
		cr_assert_eq(p.state[1], cases[i].second ? VERIFY_DAMAGED : VERIFY_WHOLE,
			     "case %zu: %d", i, p.state[1]);
		pack[at + FRAME_HEADER_BYTES] ^= 1;
		cr_assert_eq(run(&p), ERR_NONE, "case %zu: %s", i, p.first.why.text);
	}
	pair_release(&p);
}

/* Every frame's header, payload and tag, the pack's header, directory and trailer. */
Test(verify_shared, every_part_of_a_pack_is_guarded)
{
	struct pair p;
	uint8_t *pack;
	size_t len, at = OBJECT_HEADER_BYTES;

	pair_init(&p);
	p.first.options.all = true;
	pack = pack_of(&p, &p.second, &len);
	for (size_t i = 0; i < OBJECT_HEADER_BYTES; i += 9) {
		pack[i] ^= 2;
		cr_assert_eq(run(&p), ERR_CORRUPT, "byte %zu", i);
		pack[i] ^= 2;
	}
	while (at + FRAME_HEADER_BYTES < len - OBJECT_TRAILER_BYTES) {
		size_t stored = get_u32(pack + at + 16);
		const size_t places[] = {0, 5, 9, 13, 17, 21, 29, 32, 32 + stored / 2, 32 + stored};

		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			pack[at + places[i]] ^= 2;
			cr_assert_eq(run(&p), ERR_CORRUPT, "byte %zu", at + places[i]);
			pack[at + places[i]] ^= 2;
		}
		at += stored + FRAME_OVERHEAD_BYTES;
	}
	for (size_t i = len - OBJECT_TRAILER_BYTES; i < len; i += 3) {
		pack[i] ^= 2;
		cr_assert_eq(run(&p), ERR_CORRUPT, "byte %zu", i);
		cr_assert_neq(p.state[1], VERIFY_DAMAGED); /* all pages can be read */
		pack[i] ^= 2;
	}
	cr_assert_eq(run(&p), ERR_NONE, "%s", p.first.why.text);
	pair_release(&p);
}

static int64_t proven_at(struct pair *p, unsigned n)
{
	struct pack_id id = {.attempt = attempt_number(n)};
	struct verified *v = NULL;
	struct error why;
	int64_t us;

	OK(verified_read(&p->first.repo.cluster, &v, &why));
	us = verified_pack_us(v, &id);
	verified_free(v);
	return us;
}

Test(verify_shared, what_was_longest_unread_is_read_first)
{
	struct still_clock clock;
	struct attempt second = attempt_number(2);
	struct pair p;
	int64_t began;

	pair_init(&p);
	world_stand_still(&p.first, &clock);
	began = clock.now;
	cr_assert_eq(run(&p), ERR_NONE);
	clock.now += 1000;
	/* The second's own pack and the shared one are read again; then the first's is older. */
	p.first.options.all = true;
	p.first.options.only = &second;
	cr_assert_eq(verify_cluster(&p.first.repo.cluster, &p.first.options, &p.first.totals,
				    &p.first.why),
		     ERR_NONE);
	cr_assert_eq(proven_at(&p, 2), began + 1000);
	p.first.options.all = false;
	clock.now = began + 30 * day_us;
	clock.tick = 1;
	p.first.options.max_time_us = 30;
	cr_assert_eq(run(&p), ERR_NONE);
	cr_assert_geq(proven_at(&p, 1), proven_at(&p, 2));
	pair_release(&p);
}

static void cancel(void *ctx)
{
	*(volatile int *)ctx = 15;
}

Test(verify_shared, an_interrupted_run_keeps_what_it_has_proven)
{
	volatile int cancelled = 0;
	unsigned interrupted = 0;
	enum err e;
	struct pair p;

	pair_init(&p);
	p.first.repo.env.cancelled = &cancelled;
	p.first.repo.fault.meanwhile = cancel;
	p.first.repo.fault.ctx = (void *)&cancelled;
	do {
		repo_world_fail(&p.first.repo, FAULT_NONE, 3 * ++interrupted + 25, ERR_NONE);
		cancelled = 0;
		e = run(&p);
		cr_assert(e == ERR_CANCELLED || e == ERR_NONE, "%s", p.first.why.text);
		cr_assert_eq(p.count, 0);
		cr_assert_lt(interrupted, 60);
	} while (e != ERR_NONE);
	cr_assert_gt(interrupted, 1);
	cr_assert_neq(proven_at(&p, 1), 0);
	cr_assert_neq(proven_at(&p, 2), 0);
	cr_assert_eq(keys_below(&p.first.repo, "verified/"), 1);
	pair_release(&p);
}

Test(verify_shared, two_clusters_of_a_repository_know_nothing_of_each_other)
{
	struct made_backup other_made;
	struct cluster other;
	struct pair p;
	struct verified *v = NULL;
	struct error why;

	pair_init(&p);
	cluster_init(&other, p.first.repo.repository, "other", 42);
	made_begin(&other_made, &other, 1); /* the same attempt */
	made_file(&other_made, "base/5/1259", 3, 2 * MAP_PAGE_BYTES);
	other_made.manifest->summary.system_identifier = 42;
	made_commit(&other_made, &other);
	cr_assert_eq(run(&p), ERR_NONE, "%s", p.first.why.text);
	OK(verified_read(&other, &v, &why));
	cr_assert_eq(verified_pack_us(v, &other_made.manifest->pack[0].id), 0);
	cr_assert_eq(verified_maps_us(v, &other_made.attempt), 0);
	verified_free(v);
	made_release(&other_made);
	pair_release(&p);
}
