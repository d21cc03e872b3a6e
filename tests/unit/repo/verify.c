/* Facts about verification: whatever byte is turned, it is found and named. */
#include "verify_world.h"

static enum err backup(struct world *w)
{
	world_reset(w);
	w->options.only = &w->made.attempt;
	return verify_cluster(&w->repo.cluster, &w->options, &w->totals, &w->why);
}

Test(verify, a_sound_backup_has_no_findings)
{
	struct world w;

	world_init(&w);
	world_backup(&w);
	cr_assert_eq(backup(&w), ERR_NONE, "%s", w.text);
	cr_assert_eq(w.findings, 0);
	cr_assert_eq(w.totals.files, 2);
	cr_assert_eq(w.totals.pages, 11);
	cr_assert_eq(w.totals.objects, 1 + 3);
	cr_assert_gt(w.totals.bytes_read, 9 * MAP_PAGE_BYTES * 6 / 7);
	w.options.jobs = 4;
	cr_assert_eq(backup(&w), ERR_NONE, "%s", w.text);
	world_release(&w);
}

Test(verify, a_turned_byte_anywhere_in_a_pack_is_found)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	unsigned with_file = 0, looked = 0;
	struct world w;
	uint8_t *pack;
	size_t len;

	world_init(&w);
	world_backup(&w);
	attempt_to_text(&w.made.attempt, name);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	pack = store_memory_peek(w.repo.memory, key, &len);
	cr_assert_not_null(pack);
	for (size_t at = 0; at < len; at += 397) {
		pack[at] ^= 4;
		cr_assert_eq(backup(&w), ERR_CORRUPT, "byte %zu of %zu", at, len);
		cr_assert_not_null(strstr(w.why.text, name), "%s", w.why.text);
		cr_assert_geq(w.findings, 1);
		cr_assert_eq(w.totals.findings, w.findings);
		/* Nothing lies in the directory and the trailer that a backup needs. */
		cr_assert(w.backup[0] == '\0' || strcmp(w.backup, name) == 0);
		with_file += strncmp(w.file, "base/5/12", 9) == 0;
		looked++;
		pack[at] ^= 4;
	}
	/* All but headers, the section, the directory and the trailer belong to files. */
	cr_assert_gt(with_file * 100, looked * 90, "%u of %u", with_file, looked);
	cr_assert_eq(backup(&w), ERR_NONE, "%s", w.text);
	world_release(&w);
}

Test(verify, names_the_file_and_the_pack_of_a_damaged_page)
{
	char key[STORE_KEY_MAX];
	struct world w;
	uint8_t *pack;
	size_t len;

	world_init(&w);
	world_backup(&w);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	pack = store_memory_peek(w.repo.memory, key, &len);
	pack[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 2 * MAP_PAGE_BYTES] ^= 1;
	cr_assert_eq(backup(&w), ERR_CORRUPT);
	cr_assert_str_eq(w.file, "base/5/1259");
	cr_assert_not_null(strstr(w.text, "base/5/1259"), "%s", w.text);
	world_release(&w);
}

Test(verify, a_missing_or_cut_pack_is_found_even_when_quick)
{
	char key[STORE_KEY_MAX];
	struct world w;

	world_init(&w);
	world_backup(&w);
	w.options.quick = true;
	cr_assert_eq(backup(&w), ERR_NONE, "%s", w.text);
	cr_assert_eq(w.totals.bytes_read, 0);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	cr_assert_eq(store_remove(w.repo.memory, key, &w.why), ERR_NONE);
	cr_assert_eq(backup(&w), ERR_CORRUPT);
	cr_assert_str_eq(w.key, key);
	cr_assert_eq(store_put(w.repo.memory, key, bytes_of_text("short"), &w.why), ERR_NONE);
	cr_assert_eq(backup(&w), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.text, "5 bytes"), "%s", w.text);
	w.options.quick = false;
	cr_assert_eq(backup(&w), ERR_CORRUPT);
	world_release(&w);
}

Test(verify, a_damaged_manifest_is_a_finding_a_missing_one_is_not)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct world w;
	uint8_t *manifest;
	size_t len;

	world_init(&w);
	world_backup(&w);
	attempt_to_text(&w.made.attempt, name);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", w.repo.cluster.prefix, name);
	manifest = store_memory_peek(w.repo.memory, key, &len);
	cr_assert_not_null(manifest, "%s", key);
	manifest[len / 2] ^= 1;
	cr_assert_eq(backup(&w), ERR_CORRUPT);
	cr_assert_eq(w.findings, 1);
	cr_assert_str_eq(w.backup, name);
	cr_assert_not_null(strstr(w.why.text, name), "%s", w.why.text);
	w.made.attempt = attempt_number(9);
	cr_assert_eq(backup(&w), ERR_MISSING);
	cr_assert_eq(w.findings, 0);
	world_release(&w);
}

