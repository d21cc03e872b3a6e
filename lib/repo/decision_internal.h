/* repo/decision_internal.h - what the files about decisions and pins share. */
#ifndef REPO_DECISION_INTERNAL_H
#define REPO_DECISION_INTERNAL_H

#include "repo/decision.h"

enum { HOST_NAME_BYTES = 256, BOOT_ID_BYTES = 64 };

/* This machine, as records name it; "unknown" where the system does not say.  Host names repeat
 * ("localhost"), so the machine id tells machines apart; containers of one machine share name and
 * boot, so the process id space tells those apart. */
struct host_identity {
	char host[HOST_NAME_BYTES];
	char machine[BOOT_ID_BYTES]; /* /etc/machine-id */
	char boot[BOOT_ID_BYTES];
	uint64_t pid_space; /* inode of /proc/self/ns/pid; 0 = unknown */
	uint64_t pid;
};
void host_identify(const struct env *, struct host_identity *out);
/* True when the process that wrote `then` certainly is no more: it ran on this machine. */
bool host_process_is_gone(const struct host_identity *now, const struct host_identity *then);

/* Keys of a listing, copied, so that objects can be read while walking them. */
struct key_list {
	char **key; /* owned */
	uint64_t *size;
	size_t count;
};
/* Everything below "<cluster>/<system>/" `folder`, keys with that prefix cut off, ascending.
 * Release it also after a failure. */
enum err key_list_read(const struct cluster *, const char *folder, struct key_list *out,
		       struct error *why) MUST_CHECK;
void key_list_release(struct key_list *);

/* Puts a clear record about `attempt` that stands beside its decision: hidden, tomb, keep and their ends;
 * `end` NULL = none.  ERR_EXISTS: the key is taken by another one. */
enum err mark_put(const struct cluster *, const char *key, const char *type, const struct attempt *,
		  const char *reason, const char *end, struct error *why) MUST_CHECK;

enum { PIN_NAME_MAX = 96 /* "<holder>/<n>"; what is longer is nobody's pin */ };
/* The key of what was listed below `folder`; false: too long to be a pin. */
bool pin_listed_key(const struct cluster *, const char *folder, const char *name,
		    char out[STORE_KEY_MAX]);

#endif
