/* Files of an incremental backup become whole ones: held against the model of what they should be. */
#include "lineage.h"

#include "backup/reader_internal.h"
#include "tar/tar_writer.h"

/* One run over the newest backup whose tar is `tape`. */
struct composing {
	struct lineage *l;
	struct making m;
	struct composer *composer;
	struct pipeline *pipeline;
	void *items[3];
	struct reader_state r;
	struct writer tape;
	size_t read; /* of it */
	struct tar_writer *tar;
	struct model_file before[FILES_MAX]; /* contents owned */
};

enum { TAPE_MAX = 64 << 20 };

static enum err push(void *ctx, struct bytes in, struct error *why)
{
	(void)why; /* it always succeeds */
	writer_bytes(ctx, in);
	return ERR_NONE;
}

static enum err pull(void *ctx, struct bytes *out, struct error *why)
{
	struct composing *c = ctx;

	(void)why; /* it always succeeds */
	*out = bytes_of(c->tape.data + c->read, c->tape.len - c->read);
	c->read = c->tape.len;
	return ERR_NONE;
}

/* The model as it is now is what the server has when the backup before ended. */
static void composing_init(struct composing *c, struct lineage *l)
{
	struct error why;

	memset(c, 0, sizeof(*c));
	c->l = l;
	for (uint32_t i = 0; i < FILES_MAX; i++) {
		c->before[i] = l->file[i];
		c->before[i].content = calloc(PAGES_MAX, sizeof(uint32_t));
		memcpy(c->before[i].content, l->file[i].content, PAGES_MAX * sizeof(uint32_t));
	}
	writer_init(&c->tape, TAPE_MAX);
	OK(tar_writer_open(push, &c->tape, &c->tar, &why));
}

static void member(struct composing *c, const char *path, struct bytes content)
{
	struct tar_entry entry = {.kind = TAR_FILE, .mode = 0600, .size = content.len};
	struct error why;

	(void)snprintf(entry.path, sizeof(entry.path), "%s", path);
	OK(tar_writer_entry(c->tar, &entry, &why));
	if (content.len > 0)
		OK(tar_writer_data(c->tar, content, &why));
}

/* What a server would send of that file: `truncated` blocks, then those that differ. */
static void send_changes(struct composing *c, uint32_t file, uint32_t truncated)
{
	const struct model_file *now = &c->l->file[file], *before = &c->before[file];
	uint32_t count = 0, list = 12;
	uint8_t page[MAP_PAGE_BYTES];
	struct writer w;
	char path[64];

	writer_init(&w, TAPE_MAX);
	writer_u32(&w, 0xd3ae1f0d);
	writer_u32(&w, 0);
	writer_u32(&w, truncated);
	for (uint32_t i = 0; i < now->pages; i++) {
		uint32_t old = i < before->pages && i < truncated ? before->content[i] : 0;

		if (now->content[i] == old)
			continue;
		writer_u32(&w, i);
		count++;
	}
	put_u32(w.data + 4, count);
	while (count > 0 && w.len % MAP_PAGE_BYTES != 0)
		writer_u8(&w, 0);
	for (uint32_t i = 0; i < count; i++, list += 4) {
		fill(now->content[get_u32(w.data + list)], page, MAP_PAGE_BYTES);
		writer_bytes(&w, bytes_of(page, MAP_PAGE_BYTES));
	}
	(void)snprintf(path, sizeof(path), "base/5/INCREMENTAL.%u", 16384 + file);
	member(c, path, writer_view(&w));
	writer_release(&w);
}

/* Reads every member; the first failure. */
static enum err compose(struct composing *c, struct error *failure)
{
	struct lineage *l = c->l;
	struct attempt attempt = attempt_number(++l->attempts);
	void *state[1];
	struct pipeline_config config = {
		.workers = 1, .items = 3, .worker_state = state, .work = worker_run};
	bool taken;
	struct error why;
	enum err e;

	OK(tar_writer_finish(c->tar, &why));
	c->m = (struct making){.l = l, .manifest = manifest_number(&l->w.cluster, l->attempts)};
	c->m.seen = seen_new();
	OK(open_all(&c->m, &attempt, &why));
	OK(composer_new(&l->w.env, &l->w.cluster, parent_map_manifest(c->m.parent), c->m.lookup,
			&c->composer, &why));
	for (size_t i = 0; i < 3; i++) {
		struct batch *b = calloc(1, sizeof(*b));

		b->packed = malloc(compressor_bound(FRAME_PAGES_MAX));
		c->items[i] = b;
	}
	state[0] = c->m.worker;
	config.item = c->items;
	config.deliver = builder_take;
	config.ctx = c->m.builder;
	OK(pipeline_new(&config, &c->pipeline, &why));
	c->r = (struct reader_state){.env = &l->w.env,
				     .pipeline = c->pipeline,
				     .lookup = c->m.lookup,
				     .composer = c->composer};
	OK(tar_reader_open(pull, c, &c->r.tar, &why));
	while ((e = tar_reader_next(c->r.tar, &c->r.entry, &why)) == ERR_NONE) {
		c->r.have = bytes_of(NULL, 0);
		e = composer_take(c->composer, &c->r, c->r.entry.path, &taken, &why);
		*failure = why;
		if (e != ERR_NONE)
			return e;
		cr_assert(taken);
		OK(reader_room(&c->r, 0, 0, &why));
		(void)reader_event(&c->r, EVENT_CLOSE);
	}
	cr_assert_eq(e, ERR_MISSING);
	if (c->r.batch != NULL)
		pipeline_submit(c->pipeline, c->r.batch);
	return pipeline_drain(c->pipeline, failure);
}

