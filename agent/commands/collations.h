/* commands/collations.h - by what the server of a backup sorted text, and whether this machine does too.
 *
 * Where the library is another, indexes on text may answer wrongly, and no checksum tells.
 */
#ifndef COMMANDS_COLLATIONS_H
#define COMMANDS_COLLATIONS_H

#include "agent.h"
#include "repo/manifest.h"

enum { COLLATION_VERSION_MAX = 64 };

struct collation {
	char provider[16];                   /* "libc", "icu", "builtin" */
	char version[COLLATION_VERSION_MAX]; /* "" = it has none */
	char locale[128];
	char *database; /* owned */
};
struct collations {
	char libc[COLLATION_VERSION_MAX],
		icu[COLLATION_VERSION_MAX]; /* of the server; "" = not known */
	struct collation *collation;        /* owned; one for each database */
	size_t count;
};

/* Nothing is known of a backup without the section: all empty.  Release in any case. */
enum err collations_read(const struct cluster *, const struct manifest *, struct collations *out,
			 struct error *why) MUST_CHECK;
void collations_release(struct collations *);

/* The same of the section's text. */
enum err collations_parse(struct bytes text, struct collations *out, struct error *why) MUST_CHECK;

/* The libc of this machine; "" where it has no version to tell. */
const char *collations_libc_here(void);
/* Whether `libc_here` may sort otherwise than the server's did. */
bool collations_differ(const struct collations *, const char *libc_here);

void collations_say(struct report *, const struct collations *);
json_t *collations_json(const struct collations *);

#endif
