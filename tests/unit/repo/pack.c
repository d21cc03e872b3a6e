/* Packs and sections: what is added is read back from where the references say, in every store. */
#include "repo_world.h"

#include <stdlib.h>
#include <string.h>

static struct pack_writer *writer_of(const struct repo_world *w, size_t n, struct manifest *m)
{
	const struct cluster *clusters[4];
	struct attempt attempt = attempt_number(1);
	struct pack_writer *out = NULL;
	struct error why;

	for (size_t i = 0; i < n; i++)
		clusters[i] = &w[i].cluster;
	OK(pack_writer_new(clusters, n, &attempt, m, &out, &why));
	return out;
}

/* Bytes that no compressor shortens much, different for every `n`. */
static void noise(uint8_t *out, size_t len, uint32_t n)
{
	uint64_t x = 88172645463325252U + n;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		out[i] = (uint8_t)x;
	}
}

static void read_back(const struct repo_world *w, enum frame_class class,
		      const struct frame_ref *ref, struct bytes expected)
{
	struct object_reader *r;
	struct frame_place place = {ref->ordinal, ref->offset, ref->stored_len, ref->plain_len};
	char key[STORE_KEY_MAX];
	struct bytes plain;
	struct error why;

	OK(object_reader_new(w->repository, &r, &why));
	pack_key(&w->cluster, &ref->pack, key);
	OK(object_open(r, key, OBJECT_PACK, &why));
	OK(object_frame(r, class, &place, &plain, &why));
	cr_assert_eq(plain.len, expected.len);
	cr_assert_eq(memcmp(plain.data, expected.data, plain.len), 0);
	object_reader_free(r);
}

enum { FRAMES = 300 };

Test(pack, frames_are_read_from_where_their_references_say)
{
	struct repo_world w;
	struct manifest *m;
	struct pack_writer *packs;
	static struct frame_ref ref[FRAMES];
	static uint8_t page[FRAME_PAGES_MAX];
	uint64_t live = 0;
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 1);
	packs = writer_of(&w, 1, m);
	for (uint32_t i = 0; i < FRAMES; i++) {
		noise(page, sizeof(page), i);
		OK(pack_add(packs, i % 10 == 9 ? FRAME_SHARD : FRAME_PAGES, CODEC_STORED,
			    bytes_of(page, sizeof(page)), sizeof(page), &ref[i], &why));
	}
	OK(pack_writer_finish(packs, &why));
	/* 128 frames and their overhead pass 16 MiB. */
	cr_assert_eq(m->packs, 3);
	cr_assert_eq(keys_below(&w, "packs/20261123T000001Z-0000000000000001/0000000"), 3);
	for (uint32_t i = 0; i < m->packs; i++) {
		struct store_object object;
		char key[STORE_KEY_MAX];
		uint8_t *bytes, sha256[CRYPTO_SHA256_BYTES];
		size_t len;

		cr_assert_eq(m->pack[i].id.seq, i);
		live += m->pack[i].live_bytes;
		cr_assert_eq(m->pack[i].plain_kib, m->pack[i].live_bytes / 1024);
		pack_key(&w.cluster, &m->pack[i].id, key);
		OK(store_stat(w.memory, key, &object, &why));
		cr_assert_eq(object.size, m->pack[i].size);
		OK(store_get(w.memory, key, 20 << 20, &bytes, &len, &why));
		OK(crypto_sha256(bytes_of(bytes, len), sha256, &why));
		cr_assert_eq(memcmp(sha256, m->pack[i].sha256, sizeof(sha256)), 0);
		free(bytes);
	}
	cr_assert_eq(live, UINT64_C(300) * FRAME_PAGES_MAX);
	cr_assert_eq(pack_stored_bytes(packs), m->pack[0].size + m->pack[1].size + m->pack[2].size);
	for (uint32_t i = 0; i < FRAMES; i += 7) {
		noise(page, sizeof(page), i);
		read_back(&w, i % 10 == 9 ? FRAME_SHARD : FRAME_PAGES, &ref[i],
			  bytes_of(page, sizeof(page)));
	}
	OK(decision_check_packs(&w.cluster, m, &why));
	pack_writer_free(packs);
	manifest_free(m);
	repo_world_release(&w);
}

Test(pack, tiny_frames_close_a_pack_before_its_directory_is_full)
{
	struct repo_world w;
	struct manifest *m;
	struct pack_writer *packs;
	struct frame_ref ref;
	uint8_t byte = 7;
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 1);
	packs = writer_of(&w, 1, m);
	for (uint32_t i = 0; i < OBJECT_FRAMES_MAX + 10; i++)
		OK(pack_add(packs, FRAME_PAGES, CODEC_STORED, bytes_of(&byte, 1), 1, &ref, &why));
	cr_assert_eq(ref.pack.seq, 1);
	cr_assert_eq(ref.ordinal, 9);
	OK(pack_writer_finish(packs, &why));
	cr_assert_eq(m->packs, 2);
	read_back(&w, FRAME_PAGES, &ref, bytes_of(&byte, 1));
	pack_writer_free(packs);
	manifest_free(m);
	repo_world_release(&w);
}

