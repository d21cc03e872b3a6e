/* A repository with one backup and its WAL, and what verification says of it. */
#ifndef UNIT_REPO_VERIFY_WORLD_H
#define UNIT_REPO_VERIFY_WORLD_H

#include "made_backup.h"
#include "repo/verified.h"
#include "repo/verify.h"
#include "wal_shelf.h"

#define OK_(call) cr_assert_eq((call), ERR_NONE, "%s; %s", w.why.text, w.text)

struct world {
	struct repo_world repo;
	struct made_backup made;
	struct verify_options options;
	struct verify_totals totals;
	unsigned findings;
	char key[STORE_KEY_MAX], backup[ATTEMPT_TEXT_MAX], newer[ATTEMPT_TEXT_MAX];
	char file[FILE_PATH_MAX], text[1024];
	struct verify_range range[8];
	size_t ranges;
	struct error why;
};

/* The last finding that names a file stays, else the last one. */
static inline void take(void *ctx, const struct verify_finding *f)
{
	struct world *w = ctx;

	w->findings++;
	if (f->file == NULL && w->file[0] != '\0')
		return;
	(void)snprintf(w->key, sizeof(w->key), "%s", f->key != NULL ? f->key : "");
	(void)snprintf(w->backup, sizeof(w->backup), "%s", f->backup != NULL ? f->backup : "");
	(void)snprintf(w->newer, sizeof(w->newer), "%s", f->newer != NULL ? f->newer : "");
	(void)snprintf(w->file, sizeof(w->file), "%s", f->file != NULL ? f->file : "");
	(void)snprintf(w->text, sizeof(w->text), "%s", f->text);
	w->ranges = f->ranges;
	for (size_t i = 0; i < f->ranges && i < 8; i++)
		w->range[i] = f->range[i];
}

static inline void world_reset(struct world *w)
{
	w->findings = 0;
	w->file[0] = w->key[0] = w->backup[0] = w->text[0] = '\0';
	memset(&w->totals, 0, sizeof(w->totals));
}

static inline void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	shelf_world(&w->repo, NULL);
	w->options = (struct verify_options){.all = true, .jobs = 1, .finding = take, .ctx = w};
}

/* From segment B to somewhere in D of the golden WAL. */
static inline void world_summary(struct summary *s)
{
	s->start = lsn_of(0xB00028);
	s->stop = lsn_of(0xD00100);
	s->wal_segment_bytes = SHELF_SEGMENT;
}

static inline void world_backup(struct world *w)
{
	struct identity identity = {.server_version = 150020,
				    .wal_segment_bytes = SHELF_SEGMENT,
				    .block_bytes = 8192,
				    .data_checksums = -1};
	struct error why;

	OK(identity_ensure(&w->repo.cluster, &identity, &why));
	for (unsigned segno = 0xB; segno <= 0xD; segno++)
		shelf_put_golden(&w->repo, 1, segno);
	made_begin(&w->made, &w->repo.cluster, 1);
	made_file(&w->made, "base/5/1259", 1, 9 * MAP_PAGE_BYTES + 5);
	made_file(&w->made, "base/5/1260", 2, 100);
	world_summary(&w->made.manifest->summary);
	made_commit(&w->made, &w->repo.cluster);
}

static inline void world_release(struct world *w)
{
	if (w->made.manifest != NULL)
		made_release(&w->made);
	repo_world_release(&w->repo);
}

/* A clock that stands still but for sleeping; `tick` passes with every look at it. */
struct still_clock {
	struct clock clock;
	int64_t now, tick, slept;
};

static inline int64_t still_now(struct clock *clock)
{
	struct still_clock *c = (struct still_clock *)clock;

	return c->now += c->tick;
}

static inline void still_sleep(struct clock *clock, int64_t us)
{
	struct still_clock *c = (struct still_clock *)clock;

	c->now += us;
	c->slept += us;
}

static const struct clock_ops still_ops = {still_now, still_now, still_now, still_sleep};
static const int64_t day_us = INT64_C(86400000000);

static inline void world_stand_still(struct world *w, struct still_clock *clock)
{
	*clock = (struct still_clock){.clock = {&still_ops}, .now = INT64_C(1795442700000000)};
	w->repo.env.clock = &clock->clock;
}

static inline enum err everything(struct world *w)
{
	world_reset(w);
	w->options.only = NULL;
	return verify_cluster(&w->repo.cluster, &w->options, &w->totals, &w->why);
}

#endif
