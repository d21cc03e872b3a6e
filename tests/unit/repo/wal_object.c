/* Facts about WAL files as objects: what is refused, what is the same, what is read back. */
#include "repo/wal_object.h"
#include "wal_shelf.h"

static enum err put(struct repo_world *w, const struct wal_name *name, struct golden g,
		    enum wal_put_result *result, struct error *why)
{
	return wal_put(&w->cluster, name, SHELF_SEGMENT, 1, golden_view(g), result, why);
}

static enum err check(struct repo_world *w, const struct wal_name *name, struct bytes in,
		      struct error *why)
{
	return wal_check_segment(&w->cluster, name, SHELF_SEGMENT, in, why);
}

Test(wal_object, real_segments_pass_the_check)
{
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	for (unsigned segno = 0xB; segno <= 0xE; segno++) {
		struct wal_name name = shelf_name(1, segno);

		OK(check(&w, &name, golden_view(shelf_golden(1, segno)), &why));
	}
	/* The first segment of timeline 2 begins with pages of timeline 1. */
	for (unsigned segno = 0xF; segno <= 0x13; segno++) {
		struct wal_name name = shelf_name(2, segno);

		OK(check(&w, &name, golden_view(shelf_golden(2, segno)), &why));
	}
	repo_world_release(&w);
}

Test(wal_object, a_recycled_tail_passes_only_in_a_partial_file)
{
	struct golden g = shelf_golden(1, 0xF);
	struct wal_name name = shelf_name(1, 0xF);
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	cr_assert_eq(check(&w, &name, golden_view(g), &why), ERR_CORRUPT);
	name.kind = WAL_NAME_PARTIAL;
	OK(check(&w, &name, golden_view(g), &why));
	repo_world_release(&w);
}

static void assert_refused(struct repo_world *w, struct wal_name name, struct bytes in,
			   enum err kind, const char *word)
{
	char text[WAL_NAME_MAX];
	struct error why;

	wal_name_to_text(&name, text);
	cr_assert_eq(check(w, &name, in, &why), kind, "%s", why.text);
	cr_assert_not_null(strstr(why.text, text), "%s", why.text);
	cr_assert_not_null(strstr(why.text, word), "%s", why.text);
	cr_assert(why.hint[0] == '\0'); /* who reads and who archives can do different things */
}

static enum err read_content(void *ctx, uint64_t offset, uint8_t *room, size_t len,
			     struct bytes *out, struct error *why)
{
	const struct golden *g = ctx;

	(void)room;
	(void)why;
	*out = bytes_of(g->data + offset, len);
	return ERR_NONE;
}

Test(wal_object, who_archives_what_is_refused_is_told_where_to_look)
{
	struct wal_name name = shelf_name(1, 0xD);
	enum wal_put_result result;
	struct repo_world w;
	struct golden g;
	struct wal_content content = {.read = read_content, .ctx = &g, .check = true};
	struct error why;

	shelf_world(&w, NULL);
	g = shelf_golden(1, 0xC);
	content.bytes = g.len;
	cr_assert_eq(wal_put_from(&w.cluster, &name, SHELF_SEGMENT, 1, &content, &result, &why),
		     ERR_CORRUPT);
	cr_assert(content.unsound);
	cr_assert_not_null(strstr(why.hint, "pg_wal"), "%s", why.hint);
	wal_content_release(&content);
	repo_world_release(&w);
}

