/* repo/sightings.c - since when each holder's newest heartbeat has been the newest, kept as text. */
#include "base/crc32c.h"
#include "repo/decision_internal.h"
#include "repo/pins.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SCOPE_MAX = 2 * REPOSITORY_ID_BYTES + 10 + CLUSTER_NAME_MAX + 24,
	LINE_MAX_BYTES = SCOPE_MAX + PIN_HOLDER_MAX + 64
};
static const char first_line[] = "pgagent-sightings 1\n";

struct sighting {
	/* "<repository id>-<CRC of the store's label>/<cluster>/<system>/": repositories of one
	 * family share their id, and each has pins of its own. */
	char scope[SCOPE_MAX];
	char holder[PIN_HOLDER_MAX];
	uint32_t n;
	int64_t since_us;
};

struct sightings {
	char boot[64];
	struct sighting *one;
	size_t count, capacity;
};

enum err sightings_new(const char *boot, struct sightings **out, struct error *why)
{
	struct sightings *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return error_set(why, ERR_MEMORY, "no memory for what was seen of pins");
	(void)snprintf(s->boot, sizeof(s->boot), "%s", boot);
	*out = s;
	return ERR_NONE;
}

void sightings_free(struct sightings *s)
{
	if (s == NULL)
		return;
	free(s->one);
	free(s);
}

void sightings_boot_id(const struct env *env, char out[64])
{
	struct host_identity here;

	host_identify(env, &here);
	(void)snprintf(out, 64, "%s", here.boot);
}

static void scope_of(const struct cluster *c, char out[SCOPE_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i < REPOSITORY_ID_BYTES; i++)
		at += (size_t)snprintf(out + at, SCOPE_MAX - at, "%02x", c->repository->id[i]);
	(void)snprintf(out + at, SCOPE_MAX - at, "-%08" PRIx32 "/%s",
		       crc32c(bytes_of_text(c->repository->store->label)),
		       c->prefix); /* fits by its parts */
}

static struct sighting *find(const struct sightings *s, const char *scope, const char *holder)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->one[i].scope, scope) == 0 && strcmp(s->one[i].holder, holder) == 0)
			return &s->one[i];
	return NULL;
}

static enum err add(struct sightings *s, const struct sighting *sighting, struct error *why)
{
	if (s->count == SIGHTINGS_MAX)
		return error_set(why, ERR_LIMIT, "more than %d pins were seen", SIGHTINGS_MAX);
	if (s->count == s->capacity) {
		size_t more = s->capacity == 0 ? 16 : 2 * s->capacity;
		struct sighting *bigger = realloc(s->one, more * sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for what was seen of pins");
		s->one = bigger;
		s->capacity = more;
	}
	s->one[s->count++] = *sighting;
	return ERR_NONE;
}

static enum err decode_line(struct sightings *s, const char *line, struct error *why)
{
	struct sighting sighting;
	int end = 0;

	static_assert(SCOPE_MAX == 130 && PIN_HOLDER_MAX == 64, "the widths below");
	if (sscanf(line, "sighting %129s %63s %" SCNu32 " %" SCNd64 "%n", sighting.scope,
		   sighting.holder, &sighting.n, &sighting.since_us, &end) != 4 ||
	    line[end] != '\0')
		return error_set(why, ERR_CORRUPT, "what was seen of pins: a line is malformed");
	return add(s, &sighting, why);
}

enum err sightings_decode(struct bytes text, const char *boot, struct sightings **out,
			  struct error *why)
{
	struct sightings *s = NULL;
	char line[LINE_MAX_BYTES], own[80];
	size_t at = sizeof(first_line) - 1;
	bool same_boot = false;
	enum err e;

	if (text.len < at || memcmp(text.data, first_line, at) != 0)
		return error_set(why, ERR_CORRUPT, "what was seen of pins: not such a file");
	(void)snprintf(own, sizeof(own), "boot %s", boot);
	e = sightings_new(boot, &s, why);
	for (bool first = true; e == ERR_NONE && at < text.len; first = false) {
		const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
		size_t len = end == NULL ? 0 : (size_t)(end - (text.data + at));

		if (end == NULL || len >= sizeof(line)) {
			e = error_set(why, ERR_CORRUPT, "what was seen of pins: a cut line");
			break;
		}
		memcpy(line, text.data + at, len);
		line[len] = '\0';
		at += len + 1;
		if (first)
			same_boot = strcmp(line, own) == 0 && strcmp(boot, "unknown") != 0;
		else if (same_boot)
			e = decode_line(s, line, why);
	}
	if (e != ERR_NONE) {
		sightings_free(s);
		return e;
	}
	*out = s;
	return ERR_NONE;
}

void sightings_encode(const struct sightings *s, struct writer *out)
{
	char line[LINE_MAX_BYTES];

	writer_text(out, "%s", first_line);
	writer_text(out, "boot %s\n", s->boot);
	for (size_t i = 0; i < s->count; i++) {
		int len = snprintf(line, sizeof(line), "sighting %s %s %" PRIu32 " %" PRId64 "\n",
				   s->one[i].scope, s->one[i].holder, s->one[i].n,
				   s->one[i].since_us);

		writer_bytes(out, bytes_of(line, (size_t)len)); /* fits by its parts */
	}
}

static bool is_among(const struct pins *pins, const char *holder)
{
	for (size_t i = 0; i < pins->count; i++)
		if (strcmp(pins->pin[i].holder, holder) == 0)
			return true;
	return false;
}

enum err sightings_note(struct sightings *s, const struct cluster *c, const struct pins *pins,
			int64_t now_us, struct error *why)
{
	struct sighting new = {.since_us = now_us};
	size_t kept = 0;

	scope_of(c, new.scope);
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->one[i].scope, new.scope) != 0 || is_among(pins, s->one[i].holder))
			s->one[kept++] = s->one[i];
	s->count = kept;
	for (size_t i = 0; i < pins->count; i++) {
		const struct pin_seen *pin = &pins->pin[i];
		struct sighting *known = find(s, new.scope, pin->holder);
		enum err e;

		if (known != NULL) {
			/* Also a clock that went back begins anew. */
			if (known->n != pin->n || known->since_us > now_us)
				known->since_us = now_us;
			known->n = pin->n;
			continue;
		}
		(void)snprintf(new.holder, sizeof(new.holder), "%s", pin->holder);
		new.n = pin->n;
		e = add(s, &new, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

int64_t sightings_silent_us(const struct sightings *s, const struct cluster *c,
			    const struct pin_seen *pin, int64_t now_us)
{
	char scope[SCOPE_MAX];
	const struct sighting *known;

	scope_of(c, scope);
	known = find(s, scope, pin->holder);
	return known == NULL || known->n != pin->n ? 0 : now_us - known->since_us;
}
