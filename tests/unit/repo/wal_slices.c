/* Facts about slices of unfinished segments and about listing WAL. */
#include "wal_shelf.h"

enum { PIECE = 3 * WAL_PAGE_BYTES };

static enum err join(struct repo_world *w, uint8_t **out, uint32_t *valid, struct error *why)
{
	struct wal_name name = shelf_name(1, 0xC);

	return wal_get_sliced(&w->cluster, &name, SHELF_SEGMENT, out, valid, why);
}

static void assert_joined(struct repo_world *w, struct golden g, uint32_t expected)
{
	struct error why;
	uint8_t *out = NULL;
	uint32_t valid = 0;

	OK(join(w, &out, &valid, &why));
	cr_assert_eq(valid, expected, "%u", valid);
	cr_assert_eq(memcmp(out, g.data, valid), 0);
	cr_assert(bytes_are_zero(bytes_of(out + valid, SHELF_SEGMENT - valid)));
	free(out);
}

Test(wal_slices, are_joined_and_padded)
{
	struct golden g = shelf_golden(1, 0xC);
	struct repo_world w;

	shelf_world(&w, NULL);
	shelf_put_slice(&w, 1, 0xC, g, 0, PIECE);
	assert_joined(&w, g, PIECE);
	shelf_put_slice(&w, 1, 0xC, g, PIECE, 2 * PIECE);
	assert_joined(&w, g, 2 * PIECE);
	shelf_put_slice(&w, 1, 0xC, g, 2 * PIECE, SHELF_SEGMENT);
	assert_joined(&w, g, SHELF_SEGMENT);
	repo_world_release(&w);
}

Test(wal_slices, may_overlap_and_end_at_a_gap)
{
	struct golden g = shelf_golden(1, 0xC);
	struct repo_world w;

	shelf_world(&w, NULL);
	shelf_put_slice(&w, 1, 0xC, g, 0, PIECE);
	shelf_put_slice(&w, 1, 0xC, g, 0, PIECE / 2);
	shelf_put_slice(&w, 1, 0xC, g, 100, 2 * PIECE);
	shelf_put_slice(&w, 1, 0xC, g, 200, 300);
	shelf_put_slice(&w, 1, 0xC, g, 2 * PIECE + 1, 3 * PIECE);
	assert_joined(&w, g, 2 * PIECE);
	repo_world_release(&w);
}

Test(wal_slices, without_the_first_byte_are_none)
{
	struct golden g = shelf_golden(1, 0xC);
	struct repo_world w;
	struct error why;
	uint8_t *out = NULL;
	uint32_t valid;

	shelf_world(&w, NULL);
	cr_assert_eq(join(&w, &out, &valid, &why), ERR_MISSING);
	shelf_put_slice(&w, 1, 0xC, g, 100, PIECE);
	/* Neighbours in the order of keys do not count. */
	shelf_put_slice(&w, 1, 0xD, shelf_golden(1, 0xD), 0, PIECE);
	shelf_put_golden(&w, 1, 0xC);
	cr_assert_eq(join(&w, &out, &valid, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "00000001000000000000000C"), "%s", why.text);
	repo_world_release(&w);
}

Test(wal_slices, a_damaged_one_is_not_joined)
{
	struct wal_name name = shelf_name(1, 0xC);
	struct golden g = shelf_golden(1, 0xC);
	struct repo_world w;
	struct error why;
	char key[STORE_KEY_MAX];
	uint8_t *out = NULL, *stored;
	uint32_t valid;
	size_t len;

	shelf_world(&w, NULL);
	shelf_put_slice(&w, 1, 0xC, g, 0, PIECE);
	wal_slice_key(&w.cluster, &name, 0, PIECE, key);
	stored = store_memory_peek(w.memory, key, &len);
	stored[len / 2] ^= 1;
	cr_assert_eq(join(&w, &out, &valid, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "00000000-00006000"), "%s", why.text);
	repo_world_release(&w);
}

