/* Facts about slots that are put and removed over a family of repositories. */
#include "repo/keys_change.h"
#include "fault_store.h"
#include "keys_world.h"

/* Two repositories of one family, each with a key file of its own and a common recovery code. */
struct family {
	struct world one, two;
	struct fault_store fault[2];
	struct key_place place[2];
	struct key_change change;
};

static void not_told(void *ctx, size_t place, const char *slot, bool put)
{
	(void)ctx;
	(void)place;
	(void)slot;
	(void)put;
}

static void family_init(struct family *f)
{
	struct world *world[] = {&f->one, &f->two};

	world_init(&f->one);
	world_init(&f->two);
	for (int i = 0; i < 2; i++) {
		struct world *w = world[i];

		cr_assert_eq(keyring_put_slot(f->one.keys, &w->env, w->store, "key-file", &w->file,
					      &w->why),
			     ERR_NONE);
		cr_assert_eq(keyring_put_slot(f->one.keys, &w->env, w->store, "recovery",
					      &f->one.recovery, &w->why),
			     ERR_NONE);
		fault_store_init(&f->fault[i], w->store);
		f->place[i] = (struct key_place){&f->fault[i].store, &w->file};
	}
	f->change = (struct key_change){
		.env = &f->one.env, .place = f->place, .count = 2, .told = not_told};
}

static void family_release(struct family *f)
{
	world_release(&f->one);
	world_release(&f->two);
}

static uint32_t epoch_of(struct store *store, const struct key_secret *secret)
{
	struct keyring *opened = NULL;
	struct error why;
	uint32_t epoch = 0;

	if (keyring_open(store, secret, &opened, NULL, &why) == ERR_NONE)
		epoch = keyring_epoch(opened);
	keyring_free(opened);
	return epoch;
}

static void assert_one_key_set(const struct family *f)
{
	struct keyring *one = NULL, *two = NULL;
	struct error why;

	cr_assert_eq(keyring_open(f->one.store, &f->one.file, &one, NULL, &why), ERR_NONE);
	cr_assert_eq(keyring_open(f->two.store, &f->two.file, &two, NULL, &why), ERR_NONE);
	assert_same_keys(one, two);
	keyring_free(one);
	keyring_free(two);
}

Test(keys_change, a_rotation_broken_off_anywhere_leaves_all_readable_and_the_next_ends_it)
{
	unsigned broken = 0;

	for (int which = 0; which < 2; which++) {
		for (unsigned nth = 1;; nth++) {
			struct family f;
			struct fault_store *fault = &f.fault[which];
			const struct key_secret *also[] = {&f.one.recovery};
			struct key_rotation r = {.also = also, .also_count = 1};
			struct error why;
			uint32_t one, two;
			enum err e;

			family_init(&f);
			fault->mode = FAULT_DOWN;
			fault->kind = ERR_TRANSIENT;
			fault->at = nth;
			fault->calls = 0;
			e = keys_rotate(&f.change, &r, &why);
			one = epoch_of(f.one.store, &f.one.file);
			two = epoch_of(f.two.store, &f.two.file);
			cr_assert(one == 1 || one == 2, "%d.%u: %u", which, nth, one);
			cr_assert(two == 1 || two == 2, "%d.%u: %u", which, nth, two);
			/* Whoever is to open it can before the first of ours seals in it. */
			if (one == 2 || two == 2) {
				cr_assert_eq(epoch_of(f.one.store, &f.one.recovery), 2);
				cr_assert_eq(epoch_of(f.two.store, &f.one.recovery), 2);
			}
			if (e == ERR_NONE) {
				cr_assert(one == 2 && two == 2 && !r.resumed && r.epoch == 2);
				family_release(&f);
				break;
			}
			broken++;
			fault->mode = FAULT_NONE;
			r = (struct key_rotation){.also = also, .also_count = 1};
			cr_assert_eq(keys_rotate(&f.change, &r, &why), ERR_NONE, "%d.%u: %s", which,
				     nth, why.text);
			one = epoch_of(f.one.store, &f.one.file);
			cr_assert_eq(one, r.epoch);
			cr_assert_eq(epoch_of(f.two.store, &f.two.file), one);
			cr_assert_eq(epoch_of(f.one.store, &f.one.recovery), one);
			cr_assert_eq(epoch_of(f.two.store, &f.one.recovery), one);
			assert_one_key_set(&f);
			family_release(&f);
		}
	}
	cr_assert_gt(broken, 20);
}

