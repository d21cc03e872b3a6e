/* Facts about key sets, slots and secrets. */
#include "base/text.h"
#include "keys_world.h"
#include "repo/keys_change.h"

#include <stdio.h>

Test(keys, each_kind_of_secret_opens_its_slot)
{
	static const char passphrase[] = "correct horse\n";
	struct world w;
	struct key_secret phrase;
	const struct key_secret *secret[3];
	static const char *const name[3] = {"primary", "recovery", "people"};

	world_init(&w);
	cr_assert_eq(
		key_secret_from_text(SLOT_PASSPHRASE, bytes_of_text(passphrase), &phrase, &w.why),
		ERR_NONE);
	cr_assert_eq(phrase.material.len, strlen(passphrase) - 1);
	secret[0] = &w.file;
	secret[1] = &w.recovery;
	secret[2] = &phrase;
	for (int i = 0; i < 3; i++)
		cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, name[i], secret[i], &w.why),
			     ERR_NONE, "%s", w.why.text);
	for (int i = 0; i < 3; i++) {
		struct keyring *opened = NULL;
		char slot[SLOT_NAME_MAX];

		cr_assert_eq(keyring_open(w.store, secret[i], &opened, slot, &w.why), ERR_NONE,
			     "%s", w.why.text);
		cr_assert_str_eq(slot, name[i]);
		assert_same_keys(w.keys, opened);
		keyring_free(opened);
	}
	world_release(&w);
}

Test(keys, a_clear_slot_needs_no_secret)
{
	struct world w;
	struct keyring *opened = NULL;

	world_init(&w);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "clear", NULL, &w.why), ERR_NONE);
	cr_assert_eq(keyring_open(w.store, NULL, &opened, NULL, &w.why), ERR_NONE);
	assert_same_keys(w.keys, opened);
	keyring_free(opened);
	world_release(&w);
}

Test(keys, another_secret_is_a_wrong_key_and_the_slots_are_named)
{
	struct world w, other;
	struct keyring *opened = NULL;

	world_init(&w);
	world_init(&other);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "host-a", &w.file, &w.why),
		     ERR_NONE);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "recovery", &w.recovery, &w.why),
		     ERR_NONE);
	cr_assert_eq(keyring_open(w.store, &other.file, &opened, NULL, &w.why), ERR_WRONG_KEY);
	cr_assert_not_null(strstr(w.why.text, "host-a"), "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.text, "recovery"), "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.text, w.store->label), "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.hint, "pgagent key test"));
	cr_assert_not_null(strstr(w.why.hint, "pgagent key list"));
	cr_assert_eq(keyring_open(w.store, NULL, &opened, NULL, &w.why), ERR_WRONG_KEY);
	cr_assert_null(opened);
	world_release(&w);
	world_release(&other);
}

Test(keys, no_slot_at_all_is_missing)
{
	struct world w;
	struct keyring *opened = NULL;

	world_init(&w);
	cr_assert_eq(keyring_open(w.store, &w.file, &opened, NULL, &w.why), ERR_MISSING);
	cr_assert_not_null(strstr(w.why.text, w.store->label));
	world_release(&w);
}

static enum err count_slot(void *ctx, const struct slot_info *info, struct error *why)
{
	(void)why;
	cr_assert_eq(info->type, SLOT_KEY_FILE);
	cr_assert_str_eq(info->name, "primary");
	++*(int *)ctx;
	return ERR_NONE;
}

