/* repo/verified.c - what is known about packs, backups and WAL, put together from all records. */
#include "repo/verified_internal.h"

#include <stdlib.h>

struct verified *verified_new(void)
{
	return calloc(1, sizeof(struct verified));
}

void verified_free(struct verified *v)
{
	if (v == NULL)
		return;
	free(v->packs.at);
	free(v->backups.at);
	free(v->hits.at);
	free(v->wal.at);
	free(v->lost.at);
	free(v->damage.at);
	free(v->read.at);
	free(v);
}

/* Appends one entry of `size` bytes. */
static enum err add(struct verified_list *list, const void *entry, size_t size, struct error *why)
{
	if (list->count == list->max) {
		size_t max = list->max == 0 ? 64 : list->max * 2;
		void *bigger = reallocarray(list->at, max, size);

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "record of verification: out of memory");
		list->at = bigger;
		list->max = max;
	}
	memcpy((uint8_t *)list->at + list->count++ * size, entry, size);
	return ERR_NONE;
}

enum err verified_add_packs(struct verified *v, const struct verified_packs *packs,
			    struct error *why)
{
	return add(&v->packs, packs, sizeof(*packs), why);
}

enum err verified_add_backup(struct verified *v, const struct verified_backup *backup,
			     struct error *why)
{
	return add(&v->backups, backup, sizeof(*backup), why);
}

enum err verified_add_hit(struct verified *v, const struct verified_hit *hit, struct error *why)
{
	return add(&v->hits, hit, sizeof(*hit), why);
}

enum err verified_add_wal(struct verified *v, const struct verified_wal *wal, struct error *why)
{
	return add(&v->wal, wal, sizeof(*wal), why);
}

enum err verified_add_segment(struct verified *v, const struct verified_segment *segment,
			      struct error *why)
{
	return v->lost.count < VERIFIED_DAMAGE_MAX ? add(&v->lost, segment, sizeof(*segment), why)
						   : ERR_NONE;
}

