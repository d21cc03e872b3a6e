/* commands/key.c - `pgagent key list|test`: the slots of a repository, and whether a secret opens one.
 */
#include "commands/key.h"

#include "base/file.h"
#include "commands/command_line.h"
#include "commands/commands.h"
#include "repo/keys_change.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *key_type_name(enum slot_type type)
{
	switch (type) {
	case SLOT_CLEAR:
		return "clear";
	case SLOT_KEY_FILE:
		return "key-file";
	case SLOT_PASSPHRASE:
		return "passphrase";
	case SLOT_RECOVERY:
		return "recovery-code";
	}
	return "unknown";
}

struct listing {
	struct agent *agent;
	const char *repository;
	uint32_t epoch; /* the newest */
	bool is_known;  /* whether the configured key opens one, and which */
	char opened[SLOT_NAME_MAX];
	json_t *slots;
};

static enum err say_slot(void *ctx, const struct slot_info *info, struct error *why)
{
	struct listing *l = ctx;
	bool opened = strcmp(l->opened, info->name) == 0, opens_all = info->epoch >= l->epoch;
	json_t *object = json_object();

	(void)why; /* nothing here can fail */
	report_text(&l->agent->report, "%-16s  %-18s  %-13s  %5u  %s%s", l->repository, info->name,
		    key_type_name(info->type), info->epoch, info->created,
		    opened ? "  opened here" : "");
	if (opens_all)
		report_text(&l->agent->report, "\n");
	else
		report_text(&l->agent->report, "  not what is written since epoch %u\n", l->epoch);
	report_put(object, "repository", report_json_text(l->repository));
	report_put(object, "name", report_json_text(info->name));
	report_put(object, "type", report_json_text(key_type_name(info->type)));
	report_put(object, "epoch", json_integer((json_int_t)info->epoch));
	report_put(object, "created", report_json_text(info->created));
	report_put(object, "opened", l->is_known ? json_boolean(opened) : json_null());
	report_put(object, "opens_all", json_boolean(opens_all));
	(void)json_array_append_new(l->slots, object); /* without memory the dump fails */
	return ERR_NONE;
}

/* Which slot it is that this machine opens it by.  A listing needs no key: one that opens nothing is told. */
static void find_opened(struct listing *l, const struct place *place,
			const struct repository_format *format)
{
	struct key_secret own = {.type = SLOT_CLEAR};
	struct keyring *keyring = NULL;
	struct error why;
	bool has = false;
	enum err e = ERR_NONE;

	if (format->encryption != ENCRYPTION_NONE && !place_wants_key(place->config))
		return;
	if (format->encryption != ENCRYPTION_NONE)
		e = place_secret(l->agent, place->config, &own, &has, &why);
	if (e == ERR_NONE)
		e = keyring_open(place->store, has ? &own : NULL, &keyring, l->opened, &why);
	l->is_known = e == ERR_NONE;
	if (e != ERR_NONE)
		report_warning(&l->agent->report,
			       "which slot of repository %s is opened here is not known: %s",
			       l->repository, why.text);
	keyring_free(keyring);
	key_secret_release(&own);
}

static enum err list_place(struct agent *agent, const struct place *place, json_t *array,
			   struct error *why)
{
	struct listing l = {.agent = agent, .repository = place_name(place), .slots = array};
	struct repository_format format;
	struct key_slots_summary sum;
	/* A store without FORMAT is no repository, whatever lies under keys/. */
	enum err e = place_peek(agent, place, &format, why);

	if (e == ERR_NONE)
		e = key_slots_sum_up(place->store, NULL, &sum, why);
	if (e != ERR_NONE)
		return e;
	l.epoch = sum.epoch;
	find_opened(&l, place, &format);
	e = key_slots_list(place->store, say_slot, &l, why);
	if (e == ERR_CORRUPT)
		error_hint(
			why,
			"it opens nothing any more; once another one is sure to open: pgagent key "
			"remove SLOT");
	return e;
}

/* A recovery code as typed, one line. */
static enum err read_stdin(struct secret *out, struct error *why)
{
	uint8_t buffer[RECOVERY_CODE_TEXT_MAX * 2];
	size_t len = 0;
	ssize_t n = 0;
	enum err e;