Test(wal_slices, the_same_range_with_other_bytes_is_refused)
{
	struct wal_name name = shelf_name(1, 0xC);
	struct golden g = shelf_golden(1, 0xC);
	struct repo_world w;
	struct error why;

	shelf_world(&w, NULL);
	shelf_put_slice(&w, 1, 0xC, g, 0, PIECE);
	shelf_put_slice(&w, 1, 0xC, g, 0, PIECE);
	g.data[77] ^= 1;
	cr_assert_eq(wal_put_slice(&w.cluster, &name, SHELF_SEGMENT, 1, 0, PIECE,
				   bytes_of(g.data, PIECE), &why),
		     ERR_EXISTS);
	cr_assert_eq(wal_put_slice(&w.cluster, &name, SHELF_SEGMENT, 1, PIECE, PIECE,
				   bytes_of(g.data, 0), &why),
		     ERR_LIMIT);
	repo_world_release(&w);
}

struct seen {
	char text[1024];
};

static enum err note(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct seen *s = ctx;
	size_t len = strlen(s->text);
	char name[WAL_NAME_MAX];

	(void)why;
	wal_name_to_text(&listed->name, name);
	(void)snprintf(s->text + len, sizeof(s->text) - len, "%s%s ", name,
		       listed->slice ? "+" : "");
	return ERR_NONE;
}

Test(wal_slices, listing_goes_up_in_timelines_and_segments)
{
	struct seen all = {""}, later = {""};
	struct repo_world w;
	struct error why;
	char key[STORE_KEY_MAX];

	shelf_world(&w, NULL);
	shelf_put_golden(&w, 2, 0x10);
	shelf_put_golden(&w, 1, 0xC);
	shelf_put_golden(&w, 1, 0xB);
	shelf_put_slice(&w, 1, 0xD, shelf_golden(1, 0xD), 0, PIECE);
	shelf_put_text(&w, "00000002.history", "1\t0/F000A0\tx\n");
	shelf_put_text(&w, "00000001000000000000000B.00000028.backup", "x\n");
	/* Nobody's. */
	(void)snprintf(key, sizeof(key), "%swal/00000001/00000000/notes.txt", w.cluster.prefix);
	OK(store_put(w.memory, key, bytes_of_text("x"), &why));
	OK(wal_list(&w.cluster, note, &all, &why));
	cr_assert_str_eq(all.text, "00000001000000000000000B "
				   "00000001000000000000000B.00000028.backup "
				   "00000001000000000000000C 00000001000000000000000D+ "
				   "00000002.history 000000020000000000000010 ");
	OK(wal_list_timeline(&w.cluster, 1, 0xC, SHELF_SEGMENT, note, &later, &why));
	cr_assert_str_eq(later.text, "00000001000000000000000C 00000001000000000000000D+ ");
	repo_world_release(&w);
}

Test(wal_slices, later_means_segments_and_slices_of_the_timeline)
{
	struct repo_world w;
	struct error why;
	bool is;

	shelf_world(&w, NULL);
	OK(wal_any(&w.cluster, &is, &why));
	cr_assert(!is);
	shelf_put_text(&w, "00000002.history", "1\t0/F000A0\tx\n");
	OK(wal_any(&w.cluster, &is, &why));
	cr_assert(!is);
	shelf_put_golden(&w, 2, 0x10);
	shelf_put_slice(&w, 1, 0xD, shelf_golden(1, 0xD), 0, PIECE);
	OK(wal_any(&w.cluster, &is, &why));
	cr_assert(is);
	OK(wal_has_later(&w.cluster, 1, 0xD, SHELF_SEGMENT, &is, &why));
	cr_assert(is);
	OK(wal_has_later(&w.cluster, 1, 0xE, SHELF_SEGMENT, &is, &why));
	cr_assert(!is, "timeline 2 is another one");
	repo_world_fail(&w, FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(wal_has_later(&w.cluster, 1, 0xE, SHELF_SEGMENT, &is, &why), ERR_TRANSIENT);
	repo_world_fail(&w, FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(wal_any(&w.cluster, &is, &why), ERR_TRANSIENT);
	repo_world_release(&w);
}
