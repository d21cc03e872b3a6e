/* Facts about what a listing of WAL looks at. */
#include "repo/wal_object.h"
#include "repo_world.h"

enum { SEGMENT = 1 << 20, PER_LOG = 4096 };

/* Listings open nothing, so any bytes do. */
static void put_text(struct repo_world *w, const char *name)
{
	char key[STORE_KEY_MAX];
	struct error why;

	(void)snprintf(key, sizeof(key), "%swal/%s", w->cluster.prefix, name);
	OK(store_put(w->memory, key, bytes_of_text("x"), &why));
}

static void put_segment(struct repo_world *w, uint32_t timeline, uint64_t segno)
{
	struct wal_name name;
	char key[STORE_KEY_MAX];
	struct error why;

	wal_segment_name(timeline, segno, SEGMENT, &name);
	wal_key(&w->cluster, &name, key);
	OK(store_put(w->memory, key, bytes_of_text("x"), &why));
}

static void world_init(struct repo_world *w)
{
	repo_world_init(w, NULL);
	put_segment(w, 1, 5);
	put_segment(w, 1, PER_LOG + 1);
	put_segment(w, 1, 10 * PER_LOG);
	put_segment(w, 1, 10 * PER_LOG + 3);
	put_segment(w, 0xA, 7);
	put_text(w, "00000002.history");
	put_text(w, "0000000A.history");
}

static enum err note_segment(void *ctx, const struct wal_listed *listed, struct error *why)
{
	char *text = ctx;
	uint64_t segno;

	(void)why;
	cr_assert(wal_name_segno(&listed->name, SEGMENT, &segno));
	(void)sprintf(text + strlen(text), "%u:%lu ", listed->name.timeline, segno);
	return ERR_NONE;
}

/* Also how many calls of the store it took. */
static void expect(struct repo_world *w, uint64_t from, const char *expected, unsigned calls)
{
	char text[200] = "";
	struct error why;

	w->fault.calls = 0;
	OK(wal_list_timeline(&w->cluster, 1, from, SEGMENT, note_segment, text, &why));
	cr_assert_str_eq(text, expected, "from %lu: %s", from, text);
	cr_assert_eq(w->fault.calls, calls, "from %lu: %u calls", from, w->fault.calls);
}

Test(wal_list, folders_before_the_first_segment_are_not_listed)
{
	struct repo_world w;

	world_init(&w);
	expect(&w, 0, "1:5 1:4097 1:40960 1:40963 ", 4);
	expect(&w, 6, "1:4097 1:40960 1:40963 ", 4);
	expect(&w, PER_LOG, "1:4097 1:40960 1:40963 ", 3);
	expect(&w, PER_LOG + 2, "1:40960 1:40963 ", 3);
	expect(&w, 2 * PER_LOG, "1:40960 1:40963 ", 2);
	expect(&w, 10 * PER_LOG + 1, "1:40963 ", 2);
	expect(&w, 10 * PER_LOG + 4, "", 2);
	expect(&w, 11 * PER_LOG, "", 1);
	repo_world_release(&w);
}

Test(wal_list, names_that_are_not_ours_are_passed_over)
{
	struct repo_world w;

	world_init(&w);
	put_text(&w, "00000001/0000000b/00000001000000000000000A");
	put_text(&w, "00000001/0000000BB/00000001000000000000000A");
	put_text(&w, "00000001/00000000/x");
	put_text(&w, "00000001/file");
	expect(&w, 0, "1:5 1:4097 1:40960 1:40963 ", 4);
	repo_world_release(&w);
}

Test(wal_list, a_folder_that_cannot_be_listed_is_told)
{
	struct repo_world w;

	world_init(&w);
	for (unsigned nth = 1; nth <= 4; nth++) {
		char text[200] = "";
		struct error why;
		bool later;

		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		cr_assert_eq(wal_list_timeline(&w.cluster, 1, 0, SEGMENT, note_segment, text, &why),
			     ERR_TRANSIENT);
		/* Nothing seen is proof of nothing when not all was seen. */
		repo_world_fail(&w, FAULT_FAIL, nth > 2 ? 2 : nth, ERR_TRANSIENT);
		cr_assert_eq(wal_has_later(&w.cluster, 1, 10 * PER_LOG + 4, SEGMENT, &later, &why),
			     ERR_TRANSIENT);
	}
	repo_world_release(&w);
}

static enum err note_timeline(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	char *text = ctx;

	if (timeline == 99)
		return error_set(why, ERR_CANCELLED, "enough");
	(void)sprintf(text + strlen(text), "%u%s ", timeline, is_history ? "h" : "");
	return ERR_NONE;
}

Test(wal_list, timelines_are_told_from_one_level)
{
	char text[200] = "";
	struct repo_world w;
	struct error why;

	world_init(&w);
	put_text(&w, "x/y");
	put_text(&w, "00000000/y");
	put_text(&w, "0000000b/y");
	put_text(&w, "00000003.partial");
	w.fault.calls = 0;
	OK(wal_list_timelines(&w.cluster, note_timeline, text, &why));
	cr_assert_str_eq(text, "1 2h 10 10h ", "%s", text);
	cr_assert_eq(w.fault.calls, 1);
	put_text(&w, "00000063.history");
	cr_assert_eq(wal_list_timelines(&w.cluster, note_timeline, text, &why), ERR_CANCELLED);
	repo_world_release(&w);
}
