/* documents.h - the texts that `init` puts into a repository, compiled in (CMakeLists.txt, embed). */
#ifndef DOCUMENTS_H
#define DOCUMENTS_H

#include "repo/documents.h"

extern const struct document documents[];
extern const size_t documents_count;

#endif