enum err verified_add_damage(struct verified *v, const struct verified_damage *damage,
			     struct error *why)
{
	return add(&v->damage, damage, sizeof(*damage), why);
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_packs(const void *left, const void *right)
{
	const struct verified_packs *a = left, *b = right;
	int order = attempt_compare(&a->attempt, &b->attempt);

	return order != 0 ? order : compare_u64(a->first, b->first);
}

static int by_backup(const void *left, const void *right)
{
	const struct verified_backup *a = left, *b = right;
	int order = attempt_compare(&a->attempt, &b->attempt);

	return order != 0 ? order : (a->stated_us > b->stated_us) - (a->stated_us < b->stated_us);
}

static int by_hit(const void *left, const void *right)
{
	const struct verified_hit *a = left, *b = right;
	int order = attempt_compare(&a->attempt, &b->attempt);

	return order != 0 ? order : (a->stated_us > b->stated_us) - (a->stated_us < b->stated_us);
}

static int by_pack(const struct pack_id *a, const struct pack_id *b)
{
	int order = attempt_compare(&a->attempt, &b->attempt);

	return order != 0 ? order : compare_u64(a->seq, b->seq);
}

static int by_damage(const void *left, const void *right)
{
	const struct verified_damage *a = left, *b = right;
	int order = by_pack(&a->pack, &b->pack);

	if (order == 0)
		order = compare_u64(a->ordinal, b->ordinal);
	return order != 0 ? order : compare_u64(a->offset, b->offset);
}

static int by_segment(const void *left, const void *right)
{
	const struct verified_segment *a = left, *b = right;

	if (a->timeline != b->timeline)
		return a->timeline < b->timeline ? -1 : 1;
	return compare_u64(a->segno, b->segno);
}

static void sort(struct verified_list *list, size_t size, int (*by)(const void *, const void *))
{
	if (list->count > 1)
		qsort(list->at, list->count, size, by);
}

/* The newest proof that covers the pack, whatever was found since. */
static int64_t proven_us(const struct verified *v, const struct pack_id *pack)
{
	const struct verified_packs *range = v->packs.at;
	size_t low = 0, high = v->packs.count;
	int64_t us = 0;

	while (low < high) { /* the first range of this attempt */
		size_t middle = low + (high - low) / 2;

		if (attempt_compare(&range[middle].attempt, &pack->attempt) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < v->packs.count; low++) {
		if (attempt_compare(&range[low].attempt, &pack->attempt) != 0 ||
		    range[low].first > pack->seq)
			break;
		if (pack->seq <= range[low].last && range[low].us > us)
			us = range[low].us;
	}
	return us;
}

/* The newest proof of the segment, whatever was found since. */
static int64_t wal_proven_us(const struct verified *v, uint32_t timeline, uint32_t segment_bytes,
			     uint64_t segno)
{
	const struct verified_wal *wal = v->wal.at;
	int64_t us = 0;

	for (size_t i = 0; i < v->wal.count; i++)
		if (wal[i].timeline == timeline && wal[i].segment_bytes == segment_bytes &&
		    segno >= wal[i].first && segno <= wal[i].last && wal[i].us > us)
			us = wal[i].us;
	return us;
}

/* Of a segment the newest statement, and none where it was read whole since. */
static void settle_wal(struct verified *v)
{
	struct verified_segment *lost = v->lost.at;
	size_t kept = 0;

	sort(&v->lost, sizeof(*lost), by_segment);
	for (size_t i = 0; i < v->lost.count; i++) {
		if (lost[i].us <
		    wal_proven_us(v, lost[i].timeline, lost[i].segment_bytes, lost[i].segno))
			continue;
		if (kept > 0 && by_segment(&lost[kept - 1], &lost[i]) == 0)
			lost[kept - 1] = lost[i].us > lost[kept - 1].us ? lost[i] : lost[kept - 1];
		else
			lost[kept++] = lost[i];
	}
	v->lost.count = kept;
}

void verified_settle(struct verified *v)
{
	struct verified_damage *damage = v->damage.at;
	size_t kept = 0;

	sort(&v->packs, sizeof(struct verified_packs), by_packs);
	sort(&v->backups, sizeof(struct verified_backup), by_backup);
	settle_wal(v);
	sort(&v->hits, sizeof(struct verified_hit), by_hit);
	sort(&v->damage, sizeof(struct verified_damage), by_damage);
	for (size_t i = 0; i < v->damage.count; i++) {
		if (damage[i].us < proven_us(v, &damage[i].pack))
			continue; /* it was mended since */
		if (kept > 0 && by_damage(&damage[kept - 1], &damage[i]) == 0) {
			if (damage[i].us > damage[kept - 1].us)
				damage[kept - 1].us = damage[i].us;
			continue;
		}
		damage[kept++] = damage[i];
	}
	v->damage.count = kept;
}

/* The first entry of damage in this pack; the count when there is none. */
static size_t damage_of(const struct verified *v, const struct pack_id *pack)
{
	const struct verified_damage *damage = v->damage.at;
	size_t low = 0, high = v->damage.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (by_pack(&damage[middle].pack, pack) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < v->damage.count && by_pack(&damage[low].pack, pack) == 0 ? low
									      : v->damage.count;
}

int64_t verified_pack_us(const struct verified *v, const struct pack_id *pack)
{
	return damage_of(v, pack) < v->damage.count ? 0 : proven_us(v, pack);
}

bool verified_flagged(const struct verified *v, const struct pack_id *pack, uint32_t ordinal)
{
	const struct verified_damage *damage = v->damage.at;

	for (size_t i = damage_of(v, pack); i < v->damage.count; i++) {
		if (by_pack(&damage[i].pack, pack) != 0)
			break;
		if (damage[i].ordinal == ordinal || damage[i].ordinal == VERIFIED_ALL)
			return true;
	}
	return false;
}

bool verified_pack_flagged(const struct verified *v, const struct pack_id *pack)
{
	return damage_of(v, pack) < v->damage.count;
}

bool verified_any_flagged(const struct verified *v)
{
	return v->damage.count > 0;
}

const struct verified_backup *verified_find_backup(const struct verified *v,
						   const struct attempt *attempt)
{
	const struct verified_backup *backup = v->backups.at;
	size_t low = 0, high = v->backups.count;

	while (low < high) { /* the first entry above all of this attempt's */
		size_t middle = low + (high - low) / 2;

		if (attempt_compare(&backup[middle].attempt, attempt) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || attempt_compare(&backup[low - 1].attempt, attempt) != 0)
		return NULL;
	return &backup[low - 1];
}

int64_t verified_maps_us(const struct verified *v, const struct attempt *attempt)
{
	const struct verified_backup *backup = verified_find_backup(v, attempt);

	return backup != NULL ? backup->maps_us : 0;
}

int64_t verified_backup_us(const struct verified *v, const struct attempt *attempt)
{
	const struct verified_backup *backup = verified_find_backup(v, attempt);

	return backup != NULL ? backup->whole_us : 0;
}

const struct verified_hit *verified_find_hit(const struct verified *v,
					     const struct attempt *attempt)
{
	const struct verified_backup *backup = verified_find_backup(v, attempt);
	const struct verified_hit *hit = v->hits.at, *found = NULL;

	for (size_t i = 0; i < v->hits.count; i++)
		if (attempt_compare(&hit[i].attempt, attempt) == 0 &&
		    (backup == NULL || hit[i].stated_us >= backup->stated_us))
			found = &hit[i]; /* the newest comes last */
	return found;
}

int64_t verified_damaged_us(const struct verified *v, const struct attempt *attempt)
{
	const struct verified_hit *hit = verified_find_hit(v, attempt);

	return hit != NULL ? hit->us : 0;
}

int64_t verified_wal_us(const struct verified *v, uint32_t timeline, uint32_t segment_bytes,
			uint64_t segno)
{
	const struct verified_segment *lost = v->lost.at;

	for (size_t i = 0; i < v->lost.count; i++)
		if (lost[i].timeline == timeline && lost[i].segment_bytes == segment_bytes &&
		    lost[i].segno == segno)
			return 0;
	return wal_proven_us(v, timeline, segment_bytes, segno);
}

size_t verified_wal_damaged(const struct verified *v, const struct verified_segment **out)
{
	*out = v->lost.at;
	return v->lost.count;
}
