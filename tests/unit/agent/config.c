/* The configuration: what is accepted, what is refused and where, what is shown. */
#include "config.h"
#include "config_stored.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config config;
static struct error why;

static const char minimal[] = "[repo:local]\npath = /r\nkey_file = /k\n[cluster:main]\n";

static enum err read_only(const char *name, const char *text)
{
	return config_read(&config, name, bytes_of_text(text), &why);
}

static enum err load(const char *text)
{
	cr_assert_eq(config_init(&config, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(read_only("test.conf", text), ERR_NONE, "%s", why.text);
	return config_resolve(&config, &why);
}

/* The first problem stands at `line` and names `word`. */
static void refused(const char *text, int line, const char *word)
{
	char place[32];

	(void)snprintf(place, sizeof(place), "test.conf:%d: ", line);
	cr_assert_eq(load(text), ERR_CONFIG, "accepted:\n%s", text);
	cr_expect_not_null(strstr(why.text, place), "not at line %d: %s", line, why.text);
	cr_expect_not_null(strstr(why.text, word), "%s is not named: %s", word, why.text);
	config_release(&config);
}

Test(config, a_minimal_file_is_enough)
{
	cr_assert_eq(load(minimal), ERR_NONE, "%s", why.text);
	cr_assert_eq(config.clusters_count, 1, "an empty section counts");
	cr_expect_str_eq(config.global.state_directory, "/var/lib/pgagent/state");
	cr_expect_str_eq(config.global.spool_directory, "/var/spool/pgagent");
	cr_expect_eq(config.repos[0]->type, CONFIG_REPO_POSIX);
	cr_expect_eq(config.repos[0]->encryption, CONFIG_ENCRYPTION_AES_256_GCM);
	cr_assert_eq(config.clusters[0]->repos_count, 1, "all repositories by default");
	cr_expect_eq(config.clusters[0]->repos[0], config.repos[0]);
	cr_expect_eq(config.clusters[0]->retain_window_us, INT64_C(14) * 86400 * 1000000);
	cr_expect_eq(config.clusters[0]->archive_backlog_limit_bytes, CONFIG_NO_LIMIT);
	cr_expect_eq(config.clusters[0]->compression_level, 1);
	cr_expect(config.clusters[0]->expire_auto);
	config_release(&config);
}

Test(config, every_key_of_the_manual_is_accepted)
{
	static const char text[] =
		"[global]\nstate_directory = /s\nspool_directory = /p\nspool_limit = 10GiB\n"
		"http_listen = 127.0.0.1:9858\nparallel_backups = 1\n"
		"on_event_command = /usr/local/bin/page-me     ; gets JSON\n"
		"[repo:local]\ntype = posix\npath = /r\nencryption = aes-256-gcm   ; or none\n"
		"key_file = /k\n"
		"[repo:offsite]\ntype = s3\nbucket = acme-pg-backups\n"
		"endpoint = https://s3.eu-central-1.amazonaws.com\nregion = eu-central-1\n"
		"prefix = prod\nuri_style = virtual\nsignature = v4\ncredentials = auto\n"
		"credentials_file = /c\nca_file = /ca\ns3_connections = 8\nobject_lock = none\n"
		"key_file = /k2\nmode = async\nship_rate = unlimited\n"
		"[cluster:main]\nconninfo = service=main\nbackup_conninfo =     ; a standby\n"
		"repos = local, offsite\ncompression = zstd:1\nwal_streaming = off\n"
		"slot = pgagent\nwal_ship_interval = 5s\narchive_wait = 60s\n"
		"archive_backlog_limit = none\narchive_get_timeout = 10min\n"
		"backup_schedule = 0 1 * * *\nschedule_timezone = UTC\nretain_window = 14d\n"
		"retain_backups = 2\nretain_daily = 7\nretain_weekly = 4\nretain_monthly = 12\n"
		"retain_yearly = 0\nexpire_auto = on\nexpire_grace = 24h\nrefresh_period = 90d\n"
		"tripwire_keep = 7d\nverify_schedule = 0 4 * * *\ndrill_schedule = 0 5 * * 0\n"
		"drill_sql =     ; a file\n";

	cr_assert_eq(load(text), ERR_NONE, "%s", why.text);
	cr_expect_str_eq(config.global.on_event_command, "/usr/local/bin/page-me");
	cr_expect_str_eq(config.clusters[0]->conninfo, "service=main");
	cr_expect_str_eq(config.clusters[0]->backup_conninfo, "");
	cr_expect_eq(config.clusters[0]->repos_count, 2);
	cr_expect_eq(config.repos[1]->mode, CONFIG_MODE_ASYNC);
	config_release(&config);
}

Test(config, an_unknown_key_names_its_line_and_the_nearest)
{
	refused("[cluster:main]\n\n; a comment\nretain_windw = 1d\n", 4, "retain_windw");
	cr_expect_not_null(strstr(why.hint, "retain_window"), "%s", why.hint);
}

Test(config, a_key_in_the_wrong_section_says_where_it_belongs)
{
	refused("[cluster:main]\nbucket = x\n", 2, "bucket");
	cr_expect_not_null(strstr(why.hint, "[repo:NAME]"), "%s", why.hint);
}

Test(config, an_unknown_section_names_the_nearest)
{
	refused("[cluser:main]\n", 1, "cluser");
	cr_expect_not_null(strstr(why.hint, "cluster"), "%s", why.hint);
	refused("[repo:a b]\n", 1, "a b");
	refused("[repo]\n", 1, "repo");
	refused("[global\n", 1, "bracket");
}

Test(config, bad_values_are_refused_where_they_stand)
{
	refused("[repo:r]\npath = relative\n", 2, "path");
	refused("[repo:r]\npath = /r\nencryption = aes-256-gmc\n", 3, "encryption");
	cr_expect_not_null(strstr(why.hint, "aes-256-gcm"), "%s", why.hint);
	refused("[cluster:c]\nwal_streaming = maybe\n", 2, "wal_streaming");
	refused("[cluster:c]\narchive_wait = 60\n", 2, "archive_wait");
	refused("[cluster:c]\nretain_backups = -1\n", 2, "retain_backups");
	refused("[cluster:c]\nretain_daily = -1\n", 2, "retain_daily");
	refused("[cluster:c]\ncompression = zstd:99\n", 2, "compression");
	refused("[cluster:c]\ncompression = lz4\n", 2, "compression");
	refused("[cluster:c]\nslot = Bad-Slot\n", 2, "slot");
	refused("[cluster:c]\nbackup_schedule = 61 * * * *\n", 2, "backup_schedule");
	refused("[cluster:c]\nschedule_timezone = Mars/Base\n", 2, "schedule_timezone");
	refused("[global]\nhttp_listen = 9858\n", 2, "http_listen");
	refused("[global]\nspool_limit = 10 potatoes\n", 2, "spool_limit");
	refused("[repo:r]\ntype = s3\nobject_lock = forever\n", 3, "object_lock");
}

Test(config, a_repeated_key_names_both_places)
{
	refused("[repo:r]\npath = /a\npath = /b\n", 3, "test.conf:2");
}

Test(config, a_repeated_section_in_one_file_is_refused)
{
	refused("[global]\n[repo:r]\npath = /a\nkey_file = /k\n[repo:r]\n", 5, "line 2");
}

Test(config, a_section_goes_on_in_another_file_but_a_key_does_not)
{
	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	cr_assert_eq(read_only("a.conf", minimal), ERR_NONE);
	cr_assert_eq(read_only("b.conf", "[cluster:main]\nretain_daily = 3\n"), ERR_NONE);
	cr_assert_eq(config_resolve(&config, &why), ERR_NONE, "%s", why.text);
	cr_expect_eq(config.clusters[0]->retain_daily, 3);
	cr_assert_eq(read_only("c.conf", "[cluster:main]\nretain_daily = 4\n"), ERR_NONE);
	cr_assert_eq(config_resolve(&config, &why), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "c.conf:2"), "%s", why.text);
	cr_expect_not_null(strstr(why.text, "b.conf:2"), "%s", why.text);
	config_release(&config);
}

Test(config, syntax_errors_have_a_line)
{
	refused("[global]\njust words\n", 2, "KEY = VALUE");
	refused("path = /r\n", 1, "before the first section");
}

Test(config, an_indented_key_is_a_key)
{
	cr_assert_eq(load("[repo:local]\n  path = /r\n\tkey_file = /k\n[cluster:main]\n"), ERR_NONE,
		     "%s", why.text);
	cr_expect_str_eq(config.repos[0]->path, "/r");
	cr_expect_str_eq(config.repos[0]->key_file, "/k");
	config_release(&config);
}

Test(config, a_line_too_long_is_refused_and_not_cut)
{
	char text[512] = "[cluster:main]\nconninfo = ";
	size_t at = strlen(text);

	memset(text + at, 'x', 300);
	text[at + 300] = '\n';
	text[at + 301] = '\0';
	refused(text, 2, "bytes");
}

Test(config, a_long_comment_is_no_matter)
{
	char text[512];

	text[0] = ';';
	memset(text + 1, 'x', 300);
	(void)snprintf(text + 301, sizeof(text) - 301, "\n%s", minimal);
	cr_assert_eq(load(text), ERR_NONE, "%s", why.text);
	config_release(&config);
}

Test(config, an_encrypted_repository_needs_exactly_one_key)
{
	refused("[repo:r]\npath = /r\n", 1, "repo:r");
	cr_expect_not_null(strstr(why.hint, "key_file"), "%s", why.hint);
	refused("[repo:r]\npath = /r\nkey_file = /k\npassphrase_file = /p\n", 1, "more than one");
	refused("[repo:r]\npath = /r\nkey_file = /k\nencryption = none\n", 1, "none");
	cr_assert_eq(load("[repo:r]\npath = /r\nencryption = none\n"), ERR_NONE, "%s", why.text);
	config_release(&config);
}

Test(config, keys_of_the_other_type_are_refused)
{
	refused("[repo:r]\npath = /r\nkey_file = /k\nbucket = b\n", 4, "bucket");
	refused("[repo:r]\ntype = s3\nbucket = b\nendpoint = e\nkey_file = /k\npath = /r\n", 6,
		"path");
	refused("[repo:r]\ntype = s3\nbucket = b\nkey_file = /k\n", 1, "endpoint");
}

Test(config, a_cluster_names_repositories_that_exist)
{
	refused("[repo:local]\npath = /r\nkey_file = /k\n[cluster:main]\nrepos = locl\n", 5,
		"locl");
	cr_expect_not_null(strstr(why.hint, "local"), "%s", why.hint);
	refused("[cluster:main]\n", 1, "no repository");
	refused("[repo:r]\npath = /r\nkey_file = /k\nmode = async\n[cluster:main]\n", 5, "async");
}

Test(config, global_holds_defaults_of_clusters)
{
	cr_assert_eq(load("[global]\nretain_daily = 30\nslot = other\n"
			  "[repo:r]\npath = /r\nkey_file = /k\n"
			  "[cluster:a]\n[cluster:b]\nretain_daily = 5\n"),
		     ERR_NONE, "%s", why.text);
	cr_expect_eq(config.clusters[0]->retain_daily, 30);
	cr_expect_eq(config.clusters[1]->retain_daily, 5);
	cr_expect_str_eq(config.clusters[1]->slot, "other");
	config_release(&config);
	refused("[global]\nconninfo = host=a\n", 2, "conninfo");
}

Test(config, a_password_in_a_connection_string_is_a_warning)
{
	cr_assert_eq(load("[repo:r]\npath = /r\nkey_file = /k\n[cluster:main]\n"
			  "conninfo = host=a password=b\n"),
		     ERR_NONE, "%s", why.text);
	cr_assert_eq(config.problems_count, 1);
	cr_expect(config.problem[0].warning);
	config_release(&config);
}

Test(config, the_only_cluster_needs_no_name_and_two_do)
{
	const struct config_cluster *cluster = NULL;

	cr_assert_eq(load(minimal), ERR_NONE);
	cr_assert_eq(config_cluster(&config, NULL, &cluster, &why), ERR_NONE);
	cr_expect_str_eq(cluster->section.name, "main");
	cr_assert_eq(config_cluster(&config, "mian", &cluster, &why), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "mian"), "%s", why.text);
	cr_expect_not_null(strstr(why.hint, "main"), "%s", why.hint);
	config_release(&config);

