/* The parent of a backup: which one may be it, and its files and shards by path. */
#include "repo/parent.h"
#include "repo_world.h"

#include <stdlib.h>

static struct summary ended(uint32_t timeline, uint64_t stop)
{
	return (struct summary){.system_identifier = 7,
				.timeline = timeline,
				.stop_timeline = timeline,
				.stop = {stop}};
}

Test(parent, fits_when_the_history_leads_from_its_end_to_here)
{
	/* 1 until 0x1000, then 2 until 0x2000, then 4; 3 is a branch that was left. */
	struct history *path = calloc(1, sizeof(*path));
	static const struct {
		uint32_t timeline;
		uint64_t stop;
		bool fits;
	} table[] = {
		{1, 0x0800, true},  {1, 0x1000, true}, {1, 0x1001, false},
		{2, 0x1800, true},  {2, 0x2000, true}, {2, 0x2001, false},
		{3, 0x1100, false}, {4, 0x9000, true}, {5, 0x9000, false},
	};

	path->timeline = 4;
	path->count = 2;
	path->entry[0] = (struct history_entry){1, {0x1000}};
	path->entry[1] = (struct history_entry){2, {0x2000}};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct summary s = ended(table[i].timeline, table[i].stop);

		cr_assert_eq(parent_fits(&s, 7, path), table[i].fits, "timeline %u, %lx",
			     table[i].timeline, (unsigned long)table[i].stop);
		cr_assert_not(parent_fits(&s, 8, path), "another system identifier");
	}
	struct summary crossed = ended(1, 0x800);
	crossed.stop_timeline = 2;
	cr_assert_not(parent_fits(&crossed, 7, path));
	free(path);
}

static void mark(struct repo_world *w, const char *folder, unsigned n, const char *end,
		 const char *type)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX], body[256];
	struct attempt attempt = attempt_number(n);
	struct error why;

	attempt_to_text(&attempt, text);
	(void)snprintf(key, sizeof(key), "%s%s/%s%s", w->cluster.prefix, folder, text, end);
	(void)snprintf(body, sizeof(body), "attempt %s\nreason test\nhost here\n", text);
	OK(record_put(w->repository, key, type, bytes_of_text(body), &why));
}

static uint8_t *stored(struct repo_world *w, const char *folder, unsigned n, size_t *len)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(n);

	attempt_to_text(&attempt, text);
	(void)snprintf(key, sizeof(key), "%s%s/%s", w->cluster.prefix, folder, text);
	return store_memory_peek(w->memory, key, len);
}

Test(parent, candidates_are_the_newest_that_fit_newest_first)
{
	struct repo_world w;
	struct history *path = calloc(1, sizeof(*path));
	struct attempt found[PARENT_CANDIDATES_MAX];
	size_t n, len;
	struct error why;

	repo_world_init(&w, NULL);
	path->timeline = 1;
	OK(parent_candidates(&w.cluster, path, found, &n, &why));
	cr_assert_eq(n, 0);
	for (unsigned i = 1; i <= 14; i++)
		backup_number(&w.cluster, i);
	mark(&w, "hidden", 14, ".00000000", "hidden");
	mark(&w, "tombs", 12, "", "tomb");
	stored(&w, "backups", 11, &len)[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 5] ^= 1;
	OK(parent_candidates(&w.cluster, path, found, &n, &why));
	cr_assert_eq(n, PARENT_CANDIDATES_MAX);
	static const unsigned expected[] = {13, 10, 9, 8, 7, 6, 5, 4};
	for (size_t i = 0; i < n; i++) {
		struct attempt attempt = attempt_number(expected[i]);

		cr_assert_eq(attempt_compare(&found[i], &attempt), 0, "candidate %zu", i);
	}
	path->timeline = 2; /* of which 1 is no ancestor */
	OK(parent_candidates(&w.cluster, path, found, &n, &why));
	cr_assert_eq(n, 0);
	repo_world_fail(&w, FAULT_DOWN, 1, ERR_IO);
	cr_assert_eq(parent_candidates(&w.cluster, path, found, &n, &why), ERR_IO);
	free(path);
	repo_world_release(&w);
}

