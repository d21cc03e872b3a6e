/* backup/streamer.c - the WAL of a backup over a replication connection, in a thread of its own.
 *
 * The happy path: (1) connect, make a temporary slot, so that the server keeps its WAL; (2) once
 * the backup's start is known, stream from the beginning of that segment; (3) store every segment
 * as it becomes whole; (4) told the stop LSN, go on until the segment that holds it is whole: a
 * primary switches segments at the end of a backup, so its rest comes at once.  (5) A standby switches
 * nothing, and its primary may write nothing for days: what has come of the last segment is stored as a
 * slice at once, and from a primary after SLICE_AFTER_US; never padded under the segment's name.
 *
 * Or, after a backup that had no second connection: the same over the session that it is done with,
 * without a slot, so that the server may have removed what is wanted.
 *
 * What fails: the stream breaks -> its WAL would have a hole, and the run looks for another way.  A
 * segment is in the archive already (archive_command was faster) -> same content is success.
 */
#include "backup/backup_internal.h"
#include "base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

enum {
	STATUS_EVERY_US = 10 * 1000 * 1000, /* wal_sender_timeout is 60 s by default */
	WAIT_MS = 1000,
	SLICE_AFTER_US = 5 * 1000 * 1000,
	STALL_US = 300 * 1000 * 1000 /* no byte and no keepalive for so long: the peer is dead */
};

struct streamer {
	struct streamer_config config;
	struct session *session;
	bool borrowed; /* the session is somebody else's */
	char slot[64]; /* "" = none */
	pthread_t thread;
	bool running;
	int wake; /* eventfd: stop was set, or give up */
	pthread_mutex_t mutex;
	/* Guarded by mutex. */
	struct lsn stop; /* 0 = not known yet */
	bool rest_comes; /* of the segment that holds the stop */
	bool abandon;
	/* The thread's own. */
	uint32_t timeline, segment_bytes;
	uint8_t *segment;  /* mapping of segment_bytes */
	struct lsn at;     /* next byte expected */
	struct lsn stored; /* everything below it is durable in every repository */
	int64_t heard_us, reported_us, stop_reached_us;
	uint64_t stored_bytes;
	enum err result;
	struct error why;
};

static enum err streamer_new(const struct streamer_config *config, struct streamer **out,
			     struct error *why)
{
	struct streamer *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return error_set(why, ERR_MEMORY, "WAL stream: out of memory");
	s->config = *config;
	(void)pthread_mutex_init(&s->mutex, NULL); /* cannot fail on Linux */
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake < 0) {
		streamer_free(s);
		return error_set(why, ERR_LIMIT, "WAL stream: no descriptor free");
	}
	*out = s;
	return ERR_NONE;
}

static enum err streamer_hold_wal(struct streamer *s, struct error *why)
{
	const struct env *env = s->config.env;
	uint8_t bits[8];
	char hex[17];
	enum err e = random_fill(env->random, bits, sizeof(bits), why);

	if (e != ERR_NONE)
		return e;
	text_of_hex(bytes_of(bits, sizeof(bits)), hex);
	(void)snprintf(s->slot, sizeof(s->slot), "pgagent_%s", hex); /* fits */
	e = replication_temporary_slot(s->session, s->slot, why);
	if (e != ERR_LIMIT)
		return e;
	observer_event(env->observer, LEVEL_INFO,
		       "no replication slot is free, streaming WAL without one: %s", why->text);
	s->slot[0] = '\0';
	return ERR_NONE;
}

enum err streamer_open(const struct streamer_config *config, struct streamer **out,
		       struct error *why)
{
	struct session_options options = {.conninfo = config->conninfo,
					  .kind = SESSION_REPLICATION};
	struct streamer *s;
	enum err e = streamer_new(config, &s, why);

	if (e != ERR_NONE)
		return e;
	e = session_open(config->env, &options, &s->session, why);
	if (e == ERR_NONE)
		e = streamer_hold_wal(s, why);
	if (e != ERR_NONE) {
		streamer_free(s);
		return error_add(why, "WAL stream"), e;
	}
	*out = s;
	return ERR_NONE;
}

enum err streamer_borrow(const struct streamer_config *config, struct session *session,
			 struct streamer **out, struct error *why)
{
	enum err e = streamer_new(config, out, why);

	if (e != ERR_NONE)
		return e;
	(*out)->session = session;
	(*out)->borrowed = true;
	return ERR_NONE;
}

static struct lsn segment_begin(const struct streamer *s)
{
	return lsn_of(s->at.value - s->at.value % s->segment_bytes);
}

