/* root.h - pgagent does not run as root: it refuses, and restore gives root up. */
#ifndef ROOT_H
#define ROOT_H

#include "base/error.h"

#include <stddef.h>

/* ERR_CONFIG with the line to type ("runuser -u postgres -- pgagent ...") as the hint. */
enum err root_refuse(int argc, char *const *argv, struct error *why) MUST_CHECK;

/* Becomes, for good, the owner of `directory` or, when that does not exist, of its parent; the
 * name is put into `who`.  ERR_CONFIG when that is root; nothing has changed then.  Call before
 * any thread starts. */
enum err root_drop_to_owner(const char *directory, char *who, size_t size,
			    struct error *why) MUST_CHECK;

#endif
