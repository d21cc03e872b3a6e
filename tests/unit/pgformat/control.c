#include "pgformat/control.h"

#include "base/crc32c.h"
#include "golden.h"

#define GOLDEN "tests/golden/pgformat/"

static struct control control_of(const char *path)
{
	struct control c;
	struct error why;

	cr_assert_eq(control_decode(golden_view(golden_read(path)), &c, &why), ERR_NONE, "%s",
		     why.text);
	return c;
}

/* As pg_controldata and pg_control_*() showed them when the files were copied. */
static void assert_settings(const struct control *c)
{
	cr_assert_eq(c->wal_level, 1);
	cr_assert_eq(c->max_connections, 37);
	cr_assert_eq(c->max_worker_processes, 8);
	cr_assert_eq(c->max_wal_senders, 10);
	cr_assert_eq(c->max_prepared_transactions, 5);
	cr_assert_eq(c->max_locks_per_transaction, 64);
	cr_assert_eq(c->block_bytes, 8192);
	cr_assert_eq(c->wal_segment_bytes, 1 << 20);
	cr_assert_eq(c->data_checksums, 1);
	cr_assert_eq(c->min_recovery.value, 0);
	cr_assert_eq(c->min_recovery_timeline, 0);
	cr_assert_eq(c->backup_start.value, 0);
	cr_assert_eq(c->backup_end.value, 0);
}

Test(control, of_postgresql_15_in_production)
{
	struct control c = control_of(GOLDEN "pg_control.15");

	cr_assert_eq(control_major(&c), 15);
	cr_assert_eq(c.system_identifier, UINT64_C(7711350187797085647));
	cr_assert_eq(c.state, CONTROL_IN_PRODUCTION);
	cr_assert_eq(c.checkpoint.value, 0xF000A0);
	cr_assert_eq(c.redo.value, 0xF000A0);
	cr_assert_eq(c.timeline, 2);
	assert_settings(&c);
}

Test(control, of_postgresql_15_shut_down)
{
	struct control c = control_of(GOLDEN "pg_control.15.shutdown");

	cr_assert_eq(c.state, CONTROL_SHUTDOWNED);
	cr_assert_eq(c.checkpoint.value, 0xF00028);
	cr_assert_eq(c.timeline, 1);
	assert_settings(&c);
}

Test(control, of_postgresql_18_has_its_crc_elsewhere)
{
	struct control c = control_of(GOLDEN "pg_control.18");

	cr_assert_eq(control_major(&c), 18);
	cr_assert_eq(c.control_version, 1800);
	cr_assert_eq(c.catalog_version, 202506291);
	cr_assert_eq(c.system_identifier, UINT64_C(7711350464323505919));
	cr_assert_eq(c.state, CONTROL_IN_PRODUCTION);
	cr_assert_eq(c.checkpoint.value, 0xF000A0);
	cr_assert_eq(c.timeline, 2);
	assert_settings(&c);
}

Test(control, majors_are_told_by_both_versions)
{
	cr_assert_eq(control_major(&(struct control){.control_version = 1300,
						     .catalog_version = 202307071}),
		     16);
	cr_assert_eq(control_major(&(struct control){.control_version = 1700,
						     .catalog_version = 202406281}),
		     17);
	cr_assert_eq(control_major(&(struct control){.control_version = 1300,
						     .catalog_version = 202107181}),
		     0);
}

Test(control, every_flipped_byte_before_the_crc_is_found)
{
	struct golden g = golden_read(GOLDEN "pg_control.15");

	for (size_t i = 0; i < 292; i++) {
		struct control c = {.state = 99};

		g.data[i] ^= 0x40;
		/* Bytes 8 to 11 are the version, which says where the CRC is. */
		cr_assert_eq(control_decode(golden_view(g), &c, NULL),
			     i >= 8 && i < 12 ? ERR_CONFIG : ERR_CORRUPT, "byte %zu", i);
		cr_assert_eq(c.state, 99);
		g.data[i] ^= 0x40;
	}
}

Test(control, damage_is_named)
{
	struct golden g = golden_read(GOLDEN "pg_control.15");
	struct control c;
	struct error why;

	cr_assert_eq(control_decode(bytes_of(g.data, 8191), &c, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "8191"));
	cr_assert_eq(control_decode(bytes_of(NULL, 0), &c, &why), ERR_CORRUPT);
	g.data[300] ^= 1; /* behind what the CRC covers */
	cr_assert_eq(control_decode(golden_view(g), &c, &why), ERR_NONE);
	g.data[40] ^= 1;
	cr_assert_eq(control_decode(golden_view(g), &c, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "checksum"));
}

Test(control, other_byte_order_is_told_from_an_unknown_version)
{
	struct golden g = golden_read(GOLDEN "pg_control.15");
	struct control c;
	struct error why;

	put_u32(g.data + 8, 0x14050000);
	cr_assert_eq(control_decode(golden_view(g), &c, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "byte order"));
	put_u32(g.data + 8, 1201);
	cr_assert_eq(control_decode(golden_view(g), &c, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "1201"));
	cr_assert_not_null(strstr(why.hint, "15 to 18"));
}

Test(control, segment_size_must_be_possible)
{
	struct golden g = golden_read(GOLDEN "pg_control.15");
	struct control c;
	struct error why;

	put_u32(g.data + 228, 12345);
	put_u32(g.data + 288, crc32c(bytes_of(g.data, 288)));
	cr_assert_eq(control_decode(golden_view(g), &c, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "12345"));
}
