/* repo/verify_await.c - whether a hole in WAL is one that an archiver will still fill.
 *
 * A backup streams its own WAL, which so comes before what an archiver that is behind has still to deliver.
 * An archiver delivers in order: as long as all that lies behind the hole is what backups have streamed, it
 * has not passed it.  And what is missing was written before the backup behind it began, so that after
 * VERIFY_AWAIT_US nobody waits any more: then it is a hole.
 */
#include "repo/pins.h"
#include "repo/verify_internal.h"

#include <stdlib.h>

static enum err add(struct verify_streamed *s, const struct attempt *attempt, uint32_t timeline,
		    struct lsn from, struct lsn to, struct error *why)
{
	struct verify_streamed_one *one;

	if ((s->count & (s->count - 1)) == 0) { /* doubles at powers of two */
		one = reallocarray(s->one, s->count == 0 ? 1 : 2 * s->count, sizeof(*one));
		if (one == NULL)
			return error_set(why, ERR_MEMORY, "verify: out of memory");
		s->one = one;
	}
	s->one[s->count++] = (struct verify_streamed_one){
		timeline, from, to, attempt_time_s(attempt) * INT64_C(1000000)};
	return ERR_NONE;
}

static enum err add_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	const struct summary *s = info->summary;

	return add(ctx, &s->attempt, s->timeline, s->start, s->stop, why);
}

/* A finding tells of it; of its WAL nobody knows. */
static enum err pass_over(void *ctx, const struct backup_damage *damage, struct error *why)
{
	(void)ctx;
	(void)damage;
	(void)why;
	return ERR_NONE;
}

enum err verify_streamed_read(const struct cluster *c, struct verify_streamed *out,
			      struct error *why)
{
	struct pins pins = {.count = 0};
	/* Pins first: who commits in between is seen in one of the two. */
	enum err e = pins_read(c, &pins, why);

	*out = (struct verify_streamed){.count = 0};
	for (size_t i = 0; e == ERR_NONE && i < pins.count; i++)
		if (pins.pin[i].is_writer && pins.pin[i].start.value != 0)
			e = add(out, &pins.pin[i].attempt, pins.pin[i].timeline, pins.pin[i].start,
				lsn_of(UINT64_MAX), why);
	pins_release(&pins);
	return e == ERR_NONE ? backups_list_all(c, true, add_backup, pass_over, out, why) : e;
}

void verify_streamed_release(struct verify_streamed *s)
{
	free(s->one);
	*s = (struct verify_streamed){.count = 0};
}

bool verify_is_streamed(const struct verify_streamed *s, uint32_t timeline, uint64_t segno,
			uint32_t segment_bytes, int64_t since_us)
{
	uint64_t begin = segno * segment_bytes;
	bool any = false;

	for (size_t i = 0; i < s->count; i++) {
		const struct verify_streamed_one *one = &s->one[i];

		if (one->timeline != timeline || one->from.value >= begin + segment_bytes ||
		    one->to.value <= begin)
			continue;
		if (one->began_us < since_us)
			return false;
		any = true;
	}
	return any;
}
