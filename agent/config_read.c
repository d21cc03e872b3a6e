/* config_read.c - from the text of configuration files to sections and values.
 *
 * inih splits lines into keys and values.  Its handler learns neither line numbers nor empty
 * sections and its lines are bounded, so the reader that feeds it counts lines, keeps track of the
 * section, and refuses lines that inih would cut in two.
 */
#include "base/file.h"
#include "config.h"
#include "config_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 20, PATH_BYTES_MAX = 4096 };

struct source {
	struct config *config;
	const char *file;
	const char *at, *end;
	int line;
	struct config_section *section; /* NULL: none yet, or one that is unknown */
	enum config_kind kind;
	bool unknown_section;
	bool line_is_bad; /* already reported: what inih makes of it is not looked at */
	bool no_memory;
};

static void problem(struct source *s, const char *hint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void problem(struct source *s, const char *hint, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut is still text */
	va_end(args);
	config_problem_add(s->config, s->file, s->line, false, text, hint);
	s->line_is_bad = true;
}

static const char *did_you_mean(const char *name, const char *const *names, size_t count, char *out,
				size_t size)
{
	const char *near = nearest_name(name, names, count);

	if (near == NULL)
		return NULL;
	(void)snprintf(out, size, "Did you mean \"%s\"?", near); /* names are short */
	return out;
}

static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= CONFIG_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
			return false;
	return true;
}

/* A new, empty section struct at the end of its list; NULL without memory. */
static struct config_section *section_new(struct config *config, enum config_kind kind)
{
	bool is_repo = kind == CONFIG_REPO;
	size_t size = is_repo ? sizeof(struct config_repo) : sizeof(struct config_cluster);
	size_t count = is_repo ? config->repos_count : config->clusters_count;
	void **list = is_repo ? (void **)config->repos : (void **)config->clusters;
	void **grown = config_grown(list, count);
	void *made;

	if (grown == NULL)
		return NULL;
	if (is_repo)
		config->repos = (struct config_repo **)grown;
	else
		config->clusters = (struct config_cluster **)grown;
	made = calloc(1, size);
	if (made == NULL)
		return NULL;
	grown[count] = made;
	if (is_repo)
		config->repos_count++;
	else
		config->clusters_count++;
	return is_repo ? &((struct config_repo *)made)->section
		       : &((struct config_cluster *)made)->section;
}

static struct config_section *section_find(struct config *config, enum config_kind kind,
					   const char *name)
{
	if (kind == CONFIG_GLOBAL)
		return config->global.section.name != NULL ? &config->global.section : NULL;
	for (size_t i = 0; kind == CONFIG_REPO && i < config->repos_count; i++)
		if (strcmp(config->repos[i]->section.name, name) == 0)
			return &config->repos[i]->section;
	for (size_t i = 0; kind == CONFIG_CLUSTER && i < config->clusters_count; i++)
		if (strcmp(config->clusters[i]->section.name, name) == 0)
			return &config->clusters[i]->section;
	return NULL;
}

/* A section may go on in another file (conf.d), but not twice in one. */
static void enter_section(struct source *s, enum config_kind kind, const char *name)
{
	struct config_section *found = section_find(s->config, kind, name);

	if (found != NULL && strcmp(found->file, s->file) == 0) {
		problem(s, NULL, "section [%s%s] stands here twice, first at line %d",
			kind == CONFIG_REPO      ? "repo:"
			: kind == CONFIG_CLUSTER ? "cluster:"
						 : "global",
			name, found->line);
		s->line_is_bad = false;
	}
	if (found == NULL) {
		found = kind == CONFIG_GLOBAL ? &s->config->global.section
					      : section_new(s->config, kind);
		if (found == NULL || (found->name = strdup(name)) == NULL) {
			/* Nameless sections are never looked at: loading fails with no_memory. */
			s->no_memory = true;
			return;
		}
		found->file = s->file;
		found->line = s->line;
	}
	s->section = found;
	s->kind = kind;
	s->unknown_section = false;
}