Test(keys, every_flipped_byte_of_a_slot_is_damage_and_not_a_wrong_key)
{
	struct world w;
	uint8_t *slot;
	size_t len;
	int slots = 0;

	world_init(&w);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "primary", &w.file, &w.why),
		     ERR_NONE);
	cr_assert_eq(key_slots_list(w.store, count_slot, &slots, &w.why), ERR_NONE);
	cr_assert_eq(slots, 1);
	slot = store_memory_peek(w.store, "keys/primary", &len);
	cr_assert_not_null(slot);
	for (size_t i = 0; i < len; i++) {
		struct keyring *opened = NULL;
		uint8_t flip = i % 2 == 0 ? 1 : 0x20;

		slot[i] ^= flip;
		cr_assert_eq(keyring_open(w.store, &w.file, &opened, NULL, &w.why), ERR_CORRUPT,
			     "byte %zu", i);
		cr_assert_not_null(strstr(w.why.text, "keys/primary"), "%s", w.why.text);
		cr_assert_eq(key_slots_list(w.store, count_slot, &slots, &w.why), ERR_CORRUPT);
		cr_assert_not_null(strstr(w.why.text, "keys/primary"), "%s", w.why.text);
		slot[i] ^= flip;
	}
	cr_assert_eq(slots, 1);
	world_release(&w);
}

static enum err note_slot(void *ctx, const struct slot_info *info, struct error *why)
{
	char *listed = ctx;

	(void)why;
	listed[strlen(listed)] = info->name[0];
	return ERR_NONE;
}

Test(keys, a_damaged_slot_does_not_hide_a_good_one)
{
	struct world w;
	struct keyring *opened = NULL;
	char listed[8] = "";
	uint8_t *slot;
	size_t len;

	world_init(&w);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "a", &w.file, &w.why), ERR_NONE);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "b", &w.file, &w.why), ERR_NONE);
	slot = store_memory_peek(w.store, "keys/a", &len);
	slot[len / 2] ^= 1;
	cr_assert_eq(keyring_open(w.store, &w.file, &opened, NULL, &w.why), ERR_NONE);
	keyring_free(opened);
	cr_assert_eq(key_slots_list(w.store, note_slot, listed, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "keys/a"), "%s", w.why.text);
	cr_assert_str_eq(listed, "b");
	world_release(&w);
}

Test(keys, a_slot_of_another_name_is_corrupt)
{
	struct world w;
	struct keyring *opened = NULL;
	uint8_t *slot;
	size_t len;

	world_init(&w);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "a", &w.file, &w.why), ERR_NONE);
	slot = store_memory_peek(w.store, "keys/a", &len);
	cr_assert_eq(store_put(w.store, "keys/b", bytes_of(slot, len), &w.why), ERR_NONE);
	cr_assert_eq(store_remove(w.store, "keys/a", &w.why), ERR_NONE);
	cr_assert_eq(keyring_open(w.store, &w.file, &opened, NULL, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "keys/b"), "%s", w.why.text);
	world_release(&w);
}

Test(keys, slot_names_are_checked_and_never_taken_twice)
{
	static const char *const bad[] = {"", "-a", "A", "a/b", "a.b", "a b"};
	struct world w;

	world_init(&w);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, bad[i], &w.file, &w.why),
			     ERR_CONFIG, "%s", bad[i]);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "a", &w.file, &w.why), ERR_NONE);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "a", &w.file, &w.why), ERR_EXISTS);
	cr_assert_not_null(strstr(w.why.text, "\"a\""));
	world_release(&w);
}

Test(keys, a_missing_epoch_is_a_wrong_key)
{
	struct world w;
	uint8_t key[CRYPTO_KEY_BYTES];

	world_init(&w);
	cr_assert_eq(keyring_epoch(w.keys), 1);
	cr_assert_eq(keyring_class_key(w.keys, KEY_CLASS_WAL, 2, key, &w.why), ERR_WRONG_KEY);
	cr_assert_not_null(strstr(w.why.text, "epoch 2"));
	world_release(&w);
}

