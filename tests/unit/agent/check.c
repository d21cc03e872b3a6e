/* What check makes of an archive_command. */
#include "commands/check.h"

#include <criterion/criterion.h>

Test(check, knows_its_own_archive_command_at_any_path)
{
	cr_expect(check_is_own_archive_command("/usr/bin/pgagent archive-push --cluster main %p"));
	cr_expect(check_is_own_archive_command("\"/opt/x/pgagent\" --config \"/a b\" archive-push "
					       "\"%p\""));
	cr_expect_not(check_is_own_archive_command("cp %p /mnt/%f"));
	cr_expect_not(check_is_own_archive_command("pgbackrest archive-push %p"));
	cr_expect_not(check_is_own_archive_command("pgagent archive-push pg_wal/x"));
	cr_expect_not(check_is_own_archive_command(""));
}

Test(check, takes_the_first_word_without_its_quotes)
{
	char word[32];

	cr_assert(check_first_word("/usr/bin/pgagent archive-push", word, sizeof(word)));
	cr_expect_str_eq(word, "/usr/bin/pgagent");
	cr_assert(check_first_word("  \"/opt/it's here/pgagent\" x", word, sizeof(word)));
	cr_expect_str_eq(word, "/opt/it's here/pgagent");
	cr_assert(check_first_word("'/a b'/c\td", word, sizeof(word)));
	cr_expect_str_eq(word, "/a b/c");
}

Test(check, has_no_first_word_of_nothing_or_of_too_much)
{
	char word[8];

	cr_expect_not(check_first_word("", word, sizeof(word)));
	cr_expect_not(check_first_word("   ", word, sizeof(word)));
	cr_expect_not(check_first_word("12345678", word, sizeof(word)));
	cr_expect(check_first_word("1234567", word, sizeof(word)));
}

/* Two pages: a long header of 40 bytes, a short one of 24. */
Test(check, finds_a_name_in_a_segment_across_the_header_of_a_page)
{
	static uint8_t segment[2 * WAL_PAGE_BYTES];
	const char name[] = "pgagent check 0123456789abcdef";
	struct bytes all = bytes_of(segment, sizeof(segment));

	cr_expect_not(check_segment_holds(all, name));
	memcpy(segment + WAL_PAGE_BYTES - 10, name, 10);
	memcpy(segment + WAL_PAGE_BYTES + 24, name + 10, sizeof(name) - 11);
	cr_expect(check_segment_holds(all, name));
	cr_expect_not(check_segment_holds(bytes_of(segment, WAL_PAGE_BYTES), name));
	segment[WAL_PAGE_BYTES + 24] ^= 1;
	cr_expect_not(check_segment_holds(all, name));
}

Test(check, an_archiver_that_does_nothing_with_work_to_do_is_broken)
{
	const int64_t wait_us = 60000000;
	struct archiver_queue queue = {.files = 0, .idle_us = 10 * wait_us};

	cr_expect_eq(check_archiver_pace(&queue, wait_us), CHECK_OK);
	queue.files = 100;
	queue.idle_us = wait_us - 1;
	cr_expect_eq(check_archiver_pace(&queue, wait_us), CHECK_OK, "it is at work");
	queue.idle_us = wait_us;
	cr_expect_eq(check_archiver_pace(&queue, wait_us), CHECK_ERROR);
	queue.files = 6;
	cr_expect_eq(check_archiver_pace(&queue, wait_us), CHECK_ERROR);
	queue.files = 5;
	cr_expect_eq(check_archiver_pace(&queue, wait_us), CHECK_WARNING);
	queue.files = 1;
	cr_expect_eq(check_archiver_pace(&queue, wait_us), CHECK_WARNING);
}

Test(check, a_backup_may_be_as_old_as_its_schedule_makes_it)
{
	const int64_t day_us = INT64_C(86400) * 1000000;

	cr_expect_not(check_backup_is_overdue("0 1 * * *", 2 * day_us));
	cr_expect(check_backup_is_overdue("0 1 * * *", 2 * day_us + 1));
	cr_expect_not(check_backup_is_overdue("0 1 * * 0", 8 * day_us));
	cr_expect(check_backup_is_overdue("0 1 * * 0", 8 * day_us + 1));
	cr_expect_not(check_backup_is_overdue("0 1 1 * *", 32 * day_us));
	cr_expect(check_backup_is_overdue("0 1 1 * *", 32 * day_us + 1));
	cr_expect(check_backup_is_overdue("0 1 1 * 0", 8 * day_us + 1), "either day counts");
	cr_expect_not(check_backup_is_overdue("0 1 1 7 *", 1000 * day_us));
	cr_expect_not(check_backup_is_overdue("off", 1000 * day_us));
}
