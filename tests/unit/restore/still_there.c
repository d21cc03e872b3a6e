/* What a plan counts on, looked at again under the pin. */
#include "dead_pin.h"
#include "plan_scene.h"

#include "repo/hide.h"
#include "repo/pins.h"
#include "repo/wal_gaps.h"

static enum err look(struct scene *s)
{
	return still_there(&s->env, &s->archive, &s->plan, &s->why);
}

static void sweeps(struct scene *s, uint64_t from, uint64_t to)
{
	struct pin sweeper = {.kind = PIN_SWEEP, .holder = "sweep-0123456789abcdef"};
	const struct wal_gap gap = {1, {from}, {to}};
	struct error why;

	OK(pin_put(&s->repo.cluster, &sweeper, &why));
	OK(wal_gap_put(&s->repo.cluster, &gap, "test", &why));
}

Test(still_there, what_was_planned_is_there)
{
	struct scene *s = usual(TARGET_LATEST);

	plan(s);
	assert_reachable(s);
	cr_assert_eq(look(s), ERR_NONE, "%s", s->why.text);
	sweeps(s, 0xA00000, 0xB00000); /* before it */
	cr_assert_eq(look(s), ERR_NONE, "%s", s->why.text);
	scene_end(s);
}

Test(still_there, what_an_expire_is_about_to_remove_is_not_counted_on)
{
	struct scene *s = usual(TARGET_LATEST);

	plan(s);
	sweeps(s, 0xC00000, 0xE00000);
	cr_assert_eq(look(s), ERR_TRANSIENT);
	cr_assert_not_null(strstr(s->why.text, "expire"), "%s", s->why.text);
	scene_end(s);
}

/* A plan refuses nothing for it: it may be over when the restore begins. */
Test(still_there, an_expire_that_is_under_way_is_told_with_the_plan)
{
	struct scene *s = usual(TARGET_LATEST);

	plan(s);
	cr_assert_eq(s->plan.threat[0], '\0', "%s", s->plan.threat);
	restore_plan_release(&s->plan);
	sweeps(s, 0xC00000, 0xE00000);
	plan(s);
	assert_reachable(s);
	cr_assert_not_null(strstr(s->plan.threat, "sweep-0123456789abcdef"), "%s", s->plan.threat);
	scene_end(s);
}

/* It removes nothing any more. */
Test(still_there, an_expire_that_was_killed_is_in_nobody_s_way)
{
	struct scene *s = usual(TARGET_LATEST);

	sweeps(s, 0xC00000, 0xE00000);
	pin_dies(&s->repo, "sweep-0123456789abcdef");
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.threat[0], '\0', "%s", s->plan.threat);
	cr_assert_eq(look(s), ERR_NONE, "%s", s->why.text);
	scene_end(s);
}

static enum err copy_object(void *ctx, const struct store_object *object, struct error *why)
{
	struct store *const *stores = ctx;
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = store_get(stores[0], object->key, 64 << 20, &data, &len, why);

	if (e == ERR_NONE)
		e = store_put(stores[1], object->key, bytes_of(data, len), why);
	free(data);
	return e;
}

/* What one repository is about to lose another has. */
Test(still_there, where_another_repository_has_it_whole_nobody_waits)
{
	struct scene *s = usual(TARGET_LATEST);
	struct store *stores[2] = {s->repo.memory, NULL};
	struct repository *second;
	struct wal_name name = shelf_name(1, 0xD);
	char key[STORE_KEY_MAX];

	cr_assert_eq(store_memory_open(&s->env, &stores[1], &s->why), ERR_NONE);
	cr_assert_eq(store_list(stores[0], "", copy_object, stores, &s->why), ERR_NONE);
	cr_assert_eq(repository_open(&s->env, stores[1], NULL, &second, &s->why), ERR_NONE);
	cluster_init(&s->archive.cluster[1], second, "main", s->repo.cluster.system_identifier);
	s->archive.count = 2;
	sweeps(s, 0xC00000, 0xE00000);
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.threat[0], '\0', "%s", s->plan.threat);
	cr_assert_eq(look(s), ERR_NONE, "%s", s->why.text);
	/* Not whole: what it lacks is about to go from the other. */
	wal_key(&s->repo.cluster, &name, key);
	cr_assert_eq(store_remove(stores[1], key, &s->why), ERR_NONE);
	restore_plan_release(&s->plan);
	plan(s);
	assert_reachable(s);
	cr_assert_neq(s->plan.threat[0], '\0');
	cr_assert_eq(look(s), ERR_TRANSIENT);
	repository_close(second);
	store_close(stores[1]);
	scene_end(s);
}

