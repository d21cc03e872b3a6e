/* commands/backup_use.c - the figures of sharing between backups. */
#include "commands/backup_use.h"

#include "commands/backup_report.h"

#include <inttypes.h>
#include <stdlib.h>

static int by_time(const void *a, const void *b)
{
	return attempt_compare(a, b);
}

enum err backup_use_of(const struct manifest *m, struct backup_use *out, struct error *why)
{
	const struct summary *s = &m->summary;
	struct attempt *of = calloc(m->packs + 1U, sizeof(*of)); /* whose pack each is */

	if (of == NULL)
		return error_set(why, ERR_MEMORY, "%u packs: out of memory", m->packs);
	*out = (struct backup_use){.packs = m->packs};
	if (s->bytes_used > 0)
		out->amplification = (double)s->bytes_read / (double)s->bytes_used;
	for (uint32_t i = 0; i < m->packs; i++) {
		of[i] = m->pack[i].id.attempt;
		out->all_bytes += m->pack[i].live_bytes;
		if (attempt_compare(&of[i], &s->attempt) == 0)
			out->own_bytes += m->pack[i].live_bytes;
	}
	qsort(of, m->packs, sizeof(*of), by_time);
	for (uint32_t i = 0; i < m->packs; i++)
		out->backups += i == 0 || attempt_compare(&of[i], &of[i - 1]) != 0;
	if (m->packs > 0)
		out->oldest_us = attempt_time_s(&of[0]) * INT64_C(1000000);
	free(of);
	return ERR_NONE;
}

void backup_use_say(struct report *r, const struct backup_use *use)
{
	char oldest[BACKUP_TIME_MAX];

	if (use->amplification > 0)
		report_text(r, "%-16s %.2f times the bytes it uses\n", "restore reads",
			    use->amplification);
	if (use->all_bytes == 0)
		return;
	backup_time_to_text(use->oldest_us, oldest);
	report_text(r, "%-16s %.1f %% of its content is its own\n", "own share",
		    100.0 * (double)use->own_bytes / (double)use->all_bytes);
	report_text(r, "%-16s %" PRIu32 " of %" PRIu32 " backup(s), the oldest of %s UTC\n",
		    "packs", use->packs, use->backups, oldest);
}

void backup_use_json(json_t *object, const struct backup_use *use)
{
	report_put(object, "reading_amplification",
		   use->amplification > 0 ? json_real(use->amplification) : json_null());
	report_put(object, "own_share",
		   use->all_bytes > 0 ? json_real((double)use->own_bytes / (double)use->all_bytes)
				      : json_null());
	report_put(object, "packs", json_integer(use->packs));
	report_put(object, "packs_of_backups", json_integer(use->backups));
	report_put(object, "oldest_pack_at", report_json_time(use->oldest_us));
}