Test(verify, an_unanswered_question_is_no_damage)
{
	struct world w;
	unsigned at = 0, failed = 0;
	enum err e;

	world_init(&w);
	world_backup(&w);
	do {
		repo_world_fail(&w.repo, FAULT_FAIL, ++at, ERR_TRANSIENT);
		e = backup(&w);
		cr_assert(e == ERR_TRANSIENT || e == ERR_NONE, "call %u: %s", at, w.why.text);
		cr_assert_eq(w.findings, 0, "call %u: %s", at, w.text);
		failed += e != ERR_NONE;
	} while (w.repo.fault.calls >= at && at < 300);
	cr_assert_lt(at, 300);
	/* A superseded record that stays behind is no failure. */
	cr_assert_geq(failed + 4, at - 1, "%u of %u", failed, at);
	repo_world_fail(&w.repo, FAULT_NONE, 0, ERR_NONE);
	cr_assert_eq(backup(&w), ERR_NONE, "%s", w.text);
	world_release(&w);
}

/* ---- WAL ---- */

static enum err wal(struct world *w)
{
	world_reset(w);
	w->options.only = NULL;
	return verify_cluster(&w->repo.cluster, &w->options, &w->totals, &w->why);
}

/* A backup of timeline 1 from segment B to somewhere in D. */
static void world_wal(struct world *w)
{
	struct identity identity = {.server_version = 150020,
				    .wal_segment_bytes = SHELF_SEGMENT,
				    .block_bytes = 8192,
				    .data_checksums = -1};
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct manifest *m;
	struct error why;

	world_init(w);
	OK(identity_ensure(&w->repo.cluster, &identity, &why));
	m = manifest_number(&w->repo.cluster, 1);
	world_summary(&m->summary);
	OK(manifest_commit(&w->repo.cluster, m, sha256, &why));
	manifest_free(m);
	for (unsigned segno = 0xB; segno <= 0xE; segno++)
		shelf_put_golden(&w->repo, 1, segno);
	shelf_put_text(&w->repo, "00000002.history", "1\t0/F000A0\tx\n");
	shelf_put_golden(&w->repo, 2, 0xF);
}

Test(verify, sound_wal_has_no_findings)
{
	struct world w;

	world_wal(&w);
	cr_assert_eq(wal(&w), ERR_NONE, "%s", w.text);
	cr_assert_eq(w.totals.wal_segments, 5);
	cr_assert_eq(w.totals.objects, 6 + 2); /* FORMAT, identity */
	world_release(&w);
}

Test(verify, a_hole_in_the_wal_is_found)
{
	struct world w;

	world_wal(&w);
	shelf_remove(&w.repo, 1, 0xC);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_eq(w.findings, 1);
	cr_assert_not_null(strstr(w.text, "hole"), "%s", w.text);
	cr_assert_not_null(strstr(w.key, "00000001000000000000000D"), "%s", w.key);
	world_release(&w);
}

Test(verify, wal_that_a_newer_backup_does_without_is_told_with_its_name)
{
	const struct attempt second = attempt_number(2);
	char name[ATTEMPT_TEXT_MAX];
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct manifest *m;
	struct error why;
	struct world w;

	world_wal(&w);
	attempt_to_text(&second, name);
	shelf_damage(&w.repo, 1, 0xC);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_str_eq(w.newer, "");
	m = manifest_number(&w.repo.cluster, 2);
	world_summary(&m->summary);
	m->summary.start = lsn_of(0xD00028);
	m->summary.stop = lsn_of(0xE00100);
	OK(manifest_commit(&w.repo.cluster, m, sha256, &why));
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_str_eq(w.newer, name);
	shelf_remove(&w.repo, 1, 0xC);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_eq(w.findings, 1);
	cr_assert_str_eq(w.newer, name);
	cr_assert_not_null(strstr(w.text, name), "%s", w.text);
	/* Behind the second's beginning there is none that does without. */
	shelf_put_golden(&w.repo, 1, 0xC);
	shelf_damage(&w.repo, 1, 0xD);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_str_eq(w.newer, "");
	/* What went on on another timeline, with a backup there, does. */
	shelf_remove(&w.repo, 1, 0xD);
	m->summary.attempt = attempt_number(3);
	m->summary.timeline = m->summary.stop_timeline = 2;
	m->summary.start = lsn_of(0xF00028);
	m->summary.stop = lsn_of(0xF00100);
	OK(manifest_commit(&w.repo.cluster, m, sha256, &why));
	attempt_to_text(&m->summary.attempt, name);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.text, "hole"), "%s", w.text);
	cr_assert_str_eq(w.newer, name);
	manifest_free(m);
	world_release(&w);
}

Test(verify, a_hole_in_the_wal_of_the_one_backup_asked_for_is_found)
{
	const struct attempt first = attempt_number(1);
	struct world w;

	world_wal(&w);
	world_reset(&w);
	w.options.only = &first;
	shelf_remove(&w.repo, 1, 0xC);
	cr_assert_eq(verify_cluster(&w.repo.cluster, &w.options, &w.totals, &w.why), ERR_CORRUPT);
	cr_assert_eq(w.findings, 1);
	cr_assert_not_null(strstr(w.text, "hole"), "%s", w.text);
	/* What lies behind its end is not its own. */
	shelf_put_golden(&w.repo, 1, 0xC);
	shelf_remove(&w.repo, 1, 0xE);
	shelf_put_golden(&w.repo, 1, 0xF);
	world_reset(&w);
	cr_assert_eq(verify_cluster(&w.repo.cluster, &w.options, &w.totals, &w.why), ERR_NONE, "%s",
		     w.text);
	world_release(&w);
}

