/* support/proven.h - is a backup whole?  All its packs and pages are read, nothing else is. */
#ifndef SUPPORT_PROVEN_H
#define SUPPORT_PROVEN_H

#include "repo/verify.h"

/* ERR_CORRUPT: no; `finding` of the options was told why. */
static inline enum err verify_backup(const struct cluster *cluster, const struct attempt *attempt,
				     const struct verify_options *given,
				     struct verify_totals *totals, struct error *why)
{
	struct verify_options options = *given;

	options.bare = true;
	options.all = true;
	options.only = attempt;
	return verify_cluster(cluster, &options, totals, why);
}

#endif
