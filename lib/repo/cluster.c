/* repo/cluster.c - one cluster's part of a repository: its name, its identity, finding all of them.
 */
#include "base/text.h"
#include "repo/lines.h"
#include "repo/repo_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLUSTER_KEY_MAX = CLUSTER_NAME_MAX + 64 };

bool cluster_is_name(const char *name)
{
	static const char *const taken[] = {"docs", "keys", "probe"};
	size_t len = strlen(name);

	if (len == 0 || len >= CLUSTER_NAME_MAX || name[0] == '-' || name[0] == '_' ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len)
		return false;
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (strcmp(name, taken[i]) == 0)
			return false;
	return true;
}

void cluster_init(struct cluster *c, const struct repository *r, const char *name,
		  uint64_t system_identifier)
{
	assert(cluster_is_name(name));
	*c = (struct cluster){.repository = r, .system_identifier = system_identifier};
	(void)snprintf(c->name, sizeof(c->name), "%s", name); /* a name is short enough */
	(void)snprintf(c->prefix, sizeof(c->prefix), "%s/%" PRIu64 "/", name,
		       system_identifier); /* likewise */
}

static void identity_key(const struct cluster *c, char out[CLUSTER_KEY_MAX])
{
	(void)snprintf(out, CLUSTER_KEY_MAX, "%sidentity", c->prefix); /* fits by its parts */
}

static const char *checksums_text(int data_checksums)
{
	return data_checksums < 0 ? "unknown" : data_checksums > 0 ? "on" : "off";
}

static enum err identity_put(const struct cluster *c, const struct identity *id, const char *key,
			     struct error *why)
{
	char created[TIME_TEXT_MAX];
	struct writer body;
	enum err e;

	writer_init(&body, RECORD_BYTES_MAX);
	time_to_text(clock_now_us(c->repository->env->clock), created);
	lines_put(&body, "cluster", c->name);
	lines_putf(&body, "system-identifier", "%" PRIu64, c->system_identifier);
	lines_putf(&body, "server-version", "%d", id->server_version);
	lines_putf(&body, "wal-segment-bytes", "%" PRIu32, id->wal_segment_bytes);
	lines_putf(&body, "block-bytes", "%" PRIu32, id->block_bytes);
	lines_put(&body, "data-checksums", checksums_text(id->data_checksums));
	if (id->data_directory[0] != '\0')
		lines_put(&body, "data-directory", id->data_directory);
	lines_put(&body, "created", created);
	if (body.bad)
		e = error_set(why, ERR_MEMORY, "cannot make %s: out of memory", key);
	else
		e = record_put(c->repository, key, "identity", writer_view(&body), why);
	writer_release(&body);
	return e;
}

static enum err identity_decode(struct bytes body, const char *key, struct identity *out,
				struct error *why)
{
	struct identity id;
	uint64_t version, segment, block;
	char checksums[16];

	if (!lines_get_u64(body, "server-version", &version) || version > INT32_MAX ||
	    !lines_get_u64(body, "wal-segment-bytes", &segment) || segment > UINT32_MAX ||
	    !lines_get_u64(body, "block-bytes", &block) || block > UINT32_MAX ||
	    !lines_get(body, "data-checksums", checksums, sizeof(checksums)))
		return error_set(why, ERR_CORRUPT, "record %s is damaged: lines are missing", key);
	id.server_version = (int)version;
	id.wal_segment_bytes = (uint32_t)segment;
	id.block_bytes = (uint32_t)block;
	id.data_checksums = strcmp(checksums, "on") == 0    ? 1
			    : strcmp(checksums, "off") == 0 ? 0
							    : -1;
	/* Absent is unknown; so is what is longer than any path. */
	if (!lines_get(body, "data-directory", id.data_directory, sizeof(id.data_directory)))
		id.data_directory[0] = '\0';
	*out = id;
	return ERR_NONE;
}

enum err identity_read(const struct cluster *c, struct identity *out, struct error *why)
{
	char key[CLUSTER_KEY_MAX];
	struct writer body;
	enum err e;

	identity_key(c, key);
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(c->repository, key, "identity", &body, why);
	if (e == ERR_NONE)
		e = identity_decode(writer_view(&body), key, out, why);
	writer_release(&body);
	return e;
}

