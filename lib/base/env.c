/* base/env.c - the outside world as it really is. */
#include "base/env.h"

static const volatile int never_cancelled = 0;

struct env env_os(void)
{
	return (struct env){
		.clock = clock_os(),
		.random = random_os(),
		.files = files_os(),
		.observer = observer_none(),
		.cancelled = &never_cancelled,
	};
}
