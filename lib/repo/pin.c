/* repo/pin.c - pins: what a run reads or is about to decide, kept alive by heartbeats
 * (FORMAT.md section 3, protocol steps W1 and W7).
 */
#include "repo/decision_internal.h"
#include "repo/lines.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	TAKEN_NUMBERS_MAX = 64, /* skipped in one heartbeat */
	FOLDER_MAX = 80,        /* "pins/<holder>/" with its NUL */
	PIN_NAME_MAX = 96       /* "<holder>/<n>"; what is longer is nobody's pin */
};

static void pin_key(const struct cluster *c, const char *holder, uint32_t n,
		    char out[STORE_KEY_MAX])
{
	(void)snprintf(out, STORE_KEY_MAX, "%spins/%.64s/%08u", c->prefix, holder, n);
}

/* The key of what was listed below `folder`; false: too long to be a pin. */
static bool listed_key(const struct cluster *c, const char *folder, const char *name,
		       char out[STORE_KEY_MAX])
{
	if (strlen(name) > PIN_NAME_MAX)
		return false;
	/* fits by its parts */
	(void)snprintf(out, STORE_KEY_MAX, "%s%.*s%.*s", c->prefix, FOLDER_MAX, folder,
		       PIN_NAME_MAX, name);
	return true;
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
		lines_put(out, strcmp(pin->kind, "backup") == 0 ? "parent" : "backup", backup);
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

enum err pin_drop(const struct cluster *c, const char *holder, struct error *why)
{
	char folder[FOLDER_MAX], key[STORE_KEY_MAX];
	struct key_list pins;
	struct error reason, first = {.kind = ERR_NONE};
	enum err err;

	(void)snprintf(folder, sizeof(folder), "pins/%.64s/", holder);
	err = key_list_read(c, folder, &pins, why);
	/* From the oldest on, so that a holder never looks as if it had gone back. */
	for (size_t i = 0; !err && i < pins.count; i++) {
		if (!listed_key(c, folder, pins.key[i], key))
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

/* What decides about a pin that was left behind. */
struct left_pin {
	char kind[16];
	struct host_identity by;
};

static enum err read_pin(const struct cluster *c, const char *name, struct left_pin *out,
			 struct error *why)
{
	char key[STORE_KEY_MAX];
	struct writer body;
	enum err err;

	*out = (struct left_pin){.kind = ""};
	if (!listed_key(c, "pins/", name, key))
		return error_set(why, ERR_CORRUPT, "pin %s: no pin has so long a name", name);
	writer_init(&body, RECORD_BYTES_MAX);
	err = record_get(c->repository, key, "pin", &body, why);
	if (!err) {
		struct bytes text = writer_view(&body);

		if (!lines_get(text, "kind", out->kind, sizeof(out->kind)) ||
		    !lines_get(text, "host", out->by.host, sizeof(out->by.host)) ||
		    !lines_get(text, "machine", out->by.machine, sizeof(out->by.machine)) ||
		    !lines_get(text, "boot", out->by.boot, sizeof(out->by.boot)) ||
		    !lines_get_u64(text, "pid-space", &out->by.pid_space) ||
		    !lines_get_u64(text, "pid", &out->by.pid))
			err = error_set(why, ERR_CORRUPT, "pin %s: it does not say who holds it",
					key);
	}
	writer_release(&body);
	return err;
}

static enum err clear_dead(const struct cluster *c, const char *holder, const struct left_pin *pin,
			   size_t *aborted, struct error *why)
{
	struct attempt attempt;
	char reason[160];

	if (strcmp(pin->kind, "recovery") == 0)
		return ERR_NONE;
	if (strcmp(pin->kind, "backup") == 0 && attempt_from_text(holder, &attempt)) {
		enum err err;

		(void)snprintf(reason, sizeof(reason), "the process %llu that made it is gone",
			       (unsigned long long)pin->by.pid);
		/* First the decision, then the pin: it protects the packs of an undecided one. */
		err = decision_abort(c, &attempt, reason, why);
		if (err && err != ERR_EXISTS)
			return err;
		*aborted += err == ERR_NONE;
	}
	return pin_drop(c, holder, why);
}

/* "<holder>/<n>": the holder, or false when it is nothing of ours. */
static bool holder_of(const char *name, char holder[64])
{
	const char *slash = strchr(name, '/');

	if (!slash || (size_t)(slash - name) >= 64)
		return false;
	memcpy(holder, name, (size_t)(slash - name));
	holder[slash - name] = '\0';
	return true;
}

enum err decision_abort_dead(const struct cluster *c, size_t *aborted, struct error *why)
{
	const struct env *env = c->repository->env;
	struct host_identity here;
	struct key_list pins;
	size_t count = 0;
	enum err err = key_list_read(c, "pins/", &pins, why);

	host_identify(env, &here);
	for (size_t i = 0; !err && i < pins.count; i++) {
		char holder[64], next[64];
		struct left_pin pin;
		struct error reason;

		if (!holder_of(pins.key[i], holder))
			continue;
		if (i + 1 < pins.count && holder_of(pins.key[i + 1], next) &&
		    strcmp(holder, next) == 0)
			continue; /* not its newest */
		err = read_pin(c, pins.key[i], &pin, &reason);
		if (err == ERR_CORRUPT)
			observer_event(env->observer, LEVEL_WARNING,
				       "pin %s is damaged, it is left alone: %s", pins.key[i],
				       reason.text);
		/* Missing: a newer heartbeat took its place, so the holder lives. */
		if (err == ERR_CORRUPT || err == ERR_MISSING) {
			err = ERR_NONE;
			continue;
		}
		if (err && why)
			*why = reason;
		if (!err && host_process_is_gone(&here, &pin.by))
			err = clear_dead(c, holder, &pin, &count, why);
	}
	key_list_release(&pins);
	if (!err)
		*aborted = count;
	return err;
}