	cr_assert_eq(load("[repo:r]\npath = /r\nkey_file = /k\n[cluster:a]\n[cluster:b]\n"),
		     ERR_NONE);
	cr_assert_eq(config_cluster(&config, NULL, &cluster, &why), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "a, b"), "%s", why.hint);
	cr_assert_eq(config_cluster(&config, "b", &cluster, &why), ERR_NONE);
	cr_expect_str_eq(cluster->section.name, "b");
	config_release(&config);
}

static struct options options;

static void give(enum option_id id, const char *text)
{
	options.value[id] = (struct option_value){.given = true, .text = text};
}

Test(config, repo_with_a_slash_needs_no_configuration)
{
	const struct config_repo *repos[4];
	size_t count = 0;

	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	memset(&options, 0, sizeof(options));
	give(OPTION_REPO, "/mnt/backups");
	give(OPTION_KEY_FILE, "/root/local.key");
	cr_assert_eq(config_select_repos(&config, NULL, &options, repos, 4, &count, &why), ERR_NONE,
		     "%s", why.text);
	cr_assert_eq(count, 1);
	cr_expect_str_eq(repos[0]->path, "/mnt/backups");
	cr_expect_str_eq(repos[0]->key_file, "/root/local.key");
	config_release(&config);
}

Test(config, repo_as_url_is_taken_apart)
{
	const struct config_repo *repos[4];
	size_t count = 0;

	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	memset(&options, 0, sizeof(options));
	give(OPTION_REPO, "s3://bucket/some/prefix");
	cr_assert_eq(config_select_repos(&config, NULL, &options, repos, 4, &count, &why),
		     ERR_NONE);
	cr_expect_eq(repos[0]->type, CONFIG_REPO_S3);
	cr_expect_str_eq(repos[0]->bucket, "bucket");
	cr_expect_str_eq(repos[0]->prefix, "some/prefix");
	config_release(&config);

	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	give(OPTION_REPO, "ftp://host/x");
	cr_assert_eq(config_select_repos(&config, NULL, &options, repos, 4, &count, &why),
		     ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "ftp://host/x"), "%s", why.text);
	config_release(&config);
}

