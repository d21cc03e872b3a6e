/* commands/catalog_verified.c - when each backup of a catalog was last proven whole, or found damaged. */
#include "commands/catalog.h"
#include "repo/verified.h"

#include <stdlib.h>
#include <string.h>

/* A backup in several places is as proven as its best copy; damage is damage wherever it is. */
static void take(struct catalog_entry *entry, unsigned bit, const struct verified *verified)
{
	int64_t whole = verified_backup_us(verified, &entry->summary.attempt);
	int64_t damaged = verified_damaged_us(verified, &entry->summary.attempt);

	if (whole > entry->verified_us)
		entry->verified_us = whole;
	if (damaged > entry->damaged_us)
		entry->damaged_us = damaged;
	if (damaged != 0)
		entry->damaged_places |= bit;
}

static void take_wal(struct catalog *catalog, uint64_t system, unsigned bit,
		     const struct verified *verified)
{
	struct catalog_wal_damage *d = &catalog->wal_damage;
	const struct verified_segment *segment;
	size_t count = verified_wal_damaged(verified, &segment);
	struct wal_name name;
	struct lsn end;

	if (count == 0)
		return;
	segment += count - 1; /* in order */
	end = wal_segment_start(segment->segno + 1, segment->segment_bytes);
	if (d->count == 0 || segment->timeline > d->timeline ||
	    (segment->timeline == d->timeline && end.value > d->end.value)) {
		wal_segment_name(segment->timeline, segment->segno, segment->segment_bytes, &name);
		d->system_identifier = system;
		d->timeline = segment->timeline;
		d->end = end;
		d->place = bit;
		d->us = segment->us;
		wal_name_to_text(&name, d->segment);
	}
	d->count += count;
}

/* Entry `first` and all later ones of the same cluster, in one place. */
static enum err read_cluster(const struct place *place, struct catalog *catalog, size_t first,
			     unsigned bit, bool *done, struct error *why)
{
	const struct summary *of = &catalog->entry[first].summary;
	struct verified *verified = NULL;
	struct cluster cluster;
	enum err e;

	cluster_init(&cluster, place->repository, of->cluster, of->system_identifier);
	e = verified_read(&cluster, &verified, why);
	for (size_t i = first; i < catalog->count && e == ERR_NONE; i++) {
		struct catalog_entry *entry = &catalog->entry[i];

		if ((entry->places & bit) == 0 ||
		    entry->summary.system_identifier != of->system_identifier ||
		    strcmp(entry->summary.cluster, of->cluster) != 0)
			continue;
		take(entry, bit, verified);
		done[i] = true;
	}
	if (e == ERR_NONE)
		take_wal(catalog, of->system_identifier, bit, verified);
	verified_free(verified);
	return e;
}

enum err catalog_read_verified(const struct places *places, struct catalog *catalog,
			       struct error *why)
{
	bool *done = calloc(catalog->count + 1, sizeof(*done));
	enum err e = done == NULL ? error_set(why, ERR_MEMORY, "list of backups: out of memory")
				  : ERR_NONE;

	for (size_t p = 0; p < places->count && e == ERR_NONE; p++) {
		memset(done, 0, catalog->count * sizeof(*done));
		for (size_t i = 0; i < catalog->count && e == ERR_NONE; i++)
			if (!done[i] && (catalog->entry[i].places & (1u << p)) != 0)
				e = read_cluster(&places->place[p], catalog, i, 1u << p, done, why);
	}
	free(done);
	return e;
}