static unsigned commits; /* one pack at a time */

static enum err refuse_the_first(struct upload *upload, struct error *why)
{
	if (++commits > 1)
		return fault_commit(upload, why);
	fault_abandon(upload);
	return error_set(why, ERR_DENIED, "injected: the first commit");
}

/* It is committed by another thread, beside the frames of the next one. */
Test(pack, that_a_full_pack_was_refused_is_told_by_a_later_call)
{
	struct repo_world w;
	struct store_ops ops;
	struct manifest *m;
	struct pack_writer *packs;
	struct frame_ref ref;
	uint8_t byte = 7;
	struct error why;
	enum err err = ERR_NONE;
	uint32_t added = 0;

	repo_world_init(&w, NULL);
	ops = *w.fault.store.ops;
	ops.commit = refuse_the_first;
	w.fault.store.ops = &ops;
	m = manifest_number(&w.cluster, 1);
	packs = writer_of(&w, 1, m);
	for (; !err && added < 2 * OBJECT_FRAMES_MAX; added++)
		err = pack_add(packs, FRAME_PAGES, CODEC_STORED, bytes_of(&byte, 1), 1, &ref, &why);
	cr_assert_eq(err, ERR_DENIED, "%s", why.text);
	cr_assert_eq(added, 2 * OBJECT_FRAMES_MAX, "the second pack had to be full");
	pack_writer_free(packs);
	packs = writer_of(&w, 1, m);
	commits = 0;
	for (uint32_t i = 0; i < OBJECT_FRAMES_MAX + 10; i++)
		OK(pack_add(packs, FRAME_PAGES, CODEC_STORED, bytes_of(&byte, 1), 1, &ref, &why));
	cr_assert_eq(pack_writer_finish(packs, &why), ERR_DENIED);
	pack_writer_free(packs);
	cr_assert_eq(keys_below(&w, "packs/"), 0);
	manifest_free(m);
	repo_world_release(&w);
}

/* Frames of a section as they were cut. */
static enum err take_frame(void *ctx, struct bytes frame, struct error *why)
{
	struct writer *all = ctx;

	(void)why;
	cr_assert_gt(frame.len, 0);
	writer_bytes(all, frame);
	return ERR_NONE;
}

Test(pack, sections_are_cut_between_records_and_read_back)
{
	struct repo_world w;
	struct manifest *m, *back;
	struct pack_writer *packs;
	struct attempt attempt = attempt_number(1);
	struct writer expected, read;
	static uint8_t record[700000];
	uint8_t *whole, sha256[CRYPTO_SHA256_BYTES];
	size_t len;
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 1);
	packs = writer_of(&w, 1, m);
	writer_init(&expected, 64 << 20);
	writer_init(&read, 64 << 20);
	for (uint32_t i = 0; i < 400; i++) {
		size_t size = i == 200 ? sizeof(record) : 1000 + i * 53;

		noise(record, size, i);
		writer_bytes(&expected, bytes_of(record, size));
		OK(pack_section_add(packs, "files", bytes_of(record, size), &why));
		OK(pack_section_add(packs, "relations", bytes_of_text("relation x\n"), &why));
	}
	OK(pack_section_add(packs, "hba", bytes_of(NULL, 0), &why));
	OK(pack_writer_finish(packs, &why));
	pack_writer_free(packs);
	OK(manifest_commit(&w.cluster, m, sha256, &why));
	OK(manifest_read(&w.cluster, &attempt, &back, &why));
	OK(section_walk(&w.cluster, back, "files", take_frame, &read, &why));
	cr_assert_eq(read.len, expected.len);
	cr_assert_eq(memcmp(read.data, expected.data, read.len), 0);
	cr_assert_gt(manifest_section(back, "files")->frames, 10);
	OK(section_read(&w.cluster, back, "relations", 1 << 20, &whole, &len, &why));
	cr_assert_eq(len, 400 * 11);
	cr_assert_eq(memcmp(whole + len - 11, "relation x\n", 11), 0);
	free(whole);
	OK(section_read(&w.cluster, back, "hba", 10, &whole, &len, &why));
	cr_assert_eq(len, 0);
	free(whole);
	cr_assert_eq(section_read(&w.cluster, back, "relations", 100, &whole, &len, &why),
		     ERR_LIMIT);
	cr_assert_eq(section_read(&w.cluster, back, "ident", 100, &whole, &len, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "ident"));
	writer_release(&expected);
	writer_release(&read);
	manifest_free(m);
	manifest_free(back);
	repo_world_release(&w);
}

Test(pack, a_record_larger_than_a_frame_is_refused)
{
	struct repo_world w;
	struct manifest *m;
	struct pack_writer *packs;
	uint8_t *record = calloc(1, FRAME_PLAIN_MAX + 1);
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 1);
	packs = writer_of(&w, 1, m);
	OK(pack_section_add(packs, "files", bytes_of(record, FRAME_PLAIN_MAX), &why));
	cr_assert_eq(pack_section_add(packs, "files", bytes_of(record, FRAME_PLAIN_MAX + 1), &why),
		     ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "files"));
	pack_writer_free(packs); /* abandons: nothing was committed */
	cr_assert_eq(keys_below(&w, "packs/"), 0);
	free(record);
	manifest_free(m);
	repo_world_release(&w);
}