	while (len < sizeof(buffer) &&
	       (n = read(STDIN_FILENO, buffer + len, sizeof(buffer) - len)) > 0) {
		len += (size_t)n;
		if (memchr(buffer, '\n', len) != NULL)
			break;
	}
	while (len > 0 && (buffer[len - 1] == '\n' || buffer[len - 1] == '\r'))
		len--;
	if (n < 0)
		e = error_set(why, ERR_IO, "reading the recovery code from standard input failed");
	else if (len == 0)
		e = error_set(why, ERR_CONFIG, "no recovery code came on standard input");
	else
		e = secret_set(out, bytes_of(buffer, len), why);
	explicit_bzero(buffer, sizeof(buffer));
	return e;
}

static void hint_again(const struct agent *agent, struct error *why)
{
	char line[COMMAND_LINE_MAX];
	struct error ignored; /* the hint is a help, not the work */

	if (command_line_again(agent, NULL, 0, line, &ignored) == ERR_NONE)
		error_hint(why, "compare it with what was written down, and type it again: %s",
			   line);
}

enum err key_read_code(struct agent *agent, struct key_secret *out, struct error *why)
{
	struct secret text = {.len = 0};
	enum err e;

	agent_prompt(agent, "recovery code");
	e = read_stdin(&text, why);
	if (e == ERR_NONE) {
		e = key_secret_from_text(SLOT_RECOVERY, secret_view(&text), out, why);
		if (e == ERR_CONFIG)
			hint_again(agent, why);
	}
	secret_release(&text);
	return e;
}

void key_hint_wrong_code(const struct agent *agent, const struct place *place, struct error *why)
{
	place_hint_slots(agent, place,
			 "the check in it fits, so that it is hardly mistyped: it is another "
			 "repository's, or its slot was removed; look when its slots were made",
			 why);
}

struct test {
	struct agent *agent;
	bool from_stdin;
	struct key_secret code; /* with from_stdin */
	json_t *results;
};

/* Which of what is stored the keys are for; a slot may be of before a rotation. */
static enum err say_opened(struct test *t, const struct place *place, const struct keyring *keyring,
			   const char *slot, json_t *object, struct error *why)
{
	uint32_t oldest = keyring_oldest_epoch(keyring), newest = keyring_epoch(keyring);
	struct key_slots_summary sum;
	enum err e = key_slots_sum_up(place->store, NULL, &sum, why);

	if (e != ERR_NONE)
		return e;
	report_text(&t->agent->report, "repository %s: slot %s opens (epoch %u%s%.0u)\n",
		    place_name(place), slot, oldest, newest > oldest ? " to " : "",
		    newest > oldest ? newest : 0);
	if (newest < sum.epoch)
		report_warning(&t->agent->report,
			       "repository %s: this key does not open what was written since the "
			       "keys were rotated (epoch %u); give it a slot with another key: "
			       "pgagent key add --new-key-file FILE",
			       place_name(place), sum.epoch);
	report_put(object, "epochs", json_pack("[I, I]", (json_int_t)oldest, (json_int_t)newest));
	report_put(object, "opens_all", json_boolean(newest >= sum.epoch));
	return ERR_NONE;
}

static enum err test_place(struct test *t, const struct place *place, struct error *why)
{
	struct key_secret own = {.type = SLOT_CLEAR};
	const struct key_secret *secret = NULL;
	struct repository_format format;
	struct keyring *keyring = NULL;
	char slot[SLOT_NAME_MAX] = "";
	json_t *object = json_object();
	bool has = false;
	enum err e = place_peek(t->agent, place, &format, why);

	if (e == ERR_NONE && t->from_stdin) {
		secret = &t->code;
	} else if (e == ERR_NONE && format.encryption != ENCRYPTION_NONE) {
		e = place_secret(t->agent, place->config, &own, &has, why);
		if (e == ERR_MISSING)
			e = why->kind = ERR_CONFIG;
		secret = &own;
	}
	if (e == ERR_NONE)
		e = keyring_open(place->store, secret, &keyring, slot, why);
	if (e == ERR_WRONG_KEY && t->from_stdin)
		key_hint_wrong_code(t->agent, place, why);
	if (e == ERR_NONE)
		e = say_opened(t, place, keyring, slot, object, why);
	if (e == ERR_NONE) {
		report_put(object, "repository", report_json_text(place_name(place)));
		report_put(object, "slot", report_json_text(slot));
		report_put(object, "opens", json_true());
		(void)json_array_append_new(t->results, object); /* as above */
	} else {
		json_decref(object);
		(void)error_add(why, "repository %s", place_name(place));
	}
	keyring_free(keyring);
	key_secret_release(&own);
	return e;
}

