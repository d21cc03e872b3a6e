/* Plans where a manifest is damaged: it is passed over loudly, and never taken for a target out of reach. */
#include "plan_scene.h"

enum { STORED_LEN_AT = 16 /* in a frame's header: FORMAT.md section 6 */ };
enum part { SUMMARY, BEHIND_IT };

static void damage_manifest(struct scene *s, unsigned number, enum part part)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt attempt = attempt_number(number);
	size_t len, at = OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 5;
	uint8_t *object;

	attempt_to_text(&attempt, text);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", s->repo.cluster.prefix, text);
	object = store_memory_peek(s->repo.memory, key, &len);
	cr_assert_not_null(object);
	if (part == BEHIND_IT) /* in the next frame */
		at += get_u32(object + OBJECT_HEADER_BYTES + STORED_LEN_AT) + CRYPTO_TAG_BYTES +
		      FRAME_HEADER_BYTES;
	cr_assert_lt(at, len);
	object[at] ^= 1;
}

Test(plan_damage, a_damaged_backup_is_passed_over_loudly)
{
	static const enum part parts[] = {SUMMARY, BEHIND_IT};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct scene *s = usual(TARGET_LATEST);
		struct attempt first = attempt_number(1);

		add_backup(s, 2, START + 0x100000, STOP + 0x100000);
		damage_manifest(s, 2, parts[i]);
		plan(s);
		assert_reachable(s);
		cr_assert_eq(attempt_compare(&s->plan.backup.attempt, &first), 0);
		cr_assert_not_null(strstr(s->heard.text, "DAMAGED"), "%s", s->heard.text);
		cr_assert_not_null(strstr(s->heard.text, "20261123T000002Z"), "%s", s->heard.text);
		scene_end(s);
	}
}

Test(plan_damage, a_damaged_backup_that_alone_reached_the_target_is_no_target_out_of_reach)
{
	static const enum part parts[] = {SUMMARY, BEHIND_IT};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct scene *s = usual(TARGET_LATEST);

		damage_manifest(s, 1, parts[i]);
		cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why),
			     ERR_CORRUPT, "%s", s->why.text);
		cr_assert_not_null(strstr(s->why.text, "20261123T000001Z"), "%s", s->why.text);
		scene_end(s);
	}
}

Test(plan_damage, a_named_backup_is_untouched_by_the_damage_of_another_and_not_replaced)
{
	struct scene *s = usual(TARGET_BACKUP_END);

	add_backup(s, 2, START + 0x100000, STOP + 0x100000);
	damage_manifest(s, 2, BEHIND_IT);
	s->request.has_backup = true;
	s->request.backup = attempt_number(1);
	plan(s);
	assert_reachable(s);
	restore_plan_release(&s->plan);
	s->request.backup = attempt_number(2);
	cr_assert_eq(restore_plan(&s->env, &s->archive, &s->request, &s->plan, &s->why),
		     ERR_CORRUPT);
	cr_assert_not_null(strstr(s->why.text, "20261123T000002Z"), "%s", s->why.text);
	scene_end(s);
}

Test(plan_damage, a_named_backup_that_one_repository_has_damaged_comes_from_the_other)
{
	struct scene *s = usual(TARGET_BACKUP_END);
	struct scene *other = usual(TARGET_BACKUP_END);

	s->archive.cluster[s->archive.count++] = other->repo.cluster;
	damage_manifest(other, 1, SUMMARY);
	s->request.has_backup = true;
	s->request.backup = attempt_number(1);
	plan(s);
	cr_assert_eq(s->plan.backup.timeline, 1);
	scene_end(other);
	scene_end(s);
}
