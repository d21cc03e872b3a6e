/* repo/admit.h - whether a server may write under a cluster's name.
 *
 * One name belongs to one server at a time.  A server with another system identifier (a clone that
 * was re-initialised, another machine with a copied configuration, or the same cluster after
 * pg_upgrade) is let in only when a person says so: pgagent init --upgrade.
 */
#ifndef REPO_ADMIT_H
#define REPO_ADMIT_H

#include "repo/repository.h"

/* Known system identifier: compares identity_ensure's fields.  Unknown one: written when the name is
 * new in this repository or `upgrade` is set, else ERR_CONFIG with what to type. */
enum err identity_admit(const struct cluster *, const struct identity *, bool upgrade,
			struct error *why) MUST_CHECK;

#endif
