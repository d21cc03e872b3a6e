/* repo/pins.c - reading all pins of a cluster, and ending those whose holders are gone. */
#include "repo/pins.h"
#include "base/text.h"
#include "repo/decision_internal.h"
#include "repo/lines.h"

#include <stdio.h>
#include <stdlib.h>

enum { READ_TRIES_MAX = 3 /* a living holder replaces its pins while they are read */ };

/* ---- one pin ---- */

struct pin_body {
	struct pin_seen *pin;
	struct host_identity by;
	bool bad;
};

static enum err take_line(void *ctx, const char *name, const char *value, struct error *why)
{
	struct pin_body *b = ctx;
	struct pin_seen *pin = b->pin;

	(void)why;
	if (strcmp(name, "backup") != 0 && strcmp(name, "parent") != 0)
		return ERR_NONE;
	if (pin->backups == PIN_BACKUPS_MAX ||
	    !attempt_from_text(value, &pin->backup[pin->backups]))
		b->bad = true;
	else
		pin->backups++;
	return ERR_NONE;
}

static bool take_start(struct bytes text, struct pin_seen *pin)
{
	char lsn[LSN_TEXT_MAX];
	uint64_t timeline;

	if (!lines_get(text, "start-lsn", lsn, sizeof(lsn)))
		return true;
	if (lsn_from_text(lsn, &pin->start, NULL) != ERR_NONE ||
	    !lines_get_u64(text, "timeline", &timeline) || timeline == 0 || timeline > UINT32_MAX)
		return false;
	pin->timeline = (uint32_t)timeline;
	return true;
}

static enum err take_copied(struct bytes text, struct pin_seen *pin, const char *key,
			    struct error *why)
{
	char attempt[ATTEMPT_TEXT_MAX];

	pin->has_attempt = lines_get(text, "attempt", attempt, sizeof(attempt));
	if (pin->has_attempt && !attempt_from_text(attempt, &pin->attempt))
		return error_set(why, ERR_CORRUPT, "pin %s: it does not say what is copied", key);
	return ERR_NONE;
}

static enum err decode_pin(struct bytes text, struct pin_seen *pin, struct host_identity *by,
			   const char *key, struct error *why)
{
	struct pin_body body = {.pin = pin};
	enum err e = lines_walk(text, take_line, &body, why);

	if (e != ERR_NONE)
		return e;
	if (body.bad || !lines_get(text, "kind", pin->kind, sizeof(pin->kind)) ||
	    !take_start(text, pin) || !lines_get(text, "host", by->host, sizeof(by->host)) ||
	    !lines_get(text, "machine", by->machine, sizeof(by->machine)) ||
	    !lines_get(text, "boot", by->boot, sizeof(by->boot)) ||
	    !lines_get_u64(text, "pid-space", &by->pid_space) ||
	    !lines_get_u64(text, "pid", &by->pid))
		return error_set(why, ERR_CORRUPT,
				 "pin %s: it does not say who holds it, or reads what", key);
	(void)snprintf(pin->host, sizeof(pin->host), "%.63s", by->host);
	pin->is_writer = strcmp(pin->kind, "backup") == 0;
	pin->is_copy = strcmp(pin->kind, PIN_COPY_TO) == 0;
	if (pin->is_writer && !attempt_from_text(pin->holder, &pin->attempt))
		return error_set(why, ERR_CORRUPT, "pin %s: a backup's holder is its attempt", key);
	return pin->is_copy ? take_copied(text, pin, key, why) : ERR_NONE;
}

/* ERR_MISSING: a newer heartbeat took its place, or the holder let go. */
static enum err read_pin(const struct cluster *c, const struct host_identity *here,
			 struct pin_seen *pin, struct error *why)
{
	struct host_identity by = {.pid = 0};
	char name[PIN_NAME_MAX + 1], key[STORE_KEY_MAX];
	struct writer body;
	enum err e;

	(void)snprintf(name, sizeof(name), "%s/%08u", pin->holder, pin->n);
	if (!pin_listed_key(c, "pins/", name, key))
		return error_set(why, ERR_CORRUPT, "pin %s: no pin has so long a name", name);
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(c->repository, key, "pin", &body, why);
	if (e == ERR_NONE)
		e = decode_pin(writer_view(&body), pin, &by, key, why);
	writer_release(&body);
	if (e == ERR_NONE)
		pin->gone = host_process_is_gone(here, &by);
	return e;
}