static void composing_commit(struct composing *c)
{
	struct error why;

	OK(builder_finish(c->m.builder, &why));
	OK(pack_writer_finish(c->m.packs, &why));
	OK(commit(&c->m, &why));
	c->l->newest = c->l->attempts;
}

static void composing_release(struct composing *c)
{
	tar_reader_close(c->r.tar);
	tar_writer_close(c->tar);
	pipeline_free(c->pipeline);
	composer_free(c->composer);
	for (size_t i = 0; i < 3; i++) {
		free(((struct batch *)c->items[i])->packed);
		free(c->items[i]);
	}
	builder_free(c->m.builder);
	worker_free(c->m.worker);
	lookup_free(c->m.lookup);
	renewal_release(&c->m.renewal);
	parent_map_free(c->m.parent);
	pack_writer_free(c->m.packs);
	seen_free(c->m.seen);
	manifest_free(c->m.manifest);
	writer_release(&c->tape);
	for (uint32_t i = 0; i < FILES_MAX; i++)
		free(c->before[i].content);
}

static struct lineage l;
static struct composing c;

static void four_files(void)
{
	lineage_init(&l, 5);
	resize(&l, 0, 4500, MAP_PAGE_BYTES);
	resize(&l, 1, 300, MAP_PAGE_BYTES);
	resize(&l, 2, 700, MAP_PAGE_BYTES);
	resize(&l, 3, 40, MAP_PAGE_BYTES);
	l.file[3].content[7] = 0;
	back_up(&l);
	composing_init(&c, &l);
}

Test(composer, changed_grown_shrunk_and_unchanged_files_are_whole_again)
{
	struct error why;

	four_files();
	change(&l, 0, dice(&l, SHARD_PAGES_MAX));
	change(&l, 0, 2048);
	change(&l, 0, 4499);
	send_changes(&c, 0, 4500);
	/* Shrunk to 100, then grown: what is not sent in between is zero. */
	resize(&l, 1, 320, MAP_PAGE_BYTES);
	for (uint32_t i = 100; i < 319; i++)
		l.file[1].content[i] = 0;
	send_changes(&c, 1, 100);
	resize(&l, 2, 650, MAP_PAGE_BYTES);
	send_changes(&c, 2, 650);
	send_changes(&c, 3, 40);
	OK(compose(&c, &why));
	composing_commit(&c);
	(void)judge(&l);
	cr_assert_eq(l.last.bytes_new, 4 * MAP_PAGE_BYTES);
	cr_assert_eq(l.last.bytes_renewed, 0);
	composing_release(&c);
	lineage_release(&l);
}

Test(composer, what_is_too_old_is_read_back_and_stored_again)
{
	struct error why;

	four_files();
	l.policy.refresh_period_us = 1;
	l.policy.since_last_us = 1000000;
	l.policy.now_us += INT64_C(400) * 86400 * 1000000;
	change(&l, 0, 5);
	for (uint32_t i = 0; i < 4; i++)
		send_changes(&c, i, l.file[i].pages);
	OK(compose(&c, &why));
	composing_commit(&c);
	(void)judge(&l);
	cr_assert_gt(l.last.bytes_renewed, 0);
	cr_assert_eq(l.last.pages_changed, 1);
	composing_release(&c);
	lineage_release(&l);
}

Test(composer, changes_of_a_file_that_the_parent_does_not_have_are_refused)
{
	struct error why;

	four_files();
	resize(&l, 4, 3, MAP_PAGE_BYTES);
	send_changes(&c, 4, 3);
	cr_assert_eq(compose(&c, &why), ERR_PEER);
	cr_assert(strstr(why.text, "the parent does not have") != NULL, "%s", why.text);
	composing_release(&c);
	lineage_release(&l);
}

Test(composer, what_is_no_incremental_file_is_refused)
{
	struct error why;

	four_files();
	member(&c, "base/5/INCREMENTAL.16384", bytes_of("short", 5));
	cr_assert_eq(compose(&c, &why), ERR_CORRUPT);
	composing_release(&c);
	lineage_release(&l);
}

Test(composer, a_label_that_rests_on_another_backup_is_refused)
{
	struct error why;

	four_files();
	member(&c, "backup_label",
	       bytes_of_text("START WAL LOCATION: 0/9000028 (file 000000010000000000000009)\n"
			     "INCREMENTAL FROM LSN: F/F000028\nINCREMENTAL FROM TLI: 9\n"));
	cr_assert_eq(compose(&c, &why), ERR_PEER);
	cr_assert(strstr(why.text, "another backup") != NULL, "%s", why.text);
	composing_release(&c);
	lineage_release(&l);
}

Test(composer, a_label_longer_than_any_is_refused)
{
	static uint8_t longer[MAP_PAGE_BYTES + 1];
	struct error why;

	four_files();
	member(&c, "backup_label", bytes_of(longer, sizeof(longer)));
	cr_assert_eq(compose(&c, &why), ERR_LIMIT);
	composing_release(&c);
	lineage_release(&l);
}
