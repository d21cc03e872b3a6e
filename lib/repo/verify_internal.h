/* repo/verify_internal.h - what the files of verification share. */
#ifndef REPO_VERIFY_INTERNAL_H
#define REPO_VERIFY_INTERNAL_H

#include "repo/verify.h"

/* Counts a finding and passes it on. */
void verify_report(const struct verify_options *, struct verify_totals *,
		   const struct verify_finding *);

/* ERR_CANCELLED when the run was asked to stop. */
enum err verify_go_on(const struct cluster *, struct error *why) MUST_CHECK;

#endif