/* ---- all of them ---- */

/* "<holder>/<n>"; false when it is nothing of ours. */
static bool split_name(const char *name, char holder[PIN_HOLDER_MAX], uint32_t *n)
{
	const char *slash = strchr(name, '/');
	uint32_t value = 0;

	if (slash == NULL || slash == name || (size_t)(slash - name) >= PIN_HOLDER_MAX ||
	    strlen(slash + 1) != 8)
		return false;
	for (const char *digit = slash + 1; *digit != '\0'; digit++) {
		if (*digit < '0' || *digit > '9')
			return false;
		value = value * 10 + (uint32_t)(*digit - '0');
	}
	memcpy(holder, name, (size_t)(slash - name));
	holder[slash - name] = '\0';
	*n = value;
	return true;
}

/* The newest number of one holder now; false: it has none any more. */
static enum err look_again(const struct cluster *c, struct pin_seen *pin, bool *there,
			   struct error *why)
{
	char folder[PIN_HOLDER_MAX + 8], name[PIN_NAME_MAX + 1], holder[PIN_HOLDER_MAX];
	struct key_list list;
	enum err e;

	*there = false;
	(void)snprintf(folder, sizeof(folder), "pins/%s/", pin->holder);
	e = key_list_read(c, folder, &list, why);
	for (size_t i = 0; e == ERR_NONE && i < list.count; i++) {
		(void)snprintf(name, sizeof(name), "%s/%.8s", pin->holder, list.key[i]);
		*there = split_name(name, holder, &pin->n) || *there;
	}
	key_list_release(&list);
	return e;
}

/* Fills `pin`, of which holder and number are known; *there = false: the holder let go. */
static enum err read_holder(const struct cluster *c, const struct host_identity *here,
			    struct pin_seen *pin, bool *there, struct error *why)
{
	enum err e = read_pin(c, here, pin, why);

	*there = true;
	for (int tries = 1; e == ERR_MISSING && tries < READ_TRIES_MAX; tries++) {
		e = look_again(c, pin, there, why);
		if (e != ERR_NONE || !*there)
			return e;
		pin->backups = 0;
		e = read_pin(c, here, pin, why);
	}
	if (e != ERR_CORRUPT && e != ERR_MISSING)
		return e;
	/* Whoever it is, it lives, or nobody can say what it reads: it protects everything. */
	observer_event(c->repository->env->observer, LEVEL_WARNING,
		       "pin of %s can't be read, it protects everything: %s", pin->holder,
		       why->text);
	pin->unreadable = true;
	return ERR_NONE;
}

static enum err read_holders(const struct cluster *c, const struct key_list *list, struct pins *out,
			     struct error *why)
{
	struct host_identity here;
	enum err e = ERR_NONE;

	host_identify(c->repository->env, &here);
	for (size_t i = 0; e == ERR_NONE && i < list->count; i++) {
		struct pin_seen *pin = &out->pin[out->count];
		char next[PIN_HOLDER_MAX];
		uint32_t n;
		bool there;

		*pin = (struct pin_seen){.n = 0};
		if (!split_name(list->key[i], pin->holder, &pin->n))
			continue;
		if (i + 1 < list->count && split_name(list->key[i + 1], next, &n) &&
		    strcmp(pin->holder, next) == 0)
			continue; /* not its newest */
		e = read_holder(c, &here, pin, &there, why);
		if (e == ERR_NONE && there)
			out->count++;
	}
	return e;
}

enum err pins_read(const struct cluster *c, struct pins *out, struct error *why)
{
	struct key_list list;
	enum err e = key_list_read(c, "pins/", &list, why);

	*out = (struct pins){.count = 0};
	if (e == ERR_NONE && list.count > PINS_MAX)
		e = error_set(why, ERR_LIMIT, "%zu pins in %spins/: at most %d are looked at",
			      list.count, c->prefix, PINS_MAX);
	if (e == ERR_NONE) {
		out->pin = calloc(list.count + 1, sizeof(*out->pin));
		if (out->pin == NULL)
			e = error_set(why, ERR_MEMORY, "no memory for %zu pins", list.count);
	}
	if (e == ERR_NONE)
		e = read_holders(c, &list, out, why);
	key_list_release(&list);
	return e;
}

void pins_release(struct pins *pins)
{
	free(pins->pin);
	*pins = (struct pins){.count = 0};
}

