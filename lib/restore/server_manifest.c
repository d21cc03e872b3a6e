/* restore/server_manifest.c - writes the server's backup_manifest, so that pg_verifybackup can judge
 * what was restored.
 *
 * Byte for byte, except where tablespaces moved: tablespace_map is another file then, so its entry
 * says what was written, and the document's own checksum is made anew.  The server writes one file
 * to a line and the checksum in the last one; a line is all that is held.
 */
#include "base/file.h"
#include "base/text.h"
#include "restore/target_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

/* The entry is shorter than 200 bytes; longer lines are of other files and pass through. */
enum { LINE_BYTES_MAX = 1024, FLUSH_BYTES = 64 << 10, CRC_DIGITS = 8 };

#define MANIFEST "backup_manifest"

struct rewriting {
	const struct target *target;
	const struct map_written *map;
	int fd;
	uint64_t written;
	struct writer out; /* not written yet */
	struct sha256 *sum;
	uint8_t line[LINE_BYTES_MAX];
	size_t held;
	bool passing; /* the rest of a longer line */
	bool failed;  /* here, not in the repository */
};

static enum err flush(struct rewriting *r, struct error *why)
{
	enum err e = ERR_NONE;

	if (r->out.bad)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	if (r->out.len > 0)
		e = file_pwrite(r->target->env->files, r->fd, writer_view(&r->out), r->written,
				why);
	r->written += r->out.len;
	writer_reset(&r->out);
	return e;
}

static enum err emit(struct rewriting *r, struct bytes bytes, struct error *why)
{
	enum err e = sha256_add(r->sum, bytes, why);

	writer_bytes(&r->out, bytes);
	return e == ERR_NONE && r->out.len >= FLUSH_BYTES ? flush(r, why) : e;
}

static bool begins(const struct rewriting *r, const char *text)
{
	return r->held >= strlen(text) && memcmp(r->line, text, strlen(text)) == 0;
}

/* The size is one number, the checksum eight digits in the byte order of the CRC in memory. */
static enum err emit_map(struct rewriting *r, size_t digits, struct error *why)
{
	static const char before[] = "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"";
	const uint8_t *crc = memmem(r->line, r->held, before, sizeof(before) - 1);
	char size[24], hex[CRC_DIGITS + 1];
	uint8_t raw[4];
	size_t at = digits;
	enum err e;

	while (at < r->held && r->line[at] >= '0' && r->line[at] <= '9')
		at++;
	if (crc == NULL || crc < r->line + at ||
	    crc + sizeof(before) - 1 + CRC_DIGITS > r->line + r->held)
		return emit(r, bytes_of(r->line, r->held), why);
	put_u32(raw, r->map->crc);
	text_of_hex(bytes_of(raw, sizeof(raw)), hex);
	(void)snprintf(size, sizeof(size), "%" PRIu64, r->map->size);
	crc += sizeof(before) - 1;
	e = emit(r, bytes_of(r->line, digits), why);
	if (e == ERR_NONE)
		e = emit(r, bytes_of_text(size), why);
	if (e == ERR_NONE)
		e = emit(r, bytes_of(r->line + at, (size_t)(crc - r->line) - at), why);
	if (e == ERR_NONE)
		e = emit(r, bytes_of_text(hex), why);
	crc += CRC_DIGITS;
	return e == ERR_NONE ? emit(r, bytes_of(crc, r->held - (size_t)(crc - r->line)), why) : e;
}

/* The checksum covers every byte before its own line. */
static enum err emit_checksum(struct rewriting *r, size_t from, struct error *why)
{
	uint8_t sum[CRYPTO_SHA256_BYTES];
	char hex[2 * sizeof(sum) + 1];
	enum err e;

