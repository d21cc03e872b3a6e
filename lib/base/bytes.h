/* base/bytes.h - borrowed bytes, and little-endian encoding and decoding with checked bounds.
 *
 * What is stored by pgagent is little-endian; PostgreSQL's protocol is big-endian (`_be`).
 * A reader never reads past its end: the first overrun makes it `bad`, all later reads give zero,
 * and the caller checks once at the end.  A writer grows by itself up to its bound; a failed
 * allocation or a met bound makes it `bad` in the same way.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *data; /* borrowed; may be NULL when len is 0 */
	size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){.data = data, .len = len};
}

static inline struct bytes bytes_of_text(const char *text)
{
	return bytes_of(text, strlen(text));
}

static inline uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}

static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static inline uint64_t get_u64_be(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static inline void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void put_u64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void put_u64_be(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * (7 - i)));
}

struct reader {
	const uint8_t *at;
	size_t left;
	bool bad; /* a read went past the end; every value since is zero */
};

static inline struct reader reader_of(struct bytes in)
{
	return (struct reader){.at = in.data, .left = in.len, .bad = false};
}

/* The next `len` bytes, borrowed from the input; {NULL, 0} and bad when fewer are left. */
struct bytes reader_take(struct reader *, size_t len);
uint8_t reader_u8(struct reader *);
uint16_t reader_u16(struct reader *);
uint32_t reader_u32(struct reader *);
uint64_t reader_u64(struct reader *);
/* u16 length, then that many bytes, borrowed. */
struct bytes reader_short_bytes(struct reader *);

struct writer {
	uint8_t *data; /* owned; valid until the next put, reset or release */
	size_t len;
	size_t capacity;
	size_t max; /* bytes; a put past it makes the writer bad */
	bool bad;
};

/* Nothing is allocated before the first put.  `max` > 0. */
void writer_init(struct writer *, size_t max);
void writer_release(struct writer *);
/* Empty and good again; keeps the memory. */
void writer_reset(struct writer *);
void writer_bytes(struct writer *, struct bytes);
void writer_u8(struct writer *, uint8_t);
void writer_u16(struct writer *, uint16_t);
void writer_u32(struct writer *, uint32_t);
void writer_u64(struct writer *, uint64_t);
/* u16 length, then the bytes; longer than 65535 makes the writer bad. */
void writer_short_bytes(struct writer *, struct bytes);
/* printf into the writer, without the NUL. */
void writer_text(struct writer *, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline struct bytes writer_view(const struct writer *w)
{
	return bytes_of(w->data, w->len);
}

/* True when all bytes are zero.  Written so that compilers vectorise it. */
bool bytes_are_zero(struct bytes);

/* FNV-1a of 64 bits, finished so that low bits are good; never 0.  For tables, not against attackers. */
uint64_t bytes_hash(struct bytes);

/* Memory for `len` bytes, given back with free(); NULL when there is none.  From 2 MiB on it asks
 * for huge pages: filling a WAL segment's 16 MiB by pages of 4 KiB costs 4096 faults, which is as
 * much time as decompressing it. */
uint8_t *bytes_new_large(size_t len);

#endif
