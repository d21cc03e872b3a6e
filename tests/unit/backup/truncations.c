/* Facts about relations that were cut off; what a server says is tested by integration tests. */
#include "backup/backup_internal.h"

#include <criterion/criterion.h>

static struct relation_file some[] = {
	{.tablespace = 1664, .database = 0, .number = 1262, .fork = 0},
	{.tablespace = 1663, .database = 5, .number = 16384, .fork = 0},
	{.tablespace = 16390, .database = 5, .number = 16391, .fork = 1},
};

Test(truncations, are_found_by_the_path_of_any_segment)
{
	struct truncations t = {.relation = some, .count = 3};

	cr_assert(truncations_have(&t, "base/5/16384"));
	cr_assert(truncations_have(&t, "base/5/16384.7"));
	cr_assert(truncations_have(&t, "global/1262"));
	cr_assert(truncations_have(&t, "pg_tblspc/16390/PG_18_202506291/5/16391_fsm"));
}

Test(truncations, are_of_one_fork_of_one_relation)
{
	struct truncations t = {.relation = some, .count = 3}, none = {.count = 0};

	cr_assert_not(truncations_have(&t, "base/5/16384_fsm"));
	cr_assert_not(truncations_have(&t, "base/6/16384"));
	cr_assert_not(truncations_have(&t, "base/5/1262"));
	cr_assert_not(truncations_have(&t, "pg_tblspc/16390/PG_18_202506291/5/16391"));
	cr_assert_not(truncations_have(&t, "pg_tblspc/16390/PG_18_202506291/5/16384"));
	cr_assert_not(truncations_have(&t, "pg_xact/0000"));
	cr_assert_not(truncations_have(&none, "base/5/16384"));
}