	if (r->held < from + 2 * sizeof(sum))
		return emit(r, bytes_of(r->line, r->held), why);
	e = sha256_end(r->sum, sum, why);
	if (e == ERR_NONE)
		e = sha256_start(r->sum, why); /* what follows counts for nothing */
	text_of_hex(bytes_of(sum, sizeof(sum)), hex);
	memcpy(r->line + from, hex, 2 * sizeof(sum));
	return e == ERR_NONE ? emit(r, bytes_of(r->line, r->held), why) : e;
}

static enum err emit_line(struct rewriting *r, struct error *why)
{
	static const char map[] = "{ \"Path\": \"tablespace_map\", \"Size\": ";
	static const char checksum[] = "\"Manifest-Checksum\": \"";
	enum err e;

	if (!r->passing && r->map->changed && begins(r, map))
		e = emit_map(r, sizeof(map) - 1, why);
	else if (!r->passing && r->map->changed && begins(r, checksum))
		e = emit_checksum(r, sizeof(checksum) - 1, why);
	else
		e = emit(r, bytes_of(r->line, r->held), why);
	r->held = 0;
	return e;
}

static enum err take(void *ctx, struct bytes in, struct error *why)
{
	struct rewriting *r = ctx;
	enum err e = ERR_NONE;

	while (e == ERR_NONE && in.len > 0) {
		size_t room = sizeof(r->line) - r->held;
		size_t most = in.len < room ? in.len : room;
		const uint8_t *newline = memchr(in.data, '\n', most);
		size_t len = newline != NULL ? (size_t)(newline - in.data) + 1 : most;

		memcpy(r->line + r->held, in.data, len);
		r->held += len;
		in = bytes_of(in.data + len, in.len - len);
		if (newline == NULL && r->held < sizeof(r->line))
			break;
		e = emit_line(r, why);
		r->passing = newline == NULL;
	}
	r->failed = e != ERR_NONE;
	return e;
}

/* From the first byte: a repository may fail after some of them. */
static enum err begin(void *ctx, struct error *why)
{
	struct rewriting *r = ctx;
	int answer = r->target->env->files->ops->truncate(r->target->env->files, r->fd, 0);

	writer_reset(&r->out);
	r->written = 0;
	r->held = 0;
	r->passing = false;
	if (answer < 0)
		return target_failed(why, answer, "writing", r->target->path, MANIFEST);
	return sha256_start(r->sum, why);
}

static enum err write_all(struct rewriting *r, const struct source *source, struct error *why)
{
	struct section_visit visit = {
		.ctx = r, .begin = begin, .frame = take, .failed = &r->failed};
	enum err e = source_walk(source, "server-manifest", &visit, why);
	int answer;

	if (e == ERR_NONE && r->held > 0)
		e = emit_line(r, why);
	if (e == ERR_NONE)
		e = flush(r, why);
	if (e != ERR_NONE)
		return error_add(why, "writing \"%s/" MANIFEST "\"", r->target->path);
	answer = r->target->env->files->ops->fsync(r->target->env->files, r->fd);
	return answer < 0 ? target_failed(why, answer, "fsync of", r->target->path, MANIFEST)
			  : ERR_NONE;
}

enum err server_manifest_write(const struct source *source, const struct target *target,
			       const struct map_written *map, struct error *why)
{
	struct files *files = target->env->files;
	struct rewriting r = {.target = target, .map = map};
	enum err e;
	int answer;

	if (manifest_section(source->manifest, "server-manifest") == NULL)
		return ERR_NONE;
	r.fd = files->ops->open_beneath(files, target->dir, MANIFEST,
					O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (r.fd < 0)
		return target_failed(why, r.fd, "creating", target->path, MANIFEST);
	writer_init(&r.out, FLUSH_BYTES + 2 * LINE_BYTES_MAX);
	e = sha256_new(&r.sum, why);
	if (e == ERR_NONE)
		e = write_all(&r, source, why);
	answer = files->ops->close(files, r.fd);
	if (e == ERR_NONE && answer < 0)
		e = target_failed(why, answer, "closing", target->path, MANIFEST);
	sha256_free(r.sum);
	writer_release(&r.out);
	return e;
}
