/* restore/start.c - starting a restored server: its socket, its port, its options.
 *
 * A copy listens on a socket in a private directory and nowhere else; its port only names that
 * socket, but one that is free lets its owner open it to others later.
 */
#include "base/file.h"
#include "base/text.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PORT_FIRST = 54321, PORT_TRIES = 200, PORT_DIGITS_MAX = 5, TMP_TRIES = 8 };

void shell_word(struct writer *w, const char *text)
{
	static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789_-./:=,+@%";

	if (text[0] != '\0' && text[strspn(text, harmless)] == '\0') {
		writer_text(w, "%s", text);
		return;
	}
	writer_u8(w, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			writer_text(w, "'\\''");
		else
			writer_u8(w, (uint8_t)*text);
	}
	writer_u8(w, '\'');
}

static enum err private_directory(const struct env *env, const char *path, struct error *why)
{
	struct files *files = env->files;
	int fd, answer = files->ops->mkdir(files, AT_FDCWD, path, 0700);
	struct stat st;

	if (answer < 0 && answer != -EEXIST)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "creating \"%s\"",
				    path);
	fd = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "opening \"%s\"", path);
	answer = files->ops->stat_fd(files, fd, &st);
	if (answer >= 0 && st.st_uid == geteuid())
		answer = files->ops->chmod_fd(files, fd, 0700);
	(void)files->ops->close(files, fd); /* a directory */
	if (answer < 0 || st.st_uid != geteuid())
		return error_set(why, ERR_DENIED, "\"%s\" belongs to another user", path);
	return ERR_NONE;
}

enum err start_socket_directory(const struct env *env, const char *directory, char out[256],
				struct error *why)
{
	/* ".s.PGSQL.65535" and its NUL have to fit behind it. */
	const size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - sizeof("/.s.PGSQL.") -
			   PORT_DIGITS_MAX;
	uint8_t random[8];
	char hex[2 * sizeof(random) + 1];
	int n = snprintf(out, 256, "%s/" RESTORE_SOCKETS, directory);
	enum err e;

	if (n > 0 && (size_t)n <= max)
		return private_directory(env, out, why);
	e = random_fill(env->random, random, sizeof(random), why);
	if (e != ERR_NONE)
		return e;
	text_of_hex(bytes_of(random, sizeof(random)), hex);
	(void)snprintf(out, 256, "/tmp/pgagent-%s", hex);
	return private_directory(env, out, why);
}

int start_free_port(const struct env *env)
{
	for (int port = PORT_FIRST; port < PORT_FIRST + PORT_TRIES; port++) {
		struct sockaddr_in address = {.sin_family = AF_INET,
					      .sin_port = htons((uint16_t)port),
					      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool free_port;

		if (fd < 0)
			break;
		free_port = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
		(void)env->files->ops->close(env->files, fd); /* a socket */
		if (free_port)
			return port;
	}
	return PORT_FIRST;
}

static void option(struct writer *w, const char *name, const char *value)
{
	struct writer text;

	writer_init(&text, 8192);
	writer_text(&text, "%s=%s", name, value);
	writer_u8(&text, 0);
	if (text.bad)
		w->bad = true;
	else {
		writer_text(w, "%s-c ", w->len > 0 ? " " : "");
		shell_word(w, (const char *)text.data);
	}
	writer_release(&text);
}

bool start_is_configured_outside(const struct summary *s)
{
	return s->config_file[0] == '/' && s->data_directory[0] == '/' &&
	       !place_is_within(s->config_file, s->data_directory);
}

bool start_service_command(const struct restore_plan *plan, char *out, size_t len)
{
	static const char front[] = "/etc/postgresql/", back[] = "/postgresql.conf";
	const char *text = plan->backup.config_file, *name;
	unsigned major = (unsigned)(plan->backup.server_version / 10000);
	char number[16];
	size_t digits = (size_t)snprintf(number, sizeof(number), "%u/", major), n;

	if (plan->side || strncmp(text, front, sizeof(front) - 1) != 0 ||
	    strncmp(text + sizeof(front) - 1, number, digits) != 0)
		return false;
	name = text + sizeof(front) - 1 + digits;
	n = strcspn(name, "/");
	/* Needs no quotes, or is none of Debian's. */
	if (n == 0 || strcmp(name + n, back) != 0 ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") < n)
		return false;
	return (size_t)snprintf(out, len, "pg_ctlcluster %u %.*s start", major, (int)n, name) < len;
}

void start_options(struct writer *w, const struct restore_plan *plan, const char *directory,
		   const char *sockets, int port, bool outside, bool following)
{
	char text[PATH_MAX + 64];
	size_t len = 1;

	if (outside) {
		(void)snprintf(text, sizeof(text), "%s/" RESTORE_CONF, directory);
		option(w, "config_file", text);
	} else if (!plan->side && start_is_configured_outside(&plan->backup)) {
		option(w, "config_file", plan->backup.config_file);
	}
	if (plan->side && sockets[0] != '\0') {
		/* The setting is a list of names: quoted, each quote in it doubled. */
		text[0] = '"';
		for (; *sockets != '\0' && len + 4 < sizeof(text); sockets++) {
			if (*sockets == '"')
				text[len++] = '"';
			text[len++] = *sockets;
		}
		memcpy(text + len, "\"", 2);
		option(w, "unix_socket_directories", text);
	}
	if (port != 0) {
		(void)snprintf(text, sizeof(text), "%d", port);
		option(w, "port", text);
	}
	if (!following)
		return;
	/* Who follows must get in, and must see what the server says. */
	if (plan->side) {
		(void)snprintf(text, sizeof(text), "%s/" RESTORE_HBA, directory);
		option(w, "hba_file", text);
	}
	option(w, "logging_collector", "off");
	option(w, "log_destination", "stderr");
}
