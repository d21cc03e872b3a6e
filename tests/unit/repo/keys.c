/* Facts about key sets, slots and secrets. */
#include "repo/keys.h"
#include "base/text.h"
#include "store/memory/memory.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const uint8_t family[REPOSITORY_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
						    9, 10, 11, 12, 13, 14, 15, 16};

struct world {
	struct env env;
	struct store *store;
	struct keyring *keys;
	struct key_secret file, recovery;
	struct error why;
};

static void world_init(struct world *w)
{
	struct writer text;

	memset(w, 0, sizeof(*w));
	w->env = env_os();
	writer_init(&text, 4096);
	cr_assert_eq(store_memory_open(&w->env, &w->store, &w->why), ERR_NONE);
	cr_assert_eq(keyring_new(w->env.random, family, &w->keys, &w->why), ERR_NONE);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_KEY_FILE, &w->file, &text, &w->why),
		     ERR_NONE);
	writer_reset(&text);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_RECOVERY, &w->recovery, &text, &w->why),
		     ERR_NONE);
	writer_release(&text);
}

static void world_release(struct world *w)
{
	keyring_free(w->keys);
	store_close(w->store);
}

static void assert_same_keys(const struct keyring *a, const struct keyring *b)
{
	uint8_t x[CRYPTO_KEY_BYTES], y[CRYPTO_KEY_BYTES];
	struct error why;

	cr_assert_eq(
		memcmp(keyring_repository_id(a), keyring_repository_id(b), REPOSITORY_ID_BYTES), 0);
	cr_assert_eq(keyring_epoch(a), keyring_epoch(b));
	for (int c = KEY_CLASS_DATA; c <= KEY_CLASS_WAL; c++) {
		cr_assert_eq(keyring_class_key(a, (enum key_class)c, keyring_epoch(a), x, &why),
			     ERR_NONE);
		cr_assert_eq(keyring_class_key(b, (enum key_class)c, keyring_epoch(b), y, &why),
			     ERR_NONE);
		cr_assert_eq(memcmp(x, y, sizeof(x)), 0);
	}
	cr_assert_eq(keyring_tag_key(a, x, &why), ERR_NONE);
	cr_assert_eq(keyring_tag_key(b, y, &why), ERR_NONE);
	cr_assert_eq(memcmp(x, y, sizeof(x)), 0);
}

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
		slot[i] ^= flip;
	}
	cr_assert_eq(slots, 1);
	world_release(&w);
}

Test(keys, a_damaged_slot_does_not_hide_a_good_one)
{
	struct world w;
	struct keyring *opened = NULL;
	uint8_t *slot;
	size_t len;

	world_init(&w);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "a", &w.file, &w.why), ERR_NONE);
	cr_assert_eq(keyring_put_slot(w.keys, &w.env, w.store, "b", &w.file, &w.why), ERR_NONE);
	slot = store_memory_peek(w.store, "keys/a", &len);
	slot[len / 2] ^= 1;
	cr_assert_eq(keyring_open(w.store, &w.file, &opened, NULL, &w.why), ERR_NONE);
	keyring_free(opened);
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
