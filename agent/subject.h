/* subject.h - which cluster a command is about, as it lies in the opened repositories. */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "places.h"
#include "wal/archive.h"

struct subject {
	const struct config_cluster *config; /* NULL without a configuration */
	char name[CLUSTER_NAME_MAX];
	uint64_t system_identifier;
	struct wal_archive archive; /* one cluster part for each place, in order */
};

/* The configured cluster (--cluster, or the only one), or NULL where --repo PATH needs none. */
enum err subject_config(struct agent *, const struct config_cluster **out,
			struct error *why) MUST_CHECK;

/* By system identifier: the name is --cluster's, the only configured one's, or that under which
 * a repository knows the identifier. */
enum err subject_of_system(struct agent *, const struct places *,
			   const struct config_cluster *config, uint64_t system_identifier,
			   struct subject *out, struct error *why) MUST_CHECK;

/* By what is stored: of the named (or only) cluster the system identifier with the newest backup in any of
 * the repositories, or the only one.  ERR_MISSING when there is none. */
enum err subject_of_stored(struct agent *, const struct places *,
			   const struct config_cluster *config, struct subject *out,
			   struct error *why) MUST_CHECK;

/* All of it for a command that knows the system identifier only: of several configured clusters the
 * one that its repositories know by it, then as above; those that can't be opened are left out
 * and counted (places_open_to_read).  ERR_CONFIG when none does.  Close the places in any case. */
enum err subject_open_of_system(struct agent *, uint64_t system_identifier, struct places *,
				struct subject *out, struct error *why) MUST_CHECK;

/* The system identifier in global/pg_control below `directory` (a descriptor or AT_FDCWD). */
enum err subject_read_control(const struct agent *, int directory, uint64_t *system_identifier,
			      uint32_t *segment_bytes, struct error *why) MUST_CHECK;

#endif