Test(parent, of_two_attempts_of_one_second_the_later_is_newer)
{
	struct repo_world w;
	struct history *path = calloc(1, sizeof(*path));
	struct attempt found[PARENT_CANDIDATES_MAX];
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	size_t n;
	struct error why;

	repo_world_init(&w, NULL);
	path->timeline = 1;
	for (unsigned i = 1; i <= 3; i++) { /* their order is the other way round */
		struct manifest *m = manifest_number(&w.cluster, i);

		m->summary.started_us -= i;
		OK(manifest_commit(&w.cluster, m, sha256, &why));
		manifest_free(m);
	}
	OK(parent_candidates(&w.cluster, path, found, &n, &why));
	cr_assert_eq(n, 3);
	for (unsigned i = 0; i < n; i++) {
		struct attempt attempt = attempt_number(i + 1);

		cr_assert_eq(attempt_compare(&found[i], &attempt), 0, "candidate %u", i);
	}
	free(path);
	repo_world_release(&w);
}

/* ---- a backup in two repositories of a family ---- */

struct pair {
	struct repo_world a, b;
	struct cluster cluster[2];
	struct attempt attempt;
};

static void write_page(struct pack_writer *packs, struct writer *encoded, struct shard *shard)
{
	uint8_t page[MAP_PAGE_BYTES], tag[CRYPTO_TAG_BYTES];
	struct frame_ref ref;
	struct error why;

	memset(page, 7, sizeof(page));
	memset(tag, 9, sizeof(tag));
	OK(pack_add(packs, FRAME_PAGES, CODEC_STORED, bytes_of(page, sizeof(page)), sizeof(page),
		    &ref, &why));
	shard_reset(shard);
	shard_add(shard, sizeof(page), tag, 1, &ref, 0);
	shard_encode(shard, encoded);
}

static void write_records(struct pack_writer *packs, const char *const *path, size_t n)
{
	struct shard *shard = malloc(sizeof(*shard));
	struct writer encoded, record;
	struct file_shard_ref at = {.offset = 0};
	struct frame_ref ref;
	struct error why;

	writer_init(&encoded, SHARD_ENCODED_MAX);
	writer_init(&record, FRAME_PLAIN_MAX);
	write_page(packs, &encoded, shard);
	OK(pack_add(packs, FRAME_SHARD, CODEC_STORED, writer_view(&encoded), (uint32_t)encoded.len,
		    &ref, &why));
	OK(pack_index(packs, &ref.pack, &at.pack, &why));
	at.place = (struct frame_place){ref.ordinal, ref.offset, ref.stored_len, ref.plain_len};
	at.len = (uint32_t)encoded.len;
	for (size_t i = 0; i < n; i++) {
		struct file_record file = {.kind = FILE_PLAIN,
					   .size = MAP_PAGE_BYTES,
					   .crc = (uint32_t)i,
					   .path = bytes_of_text(path[i]),
					   .shards = 1};

		writer_reset(&record);
		file_record_encode(&file, &record);
		file_record_set_crc(record.data, (uint32_t)i + 5);
		file_shard_ref_encode(&at, record.data + record.len - FILE_SHARD_REF_BYTES);
		OK(pack_section_add(packs, SECTION_FILES, writer_view(&record), &why));
	}
	writer_release(&encoded);
	writer_release(&record);
	free(shard);
}

/* Backup 1 in both, with these files of one page. */
static void pair_init(struct pair *p, const char *const *path, size_t n)
{
	const struct cluster *clusters[] = {&p->cluster[0], &p->cluster[1]};
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct pack_writer *packs;
	struct manifest *m;
	struct error why;

	repo_world_init(&p->a, NULL);
	repo_world_init(&p->b, &p->a);
	p->cluster[0] = p->a.cluster;
	p->cluster[1] = p->b.cluster;
	p->attempt = attempt_number(1);
	m = manifest_number(&p->a.cluster, 1);
	OK(pack_writer_new(clusters, 2, &p->attempt, m, &packs, &why));
	if (n > 0)
		write_records(packs, path, n);
	OK(pack_writer_finish(packs, &why));
	for (int i = 0; i < 2; i++)
		OK(manifest_commit(&p->cluster[i], m, sha256, &why));
	pack_writer_free(packs);
	manifest_free(m);
}

static void pair_release(struct pair *p)
{
	repo_world_release(&p->b);
	repo_world_release(&p->a);
}

static const char *const two_files[] = {"base/5/1", "base/5/2"};

static enum err prove(struct pair *p, struct error *why)
{
	struct manifest *m = NULL;
	enum err e = parent_prove(p->cluster, 2, &p->attempt, &m, why);

	manifest_free(m);
	return e;
}

static void remove_from(struct repo_world *w, const char *folder)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(1);
	struct error why;

	attempt_to_text(&attempt, text);
	(void)snprintf(key, sizeof(key), "%s%s/%s%s", w->cluster.prefix, folder, text,
		       strcmp(folder, "packs") == 0 ? "/00000000" : "");
	OK(store_remove(w->memory, key, &why));
}

