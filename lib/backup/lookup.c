/* backup/lookup.c - what the parent has where a reader of files is: one shard at a time. */
#include "backup/backup_internal.h"

#include <stdlib.h>

struct lookup {
	const struct env *env;
	const struct parent_map *map;
	struct parent_reader *reader;
	const struct renewal *renewal;
	struct parent_file file;
	bool has_file, has_shard;
	bool warned;
	struct shard shard;
	bool renew_frame[SHARD_PAGES_MAX]; /* of the shard */
};

enum err lookup_new(const struct env *env, const struct parent_map *map,
		    const struct renewal *renewal, struct lookup **out, struct error *why)
{
	struct lookup *l = calloc(1, sizeof(*l));
	enum err e;

	if (l == NULL)
		return error_set(why, ERR_MEMORY, "comparing with the parent: out of memory");
	l->env = env;
	l->map = map;
	l->renewal = renewal;
	e = parent_reader_new(map, &l->reader, why);
	if (e != ERR_NONE) {
		lookup_free(l);
		return e;
	}
	*out = l;
	return ERR_NONE;
}

void lookup_free(struct lookup *l)
{
	if (l == NULL)
		return;
	parent_reader_free(l->reader);
	free(l);
}

void lookup_file(struct lookup *l, struct bytes path)
{
	if (l == NULL)
		return;
	l->has_file = parent_map_find(l->map, path, &l->file);
	l->has_shard = false;
}

static bool renews(const struct lookup *l, const struct frame_ref *frame)
{
	return renewal_wants(l->renewal, parent_map_manifest(l->map), &frame->pack);
}

enum err lookup_load(struct lookup *l, uint32_t index, struct batch_origin *out, struct error *why)
{
	struct parent_origin from;
	enum err e;

	l->has_shard = false;
	if (!l->has_file || index >= l->file.shards)
		return error_set(why, ERR_MISSING, "the parent has no such shard");
	e = parent_reader_shard(l->reader, &l->file, index, &l->shard, &from, why);
	if (e != ERR_NONE)
		return error_add(why, "reading the page map of the parent");
	for (uint32_t i = 0; i < l->shard.frames; i++)
		l->renew_frame[i] = renews(l, &l->shard.frame[i]);
	*out = (struct batch_origin){
		.from = from,
		.pages = l->shard.pages,
		.last_bytes = l->shard.last_bytes,
		.frames = l->shard.frames,
		.renew = renews(l, &from.at.frame),
		.renew_base = renews(l, &from.base.frame),
	};
	l->has_shard = true;
	return ERR_NONE;
}

enum err lookup_shard(struct lookup *l, uint32_t index, bool *found, struct batch_origin *out,
		      struct error *why)
{
	enum err e = l != NULL ? lookup_load(l, index, out, why) : ERR_MISSING;

	*found = e == ERR_NONE;
	if (e == ERR_CORRUPT && !l->warned) { /* costs space, and heals the damage */
		observer_event(l->env->observer, LEVEL_WARNING,
			       "a page map of the parent is damaged, its pages are stored anew: %s",
			       why->text);
		l->warned = true;
	}
	return e == ERR_MISSING || e == ERR_CORRUPT ? ERR_NONE : e;
}

bool lookup_record(const struct lookup *l, struct file_record *out)
{
	if (!l->has_file)
		return false;
	*out = (struct file_record){.kind = FILE_PLAIN,
				    .size = l->file.size,
				    .crc = l->file.crc,
				    .shards = l->file.shards,
				    .shard_refs = l->file.shard_refs};
	return true;
}

void lookup_page(const struct lookup *l, uint32_t n, struct batch_page *page)
{
	const struct page_entry *old;

	if (l == NULL || !l->has_shard || n >= l->shard.pages)
		return;
	old = &l->shard.page[n];
	if (old->zero)
		return;
	page->has_old = true;
	page->old = *old;
	page->old_frame = l->shard.frame[old->frame];
	page->renew = l->renew_frame[old->frame];
}

bool lookup_zero_differs(const struct lookup *l, uint32_t n)
{
	return l != NULL && l->has_shard && n < l->shard.pages && !l->shard.page[n].zero;
}
