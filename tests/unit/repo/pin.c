/* Pins: heartbeats, dropping, and clearing what dead processes left. */
#include "repo/decision_internal.h"
#include "repo/lines.h"
#include "repo_world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pin pin_number(unsigned n)
{
	struct pin pin = {.kind = "backup"};
	struct attempt attempt = attempt_number(n);

	attempt_to_text(&attempt, pin.holder);
	return pin;
}

static void pin_text(const struct repo_world *w, const char *name, struct writer *body)
{
	char key[STORE_KEY_MAX];
	struct error why;

	snprintf(key, sizeof(key), "%spins/%s", w->cluster.prefix, name);
	writer_init(body, RECORD_BYTES_MAX);
	OK(record_get(w->repository, key, "pin", body, &why));
}

Test(pin, every_heartbeat_is_a_new_object_and_the_last_two_never_both_gone)
{
	struct repo_world w;
	struct pin pin = pin_number(1);
	struct host_identity here;
	struct writer body;
	char value[256], name[128];
	struct error why;

	repo_world_init(&w, NULL);
	pin.has_backup = true;
	pin.backup = attempt_number(77);
	OK(pin_put(&w.cluster, &pin, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	pin.start = (struct lsn){0x3000028};
	pin.timeline = 4;
	for (unsigned n = 2; n <= 5; n++) {
		OK(pin_put(&w.cluster, &pin, &why));
		cr_assert_eq(pin.n, n);
		cr_assert_eq(keys_below(&w, "pins/"), 1);
	}
	snprintf(name, sizeof(name), "%s/00000004", pin.holder);
	pin_text(&w, name, &body);
	host_identify(&w.env, &here);
	cr_assert(lines_get(writer_view(&body), "start-lsn", value, sizeof(value)));
	cr_assert_str_eq(value, "0/3000028");
	cr_assert(lines_get(writer_view(&body), "timeline", value, sizeof(value)));
	cr_assert_str_eq(value, "4");
	cr_assert(lines_get(writer_view(&body), "kind", value, sizeof(value)));
	cr_assert_str_eq(value, "backup");
	cr_assert(lines_get(writer_view(&body), "parent", value, sizeof(value)));
	cr_assert_not_null(strstr(value, "20261123T000117Z"));
	cr_assert(lines_get(writer_view(&body), "boot", value, sizeof(value)));
	cr_assert_str_eq(value, here.boot);
	cr_assert_str_neq(value, "unknown");
	writer_release(&body);
	OK(pin_drop(&w.cluster, pin.holder, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	OK(pin_drop(&w.cluster, pin.holder, &why));
	repo_world_release(&w);
}

Test(pin, a_holder_goes_on_where_another_process_left_off)
{
	struct repo_world w;
	struct pin first = pin_number(1), second = pin_number(1);
	struct error why;

	repo_world_init(&w, NULL);
	OK(pin_put(&w.cluster, &first, &why));
	OK(pin_put(&w.cluster, &second, &why));
	cr_assert_eq(second.n, 2);
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	repo_world_release(&w);
}

Test(pin, there_is_always_one_while_heartbeats_fail)
{
	for (unsigned nth = 1;; nth++) {
		struct repo_world w;
		struct pin pin = pin_number(1);
		struct error why;
		bool met;

		repo_world_init(&w, NULL);
		OK(pin_put(&w.cluster, &pin, &why));
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		(void)!pin_put(&w.cluster, &pin, &why);
		met = w.fault.calls >= nth;
		w.fault.mode = FAULT_NONE;
		cr_assert_geq(keys_below(&w, "pins/"), 1);
		OK(pin_put(&w.cluster, &pin, &why));
		cr_assert_geq(keys_below(&w, "pins/"), 1);
		OK(pin_drop(&w.cluster, pin.holder, &why));
		cr_assert_eq(keys_below(&w, "pins/"), 0);
		repo_world_release(&w);
		if (!met)
			break;
	}
}

Test(pin, dropping_goes_on_after_a_failure_and_reports_it)
{
	struct repo_world w;
	struct pin pin = pin_number(1);
	struct error why;

	repo_world_init(&w, NULL);
	OK(pin_put(&w.cluster, &pin, &why));
	pin.n = 5;
	OK(pin_put(&w.cluster, &pin, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 2);
	repo_world_fail(&w, FAULT_FAIL, 2, ERR_DENIED); /* list, then the first removal */
	cr_assert_eq(pin_drop(&w.cluster, pin.holder, &why), ERR_DENIED);
	w.fault.mode = FAULT_NONE;
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	repo_world_release(&w);
}

/* The id of a process that was there and is no more. */
static uint64_t dead_pid(void)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		_exit(0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	return (uint64_t)child;
}

static void left_pin(struct repo_world *w, const char *holder, const char *kind,
		     const struct host_identity *by)
{
	char key[STORE_KEY_MAX];
	struct writer body;
	struct error why;

	snprintf(key, sizeof(key), "%spins/%s/00000003", w->cluster.prefix, holder);
	writer_init(&body, RECORD_BYTES_MAX);
	lines_put(&body, "kind", kind);
	lines_put(&body, "host", by->host);
	lines_put(&body, "machine", by->machine);
	lines_put(&body, "boot", by->boot);
	lines_putf(&body, "pid-space", "%llu", (unsigned long long)by->pid_space);
	lines_putf(&body, "pid", "%llu", (unsigned long long)by->pid);
	OK(record_put(w->repository, key, "pin", writer_view(&body), &why));
	writer_release(&body);
}

static size_t clear(struct repo_world *w)
{
	struct error why;
	size_t aborted = 99;

	OK(decision_abort_dead(&w->cluster, &aborted, &why));
	return aborted;
}

Test(pin, attempts_of_dead_processes_are_aborted)
{
	struct repo_world w;
	struct host_identity gone, earlier;
	struct attempt attempt = attempt_number(1);
	struct manifest *m;
	struct error why;

	repo_world_init(&w, NULL);
	host_identify(&w.env, &gone);
	earlier = gone;
	gone.pid = dead_pid();
	strcpy(earlier.boot, "an-earlier-boot");
	left_pin(&w, pin_number(1).holder, "backup", &gone);
	/* A machine without an id can't know its own earlier boots. */
	left_pin(&w, pin_number(2).holder, "backup",
		 strcmp(earlier.machine, "unknown") != 0 ? &earlier : &gone);
	left_pin(&w, "restore-0123456789abcdef", "restore", &gone);
	cr_assert_eq(clear(&w), 2);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	cr_assert_eq(keys_below(&w, "backups/"), 2);
	cr_assert_eq(manifest_read(&w.cluster, &attempt, &m, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "is gone"), "%s", why.text);
	cr_assert_eq(clear(&w), 0);
	repo_world_release(&w);
}

Test(pin, the_living_strangers_and_recoveries_are_left_alone)
{
	struct repo_world w;
	struct host_identity gone, here, stranger, twin, container;
	struct pin mine = pin_number(1);
	struct error why;

	repo_world_init(&w, NULL);
	host_identify(&w.env, &here);
	gone = stranger = twin = container = here;
	gone.pid = dead_pid();
	strcpy(stranger.host, "another-host");
	stranger.pid = gone.pid;
	/* Another machine that is called the same, as "localhost" is everywhere. */
	strcpy(twin.machine, "another-machine");
	strcpy(twin.boot, "another-boot");
	/* A container of this machine: its process ids are not ours. */
	container.pid_space++;
	container.pid = gone.pid;
	left_pin(&w, pin_number(3).holder, "backup", &twin);
	left_pin(&w, pin_number(4).holder, "backup", &container);
	OK(pin_put(&w.cluster, &mine, &why));
	left_pin(&w, pin_number(2).holder, "backup", &stranger);
	left_pin(&w, "recovery-0123456789abcdef", "recovery", &gone);
	cr_assert_eq(clear(&w), 0);
	cr_assert_eq(keys_below(&w, "pins/"), 5);
	cr_assert_eq(keys_below(&w, "backups/"), 0);
	repo_world_release(&w);
}

Test(pin, only_the_newest_heartbeat_of_a_holder_counts)
{
	struct repo_world w;
	struct host_identity gone;
	struct pin mine = pin_number(1);
	struct error why;

	repo_world_init(&w, NULL);
	host_identify(&w.env, &gone);
	gone.pid = dead_pid();
	left_pin(&w, mine.holder, "backup", &gone); /* number 3 */
	mine.n = 5;
	OK(pin_put(&w.cluster, &mine, &why));
	cr_assert_eq(clear(&w), 0);
	cr_assert_eq(keys_below(&w, "pins/"), 2);
	repo_world_release(&w);
}

Test(pin, the_pin_of_a_committed_backup_is_only_dropped)
{
	struct repo_world w;
	struct host_identity gone;
	struct attempt attempt = attempt_number(1);
	struct manifest *m;
	struct error why;

	repo_world_init(&w, NULL);
	host_identify(&w.env, &gone);
	gone.pid = dead_pid();
	backup_number(&w.cluster, 1); /* then the process died before W7 */
	left_pin(&w, pin_number(1).holder, "backup", &gone);
	cr_assert_eq(clear(&w), 0);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	OK(manifest_read(&w.cluster, &attempt, &m, &why));
	manifest_free(m);
	repo_world_release(&w);
}

Test(pin, a_damaged_pin_is_left_alone_and_blocks_nobody)
{
	struct repo_world w;
	struct host_identity gone;
	char key[STORE_KEY_MAX];
	uint8_t *record;
	size_t len;

	repo_world_init(&w, NULL);
	host_identify(&w.env, &gone);
	gone.pid = dead_pid();
	left_pin(&w, pin_number(1).holder, "backup", &gone);
	left_pin(&w, pin_number(2).holder, "backup", &gone);
	snprintf(key, sizeof(key), "%spins/%s/00000003", w.cluster.prefix, pin_number(1).holder);
	record = store_memory_peek(w.memory, key, &len);
	cr_assert_not_null(record);
	record[len / 2] ^= 1;
	cr_assert_eq(clear(&w), 1);
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	repo_world_release(&w);
}

/* Cut to length, its name could be that of another object. */
Test(pin, a_name_too_long_for_a_pin_is_left_alone_and_blocks_nobody)
{
	struct repo_world w;
	struct host_identity gone;
	struct pin pin = pin_number(1);
	struct error why;
	char key[STORE_KEY_MAX + 1];

	repo_world_init(&w, NULL);
	(void)snprintf(key, sizeof(key), "%spins/%s/%0200d", w.cluster.prefix, pin.holder, 3);
	OK(store_put(w.memory, key, bytes_of_text("x"), &why));
	OK(pin_put(&w.cluster, &pin, &why));
	OK(pin_drop(&w.cluster, pin.holder, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	host_identify(&w.env, &gone);
	gone.pid = dead_pid();
	left_pin(&w, pin_number(2).holder, "backup", &gone);
	cr_assert_eq(clear(&w), 1);
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	repo_world_release(&w);
}

Test(pin, after_a_failure_anywhere_clearing_can_be_repeated)
{
	for (unsigned nth = 1;; nth++) {
		struct repo_world w;
		struct host_identity gone;
		struct error why;
		size_t aborted = 0;
		enum err err;
		bool met;

		repo_world_init(&w, NULL);
		host_identify(&w.env, &gone);
		gone.pid = dead_pid();
		left_pin(&w, pin_number(1).holder, "backup", &gone);
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_TRANSIENT);
		err = decision_abort_dead(&w.cluster, &aborted, &why);
		met = w.fault.calls >= nth;
		w.fault.mode = FAULT_NONE;
		cr_assert_eq(err, met ? ERR_TRANSIENT : ERR_NONE, "call %u", nth);
		/* Undecided packs stay protected: the pin goes only after the decision. */
		if (keys_below(&w, "pins/") == 0)
			cr_assert_eq(keys_below(&w, "backups/"), 1);
		(void)clear(&w);
		cr_assert_eq(keys_below(&w, "pins/"), 0);
		cr_assert_eq(keys_below(&w, "backups/"), 1);
		repo_world_release(&w);
		if (!met)
			break;
	}
}
