/* make_repositories DIRECTORY - writes the golden repositories of format 1 (README.md beside this).
 *
 * Run by hand when the format is released or extended, never by a test.  A made-up cluster with
 * made-up content, so that all of it stays small, goes through the repository's own writers; only the sharing of
 * pages with the backup before is decided here.  What was backed up is listed in DIRECTORY/expected.
 */
#include "made_cluster.h"

#include "base/text.h"
#include "codec/codec.h"
#include "repo/decision.h"
#include "repo/lines.h"
#include "repo/pack.h"
#include "repo/wal_object.h"
#include "store/posix/posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
	SHARDS_MAX = 3,
	FRAME_BYTES = 16 * MAP_PAGE_BYTES,
	SHARDS_FRAME_BYTES = 262144,
};

#define OK(call)                                                                                   \
	do {                                                                                       \
		struct error why;                                                                  \
		if ((call) != ERR_NONE) {                                                          \
			(void)fprintf(stderr, "%s: %s\n", #call, why.text);                        \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* ---- what is known of the backup before ---- */

struct kept_shard {
	bool known;
	struct shard now, base; /* `base`: the whole shard that a patch rests on */
	struct shard_ref at, base_at;
};

struct maker {
	struct env env;
	const char *directory, *name;
	struct store *store;
	struct repository *repository;
	struct cluster cluster;
	struct page_tagger *tagger;
	struct compressor *compressor;
	struct kept_shard *kept[CLUSTER_FILES][SHARDS_MAX];
	struct pack_entry pack[64]; /* of all backups so far */
	size_t packs;
	/* The backup at hand. */
	struct manifest *manifest;
	struct pack_writer *writer;
	unsigned version;
	struct writer shards; /* not in a frame yet */
	struct kept_shard *waiting[128];
	size_t waits;
	FILE *expected;
};

static struct frame_ref put_frame(struct maker *m, enum frame_class class, struct bytes plain)
{
	static uint8_t packed[SHARDS_FRAME_BYTES + 4096];
	enum codec codec;
	size_t len;
	struct frame_ref ref;

	OK(compressor_run(m->compressor, plain, packed, sizeof(packed), &len, &codec, &why));
	OK(pack_add(m->writer, class, codec, bytes_of(packed, len), (uint32_t)plain.len, &ref,
		    &why));
	return ref;
}

static bool is_own(const struct maker *m, const struct pack_id *id)
{
	return attempt_compare(&id->attempt, &m->manifest->summary.attempt) == 0;
}

static void borrow(struct maker *m, const struct pack_id *id, uint64_t bytes)
{
	if (is_own(m, id))
		return;
	for (size_t i = 0; i < m->packs; i++)
		if (pack_id_same(&m->pack[i].id, id)) {
			OK(pack_borrow(m->writer, &m->pack[i], bytes, &why));
			return;
		}
	(void)fprintf(stderr, "a pack that nobody wrote\n");
	exit(1);
}

/* ---- one shard ---- */

struct page {
	uint8_t bytes[MAP_PAGE_BYTES];
	size_t len;
	uint8_t tag[CRYPTO_TAG_BYTES];
	bool zero;
	struct frame_ref frame;
	uint32_t offset;
};

static bool take_old(const struct kept_shard *k, uint32_t n, struct page *p)
{
	const struct page_entry *old = &k->now.page[n];

	if (!k->known || n >= k->now.pages || old->zero ||
	    memcmp(old->tag, p->tag, sizeof(p->tag)) != 0)
		return false;
	p->frame = k->now.frame[old->frame];
	p->offset = old->offset;
	return true;
}

/* New pages go into frames of 16. */
static void place_pages(struct maker *m, struct page *page, const uint32_t *fresh, uint32_t count)
{
	static uint8_t plain[FRAME_BYTES];

	for (uint32_t from = 0; from < count; from += 16) {
		uint32_t to = from + 16 < count ? from + 16 : count;
		size_t len = 0;
		struct frame_ref ref;

		for (uint32_t i = from; i < to; i++) {
			struct page *p = &page[fresh[i]];

			p->offset = (uint32_t)len;
			memcpy(plain + len, p->bytes, p->len);
			len += p->len;
		}
		ref = put_frame(m, FRAME_PAGES, bytes_of(plain, len));
		for (uint32_t i = from; i < to; i++)
			page[fresh[i]].frame = ref;
	}
}

/* Whole, a patch over what is stored whole, or nothing new. */
static void end_shard(struct maker *m, struct kept_shard *k, const struct shard *now)
{
	bool same = k->known && k->now.pages == now->pages &&
		    k->now.last_bytes == now->last_bytes && shard_differences(&k->now, now) == 0;
	bool patch = k->known && shard_differences(&k->base, now) * 4 <= now->pages;
	size_t at = m->shards.len;

	k->now = *now;
	if (!same) {
		if (patch) {
			shard_encode_patch(&k->base, now, &k->base_at, &m->shards);
		} else {
			k->base = *now;
			shard_encode(now, &m->shards);
		}
		k->at = (struct shard_ref){.offset = (uint32_t)at,
					   .len = (uint32_t)(m->shards.len - at)};
		m->waiting[m->waits++] = k;
	}
	k->known = true;
}

static uint32_t make_shard(struct maker *m, size_t file, uint32_t index)
{
	static struct page page[SHARD_PAGES_MAX];
	static uint32_t fresh[SHARD_PAGES_MAX];
	static struct shard now;
	const struct file *f = &cluster_file[file];
	struct kept_shard *k = m->kept[file][index];
	uint64_t first = (uint64_t)index * SHARD_PAGES_MAX;
	uint64_t pages = (size_of(f, m->version) + MAP_PAGE_BYTES - 1) / MAP_PAGE_BYTES - first;
	uint32_t count = pages < SHARD_PAGES_MAX ? (uint32_t)pages : SHARD_PAGES_MAX, n = 0,
		 crc = 0;

	if (k == NULL)
		k = m->kept[file][index] = calloc(1, sizeof(*k));
	for (uint32_t i = 0; i < count; i++) {
		struct page *p = &page[i];
		struct bytes bytes;

		p->len = page_of(f, m->version, first + i, m->cluster.system_identifier, p->bytes);
		bytes = bytes_of(p->bytes, p->len);
		crc = i == 0 ? crc32c(bytes) : crc32c_more(crc, bytes);
		p->zero = bytes_are_zero(bytes);
		OK(page_tag(m->tagger, bytes, p->tag, &why));
		if (p->zero)
			continue;
		if (take_old(k, i, p))
			borrow(m, &p->frame.pack, p->len);
		else
			fresh[n++] = i;
	}
	place_pages(m, page, fresh, n);
	m->manifest->summary.pages_changed += n;
	shard_reset(&now);
	for (uint32_t i = 0; i < count; i++) {
		struct page *p = &page[i];

		if (p->zero)
			shard_add_zero(&now, (uint32_t)p->len);
		else
			shard_add(&now, (uint32_t)p->len, p->tag,
				  crc32c(bytes_of(p->bytes, p->len)), &p->frame, p->offset);
	}
	end_shard(m, k, &now);
	return crc;
}

/* Shards that ended get their place; those that rest on earlier ones keep theirs. */
static void place_shards(struct maker *m)
{
	struct frame_ref ref;

	if (m->waits == 0)
		return;
	ref = put_frame(m, FRAME_SHARD, writer_view(&m->shards));
	for (size_t i = 0; i < m->waits; i++) {
		struct kept_shard *k = m->waiting[i];

		k->at.frame = ref;
		if (memcmp(&k->base, &k->now, sizeof(k->now)) == 0)
			k->base_at = k->at;
	}
	m->waits = 0;
	writer_reset(&m->shards);
}

/* ---- one backup ---- */

static void put_record(struct maker *m, struct file_record *record, const char *path)
{
	struct writer out;

	writer_init(&out, 1 << 20);
	record->path = bytes_of_text(path);
	record->modified_s = 1795442700;
	file_record_encode(record, &out);
	OK(pack_section_add(m->writer, "files", writer_view(&out), &why));
	writer_release(&out);
}

static void put_file(struct maker *m, size_t file, uint32_t crc)
{
	const struct file *f = &cluster_file[file];
	uint8_t refs[SHARDS_MAX * 32];
	struct file_record record = {.kind = FILE_PLAIN,
				     .mode = file % 3 == 0 ? 0640 : 0600,
				     .size = size_of(f, m->version),
				     .crc = crc,
				     .shard_refs = refs};

	for (uint64_t at = 0; at < record.size; at += SHARD_FILE_BYTES) {
		const struct kept_shard *k = m->kept[file][record.shards];
		struct file_shard_ref ref = {.place = {.ordinal = k->at.frame.ordinal,
						       .offset = k->at.frame.offset,
						       .stored_len = k->at.frame.stored_len,
						       .plain_len = k->at.frame.plain_len},
					     .offset = k->at.offset,
					     .len = k->at.len};

		borrow(m, &k->at.frame.pack, k->at.len);
		if (k->base_at.frame.offset != k->at.frame.offset ||
		    !pack_id_same(&k->base_at.frame.pack, &k->at.frame.pack) ||
		    k->base_at.offset != k->at.offset)
			borrow(m, &k->base_at.frame.pack, k->base_at.len);
		OK(pack_index(m->writer, &k->at.frame.pack, &ref.pack, &why));
		file_shard_ref_encode(&ref, refs + record.shards++ * 32);
	}
	put_record(m, &record, f->path);
	m->manifest->summary.files++;
	m->manifest->summary.bytes_cluster += record.size;
}

static void expect(struct maker *m, size_t file)
{
	const struct file *f = &cluster_file[file];
	uint64_t size = size_of(f, m->version);
	uint8_t *all = calloc(1, (size_t)size + MAP_PAGE_BYTES), sum[CRYPTO_SHA256_BYTES];
	char hex[2 * sizeof(sum) + 1];

	for (uint64_t at = 0; at < size; at += MAP_PAGE_BYTES)
		(void)page_of(f, m->version, at / MAP_PAGE_BYTES, m->cluster.system_identifier,
			      all + at);
	OK(crypto_sha256(bytes_of(all, (size_t)size), sum, &why));
	text_of_hex(bytes_of(sum, sizeof(sum)), hex);
	(void)fprintf(m->expected, "%04o %lu %s %s\n", file % 3 == 0 ? 0640u : 0600u,
		      (unsigned long)size, hex, f->path);
	free(all);
}

static void put_files(struct maker *m)
{
	uint32_t crc[CLUSTER_FILES] = {0};

	for (size_t i = 0; i < CLUSTER_FILES; i++) {
		uint64_t size = size_of(&cluster_file[i], m->version);

		if (size == GONE)
			continue;
		for (uint64_t at = 0; at < size; at += SHARD_FILE_BYTES) {
			uint64_t len = size - at < SHARD_FILE_BYTES ? size - at : SHARD_FILE_BYTES;
			uint32_t one = make_shard(m, i, (uint32_t)(at / SHARD_FILE_BYTES));

			crc[i] = at == 0 ? one : crc32c_combine(crc[i], one, len);
		}
		if (m->shards.len > SHARDS_FRAME_BYTES / 8)
			place_shards(m);
	}
	place_shards(m);
	for (size_t i = 0; i < CLUSTER_FILES; i++)
		if (size_of(&cluster_file[i], m->version) != GONE) {
			put_file(m, i, crc[i]);
			expect(m, i);
		}
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		struct file_record record = {.kind = FILE_DIRECTORY, .mode = 0700};

		put_record(m, &record, directories[i]);
		(void)fprintf(m->expected, "0700 - - %s\n", directories[i]);
	}
}

static struct attempt attempt_of(unsigned n)
{
	struct attempt attempt;
	char text[ATTEMPT_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "20261124T%02u0000Z-00000000%08x", n, n);
	if (!attempt_from_text(text, &attempt))
		abort();
	return attempt;
}

static struct summary summary_of(const struct maker *m, struct attempt attempt)
{
	/* Records of the golden WAL; the last one ends in the slices of segment D. */
	static const uint64_t start[VERSIONS] = {0xB00028, 0xB00068, 0xB000A8};
	static const uint64_t stop[VERSIONS] = {0xB00100, 0xB00100, 0xD1C318};
	struct summary s = {.attempt = attempt,
			    .system_identifier = m->cluster.system_identifier,
			    .server_version = 150020,
			    .timeline = 1,
			    .stop_timeline = 1,
			    .start = lsn_of(start[m->version]),
			    .stop = lsn_of(stop[m->version]),
			    .started_us = INT64_C(1795516800000000),
			    .finished_us = INT64_C(1795516860123456),
			    .wal_segment_bytes = SEGMENT,
			    .block_bytes = MAP_PAGE_BYTES,
			    .data_checksums = 1,
			    .generation = m->version + 1,
			    .tablespace = calloc(1, sizeof(*s.tablespace)),
			    .tablespaces = 1};

	(void)snprintf(s.cluster, sizeof(s.cluster), "%s", m->cluster.name);
	(void)snprintf(s.label, sizeof(s.label), "golden, \\ and\nnewline");
	(void)snprintf(s.data_directory, sizeof(s.data_directory), "/var/lib/postgresql/15/main");
	(void)snprintf(s.writer, sizeof(s.writer), "make_repositories");
	(void)snprintf(s.host, sizeof(s.host), "golden");
	s.tablespace[0].oid = 16400;
	(void)snprintf(s.tablespace[0].path, sizeof(s.tablespace[0].path), "/srv/space");
	return s;
}

static void put_sections(struct maker *m)
{
	struct writer text;

	writer_init(&text, 1 << 16);
	lines_put(&text, "shared_preload_libraries", "a\\b\nc");
	OK(pack_section_add(m->writer, "settings", writer_view(&text), &why));
	OK(pack_section_add(m->writer, "hba", bytes_of_text("local all all peer\n"), &why));
	OK(pack_section_add(m->writer, "tablespaces", bytes_of_text("tablespace 16400\tspace\n"),
			    &why));
	OK(pack_section_add(m->writer, "server-manifest",
			    bytes_of_text("{ \"PostgreSQL-Backup-Manifest-Version\": 1 }\n"),
			    &why));
	writer_release(&text);
}

static void make_backup(struct maker *m, unsigned version)
{
	const struct cluster *cluster = &m->cluster;
	struct attempt attempt = attempt_of(version + 1);
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	char id[ATTEMPT_TEXT_MAX], path[1200];

	attempt_to_text(&attempt, id);
	(void)snprintf(path, sizeof(path), "%s/expected/%s-%s", m->directory, m->name, id);
	m->expected = fopen(path, "w");
	if (m->expected == NULL) {
		perror(path);
		exit(1);
	}
	m->version = version;
	m->manifest = manifest_new();
	m->manifest->summary = summary_of(m, attempt);
	if (version > 0) {
		m->manifest->summary.has_parent = true;
		m->manifest->summary.parent = attempt_of(version);
	}
	OK(pack_writer_new(&cluster, 1, &attempt, m->manifest, &m->writer, &why));
	put_files(m);
	put_sections(m);
	OK(pack_writer_finish(m->writer, &why));
	OK(decision_check_packs(cluster, m->manifest, &why));
	OK(manifest_commit(cluster, m->manifest, sha256, &why));
	for (uint32_t i = 0; i < m->manifest->packs; i++)
		if (is_own(m, &m->manifest->pack[i].id))
			m->pack[m->packs++] = m->manifest->pack[i];
	pack_writer_free(m->writer);
	manifest_free(m->manifest);
	if (fclose(m->expected) != 0)
		exit(1);
}

/* ---- WAL and records ---- */

static void put_wal(struct maker *m)
{
	static uint8_t segment[SEGMENT];
	enum wal_put_result result;
	struct wal_name name;

	for (unsigned segno = 0xB; segno <= 0xC; segno++) {
		golden_wal(segno, segment);
		wal_segment_name(1, segno, SEGMENT, &name);
		OK(wal_put(&m->cluster, &name, SEGMENT, 1, bytes_of(segment, SEGMENT), &result,
			   &why));
	}
	/* The open segment of a lost server: slices that overlap. */
	golden_wal(0xD, segment);
	wal_segment_name(1, 0xD, SEGMENT, &name);
	OK(wal_put_slice(&m->cluster, &name, SEGMENT, 1, 0, 0x10000, bytes_of(segment, 0x10000),
			 &why));
	OK(wal_put_slice(&m->cluster, &name, SEGMENT, 1, 0x8000, 0x1D1A8,
			 bytes_of(segment + 0x8000, 0x151A8), &why));
	wal_segment_name(1, 0xB, SEGMENT, &name);
	name.kind = WAL_NAME_BACKUP;
	name.offset = 0x28;
	OK(wal_put(&m->cluster, &name, SEGMENT, 1, bytes_of_text("START WAL LOCATION: 0/B00028\n"),
		   &result, &why));
}

static void put_mark(struct maker *m, const char *folder, const char *type, unsigned backup,
		     const char *suffix)
{
	struct attempt attempt = attempt_of(backup);
	char key[STORE_KEY_MAX], id[ATTEMPT_TEXT_MAX];
	struct writer body;

	attempt_to_text(&attempt, id);
	(void)snprintf(key, sizeof(key), "%s%s/%s%s", m->cluster.prefix, folder, id, suffix);
	writer_init(&body, RECORD_BYTES_MAX);
	lines_put(&body, "attempt", id);
	lines_put(&body, "reason", "golden, \\ and\nnewline");
	lines_put(&body, "host", "golden");
	if (strcmp(type, "hidden-end") == 0)
		lines_put(&body, "end", "undeleted");
	lines_put(&body, "time", "2026-11-24T12:00:00.000000Z");
	OK(record_put(m->repository, key, type, writer_view(&body), &why));
	writer_release(&body);
}

/* ---- one repository ---- */

static void put_text(const struct maker *m, const char *suffix, struct bytes text)
{
	char path[1200];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s.%s", m->directory, m->name, suffix);
	file = fopen(path, "w");
	if (file == NULL || fwrite(text.data, 1, text.len, file) != text.len || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

static void make_sealed(struct maker *m)
{
	static const char passphrase[] = "correct horse battery staple\n";
	struct key_secret secret, recovery, words;
	struct writer text;

	writer_init(&text, 4096);
	OK(key_secret_new(m->env.random, SLOT_KEY_FILE, &secret, &text, &why));
	put_text(m, "key", writer_view(&text));
	writer_reset(&text);
	OK(key_secret_new(m->env.random, SLOT_RECOVERY, &recovery, &text, &why));
	put_text(m, "recovery", writer_view(&text));
	put_text(m, "passphrase", bytes_of_text(passphrase));
	OK(key_secret_from_text(SLOT_PASSPHRASE, bytes_of_text(passphrase), &words, &why));
	OK(repository_init(&m->env, m->store,
			   &(struct repository_init){.encryption = ENCRYPTION_AES_256_GCM,
						     .secret = &secret,
						     .slot_name = "key-file",
						     .recovery = &recovery},
			   &why));
	OK(repository_open(&m->env, m->store, &secret, &m->repository, &why));
	OK(keyring_put_slot(m->repository->keyring, &m->env, m->store, "words", &words, &why));
	key_secret_release(&secret);
	key_secret_release(&recovery);
	key_secret_release(&words);
	writer_release(&text);
}

static void make_clear(struct maker *m)
{
	OK(repository_init(
		&m->env, m->store,
		&(struct repository_init){.encryption = ENCRYPTION_NONE, .slot_name = "clear"},
		&why));
	OK(repository_open(&m->env, m->store, NULL, &m->repository, &why));
}

static void make_repository(const char *directory, const char *name,
			    void (*make_keys)(struct maker *))
{
	static uint8_t segment[SEGMENT];
	struct maker *m = calloc(1, sizeof(*m));
	struct identity identity = {.server_version = 150020,
				    .wal_segment_bytes = SEGMENT,
				    .block_bytes = MAP_PAGE_BYTES,
				    .data_checksums = 1};
	struct attempt aborted = attempt_of(9);
	uint8_t key[CRYPTO_KEY_BYTES];
	char path[1200];

	*m = (struct maker){.env = env_os(), .directory = directory, .name = name};
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	OK(store_posix_open(&m->env, path, true, &m->store, &why));
	make_keys(m);
	golden_wal(0xB, segment);
	cluster_init(&m->cluster, m->repository, "main", get_u64(segment + 24));
	OK(keyring_tag_key(m->repository->keyring, key, &why));
	OK(page_tagger_new(m->repository->tag_kind, key, &m->tagger, &why));
	OK(compressor_new(3, SHARDS_FRAME_BYTES, &m->compressor, &why));
	writer_init(&m->shards, SHARDS_FRAME_BYTES);
	OK(identity_ensure(&m->cluster, &identity, &why));
	put_wal(m);
	for (unsigned version = 0; version < VERSIONS; version++)
		make_backup(m, version);
	OK(decision_abort(&m->cluster, &aborted, "golden", &why));
	put_mark(m, "hidden", "hidden", 1, ".00000000");
	put_mark(m, "hidden", "hidden-end", 1, ".00000000.end");
	put_mark(m, "hidden", "hidden", 2, ".00000000");
	put_mark(m, "keeps", "keep", 3, ".00000000");
	put_mark(m, "keeps", "keep-off", 3, ".00000000.off");
	put_mark(m, "keeps", "keep", 3, ".00000001");
	writer_release(&m->shards);
	compressor_free(m->compressor);
	page_tagger_free(m->tagger);
	for (size_t i = 0; i < CLUSTER_FILES; i++)
		for (size_t k = 0; k < SHARDS_MAX; k++)
			free(m->kept[i][k]);
	repository_close(m->repository);
	store_close(m->store);
	free(m);
}

int main(int argc, char **argv)
{
	char path[1200];

	if (argc != 2) {
		(void)fprintf(stderr, "usage: make_repositories DIRECTORY (new)\n");
		return 2;
	}
	(void)snprintf(path, sizeof(path), "%s/expected", argv[1]);
	if (mkdir(argv[1], 0755) != 0 || mkdir(path, 0755) != 0) {
		perror(argv[1]);
		return 1;
	}
	make_repository(argv[1], "sealed", make_sealed);
	make_repository(argv[1], "clear", make_clear);
	return 0;
}
