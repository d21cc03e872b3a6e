/* support/dead_pin.h - pins whose process certainly is no more: of this host, before it was started again. */
#ifndef SUPPORT_DEAD_PIN_H
#define SUPPORT_DEAD_PIN_H

#include "repo/decision.h"
#include "repo/lines.h"
#include "repo_world.h"

/* Makes the newest pin of a holder, which this process has put, one of the dead. */
static inline void pin_dies(struct repo_world *w, const char *holder)
{
	char key[STORE_KEY_MAX], kind[16], machine[64], host[256];
	struct writer body;
	struct error why;

	(void)snprintf(key, sizeof(key), "%spins/%s/00000000", w->cluster.prefix, holder);
	writer_init(&body, RECORD_BYTES_MAX);
	OK(record_get(w->repository, key, "pin", &body, &why));
	cr_assert(lines_get(writer_view(&body), "kind", kind, sizeof(kind)) &&
		  lines_get(writer_view(&body), "machine", machine, sizeof(machine)) &&
		  lines_get(writer_view(&body), "host", host, sizeof(host)));
	OK(store_remove(w->memory, key, &why));
	writer_reset(&body);
	writer_text(&body, "kind %s\nhost %s\nmachine %s\n", kind, host, machine);
	writer_text(&body, "boot an-earlier-one\npid-space 1\npid 1\n");
	OK(record_put(w->repository, key, "pin", writer_view(&body), &why));
	writer_release(&body);
}

#endif
