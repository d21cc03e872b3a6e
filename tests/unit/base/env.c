#include "base/env.h"

#include <criterion/criterion.h>

Test(env, the_systems_is_complete_and_not_cancelled)
{
	struct env env = env_os();

	cr_assert_eq(env.clock, clock_os());
	cr_assert_eq(env.random, random_os());
	cr_assert_eq(env.files, files_os());
	cr_assert_eq(env.observer, observer_none());
	cr_assert_eq(*env.cancelled, 0);
}
