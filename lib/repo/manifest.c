/* repo/manifest.c - the decision object that makes a backup: written once (protocol step W6), and
 * read back whole (FORMAT.md section 10).
 *
 * Frames: summary, pack table in pieces, root.
 */
#include "repo/lines.h"
#include "repo/manifest_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MANIFEST_LEVEL = 3, /* zstd; a few MiB at most, once a backup */
	COMMIT_TRIES = 2,
	PACKS_PER_FRAME = FRAME_PLAIN_MAX / PACK_ENTRY_BYTES
};

static const char decision_is_record[] = "pgagent-";

void backup_key(const struct cluster *c, const struct attempt *attempt, char out[STORE_KEY_MAX])
{
	char text[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, text);
	(void)snprintf(out, STORE_KEY_MAX, "%sbackups/%s", c->prefix, text); /* fits by far */
}

/* The plain bytes of a manifest. */
struct plain {
	struct writer summary, packs, root;
};

static void plain_release(struct plain *p)
{
	writer_release(&p->summary);
	writer_release(&p->packs);
	writer_release(&p->root);
}

static enum err plain_make(const struct manifest *m, struct plain *p, struct error *why)
{
	writer_init(&p->summary, FRAME_PLAIN_MAX);
	writer_init(&p->packs, MANIFEST_BYTES_MAX);
	writer_init(&p->root, FRAME_PLAIN_MAX);
	summary_encode(&m->summary, &p->summary);
	pack_table_encode(m, &p->packs);
	root_encode(m, &p->root);
	if (!p->summary.bad && !p->packs.bad && !p->root.bad)
		return ERR_NONE;
	plain_release(p);
	return error_set(why, ERR_LIMIT,
			 "manifest of %u packs and %u sections: more than a manifest holds",
			 m->packs, m->sections);
}

static bool same_bytes(const struct writer *a, const struct writer *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static enum err add_frames(struct object_writer *w, const struct plain *p, struct compressor *zstd,
			   struct error *why)
{
	const size_t piece = (size_t)PACKS_PER_FRAME * PACK_ENTRY_BYTES;
	struct frame_place place;
	enum err err =
		object_add_plain(w, FRAME_SUMMARY, zstd, writer_view(&p->summary), &place, why);

	for (size_t at = 0; !err && at < p->packs.len; at += piece) {
		size_t len = p->packs.len - at < piece ? p->packs.len - at : piece;

		err = object_add_plain(w, FRAME_PACK_TABLE, zstd, bytes_of(p->packs.data + at, len),
				       &place, why);
	}
	if (!err)
		err = object_add_plain(w, FRAME_ROOT, zstd, writer_view(&p->root), &place, why);
	if (!err && object_bytes(w) > MANIFEST_BYTES_MAX - FRAME_PLAIN_MAX)
		err = error_set(why, ERR_LIMIT, "manifest: it is larger than %d MiB",
				MANIFEST_BYTES_MAX >> 20);
	return err;
}

static enum err put_once(const struct cluster *c, const char *key, const struct plain *p,
			 uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why)
{
	struct object_writer *w = NULL;
	struct compressor *zstd = NULL;
	enum err err = compressor_new(MANIFEST_LEVEL, FRAME_PLAIN_MAX, &zstd, why);

	if (!err)
		err = object_begin(c->repository, key, OBJECT_MANIFEST, 0, &w, why);
	if (!err)
		err = add_frames(w, p, zstd, why);
	if (!err) {
		err = object_commit(w, sha256, NULL, why);
		w = NULL;
	}
	object_abandon(w);
	compressor_free(zstd);
	return err;
}

enum err backup_check_aborted(const struct cluster *c, const struct attempt *attempt,
			      struct error *why)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	char reason[256] = "unknown reason", host[256] = "unknown", at[TIME_TEXT_MAX] = "unknown";
	uint8_t head[sizeof(decision_is_record) - 1];
	struct writer body;
	enum err err;

	attempt_to_text(attempt, name);
	backup_key(c, attempt, key);
	err = store_read(c->repository->store, key, 0, head, sizeof(head), why);
	if (err)
		return err;
	if (memcmp(head, decision_is_record, sizeof(head)) != 0)
		return ERR_NONE;
	writer_init(&body, RECORD_BYTES_MAX);
	err = record_get(c->repository, key, "abort", &body, why);
	if (!err) {
		(void)lines_get(writer_view(&body), "reason", reason, sizeof(reason));
		(void)lines_get(writer_view(&body), "host", host, sizeof(host));
		(void)lines_get(writer_view(&body), "time", at, sizeof(at));
		err = error_set(why, ERR_MISSING, "backup %s was aborted by host %s at %s: %s",
				name, host, at, reason);
	}
	writer_release(&body);
	return err;
}