/* Stores the whole segment that ends at `at`, or a slice of the one `at` lies in. */
static enum err store_segment(struct streamer *s, bool slice, struct error *why)
{
	uint64_t segno = (s->at.value - 1) / s->segment_bytes;
	uint64_t begin = segno * s->segment_bytes;
	uint32_t len = (uint32_t)(s->at.value - begin);
	struct bytes content = bytes_of(s->segment, len);
	struct wal_name name;
	bool stored = false;

	wal_segment_name(s->timeline, segno, s->segment_bytes, &name);
	for (size_t i = 0; i < s->config.clusters; i++) {
		const struct cluster *cluster = &s->config.cluster[i];
		enum wal_put_result result = WAL_PUT_NEW;
		enum err e;

		if (slice) {
			e = wal_put_slice(cluster, &name, s->segment_bytes, s->config.level, 0, len,
					  content, why);
		} else {
			e = wal_check_segment(cluster, &name, s->segment_bytes, content, why);
			if (e == ERR_NONE)
				e = wal_put(cluster, &name, s->segment_bytes, s->config.level,
					    content, &result, why);
		}
		if (e != ERR_NONE) {
			char text[WAL_NAME_MAX];

			wal_name_to_text(&name, text);
			return error_add(why, "storing streamed segment %s", text), e;
		}
		stored = stored || result == WAL_PUT_NEW;
	}
	if (stored)
		s->stored_bytes += len;
	s->stored = s->at;
	return ERR_NONE;
}

static enum err take_payload(struct streamer *s, const struct wal_stream_message *message,
			     struct error *why)
{
	struct bytes left = message->payload;

	if (message->start.value != s->at.value) {
		char want[LSN_TEXT_MAX], got[LSN_TEXT_MAX];

		lsn_to_text(s->at, want);
		lsn_to_text(message->start, got);
		return error_set(why, ERR_PEER, "WAL at %s expected, the server sent %s", want,
				 got);
	}
	while (left.len > 0) {
		uint32_t offset = (uint32_t)(s->at.value % s->segment_bytes);
		size_t take = s->segment_bytes - offset;

		if (take > left.len)
			take = left.len;
		memcpy(s->segment + offset, left.data, take);
		left = bytes_of(left.data + take, left.len - take);
		s->at.value += take;
		if (s->at.value % s->segment_bytes == 0) {
			enum err e = store_segment(s, false, why);

			if (e != ERR_NONE)
				return e;
		}
	}
	return ERR_NONE;
}

/* Step 4 and 5: true when everything below the stop LSN is durable. */
static enum err check_done(struct streamer *s, int64_t now, bool *done, struct error *why)
{
	struct lsn stop;
	bool abandon, rest_comes;

	(void)pthread_mutex_lock(&s->mutex);
	stop = s->stop;
	rest_comes = s->rest_comes;
	abandon = s->abandon;
	(void)pthread_mutex_unlock(&s->mutex);
	*done = false;
	if (abandon || *s->config.env->cancelled)
		return error_set(why, ERR_CANCELLED, "WAL stream: stopped on request");
	if (stop.value == 0)
		return ERR_NONE;
	if (s->stored.value >= stop.value) {
		*done = true;
		return ERR_NONE;
	}
	if (s->at.value < stop.value)
		return ERR_NONE;
	if (s->stop_reached_us == 0)
		s->stop_reached_us = now;
	if (rest_comes && now - s->stop_reached_us < SLICE_AFTER_US)
		return ERR_NONE;
	*done = true;
	return store_segment(s, true, why);
}

static enum err stream_step(struct streamer *s, bool *done, struct error *why)
{
	const struct env *env = s->config.env;
	struct wal_stream_message message;
	int64_t now;
	enum err e = wal_stream_next(s->session, WAIT_MS, s->wake, &message, why);

