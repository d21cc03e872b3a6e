/* Facts about shards whose pages lie in many frames of several packs, in any order. */
#include "made_backup.h"
#include "repo/pages.h"

enum { PAGES = 96, PARENT_FRAMES = PAGES / MADE_FRAME_PAGES };

/* A parent of one file, and a child in which some of its pages are others. */
struct family {
	struct repo_world repo;
	struct made_backup parent, child;
	struct page_source *pages; /* of the child */
	uint8_t refs[32];          /* the child's shard */
	struct file_record file;
	struct page_set changed;
	bool whole; /* the child's shard is no patch */
};

static uint8_t byte_of(const struct family *f, uint64_t page)
{
	return page_set_has(&f->changed, (uint32_t)page) ? (uint8_t)(101 + page)
							 : made_byte(1, page);
}

/* Puts `frame` (whose pages are in `page`, back to front) and enters them into the shard. */
static void put_frame(struct family *f, const uint32_t *page, size_t n, struct shard *now)
{
	uint8_t *plain = malloc(n * MAP_PAGE_BYTES);
	struct frame_ref placed;
	struct error why;

	cr_assert_not_null(plain);
	for (size_t i = 0; i < n; i++)
		memset(plain + i * MAP_PAGE_BYTES, (uint8_t)(101 + page[i]), MAP_PAGE_BYTES);
	OK(pack_add(f->child.packs, FRAME_PAGES, CODEC_STORED, bytes_of(plain, n * MAP_PAGE_BYTES),
		    (uint32_t)(n * MAP_PAGE_BYTES), &placed, &why));
	now->frame[now->frames] = placed;
	for (size_t i = 0; i < n; i++) {
		struct page_entry *entry = &now->page[page[i]];
		struct bytes bytes = bytes_of(plain + i * MAP_PAGE_BYTES, MAP_PAGE_BYTES);

		*entry = (struct page_entry){.crc = crc32c(bytes),
					     .frame = (uint16_t)now->frames,
					     .offset = (uint32_t)(i * MAP_PAGE_BYTES)};
		OK(page_tag(f->child.tagger, bytes, entry->tag, &why));
		page_set_add(&f->changed, page[i]);
	}
	now->frames++;
	free(plain);
}

/* Every 8th page is another one, two to a frame, and the later one of the file comes first in it. */
static void change(struct family *f, struct shard *now)
{
	for (uint32_t i = 0; i < PAGES; i += 16) {
		uint32_t page[2] = {i + 8, i};

		put_frame(f, page, 2, now);
	}
}

static void put_shard(struct family *f, const struct shard *base, const struct shard *now,
		      const struct shard_ref *at)
{
	struct file_shard_ref ref = {.offset = 0};
	struct frame_ref placed;
	struct writer encoded;
	struct error why;

	writer_init(&encoded, SHARD_ENCODED_MAX);
	if (f->whole)
		shard_encode(now, &encoded);
	else
		shard_encode_patch(base, now, at, &encoded);
	OK(pack_add(f->child.packs, FRAME_SHARD, CODEC_STORED, writer_view(&encoded),
		    (uint32_t)encoded.len, &placed, &why));
	OK(pack_index(f->child.packs, &placed.pack, &ref.pack, &why));
	ref.place = (struct frame_place){.ordinal = placed.ordinal,
					 .offset = placed.offset,
					 .stored_len = placed.stored_len,
					 .plain_len = placed.plain_len};
	ref.len = (uint32_t)encoded.len;
	file_shard_ref_encode(&ref, f->refs);
	writer_release(&encoded);
}

static void make_child(struct family *f, const struct file_record *file)
{
	struct shard *now = malloc(sizeof(*now));
	const struct shard *base;
	struct file_shard_ref ref;
	struct shard_ref at;
	struct page_source *source;
	struct error why;

	cr_assert_not_null(now);
	OK(page_source_new(&f->repo.cluster, f->parent.manifest, &source, &why));
	OK(page_source_map(source, file, 0, &base, &why));
	file_shard_ref_decode(file->shard_refs, &ref);
	at = (struct shard_ref){.frame = {.pack = f->parent.manifest->pack[ref.pack].id,
					  .ordinal = ref.place.ordinal,
					  .offset = ref.place.offset,
					  .stored_len = ref.place.stored_len,
					  .plain_len = ref.place.plain_len},
				.offset = ref.offset,
				.len = ref.len};
	memcpy(now, base, sizeof(*now));
	made_begin(&f->child, &f->repo.cluster, 2);
	change(f, now);
	put_shard(f, base, now, &at);
	made_commit(&f->child, &f->repo.cluster);
	page_source_free(source);
	free(now);
}

