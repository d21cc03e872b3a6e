/* commands/backup_report.c - a summary in the words of the contract. */
#include "commands/backup_report.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

void backup_report_json(json_t *object, const struct summary *s)
{
	char id[ATTEMPT_TEXT_MAX], parent[ATTEMPT_TEXT_MAX], system[24];
	double seconds = (double)(s->finished_us - s->started_us) / 1e6;

	attempt_to_text(&s->attempt, id);
	attempt_to_text(&s->parent, parent);
	(void)snprintf(system, sizeof(system), "%llu", (unsigned long long)s->system_identifier);
	report_put(object, "id", report_json_text(id));
	report_put(object, "label", report_json_text(s->label[0] != '\0' ? s->label : NULL));
	report_put(object, "cluster", report_json_text(s->cluster));
	report_put(object, "system_identifier", report_json_text(system));
	report_put(object, "server_version", json_integer(s->server_version));
	report_put(object, "timeline", json_integer(s->timeline));
	report_put(object, "start_lsn", report_json_lsn(s->start));
	report_put(object, "stop_lsn", report_json_lsn(s->stop));
	report_put(object, "started_at", report_json_time(s->started_us));
	report_put(object, "finished_at", report_json_time(s->finished_us));
	report_put(object, "type", json_string(s->incremental ? "incremental" : "full"));
	report_put(object, "parent", report_json_text(s->has_parent ? parent : NULL));
	report_put(object, "files", report_json_u64(s->files));
	report_put(object, "bytes_cluster", report_json_u64(s->bytes_cluster));
	report_put(object, "bytes_new", report_json_u64(s->bytes_new));
	report_put(object, "bytes_stored", report_json_u64(s->bytes_stored));
	report_put(object, "bytes_renewed", report_json_u64(s->bytes_renewed));
	report_put(object, "pages_changed", report_json_u64(s->pages_changed));
	report_put(object, "checksum_failures", report_json_u64(s->checksum_failures));
	report_put(object, "throughput_bytes_per_s",
		   seconds > 0 ? report_json_u64((uint64_t)((double)s->bytes_cluster / seconds))
			       : json_null());
	report_put(object, "keep", json_boolean(s->keep));
	report_put(object, "hidden", json_false());
	report_put(object, "verified_at", json_null());
}

void backup_report_unknown_json(json_t *object, const struct attempt *attempt, const char *cluster,
				uint64_t system_identifier)
{
	static const char *const known[] = {"id", "cluster", "system_identifier"};
	struct summary s = {.attempt = *attempt, .system_identifier = system_identifier};
	const char *key;
	json_t *value;

	(void)snprintf(s.cluster, sizeof(s.cluster), "%s", cluster); /* fits */
	backup_report_json(object, &s);
	json_object_foreach(object, key, value)
	{
		bool keep = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			keep = keep || strcmp(key, known[i]) == 0;
		if (!keep) /* the value of a key that is there may be set while walking */
			report_put(object, key, json_null());
	}
}

void backup_time_to_text(int64_t us, char out[BACKUP_TIME_MAX])
{
	char text[TIME_TEXT_MAX];

	if (us == 0) {
		(void)snprintf(out, BACKUP_TIME_MAX, "-");
		return;
	}
	time_to_text(us, text);
	text[strlen("2026-11-23T14:05:00")] = '\0';
	text[strlen("2026-11-23")] = ' ';
	(void)snprintf(out, BACKUP_TIME_MAX, "%s", text); /* fits */
}

void backup_bad_file_text(const char *bad_file, char *out, size_t size)
{
	const char *tab = strchr(bad_file, '\t');

	if (tab == NULL)
		(void)snprintf(out, size, "%s", bad_file);
	else
		(void)snprintf(out, size, "%.*s (%s)", (int)(tab - bad_file), bad_file, tab + 1);
}

json_t *backup_bad_file_json(const char *bad_file)
{
	const char *tab = strchr(bad_file, '\t');
	json_t *object = json_object();
	char path[FILE_PATH_MAX + 1];

	(void)snprintf(path, sizeof(path), "%.*s",
		       tab != NULL ? (int)(tab - bad_file) : FILE_PATH_MAX, bad_file);
	report_put(object, "path", report_json_text(path));
	report_put(object, "relation", report_json_text(tab != NULL ? tab + 1 : NULL));
	return object;
}