static enum err test_begin(struct test *t, struct error *why)
{
	t->from_stdin = option_given(&t->agent->options, OPTION_STDIN);
	return t->from_stdin ? key_read_code(t->agent, &t->code, why) : ERR_NONE;
}

enum err key_repos(struct agent *agent, const struct config_repo *repos[PLACES_MAX], size_t *count,
		   struct error *why)
{
	const struct config_cluster *config = NULL;
	enum err e = ERR_NONE;

	if (option_given(&agent->options, OPTION_CLUSTER))
		e = subject_config(agent, &config, why);
	if (e == ERR_NONE)
		e = config_select_repos(&agent->config, config, &agent->options, repos, PLACES_MAX,
					count, why);
	return e;
}

static enum err key(struct test *t, bool is_test, struct error *why)
{
	const struct config_repo *repos[PLACES_MAX];
	struct agent *agent = t->agent;
	size_t count = 0;
	enum err e = key_repos(agent, repos, &count, why);

	if (e == ERR_NONE && is_test)
		e = test_begin(t, why);
	if (e == ERR_NONE && !is_test)
		report_text(&agent->report, "%-16s  %-18s  %-13s  %5s  %s\n", "repository", "slot",
			    "opened by", "epoch", "made");
	/* A slot that is damaged in one hides none of the next. */
	for (size_t i = 0; i < count && (e == ERR_NONE || (e == ERR_CORRUPT && !is_test)); i++) {
		struct place place = {.config = repos[i]};
		struct error this;
		enum err now = place_open_store(agent, repos[i], false, &place.store, &this);

		if (now == ERR_NONE)
			now = is_test ? test_place(t, &place, &this)
				      : list_place(agent, &place, t->results, &this);
		store_close(place.store);
		if (now != ERR_NONE && e == ERR_NONE) {
			*why = this;
			e = now;
		}
	}
	return e;
}

/* An option that an action does not know would be ignored, and taken for done. */
static enum err check_options(const struct agent *agent, const char *action, struct error *why)
{
	static const struct {
		enum option_id id;
		const char *name, *actions;
	} only[] = {
		{OPTION_STDIN, "--stdin", "test add remove rotate"},
		{OPTION_NEW_KEY_FILE, "--new-key-file", "add"},
		{OPTION_NEW_PASSPHRASE_FILE, "--new-passphrase-file", "add"},
		{OPTION_RECOVERY_CODE, "--recovery-code", "add rotate"},
		{OPTION_SLOT, "--slot", "add"},
		{OPTION_WITH_KEY_FILE, "--with-key-file", "rotate"},
		{OPTION_WITH_PASSPHRASE_FILE, "--with-passphrase-file", "rotate"},
		{OPTION_FORCE, "--force", "remove"},
	};
	size_t wanted = strcmp(action, "remove") == 0 ? 2 : 1;

	for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++)
		if (option_given(&agent->options, only[i].id) &&
		    strstr(only[i].actions, action) == NULL)
			return error_set(why, ERR_CONFIG, "%s does not go with key %s: %s",
					 only[i].name, action, only[i].actions);
	if (agent->options.arguments_count != wanted)
		return error_set(why, ERR_CONFIG,
				 wanted == 2 ? "key remove wants the name of one slot"
					     : "only key remove takes the name of a slot");
	return ERR_NONE;
}

int command_key(struct agent *agent)
{
	const char *action = agent->options.arguments[0];
	bool is_test = strcmp(action, "test") == 0;
	struct test t = {.agent = agent};
	struct error why;
	enum err e = check_options(agent, action, &why);
	int code = EXIT_DONE;

	if (e == ERR_NONE && !is_test && strcmp(action, "list") != 0)
		return key_change(agent, action);
	t.results = json_array();
	if (e == ERR_NONE)
		e = key(&t, is_test, &why);
	report_put(agent->report.root, is_test ? "tests" : "slots", t.results);
	if (e == ERR_NONE && is_test && !t.from_stdin)
		report_text(&agent->report, "try the written recovery code too: pgagent key test "
					    "--stdin\n");
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
	key_secret_release(&t.code);
	return code;
}