static void family_init(struct family *f, bool whole)
{
	struct error why;
	struct reader in;
	uint8_t *table;
	size_t len;

	memset(f, 0, sizeof(*f));
	f->whole = whole;
	repo_world_init(&f->repo, NULL);
	made_begin(&f->parent, &f->repo.cluster, 1);
	made_file(&f->parent, "base/5/1259", 1, PAGES * MAP_PAGE_BYTES);
	made_commit(&f->parent, &f->repo.cluster);
	OK(section_read(&f->repo.cluster, f->parent.manifest, "files", 1 << 20, &table, &len,
			&why));
	in = reader_of(bytes_of(table, len));
	OK(file_record_decode(&in, &f->file, &why));
	make_child(f, &f->file);
	f->file.path = bytes_of_text("base/5/1259");
	f->file.shard_refs = f->refs;
	free(table);
	OK(page_source_new(&f->repo.cluster, f->child.manifest, &f->pages, &why));
}

static void family_release(struct family *f)
{
	page_source_free(f->pages);
	made_release(&f->parent);
	made_release(&f->child);
	repo_world_release(&f->repo);
}

struct seen {
	const struct family *family;
	uint64_t at; /* visits ascend */
	uint32_t crc;
	unsigned runs;
	struct page_set pages;
};

static enum err visit(void *ctx, const struct page_run *run, struct error *why)
{
	struct seen *s = ctx;

	(void)why;
	cr_assert_geq(run->offset, s->at);
	for (uint64_t i = 0; i < run->len; i++) {
		uint64_t page = (run->offset + i) / MAP_PAGE_BYTES;

		cr_assert_eq(run->data == NULL ? 0 : run->data[i], byte_of(s->family, page),
			     "page %lu", page);
		page_set_add(&s->pages, (uint32_t)page);
	}
	s->crc = crc32c_combine(s->crc, run->crc, run->len);
	s->at = run->offset + run->len;
	s->runs++;
	return ERR_NONE;
}

static void come_back(bool whole)
{
	struct family f;
	struct seen seen = {.family = &f};
	struct error why;
	uint32_t crc;

	family_init(&f, whole);
	OK(page_source_shard(f.pages, &f.file, 0, visit, &seen, &crc, &why));
	cr_assert_eq(seen.at, PAGES * MAP_PAGE_BYTES);
	for (uint32_t i = 0; i < PAGES; i++)
		cr_assert(page_set_has(&seen.pages, i));
	cr_assert_eq(seen.crc, crc);
	family_release(&f);
}

Test(pages_window, pages_of_a_patched_shard_come_back)
{
	come_back(false);
}

Test(pages_window, pages_of_a_whole_shard_in_two_backups_come_back)
{
	come_back(true);
}

/* The child's six frames lie together; so do the parent's, but for those that are of no use. */
Test(pages_window, every_frame_is_opened_once_and_neighbours_are_read_together)
{
	struct family f;
	struct seen seen = {.family = &f};
	struct error why;
	uint32_t crc;

	family_init(&f, false);
	OK(page_source_shard(f.pages, &f.file, 0, visit, &seen, &crc, &why));
	/* The patch and its base; all frames of the parent, since three pages of each are left. */
	cr_assert_eq(page_source_frames(f.pages), 2 + PARENT_FRAMES + 6);
	/* 768 KiB of the parent and 96 KiB of the child: a read each. */
	cr_assert_eq(page_source_reads(f.pages), 2 + 1 + 1);
	/* Visited as one run between pages of zeros, which alternate with them. */
	cr_assert_leq(seen.runs, 2 * (PAGES / 7 + 1));
	family_release(&f);
}