Test(parent, is_proved_in_every_repository)
{
	struct pair p;
	struct error why;
	size_t len;

	pair_init(&p, two_files, 2);
	cr_assert_eq(prove(&p, &why), ERR_NONE, "%s", why.text);
	mark(&p.b, "tombs", 1, "", "tomb");
	cr_assert_eq(prove(&p, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "is being removed"), "%s", why.text);
	pair_release(&p);

	pair_init(&p, two_files, 2);
	remove_from(&p.b, "packs");
	cr_assert_eq(prove(&p, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "packs/20261123T000001Z"), "%s", why.text);
	pair_release(&p);

	pair_init(&p, two_files, 2);
	remove_from(&p.b, "backups");
	cr_assert_eq(prove(&p, &why), ERR_MISSING);
	pair_release(&p);

	pair_init(&p, two_files, 2);
	stored(&p.a, "backups", 1, &len)[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 5] ^= 1;
	cr_assert_eq(prove(&p, &why), ERR_CORRUPT);
	pair_release(&p);

	pair_init(&p, two_files, 2);
	repo_world_fail(&p.b, FAULT_DOWN, 1, ERR_TRANSIENT);
	cr_assert_eq(prove(&p, &why), ERR_TRANSIENT, "an unanswered question is no answer");
	pair_release(&p);
}

static enum err open_map(struct pair *p, struct parent_map **out, struct error *why)
{
	struct manifest *m = NULL;

	cr_assert_eq(parent_prove(p->cluster, 2, &p->attempt, &m, why), ERR_NONE);
	return parent_map_open(&p->cluster[0], m, out, why);
}

Test(parent, map_finds_files_by_path_and_their_shards)
{
	struct pair p;
	struct parent_map *map = NULL;
	struct parent_reader *reader = NULL;
	struct parent_file file;
	struct parent_origin from;
	struct shard *shard = malloc(sizeof(*shard));
	struct error why;

	pair_init(&p, two_files, 2);
	OK(open_map(&p, &map, &why));
	cr_assert_not(parent_map_find(map, bytes_of_text("base/5/3"), &file));
	cr_assert(parent_map_find(map, bytes_of_text("base/5/2"), &file));
	cr_assert_eq(file.size, MAP_PAGE_BYTES);
	cr_assert_eq(file.crc, 6);
	cr_assert_eq(file.shards, 1);
	OK(parent_reader_new(map, &reader, &why));
	OK(parent_reader_shard(reader, &file, 0, shard, &from, &why));
	cr_assert_eq(shard->pages, 1);
	cr_assert_eq(shard->page[0].tag[3], 9);
	cr_assert_not(from.is_patch);
	OK(parent_reader_base(reader, &from, shard, &why));
	cr_assert_eq(shard->pages, 1);
	parent_reader_free(reader);
	parent_map_free(map);
	free(shard);
	pair_release(&p);
}

Test(parent, map_of_what_is_no_whole_backup_is_refused)
{
	static const char *const twice[] = {"base/5/1", "base/5/1"};
	struct pair p;
	struct parent_map *map = NULL;
	struct error why;

	pair_init(&p, twice, 2);
	cr_assert_eq(open_map(&p, &map, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "same hash"), "%s", why.text);
	pair_release(&p);

	pair_init(&p, NULL, 0);
	cr_assert_eq(open_map(&p, &map, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "file table"), "%s", why.text);
	pair_release(&p);
}

Test(parent, a_shard_that_does_not_fit_is_damage)
{
	struct pair p;
	struct parent_map *map = NULL;
	struct parent_reader *reader = NULL;
	struct parent_file file;
	struct parent_origin from;
	struct shard *shard = malloc(sizeof(*shard));
	uint8_t ref[FILE_SHARD_REF_BYTES];
	struct file_shard_ref decoded;
	struct error why;

	pair_init(&p, two_files, 2);
	OK(open_map(&p, &map, &why));
	OK(parent_reader_new(map, &reader, &why));
	cr_assert(parent_map_find(map, bytes_of_text("base/5/1"), &file));
	file.size = 100; /* the shard maps a whole page */
	cr_assert_eq(parent_reader_shard(reader, &file, 0, shard, &from, &why), ERR_CORRUPT);
	file.size = MAP_PAGE_BYTES;
	file_shard_ref_decode(file.shard_refs, &decoded);
	decoded.pack = 99;
	file_shard_ref_encode(&decoded, ref);
	file.shard_refs = ref;
	cr_assert_eq(parent_reader_shard(reader, &file, 0, shard, &from, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "not listed"), "%s", why.text);
	parent_reader_free(reader);
	parent_map_free(map);
	free(shard);
	pair_release(&p);
}