Test(wal_object, what_is_not_what_its_name_says_is_refused)
{
	struct repo_world w;
	struct golden g, foreign;

	shelf_world(&w, NULL);
	g = shelf_golden(1, 0xC);
	assert_refused(&w, shelf_name(1, 0xD), golden_view(g), ERR_CORRUPT, "wrong name");
	assert_refused(&w, shelf_name(1, 0xC), bytes_of(g.data, g.len / 2), ERR_CORRUPT, "size");
	foreign = shelf_golden(1, 0xC);
	foreign.data[24] ^= 1;
	assert_refused(&w, shelf_name(1, 0xC), golden_view(foreign), ERR_CONFIG,
		       "system identifier");
	foreign = shelf_golden(2, 0x10);
	assert_refused(&w, shelf_name(1, 0x10), golden_view(foreign), ERR_CORRUPT, "timeline");
	foreign = shelf_golden(1, 0xC);
	put_u32(foreign.data + 32, 16 << 20);
	assert_refused(&w, shelf_name(1, 0xC), golden_view(foreign), ERR_CORRUPT, "segment size");
	memset(g.data, 0, g.len);
	assert_refused(&w, shelf_name(1, 0xC), golden_view(g), ERR_CORRUPT, "first page");
	repo_world_release(&w);
}

Test(wal_object, zeros_or_another_page_inside_are_refused)
{
	struct repo_world w;
	struct golden g;

	shelf_world(&w, NULL);
	g = shelf_golden(1, 0xC);
	memset(g.data + 10 * WAL_PAGE_BYTES, 0, WAL_PAGE_BYTES);
	assert_refused(&w, shelf_name(1, 0xC), golden_view(g), ERR_CORRUPT, "torn");
	g = shelf_golden(1, 0xC);
	memcpy(g.data + 10 * WAL_PAGE_BYTES, g.data + 11 * WAL_PAGE_BYTES, WAL_PAGE_BYTES);
	assert_refused(&w, shelf_name(1, 0xC), golden_view(g), ERR_CORRUPT, "torn");
	repo_world_release(&w);
}

Test(wal_object, every_kind_comes_back_as_it_was)
{
	static const char *const names[] = {
		"00000001000000000000000C", "00000001000000000000000C.partial",
		"00000001000000000000000C.00000028.backup", "00000002.history"};
	struct golden g = shelf_golden(1, 0xC);
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	for (size_t i = 0; i < 4; i++) {
		size_t size = i < 2 ? g.len : 700, len;
		enum wal_put_result result = WAL_PUT_SAME;
		struct wal_name name;
		uint8_t *out = NULL;

		OK(wal_name_from_text(names[i], &name, &why));
		cr_assert_eq(wal_get(&w.cluster, &name, &out, &len, &why), ERR_MISSING);
		OK(put(&w, &name, (struct golden){g.data, size}, &result, &why));
		cr_assert_eq(result, WAL_PUT_NEW);
		OK(wal_get(&w.cluster, &name, &out, &len, &why));
		cr_assert_eq(len, size);
		cr_assert_eq(memcmp(out, g.data, size), 0);
		free(out);
	}
	cr_assert_eq(keys_below(&w, "wal/"), 4);
	repo_world_release(&w);
}

Test(wal_object, the_same_again_is_success_and_only_looks)
{
	struct golden g = shelf_golden(1, 0xC);
	struct wal_name name = shelf_name(1, 0xC);
	enum wal_put_result result;
	struct repo_world w;
	struct error why;
	unsigned first;

	shelf_world(&w, NULL);
	repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
	OK(put(&w, &name, g, &result, &why));
	first = w.fault.calls;
	repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
	OK(put(&w, &name, g, &result, &why));
	cr_assert_eq(result, WAL_PUT_SAME);
	/* A stat, the head of what is there, a sync: nothing is begun, appended or committed. */
	cr_assert_leq(w.fault.calls, 5, "%u calls, the first put had %u", w.fault.calls, first);
	repo_world_release(&w);
}

Test(wal_object, the_same_again_is_success_only_when_it_is_durable)
{
	struct golden g = shelf_golden(1, 0xC);
	struct wal_name name = shelf_name(1, 0xC);
	enum wal_put_result result = WAL_PUT_NEW;
	struct repo_world w;
	struct error why;
	unsigned calls;

	shelf_world(&w, NULL);
	shelf_put(&w, 1, 0xC, g);
	repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
	OK(put(&w, &name, g, &result, &why));
	calls = w.fault.calls;
	cr_assert_eq(w.fault.confirms, 1);
	/* The last call is the sync that the one who stored it may have died before. */
	result = WAL_PUT_NEW;
	repo_world_fail(&w, FAULT_FAIL, calls, ERR_IO);
	cr_assert_eq(put(&w, &name, g, &result, &why), ERR_IO);
	cr_assert_eq(result, WAL_PUT_NEW);
	repo_world_release(&w);
}