Test(keys, secrets_come_back_from_their_text)
{
	static const enum slot_type type[] = {SLOT_KEY_FILE, SLOT_RECOVERY};
	struct env env = env_os();

	for (int i = 0; i < 2; i++) {
		struct key_secret made, read;
		struct writer text;
		struct error why;

		writer_init(&text, 4096);
		cr_assert_eq(key_secret_new(env.random, type[i], &made, &text, &why), ERR_NONE);
		cr_assert_eq(key_secret_from_text(type[i], writer_view(&text), &read, &why),
			     ERR_NONE, "%s", why.text);
		cr_assert_eq(read.type, type[i]);
		cr_assert_eq(read.material.len, made.material.len);
		cr_assert_eq(memcmp(read.material.data, made.material.data, made.material.len), 0);
		writer_release(&text);
		key_secret_release(&made);
		cr_assert(bytes_are_zero(bytes_of(made.material.data, sizeof(made.material.data))));
	}
}

Test(keys, a_recovery_code_forgives_case_dashes_and_look_alikes)
{
	/* 24 zero bytes; SHA-256 of them begins with 9d = 10011 101(00000). */
	static const char code[] = "ooooo-00000-OOOOO-00000-00000-00000-00000-000";
	struct key_secret read;
	struct error why;
	uint8_t zeros[24] = {0}, digest[CRYPTO_SHA256_BYTES];
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char typed[64];

	cr_assert_eq(crypto_sha256(bytes_of(zeros, 24), digest, &why), ERR_NONE);
	(void)snprintf(typed, sizeof(typed), " %.45s%c%c\n", code, digits[digest[0] >> 5],
		       digits[digest[0] & 31]);
	cr_assert_eq(key_secret_from_text(SLOT_RECOVERY, bytes_of_text(typed), &read, &why),
		     ERR_NONE, "%s", why.text);
	cr_assert_eq(read.material.len, 24);
	cr_assert(bytes_are_zero(secret_view(&read.material)));
	typed[1] = '2';
	cr_assert_eq(key_secret_from_text(SLOT_RECOVERY, bytes_of_text(typed), &read, &why),
		     ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "mistyped"), "%s", why.text);
	typed[1] = 'U';
	cr_assert_eq(key_secret_from_text(SLOT_RECOVERY, bytes_of_text(typed), &read, &why),
		     ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "character 2"), "%s", why.text);
	cr_assert_eq(key_secret_from_text(SLOT_RECOVERY, bytes_of_text("ABCDE"), &read, &why),
		     ERR_CONFIG);
}