Test(pages_window, only_frames_with_wanted_pages_are_read)
{
	struct family f;
	struct seen seen = {.family = &f};
	const struct shard *map;
	struct page_set wanted = {.word = {0}};
	struct error why;
	uint64_t reads, frames;

	family_init(&f, false);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	cr_assert_eq(map->pages, PAGES);
	reads = page_source_reads(f.pages);
	frames = page_source_frames(f.pages);
	page_set_add(&wanted, 2);  /* of the parent's first frame */
	page_set_add(&wanted, 5);  /* zeros */
	page_set_add(&wanted, 24); /* of the child's second frame, its second page */
	page_set_add(&wanted, 94); /* of the parent's last frame, 700 KiB after its first */
	OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	cr_assert_eq(memcmp(&seen.pages, &wanted, sizeof(wanted)), 0);
	cr_assert_eq(page_source_frames(f.pages) - frames, 3);
	cr_assert_eq(page_source_reads(f.pages) - reads, 3);
	cr_assert_eq(seen.runs, 4);
	family_release(&f);
}

Test(pages_window, a_small_gap_is_read_along)
{
	struct family f;
	struct seen seen = {.family = &f};
	const struct shard *map;
	struct page_set wanted = {.word = {0}};
	struct error why;
	uint64_t reads, frames;

	family_init(&f, false);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	reads = page_source_reads(f.pages);
	frames = page_source_frames(f.pages);
	page_set_add(&wanted, 1);
	page_set_add(&wanted, 9); /* the frame after the next */
	OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	cr_assert_eq(page_source_frames(f.pages) - frames, 2);
	cr_assert_eq(page_source_reads(f.pages) - reads, 1);
	family_release(&f);
}

Test(pages_window, a_frame_decoded_just_now_is_kept)
{
	struct family f;
	struct seen seen = {.family = &f};
	const struct shard *map;
	struct page_set wanted = {.word = {0}};
	struct error why;
	uint64_t frames;

	family_init(&f, false);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	page_set_add(&wanted, 1);
	OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	frames = page_source_frames(f.pages);
	page_set_remove(&wanted, 1);
	page_set_add(&wanted, 3); /* of the same frame */
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	cr_assert_eq(page_source_frames(f.pages), frames);
	family_release(&f);
}

/* The last frame of each backup in a shard goes on in the next one; what lies before it does not. */
Test(pages_window, the_last_frame_of_each_pack_is_kept)
{
	struct family f;
	struct seen seen = {.family = &f};
	const struct shard *map;
	struct page_set wanted = {.word = {0}};
	struct error why;
	uint64_t frames;
	uint32_t crc;

	family_init(&f, false);
	OK(page_source_shard(f.pages, &f.file, 0, visit, &seen, &crc, &why));
	frames = page_source_frames(f.pages);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	page_set_add(&wanted, 88); /* of the child's last frame */
	seen = (struct seen){.family = &f};
	OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	cr_assert_eq(page_source_frames(f.pages), frames);
	page_set_add(&wanted, 64); /* of a frame in the middle */
	seen = (struct seen){.family = &f};
	OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	cr_assert_eq(page_source_frames(f.pages), frames + 1);
	family_release(&f);
}

/* Puts what `edit` makes of an object in its place. */
static void edit(struct family *f, const char *key, size_t at, size_t cut)
{
	struct error why;
	uint8_t *data;
	size_t len;

	OK(store_get(f->repo.memory, key, 32 << 20, &data, &len, &why));
	cr_assert_lt(at, len);
	data[at] ^= 1;
	OK(store_remove(f->repo.memory, key, &why));
	OK(store_put(f->repo.memory, key, bytes_of(data, cut > 0 ? cut : len), &why));
	free(data);
}

/* Everything is whole but pages `first`, `second`; the visit without them succeeds. */
static void damaged_is(struct family *f, const char *key, const char *place, const uint32_t *page,
		       size_t n)
{
	struct seen seen = {.family = f};
	const struct shard *map;
	struct page_set wanted, expected = {.word = {0}};
	struct error why;

	memset(&wanted, 0xff, sizeof(wanted));
	for (size_t i = 0; i < n; i++)
		page_set_add(&expected, page[i]);
	OK(page_source_map(f->pages, &f->file, 0, &map, &why));
	cr_assert_eq(page_source_visit(f->pages, &wanted, visit, &seen, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, key), "%s", why.text);
	cr_assert_not_null(strstr(why.text, place), "%s", why.text);
	cr_assert_eq(memcmp(page_source_damaged(f->pages), &expected, sizeof(expected)), 0);
	for (size_t i = 0; i < n; i++)
		page_set_remove(&wanted, page[i]);
	seen = (struct seen){.family = f};
	OK(page_source_visit(f->pages, &wanted, visit, &seen, &why));
	for (uint32_t i = 0; i < PAGES; i++)
		cr_assert_eq(page_set_has(&seen.pages, i), page_set_has(&wanted, i));
}

