/* commands/expire_policy.c - reads what a policy has to know of one repository, asks for its verdicts, and puts
 * them into words.
 */
#include "commands/expire_policy.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct retention_policy expire_policy_of(const struct config_cluster *config)
{
	return (struct retention_policy){.window_us = config->retain_window_us,
					 .backups = config->retain_backups,
					 .daily = config->retain_daily,
					 .weekly = config->retain_weekly,
					 .monthly = config->retain_monthly,
					 .yearly = config->retain_yearly,
					 .grace_us = config->expire_grace_us};
}

static void fill(struct expire_policy *p)
{
	for (size_t i = 0; i < p->catalog.count; i++) {
		const struct catalog_entry *entry = &p->catalog.entry[i];
		const struct summary *s = &entry->summary;

		p->backup[i] = (struct retention_backup){
			.attempt = s->attempt,
			.system_identifier = s->system_identifier,
			.timeline = s->timeline,
			.start = s->start,
			.stop = s->stop,
			.finished_us = s->finished_us,
			.keep = entry->keep,
			.hidden = entry->hidden,
			.checksum_failures = s->checksum_failures > 0,
		};
	}
}

/* Each system identifier that has backups, once. */
static enum err read_systems(const struct place *place, const char *name, struct expire_policy *p,
			     struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < p->catalog.count; i++) {
		struct cluster cluster;
		bool done = false;

		for (size_t j = 0; j < i; j++)
			done = done ||
			       p->backup[j].system_identifier == p->backup[i].system_identifier;
		if (done)
			continue;
		cluster_init(&cluster, place->repository, name, p->backup[i].system_identifier);
		e = retention_read(&cluster, p->backup, p->catalog.count, &p->lineage, why);
	}
	return e;
}

static size_t list_alone(const struct expire_policy *p, const struct retention_verdict *verdict,
			 bool later, struct attempt *out)
{
	size_t count = 0;

	for (size_t i = 0; i < p->catalog.count; i++)
		if (!verdict[i].wal_to_end &&
		    !(later && (p->backup[i].hidden || p->verdict[i].drop)))
			out[count++] = p->backup[i].attempt;
	return count;
}

/* What the rules say of those that are left then, at the time it is now. */
static enum err look_ahead(struct expire_policy *p, struct error *why)
{
	size_t room = p->catalog.count + 1, left = 0;
	struct retention_backup *backup = calloc(room, sizeof(*backup));
	struct retention_verdict *verdict = calloc(room, sizeof(*verdict));
	struct retention_input input = p->input;
	enum err e = ERR_NONE;

	if (backup == NULL || verdict == NULL)
		e = error_set(why, ERR_MEMORY, "no memory for %zu backups", room);
	for (size_t i = 0; e == ERR_NONE && i < p->catalog.count; i++)
		if (!p->backup[i].hidden && !p->verdict[i].drop)
			backup[left++] = p->backup[i];
	input.backup = backup;
	input.backups = left;
	/* Nothing goes: nothing is to come back, and what is needed now is needed then. */
	if (left < p->catalog.count)
		input.policy.grace_us = 0;
	if (e == ERR_NONE)
		e = retention_decide(&input, verdict, why);
	left = 0;
	for (size_t i = 0; e == ERR_NONE && i < p->catalog.count; i++)
		if (!p->backup[i].hidden && !p->verdict[i].drop)
			p->later_verdict[i] = verdict[left++];
	free(backup);
	free(verdict);
	return e;
}

enum err expire_policy_read(const struct env *env, const struct places *places, size_t place,
			    const struct config_cluster *config, struct expire_policy *out,
			    struct error *why)
{
	const char *name = config->section.name;
	size_t room;
	enum err e;

	*out = (struct expire_policy){.decided = false};
	e = catalog_read_place(places, place, name, &out->catalog, why);
	if (e != ERR_NONE)
		return e;
	room = out->catalog.count + 1;
	out->backup = calloc(room, sizeof(*out->backup));
	out->verdict = calloc(room, sizeof(*out->verdict));
	out->alone = calloc(room, sizeof(*out->alone));
	out->later_verdict = calloc(room, sizeof(*out->later_verdict));
	out->later_alone = calloc(room, sizeof(*out->later_alone));
	if (out->backup == NULL || out->verdict == NULL || out->alone == NULL ||
	    out->later_verdict == NULL || out->later_alone == NULL)
		return error_set(why, ERR_MEMORY, "no memory for %zu backups", room);
	fill(out);
	e = read_systems(&places->place[place], name, out, why);
	if (e != ERR_NONE)
		return e;
	out->input = (struct retention_input){
		.policy = expire_policy_of(config),
		.now_us = clock_now_us(env->clock),
		.backup = out->backup,
		.backups = out->catalog.count,
		.timeline = out->lineage.timeline,
		.timelines = out->lineage.count,
	};
	e = retention_decide(&out->input, out->verdict, why);
	if (e != ERR_NONE)
		return e;
	e = look_ahead(out, why);
	if (e != ERR_NONE)
		return e;
	out->alones = list_alone(out, out->verdict, false, out->alone);
	out->later_alones = list_alone(out, out->later_verdict, true, out->later_alone);
	out->decided = true;
	return ERR_NONE;
}