/* C comes while the walk is somewhere. */
static void bring_late(void *ctx)
{
	shelf_put_golden(&((struct world *)ctx)->repo, 1, 0xC);
}

/* Whatever is reported as a hole is one at that moment. */
static void take_hole(void *ctx, const struct verify_finding *f)
{
	struct world *w = ctx;
	struct wal_name name = shelf_name(1, 0xC);
	struct store_object object;
	char key[STORE_KEY_MAX];
	struct error why;

	w->findings++;
	wal_key(&w->repo.cluster, &name, key);
	cr_assert_eq(store_stat(w->repo.memory, key, &object, &why), ERR_MISSING, "%s: %s", f->key,
		     f->text);
}

Test(verify, a_segment_that_comes_while_others_are_read_is_no_hole)
{
	bool found = false, none = false;
	struct world w;

	world_wal(&w);
	w.options.finding = take_hole;
	for (unsigned nth = 1;; nth++) {
		enum err e;

		shelf_remove(&w.repo, 1, 0xC);
		repo_world_fail(&w.repo, FAULT_NONE, nth, ERR_NONE);
		w.repo.fault.meanwhile = bring_late;
		w.repo.fault.ctx = &w;
		e = wal(&w);
		cr_assert_eq(e, w.findings > 0 ? ERR_CORRUPT : ERR_NONE, "%s", w.why.text);
		found = found || w.findings > 0;
		none = none || w.findings == 0;
		if (w.repo.fault.calls < nth)
			break;
	}
	cr_assert(found && none);
	world_release(&w);
}

Test(verify, wal_that_ends_before_a_backups_stop_is_found)
{
	struct golden d = shelf_golden(1, 0xD);
	struct world w;

	world_wal(&w);
	shelf_remove(&w.repo, 1, 0xE);
	shelf_remove(&w.repo, 1, 0xD);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.text, "consistent"), "%s", w.text);
	/* A slice counts as far as it goes. */
	shelf_put_slice(&w.repo, 1, 0xD, d, 0, 0xFF);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	shelf_put_slice(&w.repo, 1, 0xD, d, 0, 0x100);
	cr_assert_eq(wal(&w), ERR_NONE, "%s", w.text);
	world_release(&w);
}

Test(verify, a_damaged_segment_or_slice_is_found_unless_quick)
{
	struct wal_name name = shelf_name(1, 0xF);
	struct world w;
	char key[STORE_KEY_MAX];
	uint8_t *data;
	size_t len;

	world_wal(&w);
	shelf_damage(&w.repo, 1, 0xC);
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.key, "00000001000000000000000C"), "%s", w.key);
	w.options.quick = true;
	cr_assert_eq(wal(&w), ERR_NONE, "%s", w.text);
	w.options.quick = false;
	shelf_damage(&w.repo, 1, 0xC);
	shelf_put_slice(&w.repo, 1, 0xF, shelf_golden(1, 0xF), 0, WAL_PAGE_BYTES);
	cr_assert_eq(wal(&w), ERR_NONE, "%s", w.text);
	wal_slice_key(&w.repo.cluster, &name, 0, WAL_PAGE_BYTES, key);
	data = store_memory_peek(w.repo.memory, key, &len);
	data[len / 2] ^= 1;
	cr_assert_eq(wal(&w), ERR_CORRUPT);
	cr_assert_str_eq(w.key, key);
	world_release(&w);
}

/* ---- records ---- */

static enum err records(struct world *w)
{
	world_reset(w);
	return wal(w);
}

Test(verify, damaged_records_are_found)
{
	static const char *const parts[] = {"FORMAT", "identity", "pins/holder/00000000"};
	struct pin pin = {.kind = "restore", .holder = "holder"};
	struct world w;
	struct error why;

	world_wal(&w);
	OK(pin_put(&w.repo.cluster, &pin, &why));
	cr_assert_eq(records(&w), ERR_NONE, "%s", w.text);
	cr_assert_geq(w.totals.objects, 3);
	for (size_t i = 0; i < 3; i++) {
		char key[STORE_KEY_MAX];
		uint8_t *data;
		size_t len;

		(void)snprintf(key, sizeof(key), "%s%s", i == 0 ? "" : w.repo.cluster.prefix,
			       parts[i]);
		data = store_memory_peek(w.repo.memory, key, &len);
		cr_assert_not_null(data, "%s", key);
		data[len / 2] ^= 1;
		cr_assert_eq(records(&w), ERR_CORRUPT);
		cr_assert_str_eq(w.key, key);
		data[len / 2] ^= 1;
	}
	world_release(&w);
}
