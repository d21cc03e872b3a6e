/* All pins at once, and who has gone silent. */
#include "repo/pins.h"
#include "repo_world.h"

#include <string.h>

static struct pin put_pin(struct repo_world *w, const char *kind, const char *holder)
{
	struct pin pin = {.kind = kind, .has_backup = true, .backup = attempt_number(1)};
	struct error why;

	(void)snprintf(pin.holder, sizeof(pin.holder), "%s", holder);
	OK(pin_put(&w->cluster, &pin, &why));
	return pin;
}

static struct pin put_writer(struct repo_world *w, unsigned n)
{
	struct attempt attempt = attempt_number(n);
	char holder[ATTEMPT_TEXT_MAX];

	attempt_to_text(&attempt, holder);
	return put_pin(w, "backup", holder);
}

/* Reads the pins, notes them at `now_us`, and ends what is stale then. */
static size_t end_at(struct repo_world *w, struct sightings *seen, int64_t now_us)
{
	struct pins pins;
	struct error why;
	size_t ended;

	OK(pins_read(&w->cluster, &pins, &why));
	OK(sightings_note(seen, &w->cluster, &pins, now_us, &why));
	OK(pins_end_stale(&w->cluster, &pins, seen, now_us, &ended, &why));
	pins_release(&pins);
	return ended;
}

Test(pins, the_newest_of_every_holder_is_read)
{
	struct attempt first = attempt_number(1);
	struct repo_world w;
	struct pins pins;
	struct pin writer;
	struct error why;

	repo_world_init(&w, NULL);
	writer = put_writer(&w, 2);
	writer.start = (struct lsn){0x5000028};
	writer.timeline = 3;
	OK(pin_put(&w.cluster, &writer, &why));
	(void)put_pin(&w, "restore", "restore-0123456789abcdef");
	OK(pins_read(&w.cluster, &pins, &why));
	cr_assert_eq(pins.count, 2);
	cr_assert(pins.pin[0].is_writer && !pins.pin[1].is_writer);
	cr_assert_eq(pins.pin[0].n, 1);
	cr_assert_eq(pins.pin[0].start.value, 0x5000028);
	cr_assert_eq(pins.pin[0].timeline, 3);
	cr_assert_eq(pins.pin[1].backups, 1);
	cr_assert_eq(attempt_compare(&pins.pin[1].backup[0], &first), 0);
	cr_assert_not(pins.pin[0].gone);
	pins_release(&pins);
	repo_world_release(&w);
}

Test(pins, a_writer_is_stale_after_15_silent_minutes_and_decided_then)
{
	struct attempt second = attempt_number(2);
	struct sightings *seen;
	struct repo_world w;
	struct pin writer;
	struct error why;

	repo_world_init(&w, NULL);
	OK(sightings_new("boot-1", &seen, &why));
	writer = put_writer(&w, 2);
	cr_assert_eq(end_at(&w, seen, 1000), 0);
	OK(pin_put(&w.cluster, &writer, &why)); /* a heartbeat: it counts anew */
	cr_assert_eq(end_at(&w, seen, 2000), 0);
	cr_assert_eq(end_at(&w, seen, 2000 + STALE_BACKUP_US - 1), 0);
	cr_assert_eq(end_at(&w, seen, 2000 + STALE_BACKUP_US), 1);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	cr_assert_eq(decision_abort(&w.cluster, &second, "t", &why), ERR_EXISTS);
	sightings_free(seen);
	repo_world_release(&w);
}

Test(pins, a_reader_is_stale_after_a_day)
{
	struct sightings *seen;
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	OK(sightings_new("boot-1", &seen, &why));
	(void)put_pin(&w, "recovery", "restore-0123456789abcdef");
	cr_assert_eq(end_at(&w, seen, 5), 0);
	cr_assert_eq(end_at(&w, seen, 5 + STALE_READER_US - 1), 0);
	cr_assert_eq(end_at(&w, seen, 5 + STALE_READER_US), 1);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	sightings_free(seen);
	repo_world_release(&w);
}

Test(pins, of_who_is_over_no_more_is_said_than_what_ends_him)
{
	struct pin_seen pin = {.kind = "restore"};

	cr_assert_eq(pin_silence_max_us(&pin), STALE_READER_US);
	cr_assert_not(pin_is_over(&pin, STALE_READER_US - 1));
	cr_assert(pin_is_over(&pin, STALE_READER_US));
	pin.gone = true;
	cr_assert(pin_is_over(&pin, 0));
	pin.unreadable = true; /* nobody knows whose process that was */
	cr_assert_not(pin_is_over(&pin, 0));
	pin = (struct pin_seen){.kind = "recovery", .gone = true};
	cr_assert_not(pin_is_over(&pin, 0), "each segment is asked for by a process of its own");
	pin = (struct pin_seen){.kind = PIN_COPY_TO, .is_copy = true, .gone = true};
	cr_assert_not(pin_is_over(&pin, 0));
	pin = (struct pin_seen){.kind = "backup", .is_writer = true};
	cr_assert_eq(pin_silence_max_us(&pin), STALE_BACKUP_US);
	cr_assert(pin_is_over(&pin, STALE_BACKUP_US));
}

