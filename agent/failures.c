/* failures.c - keeps the worst of several failures, and tells the others. */
#include "failures.h"

static int rank(enum err kind)
{
	switch (kind) {
	case ERR_CANCELLED:
	case ERR_MEMORY:
		return 4;
	case ERR_CORRUPT:
	case ERR_WRONG_KEY:
		return 3;
	case ERR_LIMIT:
	case ERR_EXISTS:
		return 1;
	case ERR_NONE:
		return 0;
	default:
		return 2;
	}
}

void failures_add(struct failures *f, const struct error *why)
{
	const struct error *lesser = why;
	struct error old;

	if (rank(why->kind) > rank(f->worst.kind)) {
		old = f->worst;
		f->worst = *why;
		lesser = &old;
	}
	if (lesser->kind != ERR_NONE)
		report_lesser(f->report, lesser);
}

bool failures_end(const struct failures *f)
{
	return rank(f->worst.kind) == rank(ERR_CANCELLED);
}

enum err failures_answer(const struct failures *f, struct error *why)
{
	if (f->worst.kind != ERR_NONE)
		*why = f->worst;
	return f->worst.kind;
}
