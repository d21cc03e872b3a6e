/* tests/thread/store.c - one posix handle used by several threads at once: they read, put and remove,
 * and drive each other out of the descriptors kept open.  Prints what it checked; exits 1 when
 * something is not so.
 */
#include "base/pipeline.h"
#include "scratch.h"
#include "store/posix/posix.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 8, STEPS = 6000, OBJECTS = 40 };

static enum err name(char *key, size_t len, const char *dir, size_t number)
{
	int used = snprintf(key, len, "%s/%zu", dir, number);

	return used > 0 && (size_t)used < len ? ERR_NONE : ERR_LIMIT;
}

/* Objects 0 to 39 are only read; those named by the step are put, read and removed. */
static enum err step(void *state, size_t index, struct error *why)
{
	struct store *s = state;
	char key[64];
	uint8_t got = 0;
	enum err err = name(key, sizeof(key), "kept", index * 7 % OBJECTS);

	if (err == ERR_NONE)
		err = store_read(s, key, 0, &got, 1, why);
	if (err != ERR_NONE || got != index * 7 % OBJECTS)
		return err != ERR_NONE ? err : error_set(why, ERR_IO, "%s holds another", key);
	if (index % 8 != 0)
		return ERR_NONE;
	err = name(key, sizeof(key), "passing", index);
	if (err == ERR_NONE)
		err = store_put(s, key, bytes_of("x", 1), why);
	if (err == ERR_NONE)
		err = store_read(s, key, 0, &got, 1, why);
	if (err == ERR_NONE)
		err = store_remove(s, key, why);
	if (err == ERR_NONE && store_read(s, key, 0, &got, 1, NULL) != ERR_MISSING)
		err = error_set(why, ERR_IO, "%s is still there", key);
	return err;
}

int main(void)
{
	struct scratch scratch = scratch_open();
	struct env env = env_os();
	struct store *s = NULL;
	struct error why = {0};
	void *state[THREADS];
	enum err err = store_posix_open(&env, scratch.path, false, &s, &why);

	for (size_t i = 0; i < OBJECTS && err == ERR_NONE; i++) {
		uint8_t byte = (uint8_t)i;
		char key[64];

		err = name(key, sizeof(key), "kept", i);
		if (err == ERR_NONE)
			err = store_put(s, key, bytes_of(&byte, 1), &why);
	}
	for (unsigned i = 0; i < THREADS; i++)
		state[i] = s;
	if (err == ERR_NONE)
		err = parallel_for(THREADS, state, STEPS, step, &why);
	(void)printf("%s: one handle serves %d threads %s\n", err == ERR_NONE ? "ok" : "NOT OK",
		     THREADS, why.text);
	store_close(s);
	scratch_close(&scratch);
	return err != ERR_NONE;
}
