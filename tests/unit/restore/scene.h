/* A small made-up backup, restored into a scratch directory: what the tests of this room share. */
#ifndef TESTS_RESTORE_SCENE_H
#define TESTS_RESTORE_SCENE_H

#include "base/text.h"
#include "scratch.h"
#include "small_backup.h"

#include "restore/restore_internal.h"

#include <errno.h>

enum { BIG_BYTES = SHARD_FILE_BYTES + 3 * MAP_PAGE_BYTES + 100, SMALL_FILES = 40 };

struct scene {
	struct scratch scratch;
	struct repo_world repo;
	struct env env;
	struct wal_archive archive;
	struct restore_request request;
	struct restore_plan plan;
	struct restore_result result;
	struct small_backup backup;
	struct error why;
	char directory[128];
	struct golden control, big;
};

/* Content of files; a test is a process of its own, and a leak checker sees the list. */
enum { KEPT_MAX = 4096 };
static void *kept[KEPT_MAX];
static size_t kept_count;

static inline struct golden content_of(size_t len)
{
	struct golden g = {.data = calloc(1, len + 1), .len = len};

	cr_assert(g.data != NULL && kept_count < KEPT_MAX);
	kept[kept_count++] = g.data;
	return g;
}

static inline struct golden control_of_cluster(const struct cluster *c)
{
	static struct golden g;

	if (g.data == NULL)
		g = golden_read("tests/golden/pgformat/pg_control.15");

	put_u64(g.data, c->system_identifier);
	put_u32(g.data + 288, crc32c(bytes_of(g.data, 288)));
	return g;
}

static inline struct golden noise(size_t len, uint64_t seed)
{
	struct golden g = content_of(len);

	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005U + 1442695040888963407U;
		g.data[i] = (uint8_t)(seed >> 56);
	}
	return g;
}

/* A file above 16 MiB: some pages, a long hole, pages across the end of the first shard. */
static inline struct golden big_file(void)
{
	struct golden g = content_of(BIG_BYTES);
	struct golden some = noise(12 * MAP_PAGE_BYTES, 7);

	memcpy(g.data, some.data, 7 * MAP_PAGE_BYTES);
	memcpy(g.data + SHARD_FILE_BYTES - 2 * MAP_PAGE_BYTES, some.data, 4 * MAP_PAGE_BYTES);
	memcpy(g.data + BIG_BYTES - 100, some.data, 100);
	return g;
}

static inline void add_usual(struct scene *s, bool large)
{
	static const char *const directories[] = {"base",      "base/1", "pg_notify",
						  "pg_tblspc", "pg_wal", "pg_wal/archive_status"};
	struct small_backup *b = &s->backup;
	uint8_t half_zero[4 * MAP_PAGE_BYTES] = {1, 2, 3};
	char path[64];

	small_backup_file(b, "backup_label", bytes_of_text("START WAL LOCATION: 0/3000028 x\n"));
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		small_backup_directory(b, directories[i]);
	small_backup_file(b, "base/1/101", bytes_of(NULL, 0));
	small_backup_file(b, "base/1/103", bytes_of(half_zero, sizeof(half_zero)));
	small_backup_add(b, FILE_PLAIN, "base/1/104", 0640, golden_view(noise(30000, 3)));
	if (large) {
		s->big = big_file();
		small_backup_file(b, "base/1/100", golden_view(s->big));
		for (unsigned i = 0; i < SMALL_FILES; i++) {
			(void)snprintf(path, sizeof(path), "pg_xact/%04u", i);
			small_backup_file(b, path, golden_view(noise(100 + 500 * i, i)));
		}
		small_backup_directory(b, "pg_xact"); /* behind what is in it */
	}
	small_backup_file(b, "postgresql.conf", bytes_of_text("port = 1\n"));
	small_backup_file(b, "postgresql.auto.conf", bytes_of_text("work_mem = '5MB'\n"));
	small_backup_file(b, "standby.signal", bytes_of(NULL, 0));
	small_backup_directory(b, "global");
	small_backup_file(b, "global/pg_control", golden_view(s->control));
}

static inline struct scene *scene_begin(void)
{
	struct scene *s = calloc(1, sizeof(*s));

	cr_assert_not_null(s);
	s->scratch = scratch_open();
	repo_world_init(&s->repo, NULL);
	s->env = s->repo.env;
	s->archive = (struct wal_archive){.cluster = {s->repo.cluster}, .count = 1};
	s->control = control_of_cluster(&s->repo.cluster);
	(void)snprintf(s->directory, sizeof(s->directory), "%s/new/r", s->scratch.path);
	s->request = (struct restore_request){.directory = s->directory,
					      .kind = TARGET_BACKUP_END,
					      .archive_get = "/usr/bin/pgagent archive-get",
					      .jobs = 2};
	small_backup_begin(&s->backup, &s->repo, 1);
	return s;
}

