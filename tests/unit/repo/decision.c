/* Decisions: one of commit and abort, the check before, the listing after. */
#include "repo_world.h"

#include <pthread.h>
#include <string.h>

enum { RACES = 200 };

struct racer {
	const struct cluster *cluster;
	pthread_barrier_t *start;
	unsigned n;
	enum err err;
};

static void *race_commit(void *arg)
{
	struct racer *r = arg;
	struct manifest *m = manifest_number(r->cluster, r->n);
	uint8_t sha256[CRYPTO_SHA256_BYTES];

	(void)pthread_barrier_wait(r->start);
	r->err = manifest_commit(r->cluster, m, sha256, NULL);
	manifest_free(m);
	return NULL;
}

static void *race_abort(void *arg)
{
	struct racer *r = arg;
	struct attempt attempt = attempt_number(r->n);

	(void)pthread_barrier_wait(r->start);
	r->err = decision_abort(r->cluster, &attempt, "race", NULL);
	return NULL;
}

Test(decision, of_commit_and_abort_exactly_one_happens)
{
	struct repo_world w;
	pthread_barrier_t start;

	repo_world_init(&w, NULL);
	for (unsigned n = 0; n < RACES; n++) {
		struct racer commit = {.cluster = &w.cluster, .start = &start, .n = n};
		struct racer stop = commit;
		struct attempt attempt = attempt_number(n);
		struct manifest *m = NULL;
		pthread_t a, b;
		enum err err;

		cr_assert_eq(pthread_barrier_init(&start, NULL, 2), 0);
		cr_assert_eq(pthread_create(&a, NULL, race_commit, &commit), 0);
		cr_assert_eq(pthread_create(&b, NULL, race_abort, &stop), 0);
		cr_assert_eq(pthread_join(a, NULL), 0);
		cr_assert_eq(pthread_join(b, NULL), 0);
		cr_assert((commit.err == ERR_NONE && stop.err == ERR_EXISTS) ||
				  (commit.err == ERR_EXISTS && stop.err == ERR_NONE),
			  "commit %d, abort %d", (int)commit.err, (int)stop.err);
		err = manifest_read(&w.cluster, &attempt, &m, NULL);
		cr_assert_eq(err, commit.err == ERR_NONE ? ERR_NONE : ERR_MISSING);
		manifest_free(m);
		(void)pthread_barrier_destroy(&start);
	}
	repo_world_release(&w);
}

/* A manifest that refers to packs of three attempts, which are all there. */
static struct manifest *with_packs(struct repo_world *w)
{
	struct manifest *m = manifest_number(&w->cluster, 9);
	struct error why;

	for (uint32_t i = 0; i < 300; i++) {
		struct pack_id id = {.attempt = attempt_number(9 - i % 3), .seq = i / 3};
		char key[STORE_KEY_MAX];
		uint32_t index;

		OK(manifest_pack_index(m, &id, &index, &why));
		m->pack[index].size = 10 + i % 5;
		pack_key(&w->cluster, &id, key);
		OK(store_put(w->memory, key, bytes_of("0123456789abcdef", 10 + i % 5), &why));
	}
	return m;
}

Test(decision, packs_of_several_attempts_are_checked_with_one_listing_each)
{
	struct repo_world w;
	struct manifest *m;
	struct error why;

	repo_world_init(&w, NULL);
	m = with_packs(&w);
	w.fault.calls = 0;
	OK(decision_check_packs(&w.cluster, m, &why));
	cr_assert_eq(w.fault.calls, 3);
	manifest_free(m);
	repo_world_release(&w);
}

Test(decision, a_pack_that_is_gone_or_of_another_size_is_named)
{
	static const uint32_t which[] = {0, 1, 2, 150, 297, 298, 299};

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		struct repo_world w;
		struct manifest *m;
		char key[STORE_KEY_MAX];
		struct error why;

		repo_world_init(&w, NULL);
		m = with_packs(&w);
		pack_key(&w.cluster, &m->pack[which[i]].id, key);
		OK(store_remove(w.memory, key, &why));
		cr_assert_eq(decision_check_packs(&w.cluster, m, &why), ERR_CORRUPT);
		cr_assert_not_null(strstr(why.text, key), "%s", why.text);
		OK(store_put(w.memory, key, bytes_of("x", 1), &why));
		cr_assert_eq(decision_check_packs(&w.cluster, m, &why), ERR_CORRUPT);
		cr_assert_not_null(strstr(why.text, key), "%s", why.text);
		manifest_free(m);
		repo_world_release(&w);
	}
}

/* A mark beside backup `n`, such as "hidden/<attempt>.00000000.end". */
static void mark(struct repo_world *w, const char *folder, unsigned n, const char *suffix,
		 const char *type, const char *body)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(n);
	struct error why;

	attempt_to_text(&attempt, text);
	snprintf(key, sizeof(key), "%s%s/%s%s", w->cluster.prefix, folder, text, suffix);
	OK(record_put(w->repository, key, type, bytes_of_text(body), &why));
}