Test(wal_object, other_content_is_refused_and_overwrites_nothing)
{
	struct golden g = shelf_golden(1, 0xC), other = shelf_golden(1, 0xC);
	struct wal_name name = shelf_name(1, 0xC);
	enum wal_put_result result = WAL_PUT_NEW;
	struct repo_world w;
	struct error why;
	uint8_t *out = NULL;
	size_t len;

	shelf_world(&w, NULL);
	shelf_put(&w, 1, 0xC, g);
	other.data[5000] ^= 1;
	cr_assert_eq(put(&w, &name, other, &result, &why), ERR_EXISTS);
	cr_assert_eq(result, WAL_PUT_NEW, "outputs are untouched");
	cr_assert_not_null(strstr(why.text, "00000001000000000000000C"), "%s", why.text);
	cr_assert_not_null(strstr(why.hint, "archive"), "%s", why.hint);
	OK(wal_get(&w.cluster, &name, &out, &len, &why));
	cr_assert_eq(memcmp(out, g.data, len), 0);
	free(out);
	repo_world_release(&w);
}

/* Whatever call of the store fails: the put fails, and the next one succeeds. */
Test(wal_object, a_put_that_failed_anywhere_can_be_repeated)
{
	struct golden g = shelf_golden(1, 0xC);
	struct wal_name name = shelf_name(1, 0xC);
	bool failed = true;

	for (unsigned at = 1; failed; at++) {
		enum wal_put_result result;
		struct repo_world w;
		struct error why;
		uint8_t *out = NULL;
		size_t len;

		cr_assert_lt(at, 100);
		shelf_world(&w, NULL);
		repo_world_fail(&w, FAULT_FAIL, at, ERR_TRANSIENT);
		failed = put(&w, &name, g, &result, &why) != ERR_NONE;
		cr_assert_eq(failed, w.fault.calls >= at, "call %u", at);
		if (failed)
			cr_assert_eq(why.kind, ERR_TRANSIENT, "%s", why.text);
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		OK(put(&w, &name, g, &result, &why));
		OK(wal_get(&w.cluster, &name, &out, &len, &why));
		cr_assert_eq(len, g.len);
		free(out);
		repo_world_release(&w);
	}
}

static enum err begin_nothing(void *ctx, uint64_t bytes, struct error *why)
{
	(void)ctx, (void)bytes, (void)why;
	return ERR_NONE;
}

static enum err count_taken(void *ctx, struct bytes piece, struct error *why)
{
	(void)why;
	*(size_t *)ctx += piece.len;
	return ERR_NONE;
}

Test(wal_object, a_flipped_byte_anywhere_is_found)
{
	struct wal_name name = shelf_name(1, 0xE);
	char key[STORE_KEY_MAX];
	struct repo_world w;
	uint8_t *stored;
	size_t size, taken = 0;
	const struct wal_sink sink = {.begin = begin_nothing, .take = count_taken, .ctx = &taken};
	struct error why;

	shelf_world(&w, NULL);
	shelf_put_golden(&w, 1, 0xE);
	wal_key(&w.cluster, &name, key);
	stored = store_memory_peek(w.memory, key, &size);
	cr_assert_not_null(stored);
	for (size_t at = 0; at < size; at += 1 + size / 500) {
		uint8_t *out = NULL;
		size_t len;
		enum err e;

		stored[at] ^= 0x40;
		e = wal_get(&w.cluster, &name, &out, &len, &why);
		cr_assert(e == ERR_CORRUPT || e == ERR_WRONG_KEY || e == ERR_CONFIG,
			  "byte %zu of %zu: %d", at, size, e);
		e = wal_get_to(&w.cluster, &name, &sink, &why);
		cr_assert(e == ERR_CORRUPT || e == ERR_WRONG_KEY || e == ERR_CONFIG,
			  "byte %zu of %zu, without the digest: %d", at, size, e);
		stored[at] ^= 0x40;
	}
	taken = 0;
	OK(wal_get_to(&w.cluster, &name, &sink, &why));
	cr_assert_eq(taken, shelf_golden(1, 0xE).len);
	repo_world_release(&w);
}

