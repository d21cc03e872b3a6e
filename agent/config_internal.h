/* config_internal.h - shared by the files that load the configuration, nobody else. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config.h"

/* Adds a problem; what exceeds CONFIG_PROBLEMS_MAX is dropped.  `hint` may be NULL. */
void config_problem_add(struct config *, const char *file, int line, bool warning, const char *text,
			const char *hint);

/* The first problem that is no warning, into `why`; ERR_NONE when there is none. */
enum err config_first_problem(const struct config *, struct error *why);

/* A name that lives as long as the configuration; NULL without memory. */
const char *config_file_name(struct config *, const char *name);

/* An array of pointers with room for one more; the old one is freed.  NULL without memory. */
void *config_grown(void *array, size_t count);

#endif