struct seen {
	unsigned n[32];
	bool hidden[32], keep[32];
	size_t count;
};

static enum err see(void *ctx, const struct backup_info *info, struct error *why)
{
	struct seen *seen = ctx;

	(void)why;
	cr_assert_lt(seen->count, 32);
	cr_assert_gt(info->manifest_bytes, 128);
	seen->hidden[seen->count] = info->hidden;
	seen->keep[seen->count] = info->keep;
	seen->n[seen->count++] = (unsigned)info->summary->generation;
	return ERR_NONE;
}

Test(decision, the_listing_leaves_out_what_was_asked_to_go)
{
	struct repo_world w;
	struct seen seen = {.count = 0};
	struct attempt aborted = attempt_number(5);
	struct error why;

	repo_world_init(&w, NULL);
	OK(backups_list(&w.cluster, false, see, &seen, &why));
	cr_assert_eq(seen.count, 0);
	for (unsigned n = 9; n >= 1; n--)
		if (n != 5)
			backup_number(&w.cluster, n);
	OK(decision_abort(&w.cluster, &aborted, "stale", &why));
	mark(&w, "hidden", 1, ".00000000", "hidden", "reason x\n");
	mark(&w, "hidden", 2, ".00000000", "hidden", "reason x\n");
	mark(&w, "hidden", 2, ".00000000.end", "hidden-end", "end undeleted\n");
	mark(&w, "hidden", 3, ".00000000", "hidden", "reason x\n");
	mark(&w, "hidden", 3, ".00000000.end", "hidden-end", "end undeleted\n");
	mark(&w, "hidden", 3, ".00000001", "hidden", "reason again\n");
	mark(&w, "hidden", 4, ".00000000", "hidden", "reason x\n");
	mark(&w, "hidden", 4, ".00000000.end", "hidden-end", "end removed\n");
	mark(&w, "tombs", 6, "", "tomb", "reason x\n");
	mark(&w, "keeps", 7, ".00000000", "keep", "reason x\n");
	mark(&w, "keeps", 8, ".00000000", "keep", "reason x\n");
	mark(&w, "keeps", 8, ".00000000.off", "keep-off", "reason x\n");
	OK(backups_list(&w.cluster, false, see, &seen, &why));
	cr_assert_eq(seen.count, 4);
	cr_assert(seen.n[0] == 2 && seen.n[1] == 7 && seen.n[2] == 8 && seen.n[3] == 9);
	cr_assert(!seen.keep[0] && seen.keep[1] && !seen.keep[2] && !seen.keep[3]);
	seen.count = 0;
	OK(backups_list(&w.cluster, true, see, &seen, &why));
	cr_assert_eq(seen.count, 8);
	for (size_t i = 0; i < seen.count; i++)
		cr_assert_eq(seen.hidden[i],
			     seen.n[i] == 1 || seen.n[i] == 3 || seen.n[i] == 4 || seen.n[i] == 6,
			     "backup %u", seen.n[i]);
	repo_world_release(&w);
}

Test(decision, a_keep_at_birth_holds_until_it_is_taken_off)
{
	struct repo_world w;
	struct seen seen = {.count = 0};
	struct manifest *m;
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	repo_world_init(&w, NULL);
	m = manifest_number(&w.cluster, 1);
	m->summary.keep = true;
	OK(manifest_commit(&w.cluster, m, sha256, &why));
	manifest_free(m);
	OK(backups_list(&w.cluster, false, see, &seen, &why));
	mark(&w, "keeps", 1, ".00000000", "keep", "reason x\n");
	mark(&w, "keeps", 1, ".00000000.off", "keep-off", "reason x\n");
	OK(backups_list(&w.cluster, false, see, &seen, &why));
	cr_assert_eq(seen.count, 2);
	cr_assert(seen.keep[0] && !seen.keep[1]);
	repo_world_release(&w);
}

static void damage(struct repo_world *w, unsigned n)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(n);
	uint8_t *object;
	size_t len;

	attempt_to_text(&attempt, text);
	snprintf(key, sizeof(key), "%sbackups/%s", w->cluster.prefix, text);
	object = store_memory_peek(w->memory, key, &len);
	cr_assert_not_null(object);
	object[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 5] ^= 1;
}

Test(decision, a_damaged_manifest_does_not_hide_the_others)
{
	struct repo_world w;
	struct seen seen = {.count = 0};
	struct error why;

	repo_world_init(&w, NULL);
	for (unsigned n = 1; n <= 3; n++)
		backup_number(&w.cluster, n);
	damage(&w, 2);
	cr_assert_eq(backups_list(&w.cluster, false, see, &seen, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "20261123T000002Z"), "%s", why.text);
	cr_assert_eq(seen.count, 2);
	cr_assert(seen.n[0] == 1 && seen.n[1] == 3);
	repo_world_release(&w);
}

