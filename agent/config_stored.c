/* config_stored.c - writes a configuration out again, for the backups that were taken with it. */
#include "config_stored.h"

#include <string.h>

static bool is_command(const struct config_key *key)
{
	static const char end[] = "_command";
	size_t len = strlen(key->name);

	return len >= sizeof(end) && strcmp(key->name + len - sizeof(end) + 1, end) == 0;
}

static void put_value(struct writer *w, const struct config_key *key, const char *text)
{
	char masked[1024];

	if (is_command(key)) {
		writer_text(w,
			    CONFIG_FILL_IN "a command may hold a secret, and is not kept\n; %s =\n",
			    key->name);
		return;
	}
	config_mask(text, masked, sizeof(masked));
	if (strncmp(masked, text, sizeof(masked) - 1) != 0)
		writer_text(w, CONFIG_FILL_IN "the password; better a line in ~/.pgpass\n");
	/* Without blanks: a line is no longer than the one that was read. */
	writer_text(w, "%s=%s\n", key->name, masked);
}

static void put_keys(struct writer *w, enum config_kind kind, const struct config_section *section)
{
	size_t count;
	const struct config_key *keys = config_keys(kind, &count);

	for (size_t i = 0; i < count; i++)
		if (section->value[i].text != NULL)
			put_value(w, &keys[i], section->value[i].text);
}

enum err config_stored_text(const struct config *config, const struct config_cluster *cluster,
			    struct writer *out, struct error *why)
{
	writer_text(out, "[global]\n");
	put_keys(out, CONFIG_GLOBAL, &config->global.section);
	put_keys(out, CONFIG_CLUSTER, &config->cluster_defaults);
	for (size_t i = 0; i < cluster->repos_count; i++) {
		writer_text(out, "\n[repo:%s]\n", cluster->repos[i]->section.name);
		put_keys(out, CONFIG_REPO, &cluster->repos[i]->section);
	}
	writer_text(out, "\n[cluster:%s]\n", cluster->section.name);
	put_keys(out, CONFIG_CLUSTER, &cluster->section);
	if (out->bad || out->len > CONFIG_STORED_MAX)
		return error_set(why, ERR_LIMIT,
				 "the configuration is too long to be kept in a backup");
	return ERR_NONE;
}
