/* backup/wal_wait.c - step W5: where the backup could not stream its own WAL the archive has to bring
 * it, within the time the operator allows; and that it is there in the end, whoever brought it.
 */
#include "backup/backup_internal.h"

#include <inttypes.h>

enum { LOOK_EVERY_US = 500 * 1000 };

static enum err segment_there(const struct cluster *cluster, size_t clusters,
			      const struct wal_name *name, struct error *why)
{
	char key[STORE_KEY_MAX];

	for (size_t i = 0; i < clusters; i++) {
		struct store_object object;
		enum err e;

		wal_key(&cluster[i], name, key);
		e = store_stat(cluster[i].repository->store, key, &object, why);
		if (e == ERR_NONE) /* archive-push may be about to sync it */
			e = store_confirm(cluster[i].repository->store, key, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

enum err wal_wait(const struct env *env, const struct cluster *cluster, size_t clusters,
		  struct lsn start, struct lsn stop, uint32_t timeline, uint32_t segment_bytes,
		  int64_t wait_us, struct error *why)
{
	int64_t deadline = clock_monotonic_us(env->clock) + wait_us;
	uint64_t last = (stop.value - 1) / segment_bytes;
	uint64_t segno = wal_segno(start, segment_bytes);

	while (segno <= last) {
		struct wal_name name;
		char text[WAL_NAME_MAX];
		enum err e;

		wal_segment_name(timeline, segno, segment_bytes, &name);
		e = segment_there(cluster, clusters, &name, why);
		if (e == ERR_NONE) {
			segno++;
			continue;
		}
		if (e != ERR_MISSING)
			return e;
		if (*env->cancelled)
			return error_set(why, ERR_CANCELLED, "backup: stopped on request");
		if (clock_monotonic_us(env->clock) >= deadline) {
			wal_name_to_text(&name, text);
			(void)error_set(why, ERR_MISSING,
					"segment %s, needed by this backup, was not archived "
					"within %" PRId64 " s",
					text, wait_us / 1000000);
			error_hint(why,
				   "look at pg_stat_archiver on the server (last_failed_wal), or "
				   "give the backup a walsender of its own: max_wal_senders");
			return ERR_MISSING;
		}
		clock_sleep_us(env->clock, LOOK_EVERY_US);
	}
	return ERR_NONE;
}

enum err wal_prove(const struct cluster *cluster, size_t clusters, struct lsn start,
		   struct lsn stop, uint32_t timeline, uint32_t segment_bytes, struct error *why)
{
	for (size_t i = 0; i < clusters; i++) {
		struct wal_name name;
		struct lsn reach;
		char text[WAL_NAME_MAX];
		enum err e = wal_reaches(&cluster[i], timeline, start, segment_bytes, &reach, why);

		if (e != ERR_NONE)
			return e;
		if (reach.value >= stop.value)
			continue;
		wal_segment_name(timeline, wal_segno(reach, segment_bytes), segment_bytes, &name);
		wal_name_to_text(&name, text);
		(void)error_set(why, ERR_MISSING,
				"segment %s, needed by this backup, was stored in %s and is not "
				"there any more",
				text, cluster[i].repository->store->label);
		error_hint(why, "find out who removes files there; then take the backup again");
		return ERR_MISSING;
	}
	return ERR_NONE;
}
