/* commands/restore_standby.h - `restore --standby`: what it may be asked for with, and how it is told. */
#ifndef COMMANDS_RESTORE_STANDBY_H
#define COMMANDS_RESTORE_STANDBY_H

#include "agent.h"
#include "restore/restore.h"

/* ERR_CONFIG names the option that contradicts it. */
enum err restore_standby_check(const struct restore_request *, struct error *why) MUST_CHECK;

/* Warns of a password in primary_conninfo, which any restore may be given. */
void restore_standby_warn(struct agent *, const struct restore_request *);

/* What it is going to follow; static. */
const char *restore_standby_text(const struct restore_request *);

/* The second and third of the last lines; `control` and `directory` are words of a shell. */
void restore_standby_closing(struct report *, const char *control, const char *directory);

#endif
