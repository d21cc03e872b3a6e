/* commands/key_change.c - `pgagent key add|remove|rotate`: who opens the repositories from now on.
 *
 * Adding: key file on disk, recovery code shown -> its slot in every repository.  A rotation:
 * lib/repo/keys_change.c.
 */
#include "commands/key.h"

#include "base/file.h"
#include "lock.h"
#include "repo/keys_change.h"
#include "secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_TEXT_MAX = 1024,
	SECRETS_MAX = 64, /* of one rotation */
	SLOTS_WANTED = 2  /* that open what is written: one may be lost */
};

struct change {
	struct agent *agent;
	struct place place[PLACES_MAX];
	struct key_secret own[PLACES_MAX];
	struct key_place key_place[PLACES_MAX];
	size_t count;
	struct key_secret code; /* of --stdin */
	struct key_secret fresh;
	char fresh_text[RECOVERY_CODE_TEXT_MAX];
	bool code_shown;
	json_t *slots;
};

static bool given(const struct change *c, enum option_id id)
{
	return option_given(&c->agent->options, id);
}

/* Every one opens, is encrypted, and all are one family: else nothing is changed. */
static enum err open_place(struct change *c, size_t i, bool with_code, struct error *why)
{
	struct place *p = &c->place[i];
	struct repository_format format;
	bool has = false;
	enum err e = place_open_store(c->agent, p->config, false, &p->store, why);

	if (e == ERR_NONE)
		e = place_peek(c->agent, p, &format, why);
	if (e == ERR_MISSING)
		e = why->kind = ERR_TRANSIENT;
	if (e == ERR_NONE && format.encryption == ENCRYPTION_NONE)
		return error_set(why, ERR_CONFIG,
				 "repository %s is not encrypted: there is no key to change",
				 place_name(p));
	if (e == ERR_NONE && !with_code)
		e = place_secret(c->agent, p->config, &c->own[i], &has, why);
	if (e == ERR_MISSING)
		e = why->kind = ERR_CONFIG;
	c->key_place[i] = (struct key_place){p->store, with_code ? &c->code : &c->own[i]};
	if (e == ERR_NONE)
		e = repository_open(&c->agent->env, p->store, c->key_place[i].own, &p->repository,
				    why);
	if (e == ERR_WRONG_KEY && with_code)
		key_hint_wrong_code(c->agent, p, why);
	if (e == ERR_NONE &&
	    memcmp(p->repository->id, c->place[0].repository->id, REPOSITORY_ID_BYTES) != 0) {
		(void)error_set(why, ERR_CONFIG, "repositories %s and %s do not share their keys",
				place_name(&c->place[0]), place_name(p));
		error_hint(why,
			   "name those of one cluster with --cluster NAME, or --repo NAME,NAME");
		return ERR_CONFIG;
	}
	return e;
}

static enum err open_places(struct change *c, bool with_code, struct error *why)
{
	const struct config_repo *repos[PLACES_MAX];
	size_t count = 0;
	enum err e = key_repos(c->agent, repos, &count, why);

	for (size_t i = 0; i < count && e == ERR_NONE; i++) {
		c->place[i].config = repos[i];
		c->count++;
		e = open_place(c, i, with_code, why);
	}
	return e;
}

static void say_slot(void *ctx, size_t i, const char *slot, bool put)
{
	struct change *c = ctx;
	const char *name = place_name(&c->place[i]);
	json_t *object = json_object();

	if (put)
		report_text(&c->agent->report, "repository %s: slot %s made\n", name, slot);
	else
		report_text(&c->agent->report,
			    "repository %s: this key opens it already, nothing was added\n", name);
	report_put(object, "repository", report_json_text(name));
	report_put(object, "slot", put ? report_json_text(slot) : json_null());
	report_put(object, "made", json_boolean(put));
	(void)json_array_append_new(c->slots, object); /* without memory the dump fails */
}

static enum err make_code(struct change *c, struct error *why)
{
	struct writer text;
	enum err e;

	writer_init(&text, sizeof(c->fresh_text) - 1);
	e = key_secret_new(c->agent->env.random, SLOT_RECOVERY, &c->fresh, &text, why);
	if (e == ERR_NONE) {
		memcpy(c->fresh_text, text.data, text.len);
		c->fresh_text[text.len] = '\0';
	}
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	writer_release(&text);
	return e;
}

