/* repo/section.c - reading the sections of a backup back from its packs. */
#include "repo/pack.h"

#include <stdlib.h>

/* `missing` differs from a section of no bytes, which has no frames. */
static enum err find(const struct manifest *m, const char *name, const struct section **out,
		     struct error *why)
{
	*out = manifest_section(m, name);
	if (*out)
		return ERR_NONE;
	return error_set(why, ERR_MISSING, "the backup has no section '%s'", name);
}

enum err section_walk(const struct cluster *c, const struct manifest *m, const char *name,
		      enum err (*visit)(void *ctx, struct bytes frame, struct error *why),
		      void *ctx, struct error *why)
{
	struct object_reader *r = NULL;
	const struct section *s;
	char key[STORE_KEY_MAX];
	enum err err = find(m, name, &s, why);

	if (!err)
		err = object_reader_new(c->repository, &r, why);
	for (uint32_t i = 0; !err && i < s->frames; i++) {
		const struct section_frame *frame = &s->frame[i];
		struct bytes plain;

		pack_key(c, &m->pack[frame->pack].id, key);
		err = object_open(r, key, OBJECT_PACK, why);
		if (!err)
			err = object_frame(r, FRAME_SECTION, &frame->place, &plain, why);
		/* A backup whose pack is gone is damaged; "missing" would say there is none. */
		if (err == ERR_MISSING)
			err = error_set(why, ERR_CORRUPT, "pack %s is gone", key);
		if (err) {
			(void)error_add(why, "reading section '%s'", name); /* the kind stays */
			break;
		}
		err = visit(ctx, plain, why);
	}
	object_reader_free(r);
	return err;
}

struct collecting {
	uint8_t *at;
	size_t left;
};

static enum err collect(void *ctx, struct bytes frame, struct error *why)
{
	struct collecting *c = ctx;

	if (frame.len > c->left)
		return error_set(why, ERR_CORRUPT, "a section is longer than its manifest says");
	memcpy(c->at, frame.data, frame.len);
	c->at += frame.len;
	c->left -= frame.len;
	return ERR_NONE;
}

enum err section_read(const struct cluster *c, const struct manifest *m, const char *name,
		      size_t max, uint8_t **out, size_t *len, struct error *why)
{
	const struct section *s;
	struct collecting all;
	uint8_t *memory;
	enum err err = find(m, name, &s, why);

	if (err)
		return err;
	if (s->plain_bytes > max)
		return error_set(why, ERR_LIMIT, "section '%s' of the backup: %llu bytes", name,
				 (unsigned long long)s->plain_bytes);
	/* One byte more: no bytes are memory, too, and text can be ended. */
	memory = malloc((size_t)s->plain_bytes + 1);
	if (!memory)
		return error_set(why, ERR_MEMORY, "reading section '%s': no memory", name);
	all = (struct collecting){memory, (size_t)s->plain_bytes};
	err = section_walk(c, m, name, collect, &all, why);
	if (err) {
		free(memory);
		return err;
	}
	memory[s->plain_bytes] = 0;
	*out = memory;
	*len = (size_t)s->plain_bytes;
	return ERR_NONE;
}