enum err identity_ensure(const struct cluster *c, const struct identity *id, struct error *why)
{
	char key[CLUSTER_KEY_MAX];
	struct identity there;
	enum err e;

	identity_key(c, key);
	/* Read first: it is there except once.  Whoever loses the race to put it compares. */
	e = identity_read(c, &there, why);
	if (e == ERR_MISSING) {
		e = identity_put(c, id, key, why);
		if (e == ERR_NONE || e != ERR_EXISTS)
			return e;
		e = identity_read(c, &there, why);
	}
	if (e != ERR_NONE)
		return e;
	if (there.wal_segment_bytes == id->wal_segment_bytes &&
	    there.block_bytes == id->block_bytes)
		return ERR_NONE;
	(void)error_set(why, ERR_CONFIG,
			"cluster %s does not match the repository: WAL segments of %" PRIu32
			" bytes and blocks of %" PRIu32 ", the repository has %" PRIu32
			" and %" PRIu32,
			c->name, id->wal_segment_bytes, id->block_bytes, there.wal_segment_bytes,
			there.block_bytes);
	error_hint(why, "a cluster made with another segment size needs another name in the "
			"configuration: [cluster:NAME]");
	return ERR_CONFIG;
}

struct found_cluster {
	char name[CLUSTER_NAME_MAX];
	uint64_t system;
};

struct found_clusters {
	struct found_cluster *at; /* owned */
	size_t count, room;
};

struct cluster_walk {
	const struct repository *repository;
	struct found_clusters *found;
	const char *name; /* of the cluster at hand */
};

static enum err found_add(struct found_clusters *found, const struct cluster *c, struct error *why)
{
	struct found_cluster *one;

	if (found->count == found->room) {
		size_t room = found->room == 0 ? 16 : found->room * 2;
		struct found_cluster *at = reallocarray(found->at, room, sizeof(*at));

		if (at == NULL)
			return error_set(why, ERR_MEMORY, "cannot list clusters: out of memory");
		found->at = at;
		found->room = room;
	}
	one = &found->at[found->count++];
	memcpy(one->name, c->name, sizeof(one->name));
	one->system = c->system_identifier;
	return ERR_NONE;
}

/* "<cluster>/<system>/": one of ours when it has an identity. */
static enum err walk_system(void *ctx, const char *part, struct error *why)
{
	struct cluster_walk *w = ctx;
	struct store_object object;
	struct cluster c;
	char key[CLUSTER_KEY_MAX];
	uint64_t system;
	enum err e;

	/* Nor "007", which would be 7 once more. */
	if (part[0] == '0' || !text_to_u64(bytes_of_text(part), &system))
		return ERR_NONE;
	cluster_init(&c, w->repository, w->name, system);
	identity_key(&c, key);
	e = store_stat(w->repository->store, key, &object, why);
	if (e == ERR_NONE)
		e = found_add(w->found, &c, why);
	return e == ERR_MISSING ? ERR_NONE : e;
}

static enum err walk_cluster(void *ctx, const char *part, struct error *why)
{
	struct cluster_walk *w = ctx;
	char prefix[CLUSTER_KEY_MAX];

	if (!cluster_is_name(part))
		return ERR_NONE;
	w->name = part;
	(void)snprintf(prefix, sizeof(prefix), "%s/", part); /* a name is short enough */
	return store_parts(w->repository->store, prefix, walk_system, w, why);
}

static int compare_found(const void *a, const void *b)
{
	const struct found_cluster *x = a, *y = b;
	int by_name = strcmp(x->name, y->name);

	if (by_name != 0)
		return by_name;
	return x->system < y->system ? -1 : x->system > y->system;
}

enum err clusters_list(const struct repository *r,
		       enum err (*visit)(void *ctx, const char *name, uint64_t system_identifier,
					 struct error *why),
		       void *ctx, struct error *why)
{
	struct found_clusters found = {.count = 0};
	struct cluster_walk w = {.repository = r, .found = &found};
	enum err e = store_parts(r->store, "", walk_cluster, &w, why);

	/* As text "10" comes before "9". */
	if (e == ERR_NONE && found.count > 0)
		qsort(found.at, found.count, sizeof(*found.at), compare_found);
	for (size_t i = 0; i < found.count && e == ERR_NONE; i++)
		e = visit(ctx, found.at[i].name, found.at[i].system, why);
	free(found.at);
	return e;
}
