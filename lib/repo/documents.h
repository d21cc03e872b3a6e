/* repo/documents.h - what lets a repository be read without pgagent: its specification and a decoder,
 * put into it as plain text (FORMAT.md 2, "docs/").
 */
#ifndef REPO_DOCUMENTS_H
#define REPO_DOCUMENTS_H

#include "repo/repository.h"

enum { DOCUMENT_BYTES_MAX = 1 << 20 };

struct document {
	const char *name; /* "FORMAT.md" */
	struct bytes text;
};

/* Puts each as docs/1/NAME where it is missing.  Where another text has that name, an earlier pgagent's,
 * it is put as docs/1/STEM-VERSION.EXTENSION, and left alone where that is taken too.  Nothing is
 * written when all are there; `put` counts what was. */
enum err documents_put(struct store *, const struct document *, size_t count, const char *version,
		       size_t *put, struct error *why) MUST_CHECK;

#endif
