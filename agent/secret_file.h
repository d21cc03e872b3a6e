/* secret_file.h - secrets from files whose mode is checked, and from commands.
 *
 * The mode follows libpq's rule for private keys: a file of ours is 0600 or stricter, a file of
 * root's is 0640 or stricter, a file below $CREDENTIALS_DIRECTORY (systemd) 0440 or stricter.
 */
#ifndef SECRET_FILE_H
#define SECRET_FILE_H

#include "base/error.h"
#include "base/files.h"
#include "base/secret.h"

/* ERR_MISSING: no such file; ERR_CONFIG with the chmod line when the mode is too open;
 * ERR_DENIED when it can't be read or is another user's.  `credentials_directory` may be NULL. */
enum err config_check_secret_file(struct files *, const char *path,
				  const char *credentials_directory, struct error *why) MUST_CHECK;

/* The rule alone, for a file that is already open: `st` is its fstat, `own` the user's id. */
enum err secret_file_check_mode(const struct stat *st, uid_t own, const char *path,
				const char *credentials_directory, struct error *why) MUST_CHECK;

/* The content, without one newline at its end; the mode is checked on the open file. */
enum err secret_file_read(struct files *, const char *path, const char *credentials_directory,
			  struct secret *out, struct error *why) MUST_CHECK;

/* What `command`, run by /bin/sh, writes to its standard output, without one newline at its end.
 * ERR_CONFIG when it fails or writes nothing; its stderr is ours.  Blocks until it ends. */
enum err secret_command_read(const char *command, struct secret *out, struct error *why) MUST_CHECK;

#endif