Test(still_there, what_lies_behind_the_target_may_go)
{
	struct scene *s = usual(TARGET_LSN);

	s->request.lsn = lsn_of(0xC00100);
	plan(s);
	assert_reachable(s);
	sweeps(s, 0xE00000, 0xF00000);
	cr_assert_eq(look(s), ERR_NONE, "%s", s->why.text);
	scene_end(s);
}

Test(still_there, what_has_gone_since_is_told)
{
	struct scene *s = usual(TARGET_LATEST);
	struct wal_name name = shelf_name(1, 0xD);
	char key[STORE_KEY_MAX];
	struct error why;

	plan(s);
	wal_key(&s->repo.cluster, &name, key);
	OK(store_remove(s->repo.memory, key, &why));
	cr_assert_eq(look(s), ERR_MISSING);
	cr_assert_not_null(strstr(s->why.text, "removed"), "%s", s->why.text);
	scene_end(s);
}

Test(still_there, a_backup_s_own_wal_needs_no_look)
{
	struct scene *s = usual(TARGET_BACKUP_END);

	plan(s);
	assert_reachable(s);
	sweeps(s, 0xB00000, 0x1200000);
	cr_assert_eq(look(s), ERR_NONE, "%s", s->why.text);
	scene_end(s);
}

enum { KEYS_MAX = 64 };
struct keys {
	char key[KEYS_MAX][STORE_KEY_MAX];
	size_t count;
};

static enum err take_key(void *ctx, const struct store_object *object, struct error *why)
{
	struct keys *keys = ctx;

	(void)why;
	cr_assert_lt(keys->count, KEYS_MAX);
	(void)snprintf(keys->key[keys->count++], STORE_KEY_MAX, "%s", object->key);
	return ERR_NONE;
}

static void remove_below(struct scene *s, const char *folder)
{
	static struct keys keys;
	char prefix[STORE_KEY_MAX];
	struct error why;

	keys.count = 0;
	(void)snprintf(prefix, sizeof(prefix), "%s%s", s->repo.cluster.prefix, folder);
	OK(store_list(s->repo.memory, prefix, take_key, &keys, &why));
	for (size_t i = 0; i < keys.count; i++)
		OK(store_remove(s->repo.memory, keys.key[i], &why));
}

/* The tombstone and what follows it, as an expire leaves it. */
static void expire(void *ctx)
{
	struct scene *s = ctx;
	struct attempt attempt = attempt_number(1);
	struct error why;

	OK(hide_backup(&s->repo.cluster, &attempt, "test", &why));
	OK(hide_decide_removed(&s->repo.cluster, &attempt, "test", &why));
	OK(hide_put_tomb(&s->repo.cluster, &attempt, "test", &why));
	remove_below(s, "packs/");
	remove_below(s, "wal/");
}

Test(still_there, removed_at_any_moment_of_a_plan_it_is_no_damage)
{
	unsigned removed = 0, calls = 0;

	/* Not at each: golden files are kept, and there is room for so many. */
	for (unsigned nth = 1; nth <= calls + 1; nth += 1 + calls / 6) {
		struct scene *s = usual(TARGET_LATEST);

		repo_world_fail(&s->repo, FAULT_NONE, nth, ERR_NONE);
		s->repo.fault.meanwhile = expire;
		s->repo.fault.ctx = s;
		plan(s);
		calls = s->repo.fault.calls > calls ? s->repo.fault.calls : calls;
		for (size_t i = 0; i < s->plan.problems; i++)
			cr_assert_str_neq(s->plan.problem[i].code, "wal_missing", "call %u", nth);
		removed += s->plan.problems > 0 &&
			   strcmp(s->plan.problem[0].code, "backup_removed") == 0;
		scene_end(s);
	}
	cr_assert_gt(removed, 0);
}