static enum err show_code(void *ctx, struct error *why)
{
	struct change *c = ctx;

	if (c->fresh_text[0] == '\0')
		return ERR_NONE;
	report_text(&c->agent->report,
		    "\nrecovery code, shown this once: %s\n"
		    "  Write it down, away from this machine; try what you wrote: pgagent key test "
		    "--stdin\n\n",
		    c->fresh_text);
	c->code_shown = true;
	return report_put_now(&c->agent->report, "recovery_code", report_json_text(c->fresh_text),
			      why);
}

static struct key_change change_of(struct change *c)
{
	return (struct key_change){.env = &c->agent->env,
				   .place = c->key_place,
				   .count = c->count,
				   .told = say_slot,
				   .show = show_code,
				   .ctx = c};
}

/* The new code's slots are the first. */
static void say_code_is_void(struct change *c)
{
	if (c->code_shown && json_array_size(c->slots) == 0)
		report_warning(&c->agent->report, "the recovery code that was shown has no slot: "
						  "throw it away, the next try makes another");
}

static enum err read_file(const struct change *c, enum slot_type type, const char *path,
			  struct key_secret *out, struct error *why)
{
	struct secret text = {.len = 0};
	enum err e = secret_file_read(c->agent->env.files, path, getenv("CREDENTIALS_DIRECTORY"),
				      &text, why);

	if (e == ERR_NONE)
		e = key_secret_from_text(type, secret_view(&text), out, why);
	if (e != ERR_NONE && e != ERR_MISSING)
		(void)error_add(why, "%s", path);
	secret_release(&text);
	return e;
}

/* Durable before anything is sealed with it. */
static enum err make_key_file(struct change *c, const char *path, struct error *why)
{
	struct writer text;
	enum err e;

	writer_init(&text, KEY_TEXT_MAX);
	e = key_secret_new(c->agent->env.random, SLOT_KEY_FILE, &c->fresh, &text, why);
	if (e == ERR_NONE)
		e = file_publish(c->agent->env.files, c->agent->env.random, AT_FDCWD, path,
				 writer_view(&text), 0600, why);
	if (e != ERR_NONE)
		(void)error_add(why, "making the key file %s", path);
	else
		report_text(&c->agent->report, "key file %s: made; keep a copy of it elsewhere\n",
			    path);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	writer_release(&text);
	return e;
}

/* c->fresh; *stem gets the beginning of the slot's name. */
static enum err new_secret(struct change *c, const char **stem, struct error *why)
{
	const struct options *o = &c->agent->options;
	const char *path = option_text(o, OPTION_NEW_KEY_FILE);
	enum err e;

	if (path != NULL) {
		*stem = "key-file";
		e = read_file(c, SLOT_KEY_FILE, path, &c->fresh, why);
		return e == ERR_MISSING ? make_key_file(c, path, why) : e;
	}
	*stem = "passphrase";
	path = option_text(o, OPTION_NEW_PASSPHRASE_FILE);
	if (path != NULL) {
		e = read_file(c, SLOT_PASSPHRASE, path, &c->fresh, why);
		if (e == ERR_MISSING)
			e = why->kind = ERR_CONFIG;
		return e;
	}
	*stem = "recovery";
	if (given(c, OPTION_RECOVERY_CODE))
		return make_code(c, why);
	(void)error_set(why, ERR_CONFIG, "key add: which key is to open the repositories too?");
	error_hint(why, "pgagent key add --new-key-file FILE, --new-passphrase-file FILE or "
			"--recovery-code");
	return ERR_CONFIG;
}

static enum err add(struct change *c, struct error *why)
{
	const struct key_change change = change_of(c);
	char name[SLOT_NAME_MAX];
	const char *stem = "";
	uint8_t unique[4];
	enum err e = new_secret(c, &stem, why);

