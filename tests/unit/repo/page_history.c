/* Facts about the history of a relation's pages. */
#include "repo/page_history.h"
#include "small_backup.h"

enum { PAGES = 7 };

struct seen {
	struct history_entry entry[8];
	struct history_range range[8][4];
	unsigned count;
};

static enum err take(void *ctx, const struct history_entry *e, struct error *why)
{
	struct seen *s = ctx;

	(void)why;
	cr_assert_lt(s->count, 8);
	s->entry[s->count] = *e;
	for (size_t i = 0; i < e->ranges && i < 4; i++)
		s->range[s->count][i] = e->range[i];
	s->count++;
	return ERR_NONE;
}

/* A backup whose table `t` of database 5 has file `number` with `content`; 0 = it has none. */
static void put_early(struct repo_world *w, unsigned n, int64_t early_us, unsigned number,
		      struct bytes content, const char *extra)
{
	struct small_backup b;
	struct error why;
	char path[64], line[200];

	small_backup_begin(&b, w, n);
	b.manifest->summary.started_us -= early_us;
	(void)snprintf(path, sizeof(path), "base/5/%u", number);
	small_backup_file(&b, "base/5/1259", bytes_of_text("catalogue"));
	if (number != 0)
		small_backup_file(&b, path, content);
	(void)snprintf(path, sizeof(path), "base/6/%u", number);
	if (number != 0) /* the same number in another database */
		small_backup_file(&b, path, bytes_of_text("another"));
	(void)snprintf(line, sizeof(line), "database 5\tshop\ndatabase 6\tother\n");
	OK(pack_section_add(b.packs, "relations", bytes_of_text(line), &why));
	(void)snprintf(line, sizeof(line), "relation shop\t16384\t%u\tr\t0\tpublic\torders\n%s",
		       number, extra);
	if (number != 0)
		OK(pack_section_add(b.packs, "relations", bytes_of_text(line), &why));
	small_backup_commit(&b);
}

static void put(struct repo_world *w, unsigned n, unsigned number, struct bytes content,
		const char *extra)
{
	put_early(w, n, 0, number, content, extra);
}

static void fill(uint8_t content[PAGES * MAP_PAGE_BYTES])
{
	for (unsigned i = 0; i < PAGES; i++)
		memset(content + i * MAP_PAGE_BYTES, (int)(i == 5 ? 0 : i + 1), MAP_PAGE_BYTES);
}

static uint8_t content[PAGES * MAP_PAGE_BYTES];

/* Five backups: made; pages 2, 3 and 6 changed; grown from five pages; rewritten; dropped. */
static void world(struct repo_world *w)
{
	repo_world_init(w, NULL);
	fill(content);
	put(w, 1, 16384, bytes_of(content, 5 * MAP_PAGE_BYTES), "");
	put(w, 2, 16384, bytes_of(content, sizeof(content)), "");
	content[2 * MAP_PAGE_BYTES] ^= 1;
	content[3 * MAP_PAGE_BYTES] ^= 1;
	content[6 * MAP_PAGE_BYTES + 9] ^= 1;
	put(w, 3, 16384, bytes_of(content, sizeof(content)), "");
	put(w, 4, 16402, bytes_of(content, sizeof(content)), "");
	put(w, 5, 0, bytes_of(NULL, 0), "");
}

static enum err walk(struct repo_world *w, unsigned named, const char *relation, int block,
		     struct seen *seen, struct error *why)
{
	struct page_history asked = {
		.relation = relation, .has_block = block >= 0, .block = (uint32_t)block};
	struct attempt attempt = attempt_number(named);

	seen->count = 0;
	return page_history_walk(&w->cluster, &attempt, &asked, take, seen, why);
}

