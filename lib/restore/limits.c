/* restore/limits.c - the five settings that recovery needs at least as high as the original had them.
 *
 * Where one is lower a hot standby does not start, or pauses in the middle of its replay.  What the original
 * had is in the backup's pg_control, whatever its files of configuration say.  Pure.
 */
#include "base/text.h"
#include "restore/restore_internal.h"

#include <inttypes.h>
#include <stdio.h>

const char *const limit_names[RESTORE_LIMITS] = {"max_connections", "max_worker_processes",
						 "max_wal_senders", "max_prepared_transactions",
						 "max_locks_per_transaction"};

void limits_of(const struct control *c, struct limit out[RESTORE_LIMITS])
{
	const int32_t least[RESTORE_LIMITS] = {c->max_connections, c->max_worker_processes,
					       c->max_wal_senders, c->max_prepared_transactions,
					       c->max_locks_per_transaction};

	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		out[i] = (struct limit){.name = limit_names[i], .least = least[i]};
		(void)snprintf(out[i].text, sizeof(out[i].text), "%" PRId32, out[i].least);
	}
}

void limits_by_default(struct limit_configured out[RESTORE_LIMITS])
{
	/* In every major so far. */
	static const char *const value[RESTORE_LIMITS] = {"100", "8", "10", "0", "64"};

	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		out[i] = (struct limit_configured){.known = true};
		(void)snprintf(out[i].value, sizeof(out[i].value), "%s", value[i]);
	}
}

/* The server takes other numbers, too (0x40, 1e2): those count as not known. */
static bool is_enough(const char *value, int32_t least)
{
	uint64_t number;

	return text_to_u64(bytes_of_text(value), &number) &&
	       (least < 0 || number >= (uint64_t)least);
}

enum err limits_check(const struct restore_request *request, struct error *why)
{
	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		const char *asked = settings_asked(request, limit_names[i]);
		uint64_t number;

		if (asked == NULL || text_to_u64(bytes_of_text(asked), &number))
			continue;
		return error_set(why, ERR_CONFIG, "--set %s=%s: it is a whole number",
				 limit_names[i], asked);
	}
	return ERR_NONE;
}

static void raise_one(struct restore_plan *plan, const struct limit *limit, const char *asked,
		      const char *file)
{
	struct restore_raised *raised = &plan->raise[plan->raised++];

	*raised = (struct restore_raised){.name = limit->name, .value = limit->least};
	(void)snprintf(raised->asked, sizeof(raised->asked), "%s", asked); /* cut: no number */
	if (file != NULL)
		(void)snprintf(raised->file, sizeof(raised->file), "%s", file); /* fits */
	raised->configured = file != NULL;
}

enum err limits_plan(const struct restore_request *request,
		     const struct limit_configured *configured, struct restore_plan *plan,
		     struct error *why)
{
	uint8_t file[CONTROL_FILE_BYTES] = {0};
	struct limit limit[RESTORE_LIMITS];
	struct control control = {.max_connections = 0};
	bool any = configured != NULL;
	enum err e;

	for (size_t i = 0; i < RESTORE_LIMITS; i++)
		any = any || settings_asked(request, limit_names[i]) != NULL;
	if (!any)
		return ERR_NONE;
	/* The rest of the file is zeros. */
	memcpy(file, plan->backup.control, plan->backup.control_len);
	e = control_decode(bytes_of(file, sizeof(file)), &control, why);
	if (e != ERR_NONE)
		return error_add(why, "the backup's pg_control"), e;
	limits_of(&control, limit);
	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		const char *asked = settings_asked(request, limit[i].name);

		if (asked != NULL && !is_enough(asked, limit[i].least))
			raise_one(plan, &limit[i], asked, NULL);
		else if (asked == NULL && configured != NULL &&
			 !(configured[i].known && is_enough(configured[i].value, limit[i].least)))
			raise_one(plan, &limit[i], configured[i].value, configured[i].file);
	}
	return ERR_NONE;
}
