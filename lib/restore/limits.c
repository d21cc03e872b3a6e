/* restore/limits.c - the five settings that recovery needs at least as high as the original had them.
 *
 * Where one is lower a hot standby does not start, or pauses in the middle of its replay.  What the original
 * had is in the backup's pg_control, whatever its files of configuration say.  Pure.
 */
#include "base/text.h"
#include "restore/restore_internal.h"

#include <inttypes.h>
#include <stdio.h>

void limits_of(const struct control *c, struct limit out[RESTORE_LIMITS])
{
	const struct limit limit[RESTORE_LIMITS] = {
		{.name = "max_connections", .least = c->max_connections},
		{.name = "max_worker_processes", .least = c->max_worker_processes},
		{.name = "max_wal_senders", .least = c->max_wal_senders},
		{.name = "max_prepared_transactions", .least = c->max_prepared_transactions},
		{.name = "max_locks_per_transaction", .least = c->max_locks_per_transaction},
	};

	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		out[i] = limit[i];
		(void)snprintf(out[i].text, sizeof(out[i].text), "%" PRId32, out[i].least);
	}
}

const char *limit_raised(const struct limit *limit, const struct restore_request *request)
{
	const char *asked = settings_asked(request, limit->name);
	uint64_t number;

	if (asked == NULL || !text_to_u64(bytes_of_text(asked), &number) || limit->least < 0 ||
	    number >= (uint64_t)limit->least)
		return NULL;
	return limit->text;
}

enum err limits_check(const struct restore_request *request, struct error *why)
{
	const struct control none = {.max_connections = 0};
	struct limit limit[RESTORE_LIMITS];

	limits_of(&none, limit);
	for (size_t i = 0; i < RESTORE_LIMITS; i++) {
		const char *asked = settings_asked(request, limit[i].name);
		uint64_t number;

		if (asked == NULL || text_to_u64(bytes_of_text(asked), &number))
			continue;
		return error_set(why, ERR_CONFIG, "--set %s=%s: it is a whole number",
				 limit[i].name, asked);
	}
	return ERR_NONE;
}

enum err limits_plan(const struct restore_request *request, struct restore_plan *plan,
		     struct error *why)
{
	uint8_t file[CONTROL_FILE_BYTES] = {0};
	struct limit limit[RESTORE_LIMITS];
	struct control control = {.max_connections = 0};
	bool any = false;
	enum err e;

	limits_of(&control, limit);
	for (size_t i = 0; i < RESTORE_LIMITS; i++)
		any = any || settings_asked(request, limit[i].name) != NULL;
	if (!any)
		return ERR_NONE;
	/* The rest of the file is zeros. */
	memcpy(file, plan->backup.control, plan->backup.control_len);
	e = control_decode(bytes_of(file, sizeof(file)), &control, why);
	if (e != ERR_NONE)
		return error_add(why, "the backup's pg_control"), e;
	limits_of(&control, limit);
	for (size_t i = 0; i < RESTORE_LIMITS; i++)
		if (limit_raised(&limit[i], request) != NULL)
			plan->raise[plan->raised++] = (struct restore_raised){
				.name = limit[i].name,
				.asked = settings_asked(request, limit[i].name),
				.value = limit[i].least};
	return ERR_NONE;
}