	if (e != ERR_NONE)
		return e;
	now = clock_monotonic_us(env->clock);
	if (message.kind == WAL_STREAM_NOTHING) {
		eventfd_t woken;

		(void)eventfd_read(s->wake, &woken); /* empty is fine: then time ran out */
	}
	if (message.kind == WAL_STREAM_END)
		return error_set(why, ERR_PEER,
				 "the server ended the WAL stream of timeline %" PRIu32
				 ": it was shut down or its timeline changed",
				 s->timeline);
	if (message.kind != WAL_STREAM_NOTHING)
		s->heard_us = now;
	else if (now - s->heard_us > STALL_US)
		return error_set(why, ERR_TRANSIENT, "the server sent nothing for %d s",
				 STALL_US / 1000000);
	if (message.kind == WAL_STREAM_DATA) {
		e = take_payload(s, &message, why);
		if (e != ERR_NONE)
			return e;
		now = clock_monotonic_us(env->clock);
	}
	if ((message.kind == WAL_STREAM_KEEPALIVE && message.reply_requested) ||
	    now - s->reported_us >= STATUS_EVERY_US) {
		e = wal_stream_report(s->session, s->at, s->stored, clock_now_us(env->clock), why);
		if (e != ERR_NONE)
			return e;
		s->reported_us = now;
	}
	return check_done(s, now, done, why);
}

static void *streamer_thread(void *arg)
{
	struct streamer *s = arg;
	bool done = false;

	s->heard_us = s->reported_us = clock_monotonic_us(s->config.env->clock);
	while (s->result == ERR_NONE && !done)
		s->result = stream_step(s, &done, &s->why);
	if (s->result == ERR_NONE) {
		struct error why;

		/* Everything is stored; a server that hangs up now costs nothing. */
		if (wal_stream_stop(s->session, &why) != ERR_NONE)
			observer_event(s->config.env->observer, LEVEL_DEBUG,
				       "WAL stream ended roughly: %s", why.text);
	}
	return NULL;
}

/* The history of a timeline belongs to the archive before its first segment does. */
static enum err store_history(struct streamer *s, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = s->timeline};
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	if (s->timeline == 1)
		return ERR_NONE;
	e = replication_history(s->session, s->timeline, &text, &len, why);
	for (size_t i = 0; i < s->config.clusters && e == ERR_NONE; i++) {
		enum wal_put_result result;

		e = wal_put(&s->config.cluster[i], &name, s->segment_bytes, s->config.level,
			    bytes_of(text, len), &result, why);
	}
	free(text);
	return e;
}

enum err streamer_start(struct streamer *s, struct lsn start, uint32_t timeline,
			uint32_t segment_bytes, struct error *why)
{
	void *map;
	enum err e;

	s->timeline = timeline;
	s->segment_bytes = segment_bytes;
	s->at = lsn_of(start.value - start.value % segment_bytes);
	s->stored = s->at;
	/* Private and lazily filled: costs what has arrived of the segment. */
	map = mmap(NULL, segment_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return error_set(why, ERR_MEMORY, "WAL stream: no memory for a segment");
	s->segment = map;
	e = store_history(s, why);
	if (e == ERR_NONE)
		e = wal_stream_start(s->session, s->slot[0] != '\0' ? s->slot : NULL,
				     segment_begin(s), timeline, why);
	if (e != ERR_NONE)
		return error_add(why, "WAL stream"), e;
	if (pthread_create(&s->thread, NULL, streamer_thread, s) != 0)
		return error_set(why, ERR_LIMIT, "WAL stream: no thread");
	s->running = true;
	return ERR_NONE;
}

/* Sets what the thread looks at and wakes it. */
static void streamer_tell(struct streamer *s, struct lsn stop, bool rest_comes, bool abandon)
{
	(void)pthread_mutex_lock(&s->mutex);
	s->stop = stop;
	s->rest_comes = rest_comes;
	s->abandon = abandon;
	(void)pthread_mutex_unlock(&s->mutex);
	(void)eventfd_write(s->wake, 1); /* the thread looks every WAIT_MS anyway */
}

enum err streamer_finish(struct streamer *s, struct lsn stop, bool rest_comes,
			 uint64_t *stored_bytes, struct error *why)
{
	streamer_tell(s, stop, rest_comes, false);
	(void)pthread_join(s->thread, NULL);
	s->running = false;
	*stored_bytes += s->stored_bytes;
	if (s->result != ERR_NONE) {
		*why = s->why;
		return error_add(why, "WAL stream"), s->result;
	}
	return ERR_NONE;
}

void streamer_free(struct streamer *s)
{
	if (s == NULL)
		return;
	if (s->running) {
		streamer_tell(s, lsn_of(0), false, true);
		(void)pthread_join(s->thread, NULL);
	}
	if (!s->borrowed)
		session_close(s->session);
	if (s->segment != NULL)
		(void)munmap(s->segment, s->segment_bytes); /* our own mapping */
	if (s->wake >= 0)
		(void)s->config.env->files->ops->close(s->config.env->files,
						       s->wake); /* nothing to lose */
	(void)pthread_mutex_destroy(&s->mutex);
	free(s);
}