static void take_header(struct source *s, const char *text, size_t len)
{
	static const char *const kinds[] = {"global", "repo", "cluster"};
	const char *close = memchr(text, ']', len);
	char header[2 * CONFIG_NAME_MAX], hint[128], *name;

	s->section = NULL;
	s->unknown_section = true;
	if (close == NULL || (size_t)(close - text) > sizeof(header)) {
		problem(s, NULL, "a section without its closing bracket");
		return;
	}
	(void)snprintf(header, sizeof(header), "%.*s", (int)(close - text - 1), text + 1);
	name = strchr(header, ':');
	if (name != NULL)
		*name++ = '\0';
	if (strcmp(header, "global") == 0 && name == NULL) {
		enter_section(s, CONFIG_GLOBAL, "");
	} else if (name != NULL &&
		   (strcmp(header, "repo") == 0 || strcmp(header, "cluster") == 0)) {
		if (name_is_valid(name))
			enter_section(s, header[0] == 'r' ? CONFIG_REPO : CONFIG_CLUSTER, name);
		else
			problem(s, "Letters, digits and . _ - only, at most 63.",
				"section [%s:%s]: not a name", header, name);
	} else {
		problem(s, did_you_mean(header, kinds, 3, hint, sizeof(hint)),
			"unknown section [%s%s%s]: not [global], [repo:NAME] or [cluster:NAME]",
			header, name != NULL ? ":" : "", name != NULL ? name : "");
	}
}

/* inih's fgets: one line without its indentation, so that an indented key is a key and not the
 * continuation of the line before. */
static char *next_line(char *out, int size, void *stream)
{
	struct source *s = stream;
	const char *end;
	size_t len;

	if (s->at >= s->end)
		return NULL;
	s->line++;
	s->line_is_bad = false;
	end = memchr(s->at, '\n', (size_t)(s->end - s->at));
	end = end != NULL ? end : s->end;
	while (s->at < end && (*s->at == ' ' || *s->at == '\t'))
		s->at++;
	len = (size_t)(end - s->at);
	if (len > 0 && s->at[0] == '[')
		take_header(s, s->at, len);
	if (memchr(s->at, '\0', len) != NULL)
		problem(s, NULL, "a zero byte");
	else if (len + 2 > (size_t)size && s->at[0] != ';' && s->at[0] != '#')
		problem(s,
			"A connection string may be kept in a service file: conninfo = "
			"service=NAME",
			"a line of %zu bytes, more than %d", len, size - 2);
	/* A comment, and a line already refused, is an empty line to inih. */
	if (len == 0 || s->at[0] == ';' || s->at[0] == '#' || s->line_is_bad)
		len = 0;
	memcpy(out, s->at, len);
	memcpy(out + len, "\n", 2);
	s->at = end < s->end ? end + 1 : end;
	return out;
}

static void unknown_key(struct source *s, const char *name)
{
	const char *names[2 * CONFIG_KEYS_MAX];
	static const char *const kinds[] = {"[global]", "[repo:NAME]", "[cluster:NAME]"};
	char hint[128];
	size_t count, n = 0;
	const struct config_key *keys = config_keys(s->kind, &count);

	for (size_t i = 0; i < count; i++)
		names[n++] = keys[i].name;
	for (int kind = CONFIG_GLOBAL; kind <= CONFIG_CLUSTER; kind++) {
		const struct config_key *other = config_keys((enum config_kind)kind, &count);

		for (size_t i = 0; i < count; i++)
			if (strcmp(other[i].name, name) == 0) {
				(void)snprintf(hint, sizeof(hint), "It belongs into %s.",
					       kinds[kind]); /* short */
				problem(s, hint, "%s: not a key of %s", name, kinds[s->kind]);
				return;
			}
	}
	problem(s, did_you_mean(name, names, n, hint, sizeof(hint)), "unknown key: %s", name);
}

/* The key's place: its index, and the section that keeps its text. */
static const struct config_key *find_key(struct source *s, const char *name,
					 struct config_section **section, size_t *index)
{
	size_t count;
	const struct config_key *keys = config_keys(s->kind, &count);

	*section = s->section;
	for (*index = 0; *index < count; (*index)++)
		if (strcmp(keys[*index].name, name) == 0)
			return &keys[*index];
	if (s->kind != CONFIG_GLOBAL)
		return NULL;
	keys = config_keys(CONFIG_CLUSTER, &count);
	*section = &s->config->cluster_defaults;
	for (*index = 0; *index < count; (*index)++)
		if (keys[*index].in_global && strcmp(keys[*index].name, name) == 0)
			return &keys[*index];
	return NULL;
}

