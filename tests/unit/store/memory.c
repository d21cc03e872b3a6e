#include "store/memory/memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* What it shares with the other drivers is in tests/contract/store.c. */
struct still {
	struct clock clock;
	int64_t now_us;
};

static int64_t still_now(struct clock *c)
{
	return ((struct still *)c)->now_us;
}

static const struct clock_ops still_ops = {
	.now_us = still_now, .monotonic_us = still_now, .since_boot_us = still_now};

Test(store_memory, takes_its_time_from_the_clock_it_was_given)
{
	struct still still = {.clock = {.ops = &still_ops}, .now_us = 12345};
	struct env env = env_os();
	struct store_object object;
	struct store *s;

	env.clock = &still.clock;
	cr_assert_eq(store_memory_open(&env, &s, NULL), ERR_NONE);
	cr_assert_eq(store_put(s, "name", bytes_of_text("x"), NULL), ERR_NONE);
	cr_assert_eq(store_stat(s, "name", &object, NULL), ERR_NONE);
	cr_assert_eq(object.stored_at_us, 12345);
	store_close(s);
}

Test(store_memory, what_is_peeked_can_be_damaged)
{
	struct env env = env_os();
	struct store *s;
	uint8_t *data;
	size_t len = 0;
	char out[4] = {0};

	cr_assert_eq(store_memory_open(&env, &s, NULL), ERR_NONE);
	cr_assert_eq(store_put(s, "name", bytes_of_text("abc"), NULL), ERR_NONE);
	cr_assert_null(store_memory_peek(s, "gone", &len));
	data = store_memory_peek(s, "name", &len);
	cr_assert_eq(len, 3);
	data[1] ^= 1;
	cr_assert_eq(store_read(s, "name", 0, out, 3, NULL), ERR_NONE);
	cr_assert_str_eq(out, "acc");
	store_close(s);
}

Test(store_memory, a_thousand_objects_keep_their_order)
{
	struct env env = env_os();
	struct store *s;
	char key[16];

	cr_assert_eq(store_memory_open(&env, &s, NULL), ERR_NONE);
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i * 7919 % 1000);
		cr_assert_eq(store_put(s, key, bytes_of_text(key), NULL), ERR_NONE);
	}
	for (unsigned i = 0; i < 1000; i++) {
		char out[16] = {0};

		(void)snprintf(key, sizeof(key), "k%u", i);
		cr_assert_eq(store_read(s, key, 0, out, strlen(key), NULL), ERR_NONE);
		cr_assert_str_eq(out, key);
	}
	store_close(s);
}
