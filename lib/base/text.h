/* base/text.h - small conversions between values and text. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/bytes.h"
#include "base/error.h"

/* Lower-case hex; `out` has 2 * len + 1 bytes. */
void text_of_hex(struct bytes in, char *out);
/* Exactly 2 * len hex digits of either case into `out`; false otherwise. */
bool text_to_hex(struct bytes text, uint8_t *out, size_t len);

/* Decimal, no sign, no blanks, whole text; false when it is anything else or overflows. */
bool text_to_u64(struct bytes text, uint64_t *out);

enum { TEXT_SIZE_MAX = 32, TEXT_DURATION_MAX = 32 };
/* For people: "512 B", "931 MiB", "16.0 KiB", "3.1 GiB". */
void text_of_size(uint64_t in_bytes, char out[TEXT_SIZE_MAX]);
/* "850 ms", "4.2 s", "3 min 20 s", "5 h 2 min", "3 d 4 h" from two days on; below 0 is 0. */
void text_of_duration(int64_t us, char out[TEXT_DURATION_MAX]);
/* "16MiB", "64 kB", "1GB", "512": kB MB GB TB are powers of 1000, KiB MiB GiB TiB of 1024; no
 * unit = bytes.  ERR_CONFIG otherwise. */
enum err text_to_size(const char *text, uint64_t *out, struct error *why) MUST_CHECK;
/* "250ms", "5s", "10min", "2h", "14d", "1w"; a unit is required except for 0. */
enum err text_to_duration(const char *text, int64_t *out_us, struct error *why) MUST_CHECK;

/* Edit distance for "did you mean"; at most `max` is reported exactly, else max + 1
 * (also for a text of more than 127 bytes). */
unsigned text_distance(const char *a, const char *b, unsigned max);
/* The nearest of the names, or NULL when none is near; `names` may hold NULLs. */
const char *text_nearest(const char *text, const char *const *names, size_t count);

#endif
