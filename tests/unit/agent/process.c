/* What touches the process and its files: secrets, locks, root. */
#include "lock.h"
#include "root.h"
#include "secret_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/pgagent-process-XXXXXX";
static char path[128];
static struct error why;

static void make_directory(void)
{
	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/key", directory);
}

static void remove_directory(void)
{
	char name[128];

	(void)remove(path);
	(void)snprintf(name, sizeof(name), "%s/state/backup-main.lock", directory);
	(void)remove(name);
	(void)snprintf(name, sizeof(name), "%s/state", directory);
	(void)remove(name);
	(void)remove(directory);
}

static struct stat file_of(uid_t owner, mode_t mode)
{
	return (struct stat){.st_uid = owner, .st_mode = S_IFREG | mode};
}

static enum err mode_check(uid_t owner, mode_t mode, const char *credentials)
{
	struct stat st = file_of(owner, mode);

	return secret_file_check_mode(&st, 26, "/etc/pgagent/local.key", credentials, &why);
}

Test(secret_file, ours_is_0600_at_most)
{
	cr_expect_eq(mode_check(26, 0600, NULL), ERR_NONE);
	cr_expect_eq(mode_check(26, 0400, NULL), ERR_NONE);
	cr_expect_eq(mode_check(26, 0640, NULL), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "/etc/pgagent/local.key"), "%s", why.text);
	cr_expect_str_eq(why.hint, "chmod 0600 /etc/pgagent/local.key");
	cr_expect_eq(mode_check(26, 0604, NULL), ERR_CONFIG);
	cr_expect_eq(mode_check(26, 0700, NULL), ERR_CONFIG);
}

Test(secret_file, of_root_is_0640_at_most)
{
	cr_expect_eq(mode_check(0, 0640, NULL), ERR_NONE);
	cr_expect_eq(mode_check(0, 0644, NULL), ERR_CONFIG);
	cr_expect_eq(mode_check(0, 0660, NULL), ERR_CONFIG);
}

Test(secret_file, below_the_credentials_directory_is_0440_at_most)
{
	cr_expect_eq(mode_check(26, 0440, "/etc/pgagent"), ERR_NONE);
	cr_expect_eq(mode_check(0, 0440, "/etc/pgagent/"), ERR_NONE);
	cr_expect_eq(mode_check(26, 0640, "/etc/pgagent"), ERR_CONFIG);
	cr_expect_eq(mode_check(26, 0440, "/etc/pgag"), ERR_CONFIG, "a prefix is no directory");
}

Test(secret_file, of_somebody_else_is_denied)
{
	cr_expect_eq(mode_check(1000, 0600, NULL), ERR_DENIED);
	cr_expect_eq(mode_check(1000, 0440, "/etc/pgagent"), ERR_DENIED);
}

Test(secret_file, is_read_without_its_newline, .init = make_directory, .fini = remove_directory)
{
	struct secret secret = {.len = 0};
	FILE *file = fopen(path, "w");

	fputs("correct horse\n", file);
	fclose(file);
	cr_assert_eq(chmod(path, 0600), 0);
	cr_assert_eq(secret_file_read(files_os(), path, NULL, &secret, &why), ERR_NONE, "%s",
		     why.text);
	cr_expect_eq(secret.len, 13);
	cr_expect_eq(memcmp(secret.data, "correct horse", 13), 0);
	secret_release(&secret);
	cr_assert_eq(chmod(path, 0644), 0);
	cr_expect_eq(secret_file_read(files_os(), path, NULL, &secret, &why), ERR_CONFIG);
	cr_expect_eq(config_check_secret_file(files_os(), path, NULL, &why), ERR_CONFIG);
	cr_assert_eq(unlink(path), 0);
	cr_expect_eq(config_check_secret_file(files_os(), path, NULL, &why), ERR_MISSING);
	cr_expect_not_null(strstr(why.text, path), "%s", why.text);
}

Test(secret_file, a_command_gives_its_output)
{
	struct secret secret = {.len = 0};

	cr_assert_eq(secret_command_read("printf 'a b'; echo", &secret, &why), ERR_NONE, "%s",
		     why.text);
	cr_expect_eq(secret.len, 3);
	secret_release(&secret);
	cr_expect_eq(secret_command_read("echo secret; exit 3", &secret, &why), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "3"), "%s", why.text);
	cr_expect_null(strstr(why.text, "secret;"), "the command itself may hold a secret");
	cr_expect_eq(secret_command_read("true", &secret, &why), ERR_CONFIG);
	cr_expect_eq(secret_command_read("yes", &secret, &why), ERR_CONFIG);
}

Test(lock, a_second_process_is_refused_and_told_who, .init = make_directory,
     .fini = remove_directory)
{
	struct env env = env_os();
	struct lock first, second;
	char state[128], pid[24];

	(void)snprintf(state, sizeof(state), "%s/state", directory);
	(void)snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	cr_assert_eq(lock_take(&first, &env, state, "backup-main", &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(lock_take(&second, &env, state, "backup-main", &why), ERR_EXISTS);
	cr_expect_not_null(strstr(why.text, pid), "%s", why.text);
	cr_expect_not_null(strstr(why.text, "backup-main"), "%s", why.text);
	lock_release(&second);
	lock_release(&first);
	cr_assert_eq(lock_take(&second, &env, state, "backup-main", &why), ERR_NONE, "%s",
		     why.text);
	lock_release(&second);
}

Test(root, is_shown_the_line_to_type)
{
	char *argv[] = {"/usr/bin/pgagent", "restore", "--to-time", "it's 10 minutes ago", NULL};

	cr_assert_eq(root_refuse(4, argv, &why), ERR_CONFIG);
	cr_expect_str_eq(why.hint, "runuser -u postgres -- /usr/bin/pgagent restore --to-time "
				   "'it'\\''s 10 minutes ago'");
}

Test(root, never_becomes_root_for_a_directory_of_roots)
{
	char who[32] = "";

	cr_assert_eq(root_drop_to_owner("/no-such-directory", who, sizeof(who), &why), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "install -d -o postgres"), "%s", why.hint);
	cr_expect_str_eq(who, "");
}

Test(root, becomes_the_owner_of_the_parent_for_good, .init = make_directory,
     .fini = remove_directory)
{
	char target[160], who[32] = "";
	int status;
	pid_t child;

	if (geteuid() != 0) {
		cr_expect_eq(root_drop_to_owner(directory, who, sizeof(who), &why), ERR_DENIED);
		return;
	}
	cr_assert_eq(chown(directory, 65534, 65534), 0);
	(void)snprintf(target, sizeof(target), "%s/data", directory);
	child = fork();
	if (child == 0) {
		bool good = root_drop_to_owner(target, who, sizeof(who), &why) == ERR_NONE &&
			    geteuid() == 65534 && getuid() == 65534 && setuid(0) != 0 &&
			    who[0] != '\0';
		_exit(good ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
