/* store/posix/posix_internal.h - what the files of this driver share. */
#ifndef STORE_POSIX_INTERNAL_H
#define STORE_POSIX_INTERNAL_H

#include "store/posix/posix.h"

#include <limits.h>
#include <pthread.h>

enum {
	/* Directories remembered as durable.  A backup writes to three or four at a time. */
	DURABLE_MAX = 16,
	/* Descriptors kept open.  A restore goes back and forth between the packs of many backups. */
	OPEN_MAX = 64
};

struct open_object {
	char key[STORE_KEY_MAX + 1];
	int fd; /* -1 = this place is free */
	unsigned users;
	bool stale; /* closed by the last user: removed, or no longer the file of that name */
	uint64_t used_at;
};

struct posix {
	struct store store;
	struct files *files;
	struct random *random;
	struct clock *clock;
	char path[PATH_MAX];
	int root; /* descriptor of the directory */
	mode_t dir_mode;
	mode_t file_mode;

	pthread_mutex_t lock; /* over the rest */
	char durable[DURABLE_MAX][STORE_KEY_MAX + 1];
	unsigned durable_next;
	struct open_object open[OPEN_MAX];
	uint64_t uses;
};

static inline struct posix *posix_of(struct store *s)
{
	return (struct posix *)s;
}

/* An open object, from those kept open or anew.  `shared` is NULL when it is not kept. */
struct posix_reader {
	int fd;
	struct open_object *shared;
	struct stat st;
};

enum err posix_reader_open(struct posix *, const char *key, struct posix_reader *out,
			   struct error *why) MUST_CHECK;
void posix_reader_close(struct posix *, struct posix_reader *);
/* What is kept open under `key` is forgotten. */
void posix_reader_forget(struct posix *, const char *key);
/* At the end, when nobody reads any more. */
void posix_reader_close_all(struct posix *);

enum err posix_begin(struct store *, const char *key, uint64_t size_hint, struct upload **out,
		     struct error *why) MUST_CHECK;
enum err posix_append(struct upload *, struct bytes, struct error *why) MUST_CHECK;
enum err posix_commit(struct upload *, struct error *why) MUST_CHECK;
void posix_abandon(struct upload *);

enum err posix_list(struct store *, const char *prefix, store_visit *, void *ctx,
		    struct error *why) MUST_CHECK;
enum err posix_parts(struct store *, const char *prefix, store_part_visit *, void *ctx,
		     struct error *why) MUST_CHECK;

/* Microseconds since 1970 of the last write. */
static inline int64_t posix_written_at_us(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

#endif
