/* commands/show_history.c - in which backups a relation's pages differ from the backup before. */
#include "commands/show_history.h"
#include "commands/backup_report.h"
#include "repo/pack.h"
#include "repo/page_history.h"

#include <inttypes.h>
#include <stdio.h>

enum { RANGES_SHOWN = 8, WHAT_MAX = 256 };

struct telling {
	struct agent *agent;
	const struct cluster *cluster;
	const struct page_history *asked;
	const char *place;
	json_t *list;
};

static size_t append_ranges(const struct history_entry *e, char *out, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < e->ranges && at < size; i++) {
		if (i == RANGES_SHOWN) {
			at += (size_t)snprintf(out + at, size - at, " and %zu more", e->ranges - i);
			break;
		}
		at += (size_t)snprintf(out + at, size - at, "%s%" PRIu32, i > 0 ? ", " : "",
				       e->range[i].first);
		if (e->range[i].last > e->range[i].first && at < size)
			at += (size_t)snprintf(out + at, size - at, "-%" PRIu32, e->range[i].last);
	}
	return at;
}

/* What happened since the backup before, of the whole relation. */
static void what_of_relation(const struct history_entry *e, char out[WHAT_MAX])
{
	char ranges[WHAT_MAX - 80] = "";

	if (!e->compared) {
		(void)snprintf(out, WHAT_MAX, "first backup that has it");
	} else if (e->changes == 0) {
		(void)snprintf(out, WHAT_MAX, "%s",
			       e->rewritten ? "REWRITTEN, the same pages in a new file" : "same");
	} else {
		(void)append_ranges(e, ranges, sizeof(ranges)); /* cut is fine */
		(void)snprintf(out, WHAT_MAX, "%s%" PRIu64 " changed: %s",
			       e->rewritten ? "REWRITTEN into a new file, " : "", e->changes,
			       ranges);
	}
}

/* The same of one block. */
static void what_of_block(const struct history_entry *e, char out[WHAT_MAX])
{
	const char *word = !e->compared ? "first backup that has it"
			   : e->changed ? "CHANGED"
					: "same";

	(void)snprintf(out, WHAT_MAX, "%s%s%s", word,
		       e->rewritten ? ", REWRITTEN into a new file" : "",
		       !e->page.present ? ", beyond the relation's end"
		       : e->page.zero   ? ", a page of zeros"
					: ""); /* fits */
}

static void say_entry(struct telling *t, const struct history_entry *e, const char *id)
{
	struct report *r = &t->agent->report;
	char finished[BACKUP_TIME_MAX], what[WHAT_MAX], key[STORE_KEY_MAX];

	backup_time_to_text(e->finished_us, finished);
	report_text(r, "%-33s  %-19s  ", id, finished);
	if (!e->exists) {
		report_text(r, "%s\n",
			    e->names_known ? "not in this backup"
					   : "this backup has no names of relations");
		return;
	}
	if (t->asked->has_block)
		what_of_block(e, what);
	else
		what_of_relation(e, what);
	report_text(r, "%10" PRIu32 "  %8" PRIu64 "  %s\n", e->number, e->blocks, what);
	if (!e->page.present || e->page.zero)
		return;
	pack_key(t->cluster, &e->page.pack, key);
	report_text(r, "%33s  %19s  in %s, frame %" PRIu32 ", byte %" PRIu32 "\n", "", "", key,
		    e->page.ordinal, e->page.offset);
}

static json_t *stored_json(const struct telling *t, const struct history_entry *e)
{
	char key[STORE_KEY_MAX];
	json_t *object;

	if (!e->page.present || e->page.zero)
		return json_null();
	object = json_object();
	pack_key(t->cluster, &e->page.pack, key);
	report_put(object, "pack", report_json_text(key));
	report_put(object, "frame", json_integer(e->page.ordinal));
	report_put(object, "offset", json_integer(e->page.offset));
	return object;
}

static void put_entry(struct telling *t, const struct history_entry *e, const char *id)
{
	json_t *object = json_object(), *ranges = json_array();

	for (size_t i = 0; i < e->ranges; i++)
		(void)json_array_append_new(ranges, json_pack("[II]", (json_int_t)e->range[i].first,
							      (json_int_t)e->range[i].last));
	report_put(object, "id", report_json_text(id));
	report_put(object, "finished_at", report_json_time(e->finished_us));
	report_put(object, "exists", e->names_known ? json_boolean(e->exists) : json_null());
	report_put(object, "relfilenode", e->exists ? json_integer(e->number) : json_null());
	report_put(object, "blocks", e->exists ? report_json_u64(e->blocks) : json_null());
	report_put(object, "rewritten", e->compared ? json_boolean(e->rewritten) : json_null());
	report_put(object, "changed", e->compared ? json_boolean(e->changed) : json_null());
	report_put(object, "changed_blocks",
		   e->compared ? report_json_u64(e->changes) : json_null());
	report_put(object, "ranges", ranges);
	if (t->asked->has_block) {
		report_put(object, "present", json_boolean(e->page.present));
		report_put(object, "stored", stored_json(t, e));
	}
	(void)json_array_append_new(t->list, object); /* without memory the dump fails */
}

static void say_head(const struct telling *t)
{
	const struct page_history *asked = t->asked;
	struct report *r = &t->agent->report;

	if (asked->has_block)
		report_text(r, "block %" PRIu32 " of ", asked->block);
	report_text(r, "%s in %s, each backup against the one before\n\n", asked->relation,
		    t->place);
	report_text(r, "%-33s  %-19s  %10s  %8s\n", "backup", "finished (UTC)", "file", "blocks");
}

static enum err tell(void *ctx, const struct history_entry *e, struct error *why)
{
	struct telling *t = ctx;
	char id[ATTEMPT_TEXT_MAX];

	(void)why;
	attempt_to_text(&e->attempt, id);
	if (json_array_size(t->list) == 0)
		say_head(t);
	say_entry(t, e, id);
	put_entry(t, e, id);
	return ERR_NONE;
}

enum err show_history(struct agent *agent, const struct places *places,
		      const struct catalog_entry *entry, struct error *why)
{
	const struct options *o = &agent->options;
	struct page_history asked = {.relation = option_text(o, OPTION_RELATION),
				     .has_block = option_given(o, OPTION_BLOCK),
				     .block = (uint32_t)option_number(o, OPTION_BLOCK, 0)};
	struct cluster cluster;
	struct telling t = {
		.agent = agent, .cluster = &cluster, .asked = &asked, .list = json_array()};
	size_t place = 0;
	enum err e;

	while (place + 1 < places->count && (entry->places & (1u << place)) == 0)
		place++;
	t.place = place_name(&places->place[place]);
	cluster_init(&cluster, places->place[place].repository, entry->summary.cluster,
		     entry->summary.system_identifier);
	e = page_history_walk(&cluster, &entry->summary.attempt, &asked, tell, &t, why);
	report_put(agent->report.root, "relation", report_json_text(asked.relation));
	report_put(agent->report.root, "block",
		   asked.has_block ? json_integer(asked.block) : json_null());
	report_put(agent->report.root, "history", t.list);
	return e;
}