Test(keys_change, an_epoch_that_another_key_opens_already_is_gone_on_with_under_its_key)
{
	struct family f;
	struct key_secret machine;
	struct writer text;
	const struct key_secret *also[] = {&machine};
	struct key_rotation r = {.also = also, .also_count = 1};
	struct keyring *begun = NULL, *opened = NULL;
	struct error why;

	family_init(&f);
	writer_init(&text, 4096);
	cr_assert_eq(key_secret_new(f.one.env.random, SLOT_KEY_FILE, &machine, &text, &why),
		     ERR_NONE);
	writer_release(&text);
	/* What a rotation left that died after its first slot; the machine may have written since. */
	cr_assert_eq(keyring_rotate(f.one.keys, f.one.env.random, 2, &begun, &why), ERR_NONE);
	cr_assert_eq(keyring_put_slot(begun, &f.one.env, f.two.store, "epoch-2-1", &machine, &why),
		     ERR_NONE);
	cr_assert_eq(keys_rotate(&f.change, &r, &why), ERR_NONE, "%s", why.text);
	cr_assert(r.resumed && r.epoch == 2);
	cr_assert_eq(keyring_open(f.one.store, &f.one.file, &opened, NULL, &why), ERR_NONE);
	assert_same_keys(begun, opened);
	assert_one_key_set(&f);
	keyring_free(opened);
	keyring_free(begun);
	/* And a number once given is not given again. */
	family_release(&f);
	family_init(&f);
	cr_assert_eq(
		keyring_put_slot(f.one.keys, &f.one.env, f.two.store, "epoch-6-1", &machine, &why),
		ERR_NONE);
	r = (struct key_rotation){.also_count = 0};
	cr_assert_eq(keys_rotate(&f.change, &r, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(r.epoch, 7);
	family_release(&f);
}

Test(keys_change, who_is_not_given_keeps_its_slot_and_its_epochs)
{
	struct family f;
	struct key_rotation r = {.also_count = 0};
	const struct key_secret *foreign[1];
	struct key_slots_summary sum;
	struct error why;
	struct world other;

	world_init(&other);
	family_init(&f);
	foreign[0] = &other.file;
	r.also = foreign;
	r.also_count = 1;
	cr_assert_eq(keys_rotate(&f.change, &r, &why), ERR_WRONG_KEY);
	cr_assert_eq(epoch_of(f.one.store, &f.one.file), 1);
	r = (struct key_rotation){.fresh = &other.recovery};
	cr_assert_eq(keys_rotate(&f.change, &r, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(epoch_of(f.two.store, &other.recovery), 2);
	cr_assert_eq(epoch_of(f.two.store, &f.one.recovery), 1);
	cr_assert_eq(key_slots_sum_up(f.two.store, NULL, &sum, &why), ERR_NONE);
	cr_assert(sum.slots == 3 && sum.current == 2);
	/* Until it is added: its older slot goes. */
	cr_assert_eq(keys_add(&f.change, &f.one.recovery, "again", &why), ERR_NONE);
	cr_assert_eq(epoch_of(f.two.store, &f.one.recovery), 2);
	cr_assert_eq(key_slots_sum_up(f.two.store, NULL, &sum, &why), ERR_NONE);
	cr_assert(sum.slots == 3 && sum.current == 3);
	family_release(&f);
	world_release(&other);
}

/* What the slots were when the new secret was shown. */
struct showing {
	const struct family *family;
	unsigned times;
	enum err answer;
};

static enum err show(void *ctx, struct error *why)
{
	struct showing *s = ctx;
	struct key_slots_summary sum;

	s->times++;
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(key_slots_sum_up(s->family->place[i].store, NULL, &sum, why),
			     ERR_NONE);
		cr_assert(sum.slots == 2 && sum.epoch == 1);
	}
	return s->answer == ERR_NONE ? ERR_NONE : error_set(why, s->answer, "can't be shown");
}

Test(keys_change, a_new_secret_is_shown_before_its_first_slot_or_gets_none)
{
	static const enum err answers[] = {ERR_IO, ERR_NONE};

	for (int rotate = 0; rotate < 2; rotate++) {
		struct family f;
		struct showing showing = {.family = &f};
		struct key_rotation r;
		struct world other;
		struct error why;

		world_init(&other);
		family_init(&f);
		f.change.show = show;
		f.change.ctx = &showing;
		for (size_t i = 0; i < 2; i++) {
			showing.answer = answers[i];
			r = (struct key_rotation){.fresh = &other.recovery};
			cr_expect_eq(rotate ? keys_rotate(&f.change, &r, &why)
					    : keys_add(&f.change, &other.recovery, "new", &why),
				     showing.answer);
			cr_expect_eq(showing.times, i + 1);
			for (int p = 0; p < 2; p++)
				cr_expect_eq(epoch_of(f.place[p].store, &other.recovery) > 0,
					     showing.answer == ERR_NONE);
		}
		/* A rotation without one shows nothing. */
		r = (struct key_rotation){.also_count = 0};
		cr_expect_eq(keys_rotate(&f.change, &r, &why), ERR_NONE);
		cr_expect_eq(showing.times, 2);
		family_release(&f);
		world_release(&other);
	}
}
