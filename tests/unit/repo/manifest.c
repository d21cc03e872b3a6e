/* Manifests: what is committed is read back whole; a taken key, damage and lost answers. */
#include "repo_world.h"

#include <stdlib.h>
#include <string.h>

static struct pack_id pack_number(uint32_t n)
{
	return (struct pack_id){.attempt = attempt_number(n % 7), .seq = n};
}

static void add_packs(struct manifest *m, uint32_t packs)
{
	struct error why;

	for (uint32_t i = 0; i < packs; i++) {
		struct pack_id id = pack_number(i);
		uint32_t index;

		OK(manifest_pack_index(m, &id, &index, &why));
		cr_assert_eq(index, i);
		m->pack[index].size = 1000 + i;
		m->pack[index].live_bytes = i;
		m->pack[index].plain_kib = i / 3;
		memset(m->pack[index].sha256, (int)(i & 0xff), CRYPTO_SHA256_BYTES);
	}
}

static enum err commit(const struct cluster *c, const struct manifest *m, struct error *why)
{
	uint8_t sha256[CRYPTO_SHA256_BYTES];

	return manifest_commit(c, m, sha256, why);
}

static const char *decision_key(const struct repo_world *w, unsigned n)
{
	static char key[STORE_KEY_MAX];
	char text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(n);

	attempt_to_text(&attempt, text);
	snprintf(key, sizeof(key), "%sbackups/%s", w->cluster.prefix, text);
	return key;
}

Test(manifest, packs_are_found_by_their_id)
{
	struct manifest *m = manifest_new();
	struct error why;

	add_packs(m, 100000);
	for (uint32_t i = 0; i < 100000; i++) {
		struct pack_id id = pack_number(99999 - i);
		uint32_t index;

		OK(manifest_pack_index(m, &id, &index, &why));
		cr_assert_eq(index, 99999 - i);
		cr_assert(manifest_pack_find(m, &id, &index));
		cr_assert_eq(index, 99999 - i);
		id.seq += 100000;
		cr_assert_not(manifest_pack_find(m, &id, &index));
	}
	cr_assert_eq(m->packs, 100000);
	manifest_free(m);
	manifest_free(NULL);
}

Test(manifest, what_was_committed_is_read_back)
{
	struct repo_world w;
	struct manifest *m, *back;
	struct attempt attempt = attempt_number(9);
	uint8_t sha256[CRYPTO_SHA256_BYTES], newest[CRYPTO_SHA256_BYTES];
	uint64_t generation;
	struct attempt found;
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 9);
	add_packs(m, 40000); /* several frames of the table */
	OK(manifest_commit(&w.cluster, m, sha256, &why));
	OK(manifest_read(&w.cluster, &attempt, &back, &why));
	cr_assert_eq(back->packs, 40000);
	cr_assert_eq(memcmp(back->pack, m->pack, 40000 * sizeof(*m->pack)), 0);
	cr_assert_eq(back->summary.generation, 9);
	cr_assert_eq(attempt_compare(&back->summary.attempt, &attempt), 0);
	cr_assert_null(manifest_section(back, "files"));
	OK(decision_newest(&w.cluster, &found, &generation, newest, &why));
	cr_assert_eq(memcmp(newest, sha256, sizeof(sha256)), 0);
	manifest_free(m);
	manifest_free(back);
	repo_world_release(&w);
}

Test(manifest, one_that_is_not_there_is_missing)
{
	struct repo_world w;
	struct manifest *back = NULL;
	struct attempt attempt = attempt_number(9);
	struct error why;

	repo_world_init(&w, NULL);
	cr_assert_eq(manifest_read(&w.cluster, &attempt, &back, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "20261123T000009Z"));
	cr_assert_null(back);
	repo_world_release(&w);
}

Test(manifest, an_aborted_attempt_tells_who_when_and_why)
{
	struct repo_world w;
	struct manifest *m, *back = NULL;
	struct attempt attempt = attempt_number(9);
	struct error why;

	repo_world_init(&w, NULL);
	OK(decision_abort(&w.cluster, &attempt, "heartbeats stopped", &why));
	cr_assert_eq(manifest_read(&w.cluster, &attempt, &back, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "aborted"));
	cr_assert_not_null(strstr(why.text, "heartbeats stopped"));
	m = manifest_number(&w.cluster, 9);
	cr_assert_eq(commit(&w.cluster, m, &why), ERR_EXISTS);
	cr_assert_eq(why.kind, ERR_EXISTS);
	cr_assert_not_null(strstr(why.text, "aborted"), "%s", why.text);
	cr_assert_not_null(strstr(why.text, "heartbeats stopped"));
	manifest_free(m);
	repo_world_release(&w);
}