/* Content that is not in memory: page n is filled with n and `salt`. */
struct made {
	uint8_t salt;
	unsigned reads;
	unsigned change_at; /* this many reads see the salt, later ones another; 0 = all */
};

static enum err read_made(void *ctx, uint64_t offset, uint8_t *room, size_t len, struct bytes *out,
			  struct error *why)
{
	struct made *m = ctx;
	unsigned nth = __atomic_add_fetch(&m->reads, 1, __ATOMIC_SEQ_CST);
	bool changed = m->change_at != 0 && nth > m->change_at;

	(void)why;
	for (size_t at = 0; at < len; at++)
		room[at] = (uint8_t)((offset + at) / WAL_PAGE_BYTES * 7 + m->salt + changed);
	*out = bytes_of(room, len);
	return ERR_NONE;
}

Test(wal_object, more_than_is_ever_in_memory_comes_back_as_it_was)
{
	enum { LARGE = 32 << 20 };
	struct made made = {.salt = 3};
	struct wal_content content = {.bytes = LARGE, .read = read_made, .ctx = &made};
	enum wal_put_result result = WAL_PUT_SAME;
	struct wal_name name = shelf_name(1, 0);
	struct repo_world w;
	struct error why;
	uint8_t *out = NULL;
	size_t len;

	shelf_world(&w, NULL);
	OK(wal_put_from(&w.cluster, &name, LARGE, 1, &content, &result, &why));
	cr_assert_eq(result, WAL_PUT_NEW);
	OK(wal_put_from(&w.cluster, &name, LARGE, 1, &content, &result, &why));
	cr_assert_eq(result, WAL_PUT_SAME);
	wal_content_release(&content);
	OK(wal_get(&w.cluster, &name, &out, &len, &why));
	cr_assert_eq(len, (size_t)LARGE);
	for (size_t at = 0; at < len; at += WAL_PAGE_BYTES / 2)
		cr_assert_eq(out[at], (uint8_t)(at / WAL_PAGE_BYTES * 7 + 3), "byte %zu", at);
	free(out);
	repo_world_release(&w);
}

/* Each byte is read twice.  Whenever it changes: what is stored has the digest it states. */
Test(wal_object, content_that_changes_while_it_is_read_is_not_stored)
{
	enum { PIECES = SHELF_SEGMENT / FRAME_PAGES_MAX };

	for (unsigned at = 1; at < 2 * PIECES; at++) {
		struct made made = {.change_at = at};
		struct wal_content content = {
			.bytes = SHELF_SEGMENT, .read = read_made, .ctx = &made};
		struct wal_name name = shelf_name(1, 0);
		enum wal_put_result result;
		struct repo_world w;
		struct error why;
		uint8_t *out = NULL;
		size_t len;
		enum err e;

		shelf_world(&w, NULL);
		e = wal_put_from(&w.cluster, &name, SHELF_SEGMENT, 1, &content, &result, &why);
		wal_content_release(&content);
		if (e == ERR_NONE) {
			cr_assert_gt(at, 1, "the first read saw what no other did");
			OK(wal_get(&w.cluster, &name, &out, &len, &why));
			free(out);
		} else {
			cr_assert_eq(e, ERR_TRANSIENT, "%s", why.text);
			cr_assert_eq(keys_below(&w, "wal/"), 0);
		}
		repo_world_release(&w);
	}
}