Test(pack, a_pack_that_is_gone_is_damage_of_the_section)
{
	struct repo_world w;
	struct manifest *m;
	struct pack_writer *packs;
	uint8_t *whole;
	size_t len;
	char key[STORE_KEY_MAX];
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 1);
	packs = writer_of(&w, 1, m);
	OK(pack_section_add(packs, "conf", bytes_of_text("port = 1\n"), &why));
	OK(pack_writer_finish(packs, &why));
	pack_key(&w.cluster, &m->pack[0].id, key);
	OK(store_remove(w.memory, key, &why));
	cr_assert_eq(section_read(&w.cluster, m, "conf", 100, &whole, &len, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, key));
	pack_writer_free(packs);
	manifest_free(m);
	repo_world_release(&w);
}

Test(pack, every_repository_of_a_family_gets_the_same_bytes)
{
	struct repo_world w[3];
	struct manifest *m;
	struct pack_writer *packs;
	struct frame_ref ref;
	uint8_t page[8192], *first, *other;
	char key[STORE_KEY_MAX];
	size_t len, other_len;
	struct error why;

	repo_world_init(&w[0], NULL);
	repo_world_init(&w[1], &w[0]);
	repo_world_init(&w[2], &w[0]);
	m = manifest_number(&w[0].cluster, 1);
	packs = writer_of(w, 3, m);
	noise(page, sizeof(page), 1);
	OK(pack_add(packs, FRAME_PAGES, CODEC_STORED, bytes_of(page, 8192), 8192, &ref, &why));
	OK(pack_section_add(packs, "conf", bytes_of_text("port = 1\n"), &why));
	OK(pack_writer_finish(packs, &why));
	pack_writer_free(packs);
	pack_key(&w[0].cluster, &ref.pack, key);
	first = store_memory_peek(w[0].memory, key, &len);
	for (int i = 1; i < 3; i++) {
		other = store_memory_peek(w[i].memory, key, &other_len);
		cr_assert_not_null(other);
		cr_assert_eq(len, other_len);
		cr_assert_eq(memcmp(first, other, len), 0);
		read_back(&w[i], FRAME_PAGES, &ref, bytes_of(page, 8192));
		OK(decision_check_packs(&w[i].cluster, m, &why));
	}
	manifest_free(m);
	for (int i = 0; i < 3; i++)
		repo_world_release(&w[i]);
}

Test(pack, repositories_of_two_families_are_refused)
{
	struct repo_world w[2];
	const struct cluster *clusters[2] = {&w[0].cluster, &w[1].cluster};
	struct attempt attempt = attempt_number(1);
	struct pack_writer *packs = NULL;
	struct manifest *m = manifest_new();
	struct error why;

	repo_world_init(&w[0], NULL);
	repo_world_init(&w[1], NULL);
	cr_assert_eq(pack_writer_new(clusters, 2, &attempt, m, &packs, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "family"));
	cr_assert_neq(why.hint[0], '\0');
	manifest_free(m);
	repo_world_release(&w[0]);
	repo_world_release(&w[1]);
}

static enum err small_backup(struct repo_world *w, unsigned n, struct error *why)
{
	const struct cluster *clusters[1] = {&w->cluster};
	struct attempt attempt = attempt_number(n);
	struct manifest *m = manifest_number(&w->cluster, n);
	struct pack_writer *packs = NULL;
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	enum err err = pack_writer_new(clusters, 1, &attempt, m, &packs, why);

	if (!err)
		err = pack_section_add(packs, "conf", bytes_of_text("port = 1\n"), why);
	if (!err)
		err = pack_writer_finish(packs, why);
	if (!err)
		err = decision_check_packs(&w->cluster, m, why);
	if (!err)
		err = manifest_commit(&w->cluster, m, sha256, why);
	pack_writer_free(packs);
	manifest_free(m);
	return err;
}

Test(pack, after_a_failure_anywhere_there_is_no_backup_and_a_second_run_works)
{
	for (unsigned nth = 1;; nth++) {
		struct repo_world w;
		struct error why;
		enum err err;
		bool met;

		repo_world_init(&w, NULL);
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_FULL);
		err = small_backup(&w, 1, &why);
		met = w.fault.calls >= nth;
		w.fault.mode = FAULT_NONE;
		if (met) {
			cr_assert_eq(err, ERR_FULL, "call %u failed unseen", nth);
			cr_assert_eq(keys_below(&w, "backups/"), 0);
		}
		OK(small_backup(&w, 2, &why));
		cr_assert_eq(keys_below(&w, "backups/"), met ? 1 : 2);
		repo_world_release(&w);
		if (!met)
			break;
	}
}
