/* restore/programs_run.c - asks a program of the server one question, and waits for the answer with a bound. */
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MS = 1000, WAIT_MS = 5 };

/* The environment, but that the answer is not translated; free() it. */
static const char **untranslated(void)
{
	static const char all[] = "LC_ALL=C";
	size_t count = 0, used = 0;
	const char **out;

	while (environ[count] != NULL)
		count++;
	out = calloc(count + 2, sizeof(*out));
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "LC_ALL=", sizeof("LC_ALL=") - 1) != 0)
			out[used++] = environ[i];
	out[used] = all;
	return out;
}

static int route(posix_spawn_file_actions_t *actions, const struct program_call *call, int out)
{
	int shown = call->errors ? 2 : 1;
	int answer = call->in < 0 ? posix_spawn_file_actions_addopen(actions, 0, "/dev/null",
								     O_RDONLY, 0)
				  : posix_spawn_file_actions_adddup2(actions, call->in, 0);

	if (answer == 0)
		answer = posix_spawn_file_actions_adddup2(actions, out, shown);
	if (answer == 0)
		answer = posix_spawn_file_actions_addopen(actions, 3 - shown, "/dev/null", O_WRONLY,
							  0);
	return answer;
}

static int spawn(const struct program_call *call, int out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	const char **environment = untranslated();
	int answer = environment == NULL ? ENOMEM : posix_spawnattr_init(&attributes);

	if (answer != 0) {
		free(environment);
		return answer;
	}
	(void)sigemptyset(&none); /* on a valid pointer it cannot fail */
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	answer = posix_spawn_file_actions_init(&actions);
	if (answer == 0) {
		answer = route(&actions, call, out);
		if (answer == 0)
			answer = posix_spawn(pid, call->argv[0], &actions, &attributes,
					     (char *const *)(const void *)call->argv,
					     (char *const *)(const void *)environment);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)posix_spawnattr_destroy(&attributes);
	free(environment);
	return answer;
}

/* What it writes until it closes its output; false when that is too much, or the time is over. */
static bool read_answer(const struct env *env, int from, const struct program_call *call)
{
	size_t len = 0;

	while (len + 1 < call->out_size && clock_monotonic_us(env->clock) < call->until) {
		struct pollfd ready = {.fd = from, .events = POLLIN};
		ssize_t n;

		if (poll(&ready, 1, POLL_MS) <= 0)
			continue;
		n = recv(from, call->out + len, call->out_size - 1 - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		len += (size_t)n;
		call->out[len] = '\0';
	}
	return false;
}

/* Its exit status, negative when it has none; what did not end by `until` is killed. */
static int wait_for(const struct env *env, pid_t pid, int64_t until)
{
	int status = 0;
	pid_t done;

	while ((done = waitpid(pid, &status, WNOHANG)) <= 0) {
		if (done < 0 && errno != EINTR)
			return -1;
		if (clock_monotonic_us(env->clock) >= until) {
			(void)kill(pid, SIGKILL); /* ours, and not waited for yet */
			until = INT64_MAX;
		}
		(void)poll(NULL, 0, WAIT_MS); /* it is about to end */
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int programs_run(const struct env *env, const struct program_call *call)
{
	bool answered = false;
	int ends[2], status = -1;
	pid_t pid = -1;

	call->out[0] = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	if (spawn(call, ends[1], &pid) != 0)
		pid = -1;
	(void)env->files->ops->close(env->files, ends[1]); /* the child has its own */
	if (pid > 0)
		answered = read_answer(env, ends[0], call);
	(void)env->files->ops->close(env->files, ends[0]); /* only read */
	/* What has more to say is not asked for it. */
	if (pid > 0)
		status = wait_for(env, pid, answered ? call->until : 0);
	return answered ? status : -1;
}
