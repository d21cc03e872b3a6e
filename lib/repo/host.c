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

void host_identify(const struct env *env, struct host_identity *out)
{
	uint8_t *text = NULL;
	size_t len = 0;

	*out = (struct host_identity){.host = "unknown", .boot = "unknown"};
	if (gethostname(out->host, sizeof(out->host)) != 0)
		(void)snprintf(out->host, sizeof(out->host), "unknown");
	out->host[sizeof(out->host) - 1] = '\0'; /* a cut name has none */
	out->pid = (uint64_t)getpid();
	if (file_read_all(env->files, AT_FDCWD, boot_id_file, sizeof(out->boot) - 1, &text, &len,
			  NULL) == ERR_NONE) {
		len = strcspn((const char *)text, "\n");
		memcpy(out->boot, text, len);
		out->boot[len] = '\0';
	}
	free(text);
}

bool host_process_is_gone(const struct host_identity *now, const struct host_identity *then)
{
	/* A machine that can't say who it is must not speak for others. */
	if (strcmp(now->host, "unknown") == 0 || strcmp(now->boot, "unknown") == 0)
		return false;
	if (strcmp(now->host, then->host) != 0)
		return false;
	if (strcmp(now->boot, then->boot) != 0)
		return true;
	/* Signal 0 asks only; EPERM means that it is there and another user's. */
	return then->pid > 0 && then->pid <= INT32_MAX && kill((pid_t)then->pid, 0) != 0 &&
	       errno == ESRCH;
}
