/* commands/config_recover.h - `pgagent config recover [BACKUP]`; returns its exit code. */
#ifndef COMMANDS_CONFIG_RECOVER_H
#define COMMANDS_CONFIG_RECOVER_H

#include "agent.h"

int config_recover(struct agent *);

#endif