Test(config, repo_by_name_is_any_that_is_configured_and_others_are_refused)
{
	const struct config_repo *repos[4];
	size_t count = 0;

	/* The cluster is only copied to b. */
	cr_assert_eq(load("[repo:a]\npath = /a\nkey_file = /k\n[repo:b]\npath = /b\nkey_file = /k\n"
			  "[cluster:main]\nrepos = a\n"),
		     ERR_NONE);
	memset(&options, 0, sizeof(options));
	cr_assert_eq(
		config_select_repos(&config, config.clusters[0], &options, repos, 4, &count, &why),
		ERR_NONE);
	cr_expect_eq(count, 1);
	give(OPTION_REPO, "b");
	cr_assert_eq(
		config_select_repos(&config, config.clusters[0], &options, repos, 4, &count, &why),
		ERR_NONE);
	cr_assert_eq(count, 1);
	cr_expect_str_eq(repos[0]->path, "/b");
	give(OPTION_REPO, "c");
	cr_assert_eq(
		config_select_repos(&config, config.clusters[0], &options, repos, 4, &count, &why),
		ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "\"c\""), "%s", why.text);
	give(OPTION_REPO, "b");
	give(OPTION_KEY_FILE, "/k");
	cr_assert_eq(
		config_select_repos(&config, config.clusters[0], &options, repos, 4, &count, &why),
		ERR_CONFIG);
	config_release(&config);
}