struct told {
	struct seen seen;
	size_t damaged;
	bool keep;
	char text[ERROR_TEXT_MAX];
};

static enum err see_whole(void *ctx, const struct backup_info *info, struct error *why)
{
	return see(&((struct told *)ctx)->seen, info, why);
}

static enum err see_damaged(void *ctx, const struct backup_damage *damage, struct error *why)
{
	struct told *told = ctx;

	(void)why;
	told->damaged++;
	told->keep = damage->keep;
	memcpy(told->text, damage->reason->text, sizeof(told->text));
	return ERR_NONE;
}

Test(decision, who_decides_about_damage_himself_is_told_of_it_and_gets_the_others)
{
	struct told told = {.damaged = 0};
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	for (unsigned n = 1; n <= 3; n++)
		backup_number(&w.cluster, n);
	mark(&w, "keeps", 2, ".00000000", "keep", "reason x\n");
	damage(&w, 2);
	OK(backups_list_all(&w.cluster, false, see_whole, see_damaged, &told, &why));
	cr_assert_eq(told.damaged, 1);
	cr_assert(told.keep);
	cr_assert_not_null(strstr(told.text, "20261123T000002Z"), "%s", told.text);
	cr_assert_eq(told.seen.count, 2);
	repo_world_release(&w);
}

Test(decision, a_manifest_whose_head_is_wrong_is_damaged_and_still_the_newest)
{
	struct told told = {.damaged = 0};
	struct repo_world w;
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(2), later = attempt_number(3), newest;
	struct error why;
	uint8_t *object;
	size_t len;

	repo_world_init(&w, NULL);
	for (unsigned n = 1; n <= 2; n++)
		backup_number(&w.cluster, n);
	attempt_to_text(&attempt, text);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", w.cluster.prefix, text);
	object = store_memory_peek(w.memory, key, &len);
	for (size_t i = 0; i < OBJECT_HEADER_BYTES; i++) {
		told = (struct told){.damaged = 0};
		object[i] ^= 1;
		OK(backups_list_all(&w.cluster, false, see_whole, see_damaged, &told, &why));
		cr_assert(told.damaged == 1 && told.seen.count == 1, "byte %zu", i);
		/* Damaged or not, it is the newest: nobody is to take an older one for that. */
		OK(decision_newest_attempt(&w.cluster, &newest, &why));
		cr_assert_eq(attempt_compare(&newest, &attempt), 0);
		object[i] ^= 1;
	}
	OK(decision_abort(&w.cluster, &later, "stale", &why));
	OK(decision_newest_attempt(&w.cluster, &newest, &why));
	cr_assert_eq(attempt_compare(&newest, &attempt), 0);
	repo_world_release(&w);
}

static enum err refuse(void *ctx, const struct backup_info *info, struct error *why)
{
	(void)info;
	++*(size_t *)ctx;
	return error_set(why, ERR_CANCELLED, "enough");
}

Test(decision, a_visit_that_fails_ends_the_listing)
{
	struct repo_world w;
	struct error why;
	size_t count = 0;

	repo_world_init(&w, NULL);
	backup_number(&w.cluster, 1);
	backup_number(&w.cluster, 2);
	cr_assert_eq(backups_list(&w.cluster, false, refuse, &count, &why), ERR_CANCELLED);
	cr_assert_eq(count, 1);
	repo_world_release(&w);
}

Test(decision, the_newest_is_the_last_that_was_committed)
{
	struct repo_world w;
	struct attempt newest, last = attempt_number(3);
	uint64_t generation = 0;
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	repo_world_init(&w, NULL);
	OK(decision_abort(&w.cluster, &last, "stale", &why));
	cr_assert_eq(decision_newest(&w.cluster, &newest, &generation, sha256, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "no backup"), "%s", why.text);
	backup_number(&w.cluster, 1);
	backup_number(&w.cluster, 2);
	OK(decision_newest(&w.cluster, &newest, &generation, sha256, &why));
	cr_assert_eq(generation, 2);
	damage(&w, 2);
	cr_assert_eq(decision_newest(&w.cluster, &newest, &generation, sha256, &why), ERR_CORRUPT);
	repo_world_release(&w);
}

Test(decision, a_store_that_fails_is_no_empty_repository)
{
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	backup_number(&w.cluster, 1);
	for (unsigned nth = 1;; nth++) {
		struct seen seen = {.count = 0};
		enum err err;

		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		err = backups_list(&w.cluster, false, see, &seen, &why);
		if (w.fault.calls < nth) {
			OK(err);
			cr_assert_eq(seen.count, 1);
			break;
		}
		cr_assert_eq(err, ERR_TRANSIENT, "call %u failed unseen", nth);
	}
	repo_world_release(&w);
}
