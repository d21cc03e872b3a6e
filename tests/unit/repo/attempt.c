/* Facts about the names of attempts. */
#include "repo/attempt.h"
#include "base/bytes.h"

#include <criterion/criterion.h>

Test(attempt, text_and_binary_are_the_same_name)
{
	struct attempt a;
	char text[ATTEMPT_TEXT_MAX];

	cr_assert(attempt_from_text("20261123T140500Z-0123456789abcdef", &a));
	cr_assert_eq(attempt_time_s(&a), 1795442700);
	cr_assert_eq(get_u64(a.id), 1795442700);
	cr_assert_eq(memcmp(a.id + 8, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8), 0);
	attempt_to_text(&a, text);
	cr_assert_str_eq(text, "20261123T140500Z-0123456789abcdef");
}

Test(attempt, every_day_from_1970_to_2100_comes_back)
{
	for (uint64_t day = 0; day < 48000; day++) {
		struct attempt a = {{0}}, b;
		char text[ATTEMPT_TEXT_MAX];

		put_u64(a.id, day * 86400 + day % 86400);
		attempt_to_text(&a, text);
		cr_assert(attempt_from_text(text, &b), "%s", text);
		cr_assert_eq(attempt_compare(&a, &b), 0, "%s", text);
	}
}

Test(attempt, other_texts_are_no_names)
{
	static const char *const bad[] = {
		"",
		"20261123T140500Z",
		"20261123T140500Z-0123456789abcde",
		"20261123T140500Z-0123456789abcdef0",
		"20261123T140500Z-0123456789ABCDEF",
		"20261123t140500Z-0123456789abcdef",
		"20261123T140500Z_0123456789abcdef",
		"20260231T140500Z-0123456789abcdef",
		"20261123T240000Z-0123456789abcdef",
		"19691231T235959Z-0123456789abcdef",
		"2026112 T140500Z-0123456789abcdef",
		"20261300T140500Z-0123456789abcdef",
	};
	struct attempt a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert(!attempt_from_text(bad[i], &a), "%s", bad[i]);
}

Test(attempt, order_is_the_order_of_the_text)
{
	static const char *const ordered[] = {
		"19700101T000000Z-ffffffffffffffff", "20001231T235959Z-0000000000000000",
		"20261123T140500Z-0000000000000001", "20261123T140500Z-0100000000000000",
		"20261123T140501Z-0000000000000000", "99991231T235959Z-0000000000000000",
	};

	for (size_t i = 0; i + 1 < sizeof(ordered) / sizeof(*ordered); i++) {
		struct attempt a, b;

		cr_assert(attempt_from_text(ordered[i], &a));
		cr_assert(attempt_from_text(ordered[i + 1], &b));
		cr_assert_lt(strcmp(ordered[i], ordered[i + 1]), 0);
		cr_assert_lt(attempt_compare(&a, &b), 0);
		cr_assert_gt(attempt_compare(&b, &a), 0);
	}
}

Test(attempt, any_stored_bytes_have_a_text)
{
	struct attempt a;
	char text[ATTEMPT_TEXT_MAX];

	memset(a.id, 0xff, sizeof(a.id));
	attempt_to_text(&a, text);
	cr_assert_str_eq(text, "99991231T235959Z-ffffffffffffffff");
}

Test(attempt, new_ones_are_of_now_and_differ)
{
	struct env env = env_os();
	struct attempt a, b;
	struct error why;
	int64_t before = clock_now_us(env.clock) / 1000000;

	cr_assert_eq(attempt_new(&env, &a, &why), ERR_NONE);
	cr_assert_eq(attempt_new(&env, &b, &why), ERR_NONE);
	cr_assert_geq(attempt_time_s(&a), before);
	cr_assert_neq(attempt_compare(&a, &b), 0);
}

static int64_t given_us;

static int64_t given_now(struct clock *c)
{
	(void)c;
	return given_us;
}

Test(attempt, a_later_microsecond_sorts_behind)
{
	static const struct clock_ops ops = {.now_us = given_now};
	struct clock clock = {.ops = &ops};
	struct env env = env_os();
	struct attempt earlier, later;
	struct error why;
	char text[ATTEMPT_TEXT_MAX];

	env.clock = &clock;
	given_us = INT64_C(1795000000999998);
	cr_assert_eq(attempt_new(&env, &earlier, &why), ERR_NONE);
	attempt_to_text(&earlier, text);
	cr_assert_eq(strncmp(text + 16, "-f423e", 6), 0, "%s", text);
	for (int i = 0; i < 20; i++) {
		given_us++;
		cr_assert_eq(attempt_new(&env, &later, &why), ERR_NONE);
		cr_assert_lt(attempt_compare(&earlier, &later), 0, "step %d", i);
		earlier = later;
	}
}

static enum err no_random(struct random *r, void *out, size_t len, struct error *why)
{
	(void)r;
	(void)out;
	(void)len;
	return error_set(why, ERR_IO, "no randomness");
}

Test(attempt, without_randomness_there_is_no_name)
{
	static const struct random_ops ops = {.fill = no_random};
	struct random random = {.ops = &ops};
	struct env env = env_os();
	struct attempt a;
	struct error why;

	env.random = &random;
	cr_assert_eq(attempt_new(&env, &a, &why), ERR_IO);
}