Test(pins, a_holder_that_wakes_up_while_it_is_ended_keeps_its_new_pin)
{
	struct sightings *seen;
	struct repo_world w;
	struct pins pins;
	struct pin copy;
	struct error why;
	size_t ended;

	repo_world_init(&w, NULL);
	OK(sightings_new("boot-1", &seen, &why));
	copy = put_pin(&w, PIN_COPY_TO, "copy-0123456789abcdef");
	OK(pins_read(&w.cluster, &pins, &why));
	OK(sightings_note(seen, &w.cluster, &pins, 1, &why));
	copy.backup = attempt_number(2);
	OK(pin_put(&w.cluster, &copy, &why));
	OK(pins_end_stale(&w.cluster, &pins, seen, STALE_READER_US + 1, &ended, &why));
	pins_release(&pins);
	/* The backup it named is given up; the one that it names now is protected. */
	cr_assert_eq(keys_below(&w, "backups/"), 1);
	OK(pins_read(&w.cluster, &pins, &why));
	cr_assert(pins.count == 1 && pins.pin[0].n == 1);
	pins_release(&pins);
	sightings_free(seen);
	repo_world_release(&w);
}

Test(pins, a_writer_whose_pin_cannot_be_read_is_decided_before_the_pin_goes)
{
	struct attempt second = attempt_number(2);
	struct sightings *seen;
	struct repo_world w;
	struct pin writer;
	char key[STORE_KEY_MAX];
	uint8_t *object;
	struct error why;
	size_t len;

	repo_world_init(&w, NULL);
	OK(sightings_new("boot-1", &seen, &why));
	writer = put_writer(&w, 2);
	(void)snprintf(key, sizeof(key), "%spins/%s/00000000", w.cluster.prefix, writer.holder);
	object = store_memory_peek(w.memory, key, &len);
	object[len / 2] ^= 1;
	cr_assert_eq(end_at(&w, seen, 5), 0);
	cr_assert_eq(end_at(&w, seen, 5 + STALE_READER_US - 1), 0);
	cr_assert_eq(end_at(&w, seen, 5 + STALE_READER_US), 1);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	cr_assert_eq(decision_abort(&w.cluster, &second, "t", &why), ERR_EXISTS);
	sightings_free(seen);
	repo_world_release(&w);
}

/* What the next run knows, when it starts under `boot`. */
static struct sightings *kept(const struct sightings *seen, const char *boot)
{
	struct sightings *again = NULL;
	struct writer text;
	struct error why;

	writer_init(&text, 1 << 20);
	sightings_encode(seen, &text);
	cr_assert_not(text.bad);
	OK(sightings_decode(writer_view(&text), boot, &again, &why));
	writer_release(&text);
	return again;
}

Test(pins, what_was_seen_counts_in_the_next_run_of_the_same_boot)
{
	struct sightings *seen, *same, *other;
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	OK(sightings_new("boot-1", &seen, &why));
	(void)put_writer(&w, 2);
	cr_assert_eq(end_at(&w, seen, 1000), 0);
	same = kept(seen, "boot-1");
	other = kept(seen, "boot-2");
	cr_assert_eq(end_at(&w, other, 1000 + STALE_BACKUP_US), 0);
	cr_assert_eq(end_at(&w, same, 1000 + STALE_BACKUP_US), 1);
	sightings_free(seen);
	sightings_free(same);
	sightings_free(other);
	repo_world_release(&w);
}

Test(pins, a_file_that_is_none_of_ours_is_refused)
{
	static const char *const text[] = {"", "x", "pgagent-sightings 2\n",
					   "pgagent-sightings 1\nboot b\nsighting a b c d\n",
					   "pgagent-sightings 1\nboot b\nsighting a b 1 2"};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct sightings *seen = NULL;
		struct error why;

		cr_assert_eq(sightings_decode(bytes_of_text(text[i]), "b", &seen, &why),
			     ERR_CORRUPT, "%zu", i);
		cr_assert_null(seen);
	}
}

Test(pins, ending_goes_on_after_any_failure)
{
	unsigned done = 0;

	for (unsigned nth = 1; nth < 20; nth++) {
		struct attempt second = attempt_number(2);
		struct sightings *seen;
		struct repo_world w;
		struct pins pins;
		struct error why;
		size_t ended;

		repo_world_init(&w, NULL);
		OK(sightings_new("boot-1", &seen, &why));
		(void)put_writer(&w, 2);
		cr_assert_eq(end_at(&w, seen, 0), 0);
		OK(pins_read(&w.cluster, &pins, &why));
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		done += pins_end_stale(&w.cluster, &pins, seen, STALE_BACKUP_US, &ended, &why) ==
			ERR_NONE;
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		pins_release(&pins);
		(void)end_at(&w, seen, STALE_BACKUP_US);
		cr_assert_eq(keys_below(&w, "pins/"), 0);
		cr_assert_eq(decision_abort(&w.cluster, &second, "t", &why), ERR_EXISTS);
		sightings_free(seen);
		repo_world_release(&w);
	}
	cr_assert(done > 0, "the loop must pass the last call");
}