void expire_policy_release(struct expire_policy *p)
{
	retention_lineage_release(&p->lineage);
	free(p->later_alone);
	free(p->later_verdict);
	free(p->alone);
	free(p->verdict);
	free(p->backup);
	catalog_release(&p->catalog);
	*p = (struct expire_policy){.decided = false};
}

/* ---- in words ---- */

static const struct word {
	enum retention_rule rule;
	const char *name, *text; /* text NULL: "last of" its period */
} words[] = {
	{RETAIN_NEWEST, "newest", "the newest"},
	{RETAIN_SOUND, "newest_sound", "the newest without wrong checksums"},
	{RETAIN_VERIFIED, "newest_verified", "the newest that is verified"},
	{RETAIN_WINDOW, "window", "in the window"},
	{RETAIN_ANCHOR, "window_start", "the window begins with it"},
	{RETAIN_BACKUPS, "backups", "one of the newest"},
	{RETAIN_DAILY, "daily", NULL},
	{RETAIN_WEEKLY, "weekly", NULL},
	{RETAIN_MONTHLY, "monthly", NULL},
	{RETAIN_YEARLY, "yearly", NULL},
	{RETAIN_KEEP, "keep", "marked by keep"},
	{RETAIN_UNSOUND, "unsound",
	 "CAN'T BE RESTORED (pgagent verify tells why), goes only by name"},
	{RETAIN_ALL, "all", "no retention is set"},
	{RETAIN_LINEAGE, "lineage", "a timeline without its history file may need it"},
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

void expire_policy_reason(const struct expire_policy *p, size_t i, char out[EXPIRE_REASON_MAX])
{
	unsigned rules = p->verdict[i].rules;
	bool periods = false;
	size_t at = 0;

	out[0] = '\0';
	/* Two rules that say the same: one is told. */
	if ((rules & (RETAIN_NEWEST | RETAIN_WINDOW)) != 0)
		rules &= ~(unsigned)RETAIN_BACKUPS;
	for (size_t w = 0; w < WORDS && at < EXPIRE_REASON_MAX; w++) {
		char period[RETENTION_PERIOD_MAX], counted[48];
		const char *text = words[w].text;

		if ((rules & words[w].rule) == 0)
			continue;
		if (text == NULL) {
			retention_period(words[w].rule, p->backup[i].finished_us, period);
			text = period;
		} else if (words[w].rule == RETAIN_BACKUPS) {
			(void)snprintf(counted, sizeof(counted), "one of the newest %" PRIu64,
				       p->input.policy.backups); /* fits */
			text = counted;
		}
		at += (size_t)snprintf(out + at, EXPIRE_REASON_MAX - at, "%s%s%s",
				       at == 0                            ? ""
				       : words[w].text == NULL && periods ? ", "
									  : "; ",
				       words[w].text == NULL && !periods ? "last of " : "", text);
		periods = periods || words[w].text == NULL;
	}
	if (rules == 0)
		(void)snprintf(out, EXPIRE_REASON_MAX, "no rule keeps it");
}

json_t *expire_policy_rules(const struct expire_policy *p, size_t i)
{
	json_t *list = json_array();

	for (size_t w = 0; w < WORDS; w++)
		if ((p->verdict[i].rules & words[w].rule) != 0)
			(void)json_array_append_new(
				list,
				json_string(words[w].name)); /* without memory the dump fails */
	return list;
}

void expire_policy_settings(const struct config_cluster *c, char out[EXPIRE_REASON_MAX])
{
	static const int64_t day_us = INT64_C(86400) * 1000 * 1000;
	char window[TEXT_DURATION_MAX];

	text_of_duration(c->retain_window_us, window);
	if (c->retain_window_us % day_us == 0)
		(void)snprintf(window, sizeof(window), "%" PRId64 "d",
			       c->retain_window_us / day_us); /* fits */
	(void)snprintf(out, EXPIRE_REASON_MAX,
		       "window %s, backups %" PRIu64 ", daily %" PRIu64 ", weekly %" PRIu64
		       ", monthly %" PRIu64 ", yearly %" PRIu64,
		       window, c->retain_backups, c->retain_daily, c->retain_weekly,
		       c->retain_monthly, c->retain_yearly); /* fits */
}
