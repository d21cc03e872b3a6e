/* commands/archive_push.c - `pgagent archive-push PATH`, for archive_command.
 *
 * Runs in the data directory of the server.  0 means durable in every repository of the cluster.
 */
#include "agent.h"
#include "base/file.h"
#include "commands/commands.h"
#include "pgformat/control.h"
#include "pgformat/page.h"
#include "places.h"
#include "repo/admit.h"
#include "subject.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Called by PostgreSQL every few seconds at most: what to read of a segment to know its system. */
enum { LONG_HEADER_BYTES = 40 };

/* The system identifier: of a segment its own header decides, of small files the data directory. */
static enum err find_system(struct agent *agent, const char *path, uint64_t *system,
			    struct error *why)
{
	struct files *files = agent->env.files;
	const char *slash = strrchr(path, '/');
	struct wal_name name;
	struct wal_page page;
	uint8_t head[LONG_HEADER_BYTES];
	uint32_t segment_bytes;
	int fd;
	enum err e = wal_name_from_text(slash == NULL ? path : slash + 1, &name, why);

	if (e != ERR_NONE)
		return e;
	if (name.kind == WAL_NAME_HISTORY || name.kind == WAL_NAME_BACKUP) {
		e = subject_read_control(agent, AT_FDCWD, system, &segment_bytes, why);
		if (e == ERR_MISSING)
			error_hint(why, "run it in the data directory, as archive_command does");
		return e;
	}
	fd = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "archive-push: %s", path);
	e = file_pread(files, fd, head, sizeof(head), 0, why);
	(void)files->ops->close(files, fd); /* only read */
	if (e == ERR_NONE && (!wal_page_decode(bytes_of(head, sizeof(head)), &page) ||
			      page.header_bytes != LONG_HEADER_BYTES))
		e = error_set(why, ERR_CORRUPT,
			      "its first page is no WAL page of PostgreSQL 15-18");
	if (e != ERR_NONE)
		return error_add(why, "archive-push %s", path), e;
	*system = page.system_identifier;
	return ERR_NONE;
}

/* Is it about this one repository?  Then the file is for the others all the same, and storing it
 * there tells again. */
static bool is_of_one_repository(enum err e)
{
	return e != ERR_CORRUPT && e != ERR_WRONG_KEY && e != ERR_CONFIG && e != ERR_MEMORY;
}

/* A first push may come before the first backup: then the data directory says who the server is. */
static enum err admit(struct agent *agent, const struct subject *subject, struct error *why)
{
	struct identity identity = {.data_checksums = -1};
	struct control control;
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = ERR_NONE;

	for (size_t i = 0; i < subject->archive.count && e == ERR_NONE; i++) {
		const struct cluster *cluster = &subject->archive.cluster[i];
		struct identity known;

		e = identity_read(cluster, &known, why);
		if (e != ERR_MISSING) {
			e = is_of_one_repository(e) ? ERR_NONE : e;
			continue;
		}
		e = ERR_NONE;
		if (data == NULL)
			e = file_read_all(agent->env.files, AT_FDCWD, "global/pg_control",
					  CONTROL_FILE_BYTES, &data, &len, why);
		if (e == ERR_NONE)
			e = control_decode(bytes_of(data, len), &control, why);
		if (e != ERR_NONE)
			break;
		if (control.system_identifier != cluster->system_identifier) {
			e = error_set(why, ERR_CONFIG,
				      "the segment belongs to another server than the data "
				      "directory it is pushed from");
			break;
		}
		identity.server_version = (int)control_major(&control) * 10000;
		identity.wal_segment_bytes = control.wal_segment_bytes;
		identity.block_bytes = control.block_bytes;
		identity.data_checksums = control.data_checksums != 0;
		e = identity_admit(cluster, &identity, false, why);
		if (is_of_one_repository(e))
			e = ERR_NONE;
	}
	free(data);
	return e;
}

static int level_of(const struct config_cluster *config)
{
	return config != NULL ? config->compression_level : 1;
}

int command_archive_push(struct agent *agent)
{
	const char *path = agent->options.arguments[0];
	struct places places = {.count = 0};
	struct subject subject;
	struct wal_push_result result = {.bytes = 0};
	uint64_t system = 0;
	struct error why;
	enum err e = find_system(agent, path, &system, &why);
	int code = EXIT_DONE;

	if (e == ERR_NONE)
		e = subject_open_of_system(agent, system, &places, &subject, &why);
	if (e == ERR_NONE)
		e = admit(agent, &subject, &why);
	if (e == ERR_NONE)
		e = wal_archive_push(&agent->env, &subject.archive, AT_FDCWD, path,
				     level_of(subject.config), &result, &why);
	/* The others have it now, but 0 would let the server forget it. */
	if (e == ERR_NONE && places.silent > 0) {
		why = places.why_silent;
		e = why.kind;
	}
	if (e != ERR_NONE) {
		code = agent_fail(agent, &why);
	} else {
		report_put(agent->report.root, "file", report_json_text(path));
		report_put(agent->report.root, "stored", json_integer((json_int_t)result.stored));
		report_put(agent->report.root, "same", json_integer((json_int_t)result.same));
		report_put(agent->report.root, "bytes", report_json_u64(result.bytes));
	}
	places_close(&places);
	return code;
}
