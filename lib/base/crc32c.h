/* base/crc32c.h - CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as PostgreSQL's
 * COMP_CRC32C and its manifests compute it (src/port/pg_crc32c_sse42.c).
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/bytes.h"

/* The finished CRC of `in`; `crc32c(bytes_of("123456789", 9)) == 0xE3069283`. */
uint32_t crc32c(struct bytes in);

/* The finished CRC of A followed by B, from their finished CRCs and the length of B in bytes.
 * A length that is a power of two costs one multiplication, about 50 ns. */
uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t b_len);

/* The same as crc32c_more on any processor, from tables; what others are compared with. */
uint32_t crc32c_more_by_table(uint32_t crc, struct bytes in);

/* Going on: `crc32c_more(crc32c(A), B)` == CRC of A followed by B. */
uint32_t crc32c_more(uint32_t crc, struct bytes in);

#endif