enum err pins_read_holder(const struct cluster *c, const char *holder, struct pin_seen *out,
			  struct error *why)
{
	struct host_identity here;
	bool there = false;
	enum err e;

	host_identify(c->repository->env, &here);
	*out = (struct pin_seen){.n = 0};
	(void)snprintf(out->holder, sizeof(out->holder), "%s", holder); /* cut: not found */
	e = look_again(c, out, &there, why);
	if (e == ERR_NONE && there)
		e = read_holder(c, &here, out, &there, why);
	if (e == ERR_NONE && !there)
		e = error_set(why, ERR_MISSING, "%spins/%s: there is no such pin", c->prefix,
			      out->holder);
	return e;
}

/* ---- ending ---- */

enum err pin_holder_new(const struct env *env, const char *word, char out[PIN_HOLDER_MAX],
			struct error *why)
{
	uint8_t random[8];
	char hex[2 * sizeof(random) + 1];
	enum err e = random_fill(env->random, random, sizeof(random), why);

	if (e != ERR_NONE)
		return e;
	text_of_hex(bytes_of(random, sizeof(random)), hex);
	(void)snprintf(out, PIN_HOLDER_MAX, "%s-%s", word, hex); /* words are short */
	return ERR_NONE;
}

bool pin_holds_sweeps(const struct pin_seen *pin)
{
	return pin->is_copy || (pin->unreadable && strncmp(pin->holder, "copy-", 5) == 0);
}

/* The attempt that its holder may still decide as a backup.  The holder's name tells it also where the pin
 * itself can't be read any more.  A copy whose process certainly is no more can't: nothing stands in the
 * way of the next one. */
static bool may_commit(const struct pin_seen *pin, struct attempt *out)
{
	if (pin->is_copy && pin->has_attempt && !pin->gone) {
		*out = pin->attempt;
		return true;
	}
	return attempt_from_text(pin->holder, out);
}

/* First the decision, then the pin: it protects the packs of an undecided attempt. */
static enum err end_holder(const struct cluster *c, const struct pin_seen *pin, const char *reason,
			   size_t *aborted, struct error *why)
{
	struct attempt attempt;

	if (may_commit(pin, &attempt)) {
		enum err e = decision_abort(c, &attempt, reason, why);

		if (e != ERR_NONE && e != ERR_EXISTS)
			return e;
		*aborted += e == ERR_NONE;
	}
	/* Only what was seen: a copy that wakes up now may name the next backup already. */
	return pin_drop_until(c, pin->holder, pin->n, why);
}

/* A recovery is a process of its own for every segment.  What a copy brought here stays for a day, so that the next one need
 * not bring it again. */
static bool is_dead(const struct pin_seen *pin)
{
	return pin->gone && !pin->unreadable && !pin->is_copy && strcmp(pin->kind, "recovery") != 0;
}

int64_t pin_silence_max_us(const struct pin_seen *pin)
{
	return pin->is_writer ? STALE_BACKUP_US : STALE_READER_US;
}

bool pin_is_over(const struct pin_seen *pin, int64_t silent_us)
{
	return is_dead(pin) || silent_us >= pin_silence_max_us(pin);
}

enum err decision_abort_dead(const struct cluster *c, size_t *aborted, struct error *why)
{
	struct pins pins;
	size_t count = 0;
	enum err e = pins_read(c, &pins, why);

	for (size_t i = 0; e == ERR_NONE && i < pins.count; i++) {
		const struct pin_seen *pin = &pins.pin[i];

		if (is_dead(pin))
			e = end_holder(c, pin, "the process that made it is gone", &count, why);
	}
	pins_release(&pins);
	if (e == ERR_NONE)
		*aborted = count;
	return e;
}

enum err pins_end_stale(const struct cluster *c, const struct pins *pins,
			const struct sightings *sightings, int64_t now_us, size_t *ended,
			struct error *why)
{
	enum err e = ERR_NONE;
	size_t aborted = 0;

	*ended = 0;
	for (size_t i = 0; e == ERR_NONE && i < pins->count; i++) {
		const struct pin_seen *pin = &pins->pin[i];

		if (sightings_silent_us(sightings, c, pin, now_us) < pin_silence_max_us(pin))
			continue;
		e = end_holder(c, pin,
			       pin->is_writer ? "no heartbeat for 15 minutes"
					      : "no heartbeat for a day",
			       &aborted, why);
		*ended += e == ERR_NONE;
	}
	return e;
}
