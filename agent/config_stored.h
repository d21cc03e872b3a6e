/* config_stored.h - the configuration as a backup carries it: what was written, without secrets. */
#ifndef CONFIG_STORED_H
#define CONFIG_STORED_H

#include "config.h"

#define CONFIG_FILL_IN "; TO FILL IN: " /* begins a comment about what is not right or not there */

enum { CONFIG_STORED_MAX = 256 << 10 /* bytes */ };

/* One text that can be read as a configuration again: [global], the cluster, and the repositories it names; only
 * keys that were written, not defaults.  Passwords in connection strings are masked, commands left out, since
 * they may hold anything; a comment before each says so.  ERR_LIMIT above CONFIG_STORED_MAX. */
enum err config_stored_text(const struct config *, const struct config_cluster *,
			    struct writer *out, struct error *why) MUST_CHECK;

#endif
