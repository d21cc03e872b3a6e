/* support/repo_world.h - a repository in memory with one cluster, behind a store that can fail. */
#ifndef SUPPORT_REPO_WORLD_H
#define SUPPORT_REPO_WORLD_H

#include "fault_store.h"
#include "repo/decision.h"
#include "repo/pack.h"
#include "store/memory/memory.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Asserts and shows why not. */
#define OK(call) cr_assert_eq((call), ERR_NONE, "%s", why.text)

struct repo_world {
	struct env env;
	struct store *memory;
	struct fault_store fault; /* around memory; the repository uses it */
	struct repository *repository;
	struct cluster cluster;
};

/* `sibling` (may be NULL): the new one is of its family. */
static inline void repo_world_init(struct repo_world *w, const struct repo_world *sibling)
{
	struct repository_init init = {.encryption = ENCRYPTION_NONE, .slot_name = "clear"};
	struct error why;

	w->env = env_os();
	OK(store_memory_open(&w->env, &w->memory, &why));
	fault_store_init(&w->fault, w->memory);
	if (sibling)
		init.adopt = sibling->repository->keyring;
	OK(repository_init(&w->env, &w->fault.store, &init, &why));
	OK(repository_open(&w->env, &w->fault.store, NULL, &w->repository, &why));
	cluster_init(&w->cluster, w->repository, "main", UINT64_C(7301234567890123456));
}

static inline void repo_world_release(struct repo_world *w)
{
	repository_close(w->repository);
	store_close(w->memory);
}

/* The nth call of the store from now on fails. */
static inline void repo_world_fail(struct repo_world *w, enum fault_mode mode, unsigned nth,
				   enum err kind)
{
	w->fault.calls = 0;
	w->fault.mode = mode;
	w->fault.at = nth;
	w->fault.kind = kind;
}

/* An attempt that sorts by `n`. */
static inline struct attempt attempt_number(unsigned n)
{
	struct attempt attempt;
	char text[ATTEMPT_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "20261123T%02u%02u%02uZ-00000000%08x", n / 3600 % 24,
		       n / 60 % 60, n % 60, n);
	cr_assert(attempt_from_text(text, &attempt));
	return attempt;
}

/* Everything a summary must have. */
static inline struct summary summary_number(const struct cluster *c, unsigned n)
{
	struct summary s = {.attempt = attempt_number(n),
			    .system_identifier = c->system_identifier,
			    .server_version = 150020,
			    .timeline = 1,
			    .stop_timeline = 1,
			    .start = {0x3000028},
			    .stop = {0x3000100},
			    .started_us = INT64_C(1795442700000000),
			    .finished_us = INT64_C(1795442761123456),
			    .wal_segment_bytes = 16 << 20,
			    .block_bytes = 8192,
			    .data_checksums = -1,
			    .generation = n};

	(void)snprintf(s.cluster, sizeof(s.cluster), "%s", c->name);
	return s;
}

static inline struct manifest *manifest_number(const struct cluster *c, unsigned n)
{
	struct manifest *m = manifest_new();

	cr_assert_not_null(m);
	m->summary = summary_number(c, n);
	return m;
}

/* A committed backup without files: number `n`. */
static inline void backup_number(const struct cluster *c, unsigned n)
{
	struct manifest *m = manifest_number(c, n);
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	OK(manifest_commit(c, m, sha256, &why));
	manifest_free(m);
}

static inline enum err count_key(void *ctx, const struct store_object *object, struct error *why)
{
	(void)object;
	(void)why;
	++*(size_t *)ctx;
	return ERR_NONE;
}

/* How many keys begin with the cluster's prefix and `folder`. */
static inline size_t keys_below(const struct repo_world *w, const char *folder)
{
	char prefix[STORE_KEY_MAX];
	struct error why;
	size_t count = 0;

	(void)snprintf(prefix, sizeof(prefix), "%s%s", w->cluster.prefix, folder);
	OK(store_list(w->memory, prefix, count_key, &count, &why));
	return count;
}

#endif
