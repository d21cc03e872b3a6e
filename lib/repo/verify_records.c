/* repo/verify_records.c - clear records and key slots: each is read, and is what its key says. */
#include "repo/verify_internal.h"

#include <stdio.h>

static void report(struct verify_run *r, const char *key, const char *text)
{
	verify_report(r, &(struct verify_finding){.key = key, .text = text});
}

/* Type of the clear record that lies at `part/...`, or NULL for what is no record. */
static const char *record_type(const char *rest)
{
	static const struct {
		const char *prefix, *type;
	} types[] = {
		{"identity", "identity"}, {"pins/", "pin"},   {"tombs/", "tomb"},
		{"hidden/", "hidden"},    {"keeps/", "keep"}, {"gaps/", "gap"},
	};
	size_t len = strlen(rest);

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strncmp(rest, types[i].prefix, strlen(types[i].prefix)) != 0)
			continue;
		if (i == 3 && len > 4 && strcmp(rest + len - 4, ".end") == 0)
			return "hidden-end";
		if (i == 4 && len > 4 && strcmp(rest + len - 4, ".off") == 0)
			return "keep-off";
		return types[i].type;
	}
	return NULL;
}

static enum err check_record(void *ctx, const struct store_object *object, struct error *why)
{
	struct verify_run *r = ctx;
	const char *type = record_type(object->key + strlen(r->cluster->prefix));
	struct writer body;
	enum err e;

	if (type == NULL)
		return ERR_NONE;
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(r->cluster->repository, object->key, type, &body, why);
	writer_release(&body);
	r->totals->objects++;
	/* A pin may go between the listing and the reading. */
	if (e == ERR_CORRUPT) {
		report(r, object->key, why->text);
		return ERR_NONE;
	}
	return e == ERR_MISSING ? ERR_NONE : e;
}

static enum err ignore_slot(void *ctx, const struct slot_info *slot, struct error *why)
{
	(void)ctx;
	(void)slot;
	(void)why;
	return ERR_NONE;
}

enum err verify_records(struct verify_run *r, struct error *why)
{
	static const char *const parts[] = {"identity", "pins/",  "tombs/",
					    "hidden/",  "keeps/", "gaps/"};
	const struct repository *repository = r->cluster->repository;
	struct writer body;
	enum err e;

	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(repository, "FORMAT", "format", &body, why);
	writer_release(&body);
	r->totals->objects++;
	if (e == ERR_CORRUPT || e == ERR_MISSING) {
		report(r, "FORMAT", why->text);
		e = ERR_NONE;
	}
	if (e == ERR_NONE)
		e = key_slots_list(repository->store, ignore_slot, NULL, why);
	if (e == ERR_CORRUPT) {
		report(r, "keys/", why->text);
		e = ERR_NONE;
	}
	for (size_t i = 0; e == ERR_NONE && i < sizeof(parts) / sizeof(parts[0]); i++) {
		char prefix[STORE_KEY_MAX];

		(void)snprintf(prefix, sizeof(prefix), "%s%s", r->cluster->prefix,
			       parts[i]); /* fits */
		e = store_list(repository->store, prefix, check_record, r, why);
	}
	return e;
}
