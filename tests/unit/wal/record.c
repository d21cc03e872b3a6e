#include "wal/record.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A record of `len` bytes: a header without meaning, then `body`. */
static struct wal_record record_of(uint8_t *space, uint8_t rmid, uint8_t info, const void *body,
				   size_t body_len)
{
	memset(space, 0, WAL_RECORD_HEADER_BYTES);
	memcpy(space + WAL_RECORD_HEADER_BYTES, body, body_len);
	return (struct wal_record){
		.len = (uint32_t)(WAL_RECORD_HEADER_BYTES + body_len),
		.rmid = rmid,
		.info = info,
		.seen = bytes_of(space, WAL_RECORD_HEADER_BYTES + body_len),
	};
}

Test(record, low_bits_of_info_are_no_operation)
{
	struct wal_record r = {.rmid = 1, .info = 0x83};

	cr_assert_eq(wal_record_kind(&r), WAL_RECORD_COMMIT);
	r.info = 0x50;
	cr_assert_eq(wal_record_kind(&r), WAL_RECORD_OTHER);
	r.rmid = 0;
	cr_assert_eq(wal_record_kind(&r), WAL_RECORD_BACKUP_END);
	r.info = 0x41;
	cr_assert_eq(wal_record_kind(&r), WAL_RECORD_SWITCH);
	r.info = 0xD0;
	cr_assert_eq(wal_record_kind(&r), WAL_RECORD_OVERWRITES);
	r.rmid = 10;
	cr_assert_eq(wal_record_kind(&r), WAL_RECORD_OTHER);
}

Test(record, main_data_lies_behind_all_headers_and_block_data)
{
	static const uint8_t body[] = {
		0,   0x10, 2,   0,         /* block 0 with an image and 2 bytes of data */
		3,   0,    0,   0,   0x11, /* image of 3 bytes, compressed with a hole ... */
		9,   0,                    /* ... of 9 bytes */
		1,   0,    0,   0,   2,    0,   0,   0,   3,   0, 0, 0, /* its relation */
		4,   0,    0,   0,                                      /* its block */
		1,   0x80, 0,   0,   5,    0,   0,   0, /* block 1 of the same relation, no data */
		253, 7,    0,                           /* replication origin */
		252, 8,    0,   0,   0,                 /* top-level transaction */
		255, 4,                                 /* 4 bytes of main data */
		'i', 'm',  'g', 'd', 'd',  'm', 'a', 'i', 'n',
	};
	uint8_t space[200];
	struct wal_record r = record_of(space, 10, 0, body, sizeof(body));
	struct bytes main;

	cr_assert(wal_record_main(&r, &main));
	cr_assert_eq(main.len, 4);
	cr_assert_eq(memcmp(main.data, "main", 4), 0);
	r.len++; /* lengths must add up */
	cr_assert_not(wal_record_main(&r, &main));
}

Test(record, main_data_is_cut_where_the_seen_bytes_end)
{
	static const uint8_t body[] = {254, 0, 1, 0, 0, 'a', 'b', 'c'};
	uint8_t space[200];
	struct wal_record r = record_of(space, 1, 0, body, sizeof(body));
	struct bytes main;
	int64_t us;

	r.len = WAL_RECORD_HEADER_BYTES + 5 + 256;
	cr_assert(wal_record_main(&r, &main));
	cr_assert_eq(main.len, 3);
	cr_assert_not(wal_record_time(&r, &us), "8 bytes are needed");
}

Test(record, without_main_data_there_is_none)
{
	static const uint8_t body[] = {0, 0x80, 0, 0, 5, 0, 0, 0};
	uint8_t space[200];
	struct wal_record r = record_of(space, 10, 0, body, sizeof(body));
	struct bytes main;

	cr_assert_not(wal_record_main(&r, &main));
	r = record_of(space, 10, 0, "\x80", 1); /* no such header */
	cr_assert_not(wal_record_main(&r, &main));
	r = record_of(space, 10, 0, "", 0);
	cr_assert_not(wal_record_main(&r, &main));
}

