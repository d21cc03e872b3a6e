/* repo/pin.c - pins: what a run reads or is about to decide, kept alive by heartbeats
 * (FORMAT.md section 3, protocol steps W1 and W7).
 */
#include "repo/decision_internal.h"
#include "repo/lines.h"
#include "repo/pins.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	TAKEN_NUMBERS_MAX = 64, /* skipped in one heartbeat */
	FOLDER_MAX = 80         /* "pins/<holder>/" with its NUL */
};

static void pin_key(const struct cluster *c, const char *holder, uint32_t n,
		    char out[STORE_KEY_MAX])
{
	(void)snprintf(out, STORE_KEY_MAX, "%spins/%.64s/%08u", c->prefix, holder, n);
}

bool pin_listed_key(const struct cluster *c, const char *folder, const char *name,
		    char out[STORE_KEY_MAX])
{
	if (strlen(name) > PIN_NAME_MAX)
		return false;
	/* fits by its parts */
	(void)snprintf(out, STORE_KEY_MAX, "%s%.*s%.*s", c->prefix, FOLDER_MAX, folder,
		       PIN_NAME_MAX, name);
	return true;
}

static const char *name_of_backup(const char *kind)
{
	if (strcmp(kind, "backup") == 0)
		return "parent";
	return strcmp(kind, PIN_COPY_TO) == 0 ? "attempt" : "backup";
}

static void put_body(const struct cluster *c, const struct pin *pin, struct writer *out)
{
	const struct env *env = c->repository->env;
	struct host_identity here;
	char text[TIME_TEXT_MAX];

	host_identify(env, &here);
	lines_put(out, "kind", pin->kind);
	if (pin->has_backup) {
		char backup[ATTEMPT_TEXT_MAX];

		attempt_to_text(&pin->backup, backup);
		lines_put(out, name_of_backup(pin->kind), backup);
	}
	if (pin->start.value != 0) {
		lsn_to_text(pin->start, text);
		lines_put(out, "start-lsn", text);
		lines_putf(out, "timeline", "%u", pin->timeline);
	}
	lines_put(out, "host", here.host);
	lines_put(out, "machine", here.machine);
	lines_put(out, "boot", here.boot);
	lines_putf(out, "pid-space", "%llu", (unsigned long long)here.pid_space);
	lines_putf(out, "pid", "%llu", (unsigned long long)here.pid);
	time_to_text(clock_now_us(env->clock), text);
	lines_put(out, "time", text);
}

enum err pin_put(const struct cluster *c, struct pin *pin, struct error *why)
{
	struct writer body;
	char key[STORE_KEY_MAX];
	uint32_t n = pin->n;
	enum err err = ERR_EXISTS;

	writer_init(&body, RECORD_BYTES_MAX);
	put_body(c, pin, &body);
	if (body.bad)
		err = error_set(why, ERR_MEMORY, "pin of %s: no memory", pin->holder);
	for (int tries = 0; err == ERR_EXISTS && tries < TAKEN_NUMBERS_MAX; tries++, n++) {
		pin_key(c, pin->holder, n, key);
		err = record_put(c->repository, key, "pin", writer_view(&body), why);
	}
	writer_release(&body);
	if (err) {
		/* It may be there: the next heartbeat takes another number. */
		if (err == ERR_UNSURE)
			pin->n = n;
		return err;
	}
	pin->n = n;
	if (n < 2)
		return ERR_NONE;
	/* Only now: whoever lists in between sees both, never none. */
	pin_key(c, pin->holder, n - 2, key);
	if (store_remove(c->repository->store, key, NULL) != ERR_NONE)
		observer_event(c->repository->env->observer, LEVEL_WARNING,
			       "old heartbeat %s not removed: it goes with the pin", key);
	return ERR_NONE;
}

enum err pin_drop_until(const struct cluster *c, const char *holder, uint32_t n, struct error *why)
{
	char folder[FOLDER_MAX], key[STORE_KEY_MAX];
	struct key_list pins;
	struct error reason, first = {.kind = ERR_NONE};
	enum err err;

	(void)snprintf(folder, sizeof(folder), "pins/%.64s/", holder);
	err = key_list_read(c, folder, &pins, why);
	/* From the oldest on, so that a holder never looks as if it had gone back. */
	for (size_t i = 0; !err && i < pins.count; i++) {
		if (!pin_listed_key(c, folder, pins.key[i], key) ||
		    strtoul(pins.key[i], NULL, 10) > n)
			continue;
		if (store_remove(c->repository->store, key, &reason) != ERR_NONE && !first.kind)
			first = reason;
	}
	key_list_release(&pins);
	if (err || !first.kind)
		return err;
	if (why)
		*why = first;
	return first.kind;
}

enum err pin_drop(const struct cluster *c, const char *holder, struct error *why)
{
	return pin_drop_until(c, holder, UINT32_MAX, why);
}