Test(page_history, tells_which_pages_changed_in_which_backup)
{
	struct repo_world w;
	struct seen s;
	struct error why;

	world(&w);
	OK(walk(&w, 3, "shop.public.orders", -1, &s, &why));
	cr_assert_eq(s.count, 5);
	cr_assert(s.entry[0].exists && !s.entry[0].compared);
	cr_assert_eq(s.entry[0].blocks, 5);
	cr_assert_eq(s.entry[1].changes, 2); /* 5 and 6 came */
	cr_assert_eq(s.range[1][0].first, 5);
	cr_assert_eq(s.range[1][0].last, 6);
	cr_assert_eq(s.entry[2].changes, 3);
	cr_assert_eq(s.entry[2].ranges, 2);
	cr_assert_eq(s.range[2][0].first, 2);
	cr_assert_eq(s.range[2][0].last, 3);
	cr_assert_eq(s.range[2][1].first, 6);
	cr_assert(s.entry[3].rewritten);
	cr_assert_eq(s.entry[3].number, 16402);
	cr_assert_not(s.entry[3].changed);
	cr_assert_not(s.entry[4].exists);
	cr_assert(s.entry[4].names_known);
	repo_world_release(&w);
}

Test(page_history, of_one_block_says_where_it_is_stored)
{
	struct repo_world w;
	struct seen s;
	struct error why;

	world(&w);
	OK(walk(&w, 3, "public.orders", 2, &s, &why));
	cr_assert_not(s.entry[1].changed);
	cr_assert(s.entry[2].changed);
	cr_assert(s.entry[2].page.present && !s.entry[2].page.zero);
	cr_assert_eq(s.entry[2].page.offset, 2 * MAP_PAGE_BYTES);
	OK(walk(&w, 3, "public.orders", 6, &s, &why));
	cr_assert_not(s.entry[0].page.present);
	cr_assert(s.entry[1].changed);
	OK(walk(&w, 3, "public.orders", 5, &s, &why));
	cr_assert(s.entry[1].page.zero);
	OK(walk(&w, 3, "public.orders", 200000, &s, &why));
	cr_assert_not(s.entry[3].page.present);
	repo_world_release(&w);
}

Test(page_history, of_an_unknown_relation_names_what_is_near)
{
	struct repo_world w;
	struct seen s;
	struct error why;

	world(&w);
	cr_assert_eq(walk(&w, 3, "shop.public.order", -1, &s, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.hint, "shop.public.orders"), "%s", why.hint);
	cr_assert_eq(walk(&w, 3, "shop.public.customers", -1, &s, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.hint, "DATABASE.SCHEMA.NAME"), "%s", why.hint);
	cr_assert_eq(walk(&w, 5, "shop.public.orders", -1, &s, &why), ERR_MISSING);
	repo_world_release(&w);
}

Test(page_history, a_store_that_does_not_answer_is_said)
{
	struct repo_world w;
	struct seen s;
	struct error why;
	enum err e;
	unsigned at = 0;

	world(&w);
	do {
		repo_world_fail(&w, FAULT_FAIL, ++at, ERR_TRANSIENT);
		e = walk(&w, 3, "shop.public.orders", -1, &s, &why);
		cr_assert_eq(e, w.fault.calls >= at ? ERR_TRANSIENT : ERR_NONE, "call %u", at);
	} while (e != ERR_NONE);
	cr_assert_gt(at, 10);
	repo_world_release(&w);
}

Test(page_history, of_two_backups_of_one_second_the_earlier_comes_first)
{
	struct repo_world w;
	struct seen s;
	struct error why;

	repo_world_init(&w, NULL);
	fill(content);
	for (unsigned n = 1; n <= 3; n++) /* their names sort the other way round */
		put_early(&w, n, n, 16384, bytes_of(content, (7 - n) * MAP_PAGE_BYTES), "");
	OK(walk(&w, 1, "shop.public.orders", -1, &s, &why));
	cr_assert_eq(s.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct attempt attempt = attempt_number(3 - i);

		cr_assert_eq(attempt_compare(&s.entry[i].attempt, &attempt), 0, "entry %u", i);
		cr_assert_eq(s.entry[i].blocks, 4 + i);
		cr_assert_eq(s.entry[i].changes, i > 0 ? 1 : 0);
	}
	repo_world_release(&w);
}