Test(manifest, a_committed_attempt_can_neither_be_aborted_nor_changed)
{
	struct repo_world w;
	struct manifest *m, *back;
	struct attempt attempt = attempt_number(9);
	uint8_t first[CRYPTO_SHA256_BYTES], again[CRYPTO_SHA256_BYTES];
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 9);
	OK(manifest_commit(&w.cluster, m, first, &why));
	cr_assert_eq(decision_abort(&w.cluster, &attempt, "late", &why), ERR_EXISTS);
	/* The same content is what is wanted, with the digest of what is there. */
	OK(manifest_commit(&w.cluster, m, again, &why));
	cr_assert_eq(memcmp(first, again, sizeof(first)), 0);
	m->summary.files = 1;
	cr_assert_eq(commit(&w.cluster, m, &why), ERR_EXISTS);
	cr_assert_not_null(strstr(why.text, "other content"));
	OK(manifest_read(&w.cluster, &attempt, &back, &why));
	cr_assert_eq(back->summary.files, 0);
	manifest_free(m);
	manifest_free(back);
	repo_world_release(&w);
}

Test(manifest, a_lost_answer_is_settled_by_looking)
{
	for (unsigned nth = 1; nth <= 3; nth++) {
		struct repo_world w;
		struct manifest *m, *back;
		struct attempt attempt = attempt_number(9);
		struct error why;

		repo_world_init(&w, NULL);
		m = manifest_number(&w.cluster, 9);
		repo_world_fail(&w, FAULT_LOST, nth, ERR_UNSURE);
		OK(commit(&w.cluster, m, &why));
		OK(manifest_read(&w.cluster, &attempt, &back, &why));
		manifest_free(m);
		manifest_free(back);
		repo_world_release(&w);
	}
}

Test(manifest, after_any_failure_it_is_decided_or_can_be_tried_again)
{
	for (unsigned nth = 1;; nth++) {
		struct repo_world w;
		struct manifest *m, *back = NULL;
		struct attempt attempt = attempt_number(9);
		struct error why;
		enum err err;
		bool met;

		repo_world_init(&w, NULL);
		m = manifest_number(&w.cluster, 9);
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		err = commit(&w.cluster, m, &why);
		met = w.fault.calls >= nth;
		w.fault.mode = FAULT_NONE;
		if (err) {
			cr_assert_eq(err, ERR_TRANSIENT);
			cr_assert_eq(keys_below(&w, "backups/"), 0, "nothing is half there");
			OK(commit(&w.cluster, m, &why));
		}
		OK(manifest_read(&w.cluster, &attempt, &back, &why));
		manifest_free(m);
		manifest_free(back);
		repo_world_release(&w);
		if (!met)
			break;
		cr_assert_eq(err, ERR_TRANSIENT, "call %u failed unseen", nth);
	}
}

Test(manifest, a_flipped_byte_anywhere_is_corrupt)
{
	struct repo_world w;
	struct manifest *m, *back = NULL;
	struct attempt attempt = attempt_number(9);
	struct error why;
	uint8_t *object;
	size_t len;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 9);
	add_packs(m, 3);
	OK(commit(&w.cluster, m, &why));
	object = store_memory_peek(w.memory, decision_key(&w, 9), &len);
	cr_assert_not_null(object);
	for (size_t i = 0; i < len; i++) {
		enum err err;

		object[i] ^= 0x20;
		err = manifest_read(&w.cluster, &attempt, &back, &why);
		cr_assert(err == ERR_CORRUPT || err == ERR_WRONG_KEY || err == ERR_CONFIG,
			  "byte %zu: %d %s", i, (int)err, err ? why.text : "");
		cr_assert_null(back);
		object[i] ^= 0x20;
	}
	manifest_free(m);
	repo_world_release(&w);
}

Test(manifest, one_cut_short_is_corrupt)
{
	struct repo_world w;
	struct manifest *m, *back = NULL;
	struct attempt attempt = attempt_number(9);
	struct error why;
	uint8_t *object, *copy;
	size_t len;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 9);
	OK(commit(&w.cluster, m, &why));
	object = store_memory_peek(w.memory, decision_key(&w, 9), &len);
	copy = malloc(len);
	memcpy(copy, object, len);
	for (size_t cut = 0; cut < len; cut += 13) {
		OK(store_remove(w.memory, decision_key(&w, 9), &why));
		OK(store_put(w.memory, decision_key(&w, 9), bytes_of(copy, cut), &why));
		cr_assert_eq(manifest_read(&w.cluster, &attempt, &back, &why), ERR_CORRUPT,
			     "cut to %zu bytes: %s", cut, why.text);
		cr_assert_null(back);
	}
	free(copy);
	manifest_free(m);
	repo_world_release(&w);
}

Test(manifest, one_of_another_attempt_or_cluster_is_not_believed)
{
	struct repo_world w;
	struct cluster other;
	struct manifest *m, *back = NULL;
	struct attempt attempt = attempt_number(9);
	struct error why;

	repo_world_init(&w, NULL);
	cluster_init(&other, w.repository, "main", 1);
	m = manifest_number(&other, 9); /* speaks of system 1 */
	OK(commit(&w.cluster, m, &why));
	cr_assert_eq(manifest_read(&w.cluster, &attempt, &back, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "another"));
	manifest_free(m);
	repo_world_release(&w);
}

Test(manifest, one_above_its_bound_is_refused)
{
	struct repo_world w;
	struct manifest *m;
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 9);
	add_packs(m, 240000);
	cr_assert_eq(commit(&w.cluster, m, &why), ERR_LIMIT);
	cr_assert_eq(keys_below(&w, "backups/"), 0);
	manifest_free(m);
	repo_world_release(&w);
}