/* What is at the key, when it was taken: ours, with the digest it has there, or ERR_EXISTS. */
static enum err compare_stored(const struct cluster *c, const struct manifest *m,
			       const struct plain *p, const char *key,
			       uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why)
{
	struct manifest *stored = NULL;
	struct plain theirs = {.summary = {.max = 1}};
	uint8_t *object = NULL;
	size_t len = 0;
	enum err err = manifest_read(c, &m->summary.attempt, &stored, why);

	if (err == ERR_MISSING && why) /* the abort marker, with its story */
		why->kind = ERR_EXISTS;
	if (err) {
		err = err == ERR_MISSING ? ERR_EXISTS : err;
		goto out;
	}
	err = plain_make(stored, &theirs, why);
	if (!err && !(same_bytes(&p->summary, &theirs.summary) &&
		      same_bytes(&p->packs, &theirs.packs) && same_bytes(&p->root, &theirs.root)))
		err = error_set(why, ERR_EXISTS,
				"cannot commit %s: it was committed with other content", key);
	if (!err)
		err = store_get(c->repository->store, key, MANIFEST_BYTES_MAX, &object, &len, why);
	if (!err)
		err = crypto_sha256(bytes_of(object, len), sha256, why);
out:
	free(object);
	plain_release(&theirs);
	manifest_free(stored);
	return err;
}

enum err manifest_commit(const struct cluster *c, const struct manifest *m,
			 uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why)
{
	char key[STORE_KEY_MAX];
	struct plain p;
	enum err err = plain_make(m, &p, why);

	if (err)
		return err;
	backup_key(c, &m->summary.attempt, key);
	/* Unsure means the answer was lost, or the name is there but not yet durable.  Putting it
	 * again settles both: it succeeds, or finds the name durably taken. */
	err = ERR_UNSURE;
	for (int tries = 0; err == ERR_UNSURE && tries < COMMIT_TRIES; tries++)
		err = put_once(c, key, &p, sha256, why);
	if (err == ERR_EXISTS)
		err = compare_stored(c, m, &p, key, sha256, why);
	plain_release(&p);
	return err;
}

static enum err read_frame(struct object_reader *r, const struct frame_entry *entry,
			   struct manifest *m, struct error *why)
{
	struct bytes plain;
	enum err err =
		object_frame(r, (enum frame_class)entry->frame_class, &entry->place, &plain, why);

	if (err)
		return err;
	switch (entry->frame_class) {
	case FRAME_SUMMARY:
		return summary_decode(plain, &m->summary, why);
	case FRAME_PACK_TABLE:
		return pack_table_decode(plain, m, why);
	default:
		return root_decode(plain, m, why);
	}
}

/* The order of frames that FORMAT.md gives. */
static enum frame_class class_at(size_t ordinal, size_t count)
{
	if (ordinal == 0)
		return FRAME_SUMMARY;
	return ordinal + 1 == count ? FRAME_ROOT : FRAME_PACK_TABLE;
}

static enum err read_frames(struct object_reader *r, struct manifest *m, struct error *why)
{
	const struct frame_entry *entry;
	size_t count;
	uint64_t size;
	enum err err = object_directory(r, &entry, &count, &size, why);

	if (err)
		return err;
	if (count < 2 || size > MANIFEST_BYTES_MAX)
		return error_set(why, ERR_CORRUPT, "manifest: %zu frames in %llu bytes make none",
				 count, (unsigned long long)size);
	for (size_t i = 0; i < count; i++) {
		if (entry[i].frame_class != class_at(i, count))
			return error_set(why, ERR_CORRUPT,
					 "manifest: frame %zu of %zu has class %u", i, count,
					 entry[i].frame_class);
		err = read_frame(r, &entry[i], m, why);
		if (err)
			return err;
	}
	return ERR_NONE;
}

static enum err check_identity(const struct cluster *c, const struct attempt *attempt,
			       const struct summary *s, struct error *why)
{
	if (attempt_compare(attempt, &s->attempt) != 0 || strcmp(c->name, s->cluster) != 0 ||
	    c->system_identifier != s->system_identifier)
		return error_set(why, ERR_CORRUPT,
				 "manifest: it says that it is of another backup or cluster (%s)",
				 s->cluster);
	return ERR_NONE;
}

enum err manifest_read(const struct cluster *c, const struct attempt *attempt,
		       struct manifest **out, struct error *why)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct object_reader *r = NULL;
	struct manifest *m = manifest_new();
	struct error look;
	enum err err;

	attempt_to_text(attempt, name);
	backup_key(c, attempt, key);
	if (!m)
		return error_set(why, ERR_MEMORY, "reading backup %s: no memory", name);
	err = object_reader_new(c->repository, &r, why);
	if (err)
		goto out;
	err = object_open(r, key, OBJECT_MANIFEST, why);
	/* An abort marker is no object: asking only then saves a request for every good one. */
	if (err == ERR_CORRUPT && backup_check_aborted(c, attempt, &look) == ERR_MISSING) {
		err = ERR_MISSING;
		if (why)
			*why = look;
		goto out;
	}
	if (!err)
		err = read_frames(r, m, why);
	if (!err)
		err = check_identity(c, attempt, &m->summary, why);
	if (err)
		(void)error_add(why, "reading backup %s", name); /* the kind stays */
out:
	object_reader_free(r);
	if (err)
		manifest_free(m);
	else
		*out = m;
	return err;
}
