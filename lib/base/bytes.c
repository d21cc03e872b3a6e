/* base/bytes.c - the parts of reading and writing bytes that are not worth inlining. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

uint64_t bytes_hash(struct bytes in)
{
	uint64_t h = UINT64_C(14695981039346656037); /* draft-eastlake-fnv */

	for (size_t i = 0; i < in.len; i++)
		h = (h ^ in.data[i]) * UINT64_C(1099511628211);
	h ^= h >> 32;
	h *= UINT64_C(0x9E3779B97F4A7C15);
	return h == 0 ? 1 : h;
}

uint8_t *bytes_new_large(size_t len)
{
	void *out = NULL;

	if (len < HUGE_PAGE_BYTES)
		return malloc(len == 0 ? 1 : len);
	if (posix_memalign(&out, HUGE_PAGE_BYTES, len) != 0)
		return NULL;
	/* Advice only; the rest at the end is no huge page's, so that it takes no 2 MiB. */
	(void)madvise(out, len - len % HUGE_PAGE_BYTES, MADV_HUGEPAGE);
	return out;
}

struct bytes reader_take(struct reader *r, size_t len)
{
	struct bytes out;

	if (r->bad || len > r->left) {
		r->bad = true;
		r->left = 0;
		return bytes_of(NULL, 0);
	}
	out = bytes_of(r->at, len);
	r->at += len;
	r->left -= len;
	return out;
}

uint8_t reader_u8(struct reader *r)
{
	struct bytes b = reader_take(r, 1);

	return r->bad ? 0 : b.data[0];
}

uint16_t reader_u16(struct reader *r)
{
	struct bytes b = reader_take(r, 2);

	return r->bad ? 0 : get_u16(b.data);
}

uint32_t reader_u32(struct reader *r)
{
	struct bytes b = reader_take(r, 4);

	return r->bad ? 0 : get_u32(b.data);
}

uint64_t reader_u64(struct reader *r)
{
	struct bytes b = reader_take(r, 8);

	return r->bad ? 0 : get_u64(b.data);
}

struct bytes reader_short_bytes(struct reader *r)
{
	uint16_t len = reader_u16(r);

	return reader_take(r, len);
}

void writer_init(struct writer *w, size_t max)
{
	*w = (struct writer){.max = max};
}

void writer_release(struct writer *w)
{
	free(w->data);
	*w = (struct writer){.max = w->max};
}

void writer_reset(struct writer *w)
{
	w->len = 0;
	w->bad = false;
}

/* Room for `len` more bytes, or NULL and bad. */
static uint8_t *writer_grow(struct writer *w, size_t len)
{
	uint8_t *at;

	if (w->bad || len > w->max - w->len) {
		w->bad = true;
		return NULL;
	}
	if (len > w->capacity - w->len) {
		size_t capacity = w->capacity < 256 ? 256 : w->capacity;
		uint8_t *data;

		while (capacity - w->len < len)
			capacity = capacity > w->max / 2 ? w->max : capacity * 2;
		data = realloc(w->data, capacity);
		if (data == NULL) {
			w->bad = true;
			return NULL;
		}
		w->data = data;
		w->capacity = capacity;
	}
	at = w->data + w->len;
	w->len += len;
	return at;
}

void writer_bytes(struct writer *w, struct bytes in)
{
	uint8_t *at = writer_grow(w, in.len);

	if (at != NULL && in.len > 0)
		memcpy(at, in.data, in.len);
}

void writer_u8(struct writer *w, uint8_t v)
{
	uint8_t *at = writer_grow(w, 1);

	if (at != NULL)
		*at = v;
}

void writer_u16(struct writer *w, uint16_t v)
{
	uint8_t *at = writer_grow(w, 2);

	if (at != NULL)
		put_u16(at, v);
}

void writer_u32(struct writer *w, uint32_t v)
{
	uint8_t *at = writer_grow(w, 4);

	if (at != NULL)
		put_u32(at, v);
}

void writer_u64(struct writer *w, uint64_t v)
{
	uint8_t *at = writer_grow(w, 8);

	if (at != NULL)
		put_u64(at, v);
}

void writer_short_bytes(struct writer *w, struct bytes in)
{
	if (in.len > UINT16_MAX) {
		w->bad = true;
		return;
	}
	writer_u16(w, (uint16_t)in.len);
	writer_bytes(w, in);
}

void writer_text(struct writer *w, const char *format, ...)
{
	va_list args;
	int len;
	uint8_t *at;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	/* One byte more for the NUL that vsnprintf insists on; given back at once. */
	at = len < 0 ? NULL : writer_grow(w, (size_t)len + 1);
	if (at == NULL) {
		w->bad = true;
		return;
	}
	va_start(args, format);
	(void)vsnprintf((char *)at, (size_t)len + 1, format, args); /* measured just above */
	va_end(args);
	w->len--;
}

bool bytes_are_zero(struct bytes in)
{
	size_t i = 0;

	/* Whole 64-byte rows first: the inner loop has no branch, so it becomes vector code. */
	for (; i + 64 <= in.len; i += 64) {
		uint64_t any = 0;

		for (size_t j = 0; j < 64; j += 8) {
			uint64_t word;

			memcpy(&word, in.data + i + j, 8);
			any |= word;
		}
		if (any != 0)
			return false;
	}
	for (; i < in.len; i++)
		if (in.data[i] != 0)
			return false;
	return true;
}
