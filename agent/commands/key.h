/* commands/key.h - what the actions of `pgagent key` share. */
#ifndef COMMANDS_KEY_H
#define COMMANDS_KEY_H

#include "agent.h"
#include "places.h"

/* "key-file", "recovery-code", ... */
const char *key_type_name(enum slot_type);

/* The repositories that the command is about: the cluster's with --cluster, else all configured ones.
 * Keys belong to repositories; a cluster only says which ones. */
enum err key_repos(struct agent *, const struct config_repo *repos[PLACES_MAX], size_t *count,
		   struct error *why) MUST_CHECK;

/* A recovery code, one line of standard input.  ERR_CONFIG when none came or it is mistyped. */
enum err key_read_code(struct agent *, struct key_secret *out, struct error *why) MUST_CHECK;
/* For a code that is one, and opens no slot there. */
void key_hint_wrong_code(const struct agent *, const struct place *, struct error *why);

/* `key add`, `key remove`, `key rotate`: the exit code. */
int key_change(struct agent *, const char *action);

#endif
