/* commands/expire_state.c - what this host remembers between runs: heartbeats it saw, what its clock
 * showed, how the last runs went.
 */
#include "agent.h"
#include "base/file.h"
#include "commands/expire.h"
#include "repo/lines.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SIGHTINGS_FILE_MAX = 32 << 20, /* bytes; SIGHTINGS_MAX lines */
	CLOCK_FILE_MAX = 4096,
	HISTORY_FILE_MAX = 16384
};

static void path_of(const struct agent *agent, const struct config_cluster *config,
		    const char *what, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s-%s", agent->config.global.state_directory, what,
		       config->section.name); /* cut: not found, as if it were new */
}

static enum err save(struct agent *agent, const char *path, const struct writer *text,
		     struct error *why)
{
	struct env *env = &agent->env;

	if (text->bad)
		return error_set(why, ERR_LIMIT, "too much was seen");
	return file_replace(env->files, env->random, AT_FDCWD, path, writer_view(text), 0600, why);
}

/* ---- heartbeats ---- */

/* A file that is not there or can't be read means: observed from now on. */
enum err expire_load_sightings(struct agent *agent, const struct config_cluster *config,
			       struct sightings **out, struct error *why)
{
	struct env *env = &agent->env;
	char path[PATH_MAX], boot[64];
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	path_of(agent, config, "pins", path);
	sightings_boot_id(env, boot);
	e = file_read_all(env->files, AT_FDCWD, path, SIGHTINGS_FILE_MAX, &text, &len, why);
	if (e == ERR_NONE)
		e = sightings_decode(bytes_of(text, len), boot, out, why);
	if (e != ERR_NONE && e != ERR_MISSING)
		log_event(&agent->log, LEVEL_WARNING,
			  "%s can't be used, pins are observed from now on: %s", path, why->text);
	free(text);
	return e == ERR_NONE ? ERR_NONE : sightings_new(boot, out, why);
}

void expire_save_sightings(struct agent *agent, const struct config_cluster *config,
			   const struct sightings *sightings)
{
	char path[PATH_MAX];
	struct writer text;
	struct error why;
	enum err e;

	path_of(agent, config, "pins", path);
	writer_init(&text, SIGHTINGS_FILE_MAX);
	sightings_encode(sightings, &text);
	e = save(agent, path, &text, &why);
	writer_release(&text);
	if (e != ERR_NONE)
		log_event(&agent->log, LEVEL_WARNING,
			  "what was seen of pins is not kept, stale ones are found later: %s",
			  why.text);
}

/* ---- the clock ---- */

/* A file that is not there or can't be read means: nothing is known against the clock. */
enum err expire_check_clock(const struct expiry *x, struct error *why)
{
	struct env *env = &x->agent->env;
	const struct retention_policy policy = expire_policy_of(x->config);
	struct retention_clock before, now;
	char path[PATH_MAX];
	uint8_t *text = NULL;
	size_t len = 0;
	struct error unread;
	enum err e;

	if (x->clock_is_right)
		return ERR_NONE;
	path_of(x->agent, x->config, "clock", path);
	retention_clock_look(env, &now);
	e = file_read_all(env->files, AT_FDCWD, path, CLOCK_FILE_MAX, &text, &len, &unread);
	if (e == ERR_NONE)
		e = retention_clock_decode(bytes_of(text, len), &before, &unread);
	free(text);
	if (e == ERR_NONE)
		return retention_check_clock(&policy, &before, &now, why);
	if (e != ERR_MISSING)
		log_event(&x->agent->log, LEVEL_WARNING, "%s can't be used: %s", path, unread.text);
	return ERR_NONE;
}

void expire_save_clock(const struct expiry *x)
{
	struct retention_clock now;
	char path[PATH_MAX];
	struct writer text;
	struct error why;
	enum err e;

	path_of(x->agent, x->config, "clock", path);
	retention_clock_look(&x->agent->env, &now);
	writer_init(&text, CLOCK_FILE_MAX);
	retention_clock_encode(&now, &text);
	e = save(x->agent, path, &text, &why);
	writer_release(&text);
	if (e != ERR_NONE)
		log_event(&x->agent->log, LEVEL_WARNING,
			  "what the clock showed is not kept, a jump may not be noticed: %s",
			  why.text);
}

void expire_note_clock(struct agent *agent, const struct config_cluster *config)
{
	const struct expiry x = {.agent = agent, .config = config};
	struct error why;

	if (expire_check_clock(&x, &why) == ERR_NONE)
		expire_save_clock(&x);
	else
		log_event(&agent->log, LEVEL_WARNING, "%s", why.text);
}

/* ---- how it went ---- */

void expire_read_history(struct agent *agent, const struct config_cluster *config,
			 struct expire_history *out)
{
	char path[PATH_MAX];
	uint8_t *text = NULL;
	size_t len = 0;
	struct error unread;
	enum err e;

	*out = (struct expire_history){.refused = 0};
	path_of(agent, config, "prune", path);
	e = file_read_all(agent->env.files, AT_FDCWD, path, HISTORY_FILE_MAX, &text, &len, &unread);
	if (e == ERR_NONE &&
	    (!lines_get_u64(bytes_of(text, len), "refused", &out->refused) ||
	     !lines_get(bytes_of(text, len), "why", out->why, sizeof(out->why)) ||
	     !lines_get(bytes_of(text, len), "hint", out->hint, sizeof(out->hint))))
		*out = (struct expire_history){.refused = 0};
	free(text);
}

void expire_note_outcome(struct agent *agent, const struct config_cluster *config,
			 const struct error *failed)
{
	struct expire_history history;
	char path[PATH_MAX];
	struct writer text;
	struct error why;
	enum err e;

	if (failed != NULL && failed->kind == ERR_CANCELLED)
		return; /* it was stopped, nothing stands in the way */
	if (option_given(&agent->options, OPTION_REPO))
		return; /* how it goes in one says nothing about the others */
	expire_read_history(agent, config, &history);
	path_of(agent, config, "prune", path);
	writer_init(&text, HISTORY_FILE_MAX);
	lines_putf(&text, "refused", "%" PRIu64, failed != NULL ? history.refused + 1 : 0);
	lines_put(&text, "why", failed != NULL ? failed->text : "");
	lines_put(&text, "hint", failed != NULL ? failed->hint : "");
	e = save(agent, path, &text, &why);
	writer_release(&text);
	if (e != ERR_NONE)
		log_event(&agent->log, LEVEL_WARNING,
			  "how this run went is not kept, pgagent check won't tell: %s", why.text);
}
