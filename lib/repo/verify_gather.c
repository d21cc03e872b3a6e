/* repo/verify_gather.c - what there is to verify: the backups, their packs, and which of those lie in
 * the store.
 */
#include "base/text.h"
#include "repo/decision_internal.h"
#include "repo/manifest_internal.h"
#include "repo/pack.h"
#include "repo/verify_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static enum err note_packs(struct verify_run *r, const struct manifest *m, bool in_scope,
			   const char *name, struct error *why)
{
	for (uint32_t i = 0; i < m->packs; i++) {
		const struct pack_entry *entry = &m->pack[i];
		struct verify_pack *pack;
		uint32_t index;
		enum err e = verify_table_add(&r->table, entry, &index, why);

		if (e != ERR_NONE)
			return e;
		pack = &r->table.pack[index];
		pack->in_scope = pack->in_scope || in_scope;
		if (pack->size != entry->size ||
		    memcmp(pack->sha256, entry->sha256, sizeof(pack->sha256)) != 0) {
			char key[STORE_KEY_MAX];

			pack_key(r->cluster, &entry->id, key);
			verify_report(r, &(struct verify_finding){
						 .key = key,
						 .backup = name,
						 .text = "this backup states another size or "
							 "digest of it than an earlier one"});
		}
	}
	return ERR_NONE;
}

/* An unreadable manifest is a finding, unless it is being removed. */
static enum err note_unreadable(struct verify_run *r, struct verify_backup *backup,
				const char *name, const struct error *reason, struct error *why)
{
	char key[STORE_KEY_MAX];
	bool stays = false;
	enum err e = verify_backup_stays(r, &backup->attempt, &stays, why);

	if (e != ERR_NONE || !stays)
		return e;
	backup->unreadable = true;
	backup_key(r->cluster, &backup->attempt, key);
	if (backup->in_scope)
		verify_report(r, &(struct verify_finding){
					 .key = key, .backup = name, .text = reason->text});
	return ERR_NONE;
}

static enum err note_backup(struct verify_run *r, const char *name, struct error *why)
{
	struct verify_backup *backup = &r->backup[r->backups];
	const struct verified_backup *known;
	struct manifest *m = NULL;
	struct error reason;
	enum err e;

	*backup = (struct verify_backup){.has_parent = false};
	if (!attempt_from_text(name, &backup->attempt))
		return ERR_NONE; /* nothing of ours */
	backup->in_scope = r->options->only == NULL ||
			   attempt_compare(r->options->only, &backup->attempt) == 0;
	e = manifest_read(r->cluster, &backup->attempt, &m, &reason);
	if (e == ERR_MISSING) /* an abort marker, or it went meanwhile */
		return ERR_NONE;
	if (verify_is_damage(e)) {
		e = note_unreadable(r, backup, name, &reason, why);
		r->backups += e == ERR_NONE && backup->unreadable;
		return e;
	}
	if (e != ERR_NONE) {
		*why = reason;
		return e;
	}
	known = verified_find_backup(r->before, &backup->attempt);
	backup->maps_us = known != NULL ? known->maps_us : 0;
	backup->records = known != NULL ? known->records : 0;
	backup->has_parent = m->summary.has_parent;
	backup->parent = m->summary.parent;
	backup->timeline = m->summary.timeline;
	backup->segment_bytes = m->summary.wal_segment_bytes;
	backup->start = m->summary.start;
	backup->stop = m->summary.stop;
	r->backups++;
	e = note_packs(r, m, backup->in_scope, name, why);
	manifest_free(m);
	return e;
}

static enum err note_present(void *ctx, const struct store_object *object, struct error *why)
{
	struct verify_run *r = ctx;
	const char *name = object->key + strlen(r->cluster->prefix) + strlen("packs/"), *slash;
	char attempt[ATTEMPT_TEXT_MAX];
	struct pack_id id;
	uint64_t seq;
	uint32_t index;

	(void)why;
	slash = strchr(name, '/');
	if (slash == NULL || slash - name != ATTEMPT_TEXT_MAX - 1)
		return ERR_NONE; /* nothing of ours */
	memcpy(attempt, name, ATTEMPT_TEXT_MAX - 1);
	attempt[ATTEMPT_TEXT_MAX - 1] = '\0';
	if (!attempt_from_text(attempt, &id.attempt) ||
	    !text_to_u64(bytes_of_text(slash + 1), &seq) || seq > UINT32_MAX)
		return ERR_NONE;
	id.seq = (uint32_t)seq;
	if (verify_table_find(&r->table, &id, &index))
		r->table.pack[index].present = object->size;
	return ERR_NONE;
}

/* What the listing says against the manifests. */
static enum err check_present(struct verify_run *r, struct error *why)
{
	enum err e = ERR_NONE;

	for (uint32_t i = 0; i < r->table.count && e == ERR_NONE; i++) {
		struct verify_pack *pack = &r->table.pack[i];
		char key[STORE_KEY_MAX], text[STORE_KEY_MAX + 100];

		if (!pack->in_scope)
			continue;
		if (r->options->quick)
			r->totals->objects++;
		if (pack->present == pack->size)
			continue;
		pack_key(r->cluster, &pack->id, key);
		if (pack->present == UINT64_MAX)
			(void)snprintf(text, sizeof(text), "pack %s is gone", key); /* fits */
		else
			(void)snprintf(text, sizeof(text),
				       "%s has %" PRIu64 " bytes, the manifest states %" PRIu64,
				       key, pack->present, pack->size); /* fits */
		e = verify_damage(r, i, VERIFIED_ALL, VERIFIED_ALL, text, why);
	}
	return e;
}

enum err verify_gather(struct verify_run *r, struct error *why)
{
	struct key_list names = {.count = 0};
	char prefix[STORE_KEY_MAX];
	bool found = r->options->only == NULL;
	enum err e = key_list_read(r->cluster, "backups/", &names, why);

	if (e == ERR_NONE) {
		r->backup = calloc(names.count + 1, sizeof(*r->backup));
		if (r->backup == NULL)
			e = error_set(why, ERR_MEMORY, "verify: out of memory");
	}
	for (size_t i = 0; i < names.count && e == ERR_NONE; i++) {
		e = verify_go_on(r, why);
		if (e == ERR_NONE)
			e = note_backup(r, names.key[i], why);
	}
	key_list_release(&names);
	for (size_t i = 0; i < r->backups; i++)
		found = found || r->backup[i].in_scope;
	if (e == ERR_NONE && !found)
		e = error_set(why, ERR_MISSING, "verify: there is no such backup");
	for (uint32_t i = 0; i < r->table.count; i++)
		r->table.pack[i].proven_us = verified_pack_us(r->before, &r->table.pack[i].id);
	(void)snprintf(prefix, sizeof(prefix), "%spacks/", r->cluster->prefix); /* fits */
	if (e == ERR_NONE)
		e = store_list(r->cluster->repository->store, prefix, note_present, r, why);
	return e == ERR_NONE ? check_present(r, why) : e;
}