Test(record, restore_point_needs_a_whole_name)
{
	uint8_t body[2 + 8 + WAL_RESTORE_POINT_NAME_MAX] = {255, 8 + WAL_RESTORE_POINT_NAME_MAX};
	uint8_t space[200];
	char name[WAL_RESTORE_POINT_NAME_MAX];
	struct wal_record r;
	int64_t us;

	memset(body + 10, 'x', WAL_RESTORE_POINT_NAME_MAX);
	r = record_of(space, 0, 0x70, body, sizeof(body));
	cr_assert_not(wal_record_restore_point(&r, name, &us), "no NUL");
	body[sizeof(body) - 1] = 0;
	r = record_of(space, 0, 0x70, body, sizeof(body));
	cr_assert(wal_record_restore_point(&r, name, &us));
	cr_assert_eq(strlen(name), WAL_RESTORE_POINT_NAME_MAX - 1);
	cr_assert_eq(us, INT64_C(946684800000000), "2000-01-01");
	cr_assert_not(wal_record_time(&r, &us), "a restore point ends no transaction");
	r.seen.len--;
	cr_assert_not(wal_record_restore_point(&r, name, &us));
	r.seen.len++;
	r.info = 0x80;
	cr_assert_not(wal_record_restore_point(&r, name, &us));
}

Test(record, birth_is_an_end_of_recovery_or_the_second_of_a_checkpoint)
{
	enum { CHECKPOINT_BYTES = 88 };
	uint8_t body[2 + CHECKPOINT_BYTES] = {255, 16};
	uint8_t space[200];
	struct wal_record r = record_of(space, 0, 0x90, body, 2 + 16);
	int64_t from, to;

	put_u64(space + WAL_RECORD_HEADER_BYTES + 2, 5);
	cr_assert(wal_record_birth(&r, &from, &to));
	cr_assert_eq(from, INT64_C(946684800000005), "2000-01-01");
	cr_assert_eq(to, from);
	r.rmid = 1;
	cr_assert_not(wal_record_birth(&r, &from, &to));
	body[1] = CHECKPOINT_BYTES;
	put_u64(body + 2 + 64, 1700000000);
	r = record_of(space, 0, 0x00, body, sizeof(body));
	cr_assert(wal_record_birth(&r, &from, &to));
	cr_assert_eq(from, INT64_C(1700000000000000));
	cr_assert_eq(to, INT64_C(1700000000999999));
	r.info = 0x10; /* an online one */
	cr_assert_not(wal_record_birth(&r, &from, &to));
	put_u64(body + 2 + 64, UINT64_MAX);
	r = record_of(space, 0, 0x00, body, sizeof(body));
	cr_assert_not(wal_record_birth(&r, &from, &to), "no such second");
	r.seen.len -= 20;
	cr_assert_not(wal_record_birth(&r, &from, &to), "cut before the time");
}

Test(record, hostile_bytes_do_no_harm)
{
	unsigned state = 1;

	for (int i = 0; i < 20000; i++) {
		size_t len = WAL_RECORD_HEADER_BYTES + (size_t)(i % 60);
		uint8_t *space = malloc(len); /* exactly, so that a sanitizer sees every overrun */
		struct wal_record r = {.rmid = (uint8_t)(i % 2),
				       .info = (uint8_t)(i % 16 * 16),
				       .seen = bytes_of(space, len)};
		char name[WAL_RESTORE_POINT_NAME_MAX];
		struct bytes main;
		int64_t us;

		for (size_t j = 0; j < len; j++) {
			state = state * 1103515245 + 12345;
			space[j] = (uint8_t)((state >> 16) % 3 == 0 ? 253 + (state >> 20) % 3
								    : state >> 16);
		}
		r.len = (uint32_t)len + (uint32_t)(i % 3) * 100;
		if (wal_record_main(&r, &main))
			cr_assert(main.data >= space && main.data + main.len <= space + len);
		(void)wal_record_time(&r, &us); /* only that it returns */
		(void)wal_record_restore_point(&r, name, &us);
		(void)wal_record_birth(&r, &us, &us);
		free(space);
	}
}