static int take_pair(void *user, const char *section_name, const char *name, const char *text)
{
	/* Large enough for a section of any kind: only the check of the value is wanted. */
	union {
		struct config_global global;
		struct config_repo repo;
		struct config_cluster cluster;
	} scratch;
	struct source *s = user;
	struct config_section *section;
	const struct config_key *key;
	struct error why;
	size_t index;

	(void)section_name;
	if (s->unknown_section || s->line_is_bad || s->no_memory)
		return 1;
	if (s->section == NULL) {
		problem(s, "Begin with [global], [repo:NAME] or [cluster:NAME].",
			"%s: a key before the first section", name);
		return 1;
	}
	key = find_key(s, name, &section, &index);
	if (key == NULL) {
		unknown_key(s, name);
		return 1;
	}
	if (section->value[index].text != NULL) {
		problem(s, NULL, "%s: given twice, first at %s:%d", name,
			section->value[index].file, section->value[index].line);
		return 1;
	}
	if (config_value_set(key, text, &scratch, &why) != ERR_NONE) {
		problem(s, why.hint, "%s", why.text);
		return 1;
	}
	section->value[index] = (struct config_value){strdup(text), s->file, s->line};
	s->no_memory = section->value[index].text == NULL;
	return 1;
}

enum err config_read(struct config *config, const char *name, struct bytes text, struct error *why)
{
	struct source s = {.config = config, .kind = CONFIG_GLOBAL};
	int bad_line;

	s.file = config_file_name(config, name);
	if (s.file == NULL)
		return error_set(why, ERR_MEMORY, "no memory for the configuration");
	s.at = (const char *)text.data;
	s.end = s.at + text.len;
	bad_line = ini_parse_stream(next_line, &s, take_pair, &s);
	if (bad_line < 0 || s.no_memory)
		return error_set(why, ERR_MEMORY, "no memory for the configuration");
	if (bad_line > 0) {
		s.line = bad_line;
		problem(&s, NULL, "not a line of the form KEY = VALUE");
	}
	return ERR_NONE;
}

static enum err read_file(struct config *config, struct files *files, const char *path,
			  struct error *why)
{
	struct stat st;
	uint8_t *text;
	size_t len;
	enum err err;
	int fd;

	fd = files->ops->stat(files, AT_FDCWD, path, 0, &st);
	/* Commands stand in it: whoever can write to it runs them as this user. */
	if (fd >= 0 && (st.st_mode & S_IWOTH) != 0) {
		err = error_set(why, ERR_CONFIG, "configuration: %s: everybody may write to it",
				path);
		error_hint(why, "chmod o-w %s", path);
		return err;
	}
	err = file_read_all(files, AT_FDCWD, path, FILE_BYTES_MAX, &text, &len, why);
	if (err != ERR_NONE)
		return err;
	err = config_read(config, path, bytes_of(text, len), why);
	free(text);
	return err;
}

static int is_conf(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static enum err read_conf_d(struct config *config, struct files *files, const char *path,
			    struct error *why)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_BYTES_MAX], file[2 * PATH_BYTES_MAX];
	struct dirent **entries = NULL;
	enum err err = ERR_NONE;
	int count;

	(void)snprintf(directory, sizeof(directory), "%.*sconf.d",
		       slash != NULL ? (int)(slash - path + 1) : 0,
		       path); /* cut: no such directory */
	count = scandir(directory, &entries, is_conf, by_name);
	if (count < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? ERR_NONE
			       : error_set_os(why, ERR_CONFIG, errno, "configuration: %s",
					      directory);
	for (int i = 0; i < count; i++) {
		(void)snprintf(file, sizeof(file), "%s/%s", directory,
			       entries[i]->d_name); /* a name has at most 255 bytes */
		if (err == ERR_NONE)
			err = read_file(config, files, file, why);
		free(entries[i]);
	}
	free(entries);
	return err;
}

enum err config_load(struct config *config, struct files *files, const char *path,
		     struct error *why)
{
	enum err err = read_file(config, files, path, why);

	if (err == ERR_NONE)
		err = read_conf_d(config, files, path, why);
	if (err == ERR_NONE)
		err = config_resolve(config, why);
	return err;
}
