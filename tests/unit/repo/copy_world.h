/* unit/repo/copy_world.h - two repositories of a family, and a copy from one to the other. */
#ifndef COPY_WORLD_H
#define COPY_WORLD_H

#include "repo/copy.h"
#include "repo/pins.h"
#include "repo/wal_object.h"
#include "small_backup.h"

#include <string.h>

enum { SEGMENT = 16 << 20 };

struct outcomes {
	unsigned of[COPY_DAMAGED + 1];
	unsigned damage;
	char key[STORE_KEY_MAX]; /* of the last damage */
};

static inline void note_backup(void *ctx, const struct attempt *attempt, enum copy_outcome outcome,
			       uint64_t bytes, const char *text)
{
	struct outcomes *o = ctx;

	(void)attempt;
	(void)bytes;
	cr_assert_eq(text == NULL, outcome == COPY_DONE || outcome == COPY_THERE);
	o->of[outcome]++;
}

static inline void note_damage(void *ctx, const char *key, const char *text)
{
	struct outcomes *o = ctx;

	cr_assert_neq(text[0], '\0');
	o->damage++;
	(void)snprintf(o->key, sizeof(o->key), "%s", key);
}

static inline enum err copy(struct repo_world *from, struct repo_world *to, struct outcomes *o,
			    struct copy_totals *totals, struct error *why)
{
	const struct copy_options options = {
		.backup = note_backup, .damage = note_damage, .ctx = o};

	*o = (struct outcomes){.damage = 0};
	*totals = (struct copy_totals){.bytes = 0};
	return copy_cluster(&from->cluster, &to->cluster, &options, totals, why);
}

/* ---- two repositories ---- */

static inline void put_wal(struct repo_world *w)
{
	static uint8_t page[8192];
	struct wal_name name;
	enum wal_put_result result;
	struct error why;

	wal_segment_name(1, 3, SEGMENT, &name);
	OK(wal_put_slice(&w->cluster, &name, SEGMENT, 1, 0, sizeof(page),
			 bytes_of(page, sizeof(page)), &why));
	name = (struct wal_name){.kind = WAL_NAME_HISTORY, .timeline = 2};
	OK(wal_put(&w->cluster, &name, SEGMENT, 1, bytes_of_text("1\t0/3000100\tno reason\n"),
		   &result, &why));
}

/* A backup of one file; its pages are told by `n`. */
static inline void put_backup(struct repo_world *w, unsigned n)
{
	uint8_t content[3 * MAP_PAGE_BYTES];
	struct small_backup b;

	memset(content, (int)n, sizeof(content));
	small_backup_begin(&b, w, n);
	small_backup_file(&b, "base/1/1", bytes_of(content, sizeof(content)));
	small_backup_commit(&b);
}

/* A backup whose table names the packs of another one too. */
static inline void put_child(struct repo_world *w, unsigned n, unsigned parent)
{
	struct attempt attempt = attempt_number(parent);
	struct manifest *known = NULL;
	uint8_t content[MAP_PAGE_BYTES];
	struct small_backup b;
	struct error why;

	OK(manifest_read(&w->cluster, &attempt, &known, &why));
	memset(content, (int)n, sizeof(content));
	small_backup_begin(&b, w, n);
	for (uint32_t i = 0; i < known->packs; i++)
		OK(pack_borrow(b.packs, &known->pack[i], MAP_PAGE_BYTES, &why));
	small_backup_file(&b, "base/1/2", bytes_of(content, sizeof(content)));
	small_backup_commit(&b);
	manifest_free(known);
}

static inline void two_worlds(struct repo_world *from, struct repo_world *to)
{
	const struct identity identity = {.server_version = 150020,
					  .wal_segment_bytes = SEGMENT,
					  .block_bytes = 8192,
					  .data_checksums = 1};
	struct error why;

	repo_world_init(from, NULL);
	repo_world_init(to, from);
	OK(identity_ensure(&from->cluster, &identity, &why));
	put_wal(from);
	put_backup(from, 1);
	put_child(from, 2, 1);
}

static inline void release(struct repo_world *from, struct repo_world *to)
{
	repo_world_release(from);
	repo_world_release(to);
}

static inline enum err compare_size(void *ctx, const struct store_object *object, struct error *why)
{
	struct store *other = ctx;
	uint8_t *there = NULL;
	size_t len = 0;

	cr_assert_eq(store_get(other, object->key, 64 << 20, &there, &len, why), ERR_NONE);
	cr_assert_eq(len, object->size, "%s", object->key);
	free(there);
	return ERR_NONE;
}

static inline enum err compare_bytes(void *ctx, const struct store_object *object,
				     struct error *why)
{
	struct repo_world **w = ctx;
	uint8_t *a = NULL, *b = NULL;
	size_t a_len = 0, b_len = 0;

	cr_assert_eq(store_get(w[0]->memory, object->key, 64 << 20, &a, &a_len, why), ERR_NONE,
		     "%s", object->key);
	cr_assert_eq(store_get(w[1]->memory, object->key, 64 << 20, &b, &b_len, why), ERR_NONE,
		     "%s", object->key);
	cr_assert(a_len == b_len && memcmp(a, b, a_len) == 0, "%s", object->key);
	free(a);
	free(b);
	return ERR_NONE;
}

/* The clusters' parts are the same, object by object. */
static inline void expect_same(struct repo_world *from, struct repo_world *to)
{
	struct repo_world *both[2] = {from, to};
	struct error why;

	OK(store_list(from->memory, from->cluster.prefix, compare_bytes, both, &why));
	OK(store_list(to->memory, to->cluster.prefix, compare_size, from->memory, &why));
}

static inline uint8_t *peek_pack(struct repo_world *w, unsigned attempt, size_t *len)
{
	struct pack_id id = {.attempt = attempt_number(attempt)};
	char key[STORE_KEY_MAX];

	pack_key(&w->cluster, &id, key);
	return store_memory_peek(w->memory, key, len);
}

static inline void expect_whole(struct repo_world *w, unsigned n)
{
	struct attempt attempt = attempt_number(n);
	struct manifest *m = NULL;
	struct error why;

	OK(manifest_read(&w->cluster, &attempt, &m, &why));
	OK(decision_check_packs(&w->cluster, m, &why));
	manifest_free(m);
}

#endif
