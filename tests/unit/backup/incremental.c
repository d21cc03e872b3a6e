/* Facts about the rule that lets a server send only what changed. */
#include "backup/backup_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct summary parent = {.server_version = 170010, .data_checksums = 1};

static struct incremental_facts allowed(void)
{
	return (struct incremental_facts){.server_version = 170010,
					  .summarize_wal = 1,
					  .data_checksums = 1,
					  .parent = &parent,
					  .has_manifest = true};
}

/* That `facts` are refused, for a reason that holds `text`, with a hint that holds `hint`. */
static void refused(const struct incremental_facts *facts, const char *text, const char *hint)
{
	struct error why = {.kind = ERR_NONE};

	cr_expect_not(incremental_allowed(facts, &why), "%s", text);
	cr_expect(strstr(why.text, text) != NULL, "\"%s\" in \"%s\"", text, why.text);
	cr_expect(strstr(why.hint, hint) != NULL, "\"%s\" in \"%s\"", hint, why.hint);
	cr_expect_eq(why.kind, ERR_CONFIG);
}

Test(incremental_rule, a_good_server_and_a_good_parent_are_all_it_takes)
{
	static const int good[] = {170008, 170010, 180002, 180004, 190000};
	struct incremental_facts f = allowed();
	struct error why;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		f.server_version = good[i];
		cr_expect(incremental_allowed(&f, &why), "%d: %s", good[i], why.text);
	}
	f.data_checksums = parent.data_checksums = 0;
	cr_expect(incremental_allowed(&f, &why), "%s", why.text);
}

Test(incremental_rule, servers_without_it_or_with_its_defect_are_refused)
{
	static const int bad[] = {170000, 170007, 180000, 180001};
	struct incremental_facts f = allowed();

	f.server_version = 150020;
	refused(&f, "PostgreSQL 15", "--type full");
	f.server_version = 160014;
	refused(&f, "17 is the first", "--type full");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f.server_version = bad[i];
		refused(&f, "defect", "update the server");
	}
}

Test(incremental_rule, summaries_must_be_on)
{
	struct incremental_facts f = allowed();

	f.summarize_wal = 0;
	refused(&f, "summarize_wal is off", "ALTER SYSTEM SET summarize_wal = on");
	f.summarize_wal = -1;
	refused(&f, "summarize_wal is not known", "ALTER SYSTEM SET summarize_wal = on");
}

Test(incremental_rule, the_parent_must_be_one_the_server_can_take)
{
	struct incremental_facts f = allowed();

	f.parent = NULL;
	refused(&f, "no earlier backup", "--type full");
	f = allowed();
	f.has_manifest = false;
	refused(&f, "no manifest", "--type full");
	f = allowed();
	parent.server_version = 160014;
	refused(&f, "no manifest", "--type full");
}

Test(incremental_rule, what_the_server_would_not_send_must_be_good)
{
	struct incremental_facts f = allowed();

	f.data_checksums = 0;
	refused(&f, "data_checksums", "--type full");
	f.data_checksums = -1;
	refused(&f, "data_checksums", "--type full");
	f = allowed();
	f.is_flagged = true;
	refused(&f, "damage was found", "--type full");
	f = allowed();
	parent.checksum_failures = 1;
	refused(&f, "wrong checksums", "--type full");
}