	if (e == ERR_NONE)
		e = random_fill(c->agent->env.random, unique, sizeof(unique), why);
	if (e != ERR_NONE)
		return e;
	(void)snprintf(name, sizeof(name), "%s-%02x%02x%02x%02x", stem, unique[0], unique[1],
		       unique[2], unique[3]); /* fits */
	if (given(c, OPTION_SLOT))
		return keys_add(&change, &c->fresh, option_text(&c->agent->options, OPTION_SLOT),
				why);
	return keys_add(&change, &c->fresh, name, why);
}

struct behind {
	struct change *change;
	const char *repository;
	uint32_t epoch;
	json_t *array;
	size_t count;
};

static enum err say_behind(void *ctx, const struct slot_info *info, struct error *why)
{
	struct behind *b = ctx;
	json_t *object;

	(void)why; /* nothing here can fail */
	if (info->epoch >= b->epoch)
		return ERR_NONE;
	if (b->count++ == 0)
		report_text(&b->change->agent->report,
			    "these will not open what is written from now on:\n");
	report_text(&b->change->agent->report, "  repository %s: slot %s (%s)\n", b->repository,
		    info->name, key_type_name(info->type));
	object = json_object();
	report_put(object, "repository", report_json_text(b->repository));
	report_put(object, "slot", report_json_text(info->name));
	(void)json_array_append_new(b->array, object); /* without memory the dump fails */
	return ERR_NONE;
}

static enum err say_rotated(struct change *c, const struct key_rotation *r, struct error *why)
{
	struct report *report = &c->agent->report;
	struct behind b = {.change = c, .epoch = r->epoch, .array = json_array()};
	struct key_slots_summary sum;
	enum err e = ERR_NONE;

	if (r->resumed)
		report_text(report,
			    "a rotation that was broken off is finished: epoch %" PRIu32 "\n",
			    r->epoch);
	else
		report_text(report, "what is written from now on is sealed in epoch %" PRIu32 "\n",
			    r->epoch);
	report_put(report->root, "epoch", json_integer((json_int_t)r->epoch));
	report_put(report->root, "resumed", json_boolean(r->resumed));
	for (size_t i = 0; i < c->count && e == ERR_NONE; i++) {
		b.repository = place_name(&c->place[i]);
		e = key_slots_list(c->place[i].store, say_behind, &b, why);
		if (e == ERR_CORRUPT) { /* the rotation is done */
			report_warning(report, "repository %s: %s", b.repository, why->text);
			e = ERR_NONE;
		}
	}
	report_put(report->root, "will_not_open", b.array);
	for (size_t i = 0; i < c->count && e == ERR_NONE; i++) {
		e = key_slots_sum_up(c->place[i].store, NULL, &sum, why);
		if (e == ERR_NONE && sum.current < SLOTS_WANTED)
			report_warning(report,
				       "repository %s: only %u key opens what is written from now "
				       "on, and without it nobody can read it; add a second: "
				       "pgagent key add --recovery-code",
				       place_name(&c->place[i]), sum.current);
	}
	return e;
}

static enum err rotate_with(struct change *c, struct key_secret *also, size_t *count,
			    struct error *why)
{
	static const struct {
		enum option_id id;
		enum slot_type type;
	} from[] = {{OPTION_WITH_KEY_FILE, SLOT_KEY_FILE},
		    {OPTION_WITH_PASSPHRASE_FILE, SLOT_PASSPHRASE}};
	const struct key_change change = change_of(c);
	const struct key_secret *pointer[SECRETS_MAX + 1];
	struct key_rotation r = {.also = pointer};
	const char *path;
	enum err e = ERR_NONE;

	for (size_t k = 0; k < sizeof(from) / sizeof(from[0]); k++) {
		size_t at = 0;

		while (e == ERR_NONE &&
		       (path = option_next(&c->agent->options, from[k].id, &at)) != NULL) {
			if (*count == SECRETS_MAX)
				return error_set(why, ERR_CONFIG, "more than %d other keys",
						 SECRETS_MAX);
			e = read_file(c, from[k].type, path, &also[*count], why);
			if (e == ERR_MISSING)
				e = why->kind = ERR_CONFIG;
			if (e == ERR_NONE)
				++*count;
		}
	}
	for (size_t i = 0; i < *count; i++)
		pointer[i] = &also[i];
	r.also_count = *count;
	if (given(c, OPTION_STDIN))
		pointer[r.also_count++] = &c->code;
	if (e == ERR_NONE && given(c, OPTION_RECOVERY_CODE)) {
		e = make_code(c, why);
		r.fresh = &c->fresh;
	}
	if (e == ERR_NONE)
		e = keys_rotate(&change, &r, why);
	return e == ERR_NONE ? say_rotated(c, &r, why) : e;
}

