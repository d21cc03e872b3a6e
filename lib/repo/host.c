/* repo/host.c - which machine and process this is, and whether another one still lives. */
#include "repo/decision_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char boot_id_file[] = "/proc/sys/kernel/random/boot_id";
static const char machine_id_file[] = "/etc/machine-id";
static const char pid_space_file[] = "/proc/self/ns/pid";

/* The first line of a small file, or "unknown". */
static void first_line(const struct env *env, const char *path, char out[BOOT_ID_BYTES])
{
	uint8_t *text = NULL;
	size_t len = 0;

	(void)snprintf(out, BOOT_ID_BYTES, "unknown");
	if (file_read_all(env->files, AT_FDCWD, path, BOOT_ID_BYTES - 1, &text, &len, NULL) ==
	    ERR_NONE) {
		len = strcspn((const char *)text, "\n");
		if (len > 0) {
			memcpy(out, text, len);
			out[len] = '\0';
		}
	}
	free(text);
}

void host_identify(const struct env *env, struct host_identity *out)
{
	struct stat space;

	*out = (struct host_identity){.host = "unknown"};
	if (gethostname(out->host, sizeof(out->host)) != 0)
		(void)snprintf(out->host, sizeof(out->host), "unknown");
	out->host[sizeof(out->host) - 1] = '\0'; /* a cut name has none */
	out->pid = (uint64_t)getpid();
	first_line(env, boot_id_file, out->boot);
	first_line(env, machine_id_file, out->machine);
	if (env->files->ops->stat(env->files, AT_FDCWD, pid_space_file, 0, &space) == 0)
		out->pid_space = (uint64_t)space.st_ino;
}

bool host_process_is_gone(const struct host_identity *now, const struct host_identity *then)
{
	/* A machine that can't say who it is must not speak for others. */
	if (strcmp(now->boot, "unknown") == 0 || strcmp(then->boot, "unknown") == 0 ||
	    strcmp(now->host, then->host) != 0)
		return false;
	/* The same machine after a restart: nothing of then lives. */
	if (strcmp(now->boot, then->boot) != 0)
		return strcmp(now->machine, "unknown") != 0 &&
		       strcmp(now->machine, then->machine) == 0;
	if (now->pid_space == 0 || now->pid_space != then->pid_space)
		return false;
	/* Signal 0 asks only; EPERM means that it is there and another user's. */
	return then->pid > 0 && then->pid <= INT32_MAX && kill((pid_t)then->pid, 0) != 0 &&
	       errno == ESRCH;
}