static inline void scene_commit(struct scene *s)
{
	s->plan = (struct restore_plan){.reachable = true,
					.backup = s->backup.manifest->summary,
					.side = true,
					.kind = TARGET_BACKUP_END,
					.action = ACTION_PAUSE,
					.target_inclusive = true,
					.timeline = 1};
	small_backup_commit(&s->backup);
}

static inline struct scene *scene_usual(bool large)
{
	struct scene *s = scene_begin();

	add_usual(s, large);
	scene_commit(s);
	return s;
}

static inline void scene_end(struct scene *s)
{
	repo_world_release(&s->repo);
	scratch_close(&s->scratch);
	free(s);
}

static inline enum err run(struct scene *s)
{
	return restore_run(&s->env, &s->archive, &s->request, &s->plan, &s->result, &s->why);
}

static inline bool exists(const struct scene *s, const char *path)
{
	struct stat st;
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", s->directory, path);
	return lstat(full, &st) == 0;
}

static inline void assert_file(const struct scene *s, const char *path, struct bytes content,
			       mode_t mode)
{
	char full[256];
	struct stat st;
	struct golden g = content_of(content.len);
	FILE *f;

	(void)snprintf(full, sizeof(full), "%s/%s", s->directory, path);
	f = fopen(full, "rb");
	cr_assert_not_null(f, "%s is not there", full);
	g.len = fread(g.data, 1, content.len + 1, f);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(g.len, content.len, "%s has %zu bytes, not %zu", path, g.len, content.len);
	cr_assert(content.len == 0 || memcmp(g.data, content.data, g.len) == 0,
		  "%s has other bytes", path);
	cr_assert_eq(stat(full, &st), 0);
	cr_assert_eq(st.st_mode & 07777, mode, "%s has mode %o", path, st.st_mode);
}

static inline void assert_usual(struct scene *s)
{
	assert_file(s, "backup_label", bytes_of_text("START WAL LOCATION: 0/3000028 x\n"), 0600);
	assert_file(s, "base/1/101", bytes_of(NULL, 0), 0600);
	assert_file(s, "base/1/104", golden_view(noise(30000, 3)), 0640);
	assert_file(s, "global/pg_control", golden_view(s->control), 0600);
	assert_file(s, "recovery.signal", bytes_of(NULL, 0), 0600);
	cr_assert(exists(s, "pg_notify") && exists(s, "pg_wal/archive_status"));
	cr_assert_not(exists(s, "standby.signal"), "a standby's signal file must not win");
	cr_assert_not(exists(s, RESTORE_MARKER));
}

/* As the server writes it, with a path too long for the line that is held. */
static inline void add_manifest(struct scene *s, const char *map, struct writer *out)
{
	uint8_t sum[CRYPTO_SHA256_BYTES], crc[4];
	char hex[2 * sizeof(sum) + 1], crc_hex[9];
	struct error why;

	put_u32(crc, crc32c(bytes_of_text(map)));
	text_of_hex(bytes_of(crc, 4), crc_hex);
	writer_init(out, 1 << 20);
	writer_text(out,
		    "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n"
		    "{ \"Path\": \"%0*d\", \"Size\": 1 },\n",
		    3000, 7);
	writer_text(out,
		    "{ \"Path\": \"tablespace_map\", \"Size\": %zu, \"Last-Modified\": "
		    "\"2026-11-23 12:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", "
		    "\"Checksum\": \"%s\" },\n{ \"Path\": \"x\", \"Size\": 7 }\n],\n"
		    "\"WAL-Ranges\": [\n],\n",
		    strlen(map), crc_hex);
	OK(crypto_sha256(writer_view(out), sum, &why));
	text_of_hex(bytes_of(sum, sizeof(sum)), hex);
	writer_text(out, "\"Manifest-Checksum\": \"%s\"}\n", hex);
	if (s != NULL)
		OK(pack_section_add(s->backup.packs, "server-manifest", writer_view(out), &why));
}

/* A backup with a tablespace that moves to "<scratch>/ts". */
static inline struct scene *scene_tablespace(struct restore_place *place)
{
	struct scene *s = scene_begin();
	struct writer manifest;

	add_usual(s, false);
	small_backup_file(&s->backup, "tablespace_map", bytes_of_text("16400 /old/ts\n"));
	small_backup_directory(&s->backup, "pg_tblspc/16400/PG_15_202209061");
	small_backup_file(&s->backup, "pg_tblspc/16400/PG_15_202209061/5",
			  golden_view(noise(9000, 5)));
	add_manifest(s, "16400 /old/ts\n", &manifest);
	writer_release(&manifest);
	scene_commit(s);
	*place = (struct restore_place){.oid = 16400, .from = "/old/ts"};
	(void)snprintf(place->to, sizeof(place->to), "%s/ts", s->scratch.path);
	s->plan.tablespace = place;
	s->plan.tablespaces = 1;
	return s;
}

#endif