static enum err rotate(struct change *c, struct error *why)
{
	struct key_secret also[SECRETS_MAX];
	size_t count = 0;
	enum err e = rotate_with(c, also, &count, why);

	for (size_t i = 0; i < count; i++)
		key_secret_release(&also[i]);
	return e;
}

/* What is removed where. */
struct removal {
	const char *slot;
	bool here[PLACES_MAX];
	struct slot_info info[PLACES_MAX]; /* .name is empty where the slot is damaged */
	size_t places;
	char names[256];    /* of the repositories that have it; cut text is still text */
	const char *scarce; /* one of them in which a single key is left then; NULL: none */
};

/* A key is left, but no second. */
static enum err is_scarce_without(struct store *store, const char *slot, bool *out,
				  struct error *why)
{
	struct key_slots_summary all, rest;
	enum err e = key_slots_sum_up(store, NULL, &all, why);

	if (e == ERR_NONE)
		e = key_slots_sum_up(store, slot, &rest, why);
	if (e == ERR_NONE)
		*out = rest.current < all.current && rest.current < SLOTS_WANTED;
	return e;
}

static enum err may_remove_at(struct change *c, size_t i, struct removal *r, struct error *why)
{
	struct store *store = c->place[i].store;
	const char *name = place_name(&c->place[i]);
	char opened[SLOT_NAME_MAX];
	struct keyring *keyring = NULL;
	bool is_scarce = false;
	size_t used = strlen(r->names);
	enum err e = keyring_open(store, c->key_place[i].own, &keyring, opened, why);

	keyring_free(keyring);
	if (e == ERR_NONE && strcmp(opened, r->slot) == 0 && !given(c, OPTION_FORCE)) {
		(void)error_set(why, ERR_CONFIG,
				"slot %s is the one by which repository %s is opened here", r->slot,
				name);
		error_hint(why, "once another key is configured here; or with --force%s",
			   c->count > 1 ? "; from another repository alone: --repo NAME" : "");
		return ERR_CONFIG;
	}
	if (e == ERR_NONE)
		e = key_slot_find(store, r->slot, &r->info[i], why);
	if (e == ERR_MISSING)
		return ERR_NONE;
	if (e == ERR_NONE || e == ERR_CORRUPT)
		e = key_slot_may_go(store, r->slot, why);
	if (e == ERR_NONE)
		e = is_scarce_without(store, r->slot, &is_scarce, why);
	if (e != ERR_NONE)
		return e;
	r->here[i] = true;
	r->scarce = is_scarce ? name : r->scarce;
	(void)snprintf(r->names + used, sizeof(r->names) - used, "%s%s",
		       r->places++ > 0 ? " and " : "", name); /* cut, as said */
	return ERR_NONE;
}

/* Refused before any repository is changed.  Slots of one name in several are asked about where nobody named
 * them: after rotations they may be of different keys. */
static enum err may_remove(struct change *c, struct removal *r, struct error *why)
{
	bool several;
	char question[1024];
	enum err e = ERR_NONE;

	for (size_t i = 0; i < c->count && e == ERR_NONE; i++)
		e = may_remove_at(c, i, r, why);
	if (e != ERR_NONE)
		return e;
	several = r->places > 1 && !given(c, OPTION_REPO);
	if (r->scarce == NULL && !several)
		return ERR_NONE;
	/* Cut text is still text. */
	(void)snprintf(question, sizeof(question),
		       "slot %s goes from repository %s%s%s%s; remove it?", r->slot, r->names,
		       r->scarce != NULL ? ", and then only one key is left in " : "",
		       r->scarce != NULL ? r->scarce : "",
		       r->scarce != NULL ? " that opens what is written now" : "");
	e = agent_confirm(c->agent, question, why);
	if (e == ERR_CONFIG && several)
		error_hint(why, "from one alone: --repo NAME; from all of them: --yes");
	return e;
}

