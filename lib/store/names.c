/* store/names.c - a sorted list of names in two pieces of memory. */
#include "store/names.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of names of one directory: 512 MiB are some ten million. */
#define NAMES_MAX ((size_t)512 << 20)

void names_init(struct names *names)
{
	*names = (struct names){.count = 0};
	writer_init(&names->text, NAMES_MAX);
}

void names_release(struct names *names)
{
	free(names->sorted);
	writer_release(&names->text);
	*names = (struct names){.count = 0};
}

bool names_add(struct names *names, struct bytes name, bool is_directory)
{
	writer_bytes(&names->text, name);
	if (is_directory)
		writer_u8(&names->text, '/');
	writer_u8(&names->text, 0);
	names->count++;
	return !names->text.bad;
}

/* With the '/' in the name, the order is that of whole keys. */
static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_parts(const void *a, const void *b)
{
	const char *x = *(const char *const *)a;
	const char *y = *(const char *const *)b;
	size_t x_len = strcspn(x, "/");
	size_t y_len = strcspn(y, "/");
	int order = memcmp(x, y, x_len < y_len ? x_len : y_len);

	return order != 0 ? order : (x_len > y_len) - (x_len < y_len);
}

static bool sort(struct names *names, int (*compare)(const void *, const void *))
{
	const char *at = (const char *)names->text.data;

	names->sorted = calloc(names->count + 1, sizeof(*names->sorted));
	if (names->sorted == NULL)
		return false;
	for (size_t i = 0; i < names->count; i++) {
		names->sorted[i] = at;
		at += strlen(at) + 1;
	}
	if (names->count > 0)
		qsort(names->sorted, names->count, sizeof(*names->sorted), compare);
	return true;
}

bool names_sort_as_keys(struct names *names)
{
	return sort(names, compare_keys);
}

bool names_sort_as_parts(struct names *names)
{
	return sort(names, compare_parts);
}