Test(pages_window, a_damaged_frame_is_named_with_its_pages)
{
	static const uint32_t pages[] = {32, 40};
	struct family f;
	const struct shard *map;
	char key[STORE_KEY_MAX];
	struct error why;

	family_init(&f, false);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	pack_key(&f.repo.cluster, &map->frame[map->page[32].frame].pack, key);
	edit(&f, key, (size_t)map->frame[map->page[32].frame].offset + 100, 0);
	damaged_is(&f, key, "\"base/5/1259\" at byte 262144", pages, 2);
	family_release(&f);
}

/* The frames before the end are in the same read. */
Test(pages_window, a_pack_cut_short_is_damaged_from_there_on)
{
	static const uint32_t pages[] = {80, 88};
	struct family f;
	const struct shard *map;
	char key[STORE_KEY_MAX];
	struct error why;

	family_init(&f, true);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	pack_key(&f.repo.cluster, &map->frame[map->page[80].frame].pack, key);
	edit(&f, key, 200, (size_t)map->frame[map->page[80].frame].offset + 90);
	/* Byte 200 is in the first frame: its damage is found first. */
	{
		struct seen seen = {.family = &f};
		struct page_set wanted;

		memset(&wanted, 0xff, sizeof(wanted));
		cr_assert_eq(page_source_visit(f.pages, &wanted, visit, &seen, &why), ERR_CORRUPT);
		cr_assert(page_set_has(page_source_damaged(f.pages), 0));
		cr_assert(page_set_has(page_source_damaged(f.pages), 8));
		page_set_remove(&wanted, 0);
		page_set_remove(&wanted, 8);
		seen = (struct seen){.family = &f};
		cr_assert_eq(page_source_visit(f.pages, &wanted, visit, &seen, &why), ERR_CORRUPT);
		cr_assert_not_null(strstr(why.text, "at byte 655360"), "%s", why.text);
		for (size_t i = 0; i < 2; i++) {
			cr_assert(page_set_has(page_source_damaged(f.pages), pages[i]));
			page_set_remove(&wanted, pages[i]);
		}
		seen = (struct seen){.family = &f};
		OK(page_source_visit(f.pages, &wanted, visit, &seen, &why));
	}
	family_release(&f);
}

Test(pages_window, a_pack_that_is_gone_takes_all_its_pages_along)
{
	static const uint32_t pages[] = {0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88};
	struct family f;
	const struct shard *map;
	char key[STORE_KEY_MAX];
	struct error why;

	family_init(&f, true);
	OK(page_source_map(f.pages, &f.file, 0, &map, &why));
	pack_key(&f.repo.cluster, &map->frame[map->page[0].frame].pack, key);
	OK(store_remove(f.repo.memory, key, &why));
	damaged_is(&f, key, "\"base/5/1259\" at byte 0", pages, 12);
	family_release(&f);
}

/* Whatever call of the store fails, that failure comes out, and the next visit succeeds. */
Test(pages_window, a_failing_store_damages_nothing)
{
	struct page_set none = {.word = {0}};
	bool failed = true;

	for (unsigned at = 1; failed; at++) {
		struct family f;
		struct seen seen = {.family = &f};
		struct error why;
		uint32_t crc;

		family_init(&f, false);
		repo_world_fail(&f.repo, FAULT_FAIL, at, ERR_TRANSIENT);
		failed = page_source_shard(f.pages, &f.file, 0, visit, &seen, &crc, &why) !=
			 ERR_NONE;
		cr_assert_eq(failed, f.repo.fault.calls >= at);
		if (failed)
			cr_assert_eq(why.kind, ERR_TRANSIENT, "%s", why.text);
		cr_assert_eq(memcmp(page_source_damaged(f.pages), &none, sizeof(none)), 0);
		repo_world_fail(&f.repo, FAULT_NONE, 0, ERR_NONE);
		seen = (struct seen){.family = &f};
		OK(page_source_shard(f.pages, &f.file, 0, visit, &seen, &crc, &why));
		family_release(&f);
	}
}