Test(keys, texts_that_are_no_secret_are_refused_without_quoting_them)
{
	static const struct {
		enum slot_type type;
		const char *text;
	} bad[] = {
		{SLOT_KEY_FILE, ""},
		{SLOT_KEY_FILE, "# only a comment\n"},
		{SLOT_KEY_FILE, "deadbeef\n"},
		{SLOT_KEY_FILE,
		 "zz00000000000000000000000000000000000000000000000000000000000000\n"},
		{SLOT_KEY_FILE,
		 "0000000000000000000000000000000000000000000000000000000000000000\n"
		 "0000000000000000000000000000000000000000000000000000000000000000\n"},
		{SLOT_PASSPHRASE, ""},
		{SLOT_PASSPHRASE, "\n"},
		{SLOT_PASSPHRASE, "deadbeef\nmore"},
		{SLOT_CLEAR, "deadbeef"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct key_secret read;
		struct error why;

		cr_assert_eq(
			key_secret_from_text(bad[i].type, bytes_of_text(bad[i].text), &read, &why),
			ERR_CONFIG, "case %zu", i);
		cr_assert_null(strstr(why.text, "deadbeef"));
	}
}

Test(keys, of_several_slots_the_one_with_the_newest_epoch_opens)
{
	struct world w;
	struct keyring *newer = NULL, *opened = NULL;
	char slot[SLOT_NAME_MAX];
	/* The newest in front, in the middle, and last. */
	static const char *const name[] = {"a", "m", "z"};

	for (int newest = 0; newest < 3; newest++) {
		world_init(&w);
		cr_assert_eq(keyring_rotate(w.keys, w.env.random, 5, &newer, &w.why), ERR_NONE);
		for (int i = 0; i < 3; i++)
			cr_assert_eq(keyring_put_slot(i == newest ? newer : w.keys, &w.env, w.store,
						      name[i], &w.file, &w.why),
				     ERR_NONE);
		cr_assert_eq(keyring_open(w.store, &w.file, &opened, slot, &w.why), ERR_NONE);
		cr_assert_str_eq(slot, name[newest]);
		cr_assert_eq(keyring_oldest_epoch(opened), 1);
		assert_same_keys(newer, opened);
		keyring_free(opened);
		keyring_free(newer);
		world_release(&w);
	}
}

Test(keys, key_sets_of_a_family_merge_and_those_that_contradict_do_not)
{
	struct world w, other;
	struct keyring *two = NULL, *three = NULL, *both = NULL, *also_two = NULL;
	uint8_t key[CRYPTO_KEY_BYTES];

	world_init(&w);
	world_init(&other);
	cr_assert_eq(keyring_rotate(w.keys, w.env.random, 2, &two, &w.why), ERR_NONE);
	cr_assert_eq(keyring_rotate(w.keys, w.env.random, 3, &three, &w.why), ERR_NONE);
	cr_assert_eq(keyring_rotate(w.keys, w.env.random, 2, &also_two, &w.why), ERR_NONE);
	cr_assert_eq(keyring_merge(two, three, &both, &w.why), ERR_NONE);
	for (uint32_t epoch = 1; epoch <= 3; epoch++)
		cr_assert_eq(keyring_class_key(both, KEY_CLASS_DATA, epoch, key, &w.why), ERR_NONE);
	assert_same_keys(both, three);
	cr_assert_eq(keyring_common_epoch(two, three), 1);
	cr_assert_eq(keyring_common_epoch(two, both), 2);
	cr_assert_eq(keyring_common_epoch(two, also_two), 1);
	keyring_free(both);
	both = NULL;
	cr_assert_eq(keyring_merge(two, also_two, &both, &w.why), ERR_CONFIG);
	cr_assert_eq(keyring_merge(w.keys, other.keys, &both, &w.why), ERR_CONFIG);
	cr_assert_null(both);
	keyring_free(two);
	keyring_free(three);
	keyring_free(also_two);
	world_release(&w);
	world_release(&other);
}

Test(keys, a_slot_states_its_newest_epoch_and_one_that_does_not_is_of_the_first)
{
	struct world w;
	struct keyring *newer = NULL;
	struct key_slots_summary sum;

	world_init(&w);
	cr_assert_eq(keyring_rotate(w.keys, w.env.random, 7, &newer, &w.why), ERR_NONE);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "a", &w.file, &w.why), ERR_NONE);
	cr_assert_eq(keyring_put_slot(newer, &w.env, w.store, "b", &w.recovery, &w.why), ERR_NONE);
	cr_assert_eq(key_slots_sum_up(w.store, NULL, &sum, &w.why), ERR_NONE);
	cr_assert(sum.slots == 2 && sum.epoch == 7 && sum.current == 1 && sum.damaged == 0);
	cr_assert_eq(key_slots_sum_up(w.store, "b", &sum, &w.why), ERR_NONE);
	cr_assert(sum.slots == 1 && sum.epoch == 1 && sum.current == 1);
	/* The last that holds the newest stays, whatever else there is. */
	cr_assert_eq(key_slot_may_go(w.store, "b", &w.why), ERR_CONFIG);
	cr_assert_eq(key_slot_remove(w.store, "b", &w.why), ERR_CONFIG);
	cr_assert_eq(key_slot_remove(w.store, "c", &w.why), ERR_MISSING);
	cr_assert_eq(key_slot_remove(w.store, "a", &w.why), ERR_NONE);
	cr_assert_eq(key_slot_remove(w.store, "b", &w.why), ERR_CONFIG);
	keyring_free(newer);
	world_release(&w);
}