Test(config, passwords_are_masked_when_shown)
{
	static const char *const cases[][2] = {
		{"host=a password=geheim user=b", "host=a password=******** user=b"},
		{"password = 'a \\' b' host=x", "password = ******** host=x"},
		{"sslpassword=x", "sslpassword=********"},
		{"postgresql://u:geheim@host/db", "postgresql://u:********@host/db"},
		{"postgresql://u@host/db?password=geheim&x=1",
		 "postgresql://u@host/db?password=********&x=1"},
		{"service=main", "service=main"},
		{"https://host:9000/a@b", "https://host:9000/a@b"},
	};
	char out[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		config_mask(cases[i][0], out, sizeof(out));
		cr_expect_str_eq(out, cases[i][1]);
	}
}

Test(config, schedules_are_those_of_cron)
{
	static const char *const good[] = {"0 1 * * *", "*/15 0-5,22-23 1,15 jan-jun mon",
					   "0 5 * * 0", "0 5 * * 7",
					   "off",       "1-59/2 * * * *"};
	static const char *const bad[] = {"",
					  "0 1 * *",
					  "0 1 * * * *",
					  "60 * * * *",
					  "* 24 * * *",
					  "* * 0 * *",
					  "* * * 13 *",
					  "* * * * 8",
					  "5-1 * * * *",
					  "*/0 * * * *",
					  "1,, * * * *",
					  "1, * * * *",
					  "@never",
					  "a * * * *"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_cron_is_valid(good[i]), "refused: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_cron_is_valid(bad[i]), "accepted: %s", bad[i]);
}

static char directory[] = "/tmp/pgagent-config-XXXXXX";

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	cr_assert_not_null(file, "%s", path);
	fputs(text, file);
	fclose(file);
	cr_assert_eq(chmod(path, mode), 0);
}