static void say_removed(struct change *c, const char *repository, const char *slot,
			const struct slot_info *info)
{
	json_t *object = json_object();

	if (info->name[0] != '\0')
		report_text(&c->agent->report,
			    "repository %s: slot %s removed (%s, epoch %" PRIu32 ", made %s)\n",
			    repository, slot, key_type_name(info->type), info->epoch,
			    info->created);
	else
		report_text(&c->agent->report, "repository %s: slot %s removed (damaged)\n",
			    repository, slot);
	report_put(object, "repository", report_json_text(repository));
	report_put(object, "slot", report_json_text(slot));
	(void)json_array_append_new(c->slots, object); /* without memory the dump fails */
}

static enum err remove_slot(struct change *c, struct error *why)
{
	struct removal r = {.slot = c->agent->options.arguments[1]};
	enum err e = may_remove(c, &r, why);

	if (e == ERR_NONE && r.places == 0) {
		(void)error_set(why, ERR_CONFIG, "there is no key slot \"%s\"", r.slot);
		error_hint(why, "see the slots with: pgagent key list");
		return ERR_CONFIG;
	}
	for (size_t i = 0; i < c->count && e == ERR_NONE; i++) {
		const char *name = place_name(&c->place[i]);

		if (!r.here[i]) {
			report_text(&c->agent->report, "repository %s: has no slot %s\n", name,
				    r.slot);
			continue;
		}
		e = key_slot_remove(c->place[i].store, r.slot, why);
		if (e == ERR_NONE)
			say_removed(c, name, r.slot, &r.info[i]);
	}
	if (e == ERR_NONE)
		report_text(&c->agent->report,
			    "who has that key and copied the slot before can still read what was "
			    "written so far;\nfor what comes: pgagent key rotate\n");
	return e;
}

/* `init` puts slots too.  A machine that has nothing but --repo PATH has no state directory, and if none can
 * be made, no other run of pgagent to wait for either. */
static enum err take_lock(struct agent *agent, struct lock *lock, struct error *why)
{
	const char *directory = agent->config.global.state_directory;
	const char *repo = option_text(&agent->options, OPTION_REPO);
	struct files *files = agent->env.files;
	struct stat st;
	enum err e = lock_take(lock, &agent->env, directory, "init", why);

	if (e == ERR_DENIED && repo != NULL && config_repo_is_place(repo) &&
	    files->ops->stat(files, AT_FDCWD, directory, 0, &st) == -ENOENT)
		return ERR_NONE;
	return e;
}

int key_change(struct agent *agent, const char *action)
{
	struct change c = {.agent = agent, .slots = json_array()};
	struct lock lock = {.fd = -1};
	struct error why;
	bool is_rotate = strcmp(action, "rotate") == 0;
	int code = EXIT_DONE;
	enum err e = take_lock(agent, &lock, &why);

	if (e == ERR_EXISTS)
		code = EXIT_LOCKED;
	if (e == ERR_NONE && given(&c, OPTION_STDIN))
		e = key_read_code(agent, &c.code, &why);
	if (e == ERR_NONE)
		e = open_places(&c, given(&c, OPTION_STDIN) && !is_rotate, &why);
	if (e == ERR_NONE)
		e = is_rotate                    ? rotate(&c, &why)
		    : strcmp(action, "add") == 0 ? add(&c, &why)
						 : remove_slot(&c, &why);
	if (e != ERR_NONE && e != ERR_UNSURE)
		say_code_is_void(&c);
	report_put(agent->report.root, "slots", c.slots);
	if (e != ERR_NONE)
		code = code == EXIT_LOCKED ? agent_fail_as(agent, EXIT_LOCKED, &why)
					   : agent_fail(agent, &why);
	for (size_t i = 0; i < c.count; i++) {
		repository_close(c.place[i].repository);
		store_close(c.place[i].store);
		key_secret_release(&c.own[i]);
	}
	key_secret_release(&c.code);
	key_secret_release(&c.fresh);
	explicit_bzero(c.fresh_text, sizeof(c.fresh_text));
	lock_release(&lock);
	return code;
}
