/* What of the timelines lies in pg_wal where a recovery asks no archive. */
#include "scene.h"
#include "wal_shelf.h"

/* Timelines 2, 3 and 5 of the archive; 4 was never archived. */
static struct scene *scene_forked(uint32_t timeline)
{
	struct scene *s = scene_usual(false);

	shelf_put_text(&s->repo, "00000002.history", "1\t0/3000060\tfirst\n");
	shelf_put_text(&s->repo, "00000003.history", "1\t0/3000060\tsecond\n");
	shelf_put_text(&s->repo, "00000005.history", "1\t0/3000060\tthird\n");
	s->request.copy_wal = true;
	s->plan.timeline = timeline;
	return s;
}

static void assert_history(struct scene *s, uint32_t timeline, const char *text)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "pg_wal/%08X.history", timeline);
	assert_file(s, path, bytes_of_text(text), 0600);
	(void)snprintf(path, sizeof(path), "pg_wal/archive_status/%08X.history.done", timeline);
	assert_file(s, path, bytes_of(NULL, 0), 0600);
}

Test(wal_copy, a_promotion_finds_every_number_that_is_taken)
{
	struct scene *s = scene_forked(1);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_history(s, 2, "1\t0/3000060\tfirst\n");
	assert_history(s, 3, "1\t0/3000060\tsecond\n");
	/* It looks no further than the first that is missing, and takes that. */
	cr_assert_not(exists(s, "pg_wal/00000004.history"));
	scene_end(s);
}

Test(wal_copy, the_timeline_of_the_target_comes_first)
{
	struct scene *s = scene_forked(2);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_history(s, 2, "1\t0/3000060\tfirst\n");
	assert_history(s, 3, "1\t0/3000060\tsecond\n");
	scene_end(s);
}