static void make_directory(void)
{
	char path[128];

	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/conf.d", directory);
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void remove_directory(void)
{
	static const char *const names[] = {"/p.conf",        "/conf.d/20.conf", "/conf.d/10.conf",
					    "/conf.d/no.txt", "/conf.d",         ""};
	char path[128];

	for (size_t i = 0; i < 6; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", directory, names[i]);
		(void)remove(path);
	}
}

Test(config, conf_d_is_read_in_name_order, .init = make_directory, .fini = remove_directory)
{
	char path[128];

	write_file("p.conf", minimal, 0644);
	write_file("conf.d/20.conf", "[cluster:second]\n", 0644);
	write_file("conf.d/10.conf", "[cluster:first]\n", 0644);
	write_file("conf.d/no.txt", "not a configuration\n", 0644);
	(void)snprintf(path, sizeof(path), "%s/p.conf", directory);
	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	cr_assert_eq(config_load(&config, files_os(), path, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(config.clusters_count, 3);
	cr_expect_str_eq(config.clusters[1]->section.name, "first");
	cr_expect_str_eq(config.clusters[2]->section.name, "second");
	config_release(&config);
}

Test(config, a_file_that_everybody_may_write_is_refused, .init = make_directory,
     .fini = remove_directory)
{
	char path[128];

	write_file("p.conf", minimal, 0666);
	(void)snprintf(path, sizeof(path), "%s/p.conf", directory);
	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	cr_assert_eq(config_load(&config, files_os(), path, &why), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "p.conf"), "%s", why.text);
	cr_expect_not_null(strstr(why.hint, "chmod"), "%s", why.hint);
	config_release(&config);
}

Test(config, a_missing_file_is_missing, .init = make_directory, .fini = remove_directory)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/absent.conf", directory);
	cr_assert_eq(config_init(&config, &why), ERR_NONE);
	cr_assert_eq(config_load(&config, files_os(), path, &why), ERR_MISSING);
	config_release(&config);
}

/* What a backup carries. */
static char *stored(void)
{
	struct writer w;
	char *text;

	writer_init(&w, 1 << 16);
	cr_assert_eq(config_stored_text(&config, config.clusters[0], &w, &why), ERR_NONE, "%s",
		     why.text);
	text = strndup((const char *)w.data, w.len);
	writer_release(&w);
	cr_assert_not_null(text);
	return text;
}

Test(config, what_a_backup_carries_is_the_same_configuration_again)
{
	static const char *const lines[] = {"[global]\nspool_limit=1GiB\nretain_window=7d\n",
					    "\n[repo:local]\npath=/r\nkey_file=/k\n",
					    "\n[cluster:main]\n",
					    "conninfo=service=main\nrepos=local\n"};
	char *once, *twice;

	cr_assert_eq(load("[global]\nretain_window = 7d\nspool_limit = 1GiB\n"
			  "[repo:local]\npath = /r\nkey_file = /k\n"
			  "[repo:other]\npath = /o\nkey_file = /k\n"
			  "[cluster:main]\nconninfo = service=main\nrepos = local\n"
			  "[cluster:second]\nrepos = other\n"),
		     ERR_NONE, "%s", why.text);
	once = stored();
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_expect_not_null(strstr(once, lines[i]), "no %s in\n%s", lines[i], once);
	cr_expect_null(strstr(once, "other"), "of no use to this cluster");
	config_release(&config);
	cr_assert_eq(load(once), ERR_NONE, "%s", why.text);
	twice = stored();
	cr_expect_str_eq(once, twice);
	free(once);
	free(twice);
	config_release(&config);
}

Test(config, what_a_backup_carries_has_no_secrets_and_says_what_is_missing)
{
	char *text;

	cr_assert_eq(load("[repo:local]\npath = /r\npassphrase_command = echo open-sesame\n"
			  "[cluster:main]\nconninfo = host=db password='hun ter2' user=x\n"
			  "backup_conninfo = postgres://u:hunter3@h/d\n"),
		     ERR_NONE, "%s", why.text);
	text = stored();
	cr_expect_null(strstr(text, "ter2"), "%s", text);
	cr_expect_null(strstr(text, "hunter3"), "%s", text);
	cr_expect_null(strstr(text, "sesame"), "%s", text);
	cr_expect_not_null(strstr(text, "TO FILL IN: the password"), "%s", text);
	cr_expect_not_null(strstr(text, "; passphrase_command ="), "%s", text);
	cr_expect_not_null(strstr(text, "conninfo=host=db password=******** user=x"), "%s", text);
	free(text);
	config_release(&config);
}
