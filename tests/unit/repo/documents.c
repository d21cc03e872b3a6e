/* Documents are put where they are missing, never over others, and nothing is left half done. */
#include "repo/documents.h"
#include "repo_world.h"

#include <stdlib.h>

static const struct document two[] = {
	{"FORMAT.md", {(const uint8_t *)"text", 4}},
	{"reader.py", {(const uint8_t *)"print()", 7}},
};

static void assert_object(const struct repo_world *w, const char *key, const char *text)
{
	uint8_t *data;
	size_t len;
	struct error why;

	OK(store_get(w->memory, key, 100, &data, &len, &why));
	cr_assert_str_eq((char *)data, text, "%s", key);
	free(data);
}

Test(documents, are_put_once)
{
	struct repo_world w;
	size_t put = 9;
	struct error why;

	repo_world_init(&w, NULL);
	OK(documents_put(&w.fault.store, two, 2, "1.2", &put, &why));
	cr_assert_eq(put, 2);
	assert_object(&w, "docs/1/FORMAT.md", "text");
	assert_object(&w, "docs/1/reader.py", "print()");
	OK(documents_put(&w.fault.store, two, 2, "1.3", &put, &why));
	cr_assert_eq(put, 0);
	repo_world_release(&w);
}

Test(documents, a_changed_text_gets_a_name_of_its_own)
{
	struct repo_world w;
	size_t put = 0;
	struct error why;

	repo_world_init(&w, NULL);
	OK(store_put(w.memory, "docs/1/reader.py", bytes_of_text("old"), &why));
	OK(documents_put(&w.fault.store, two, 2, "1.2", &put, &why));
	cr_assert_eq(put, 2);
	assert_object(&w, "docs/1/reader.py", "old");
	assert_object(&w, "docs/1/reader-1.2.py", "print()");
	OK(documents_put(&w.fault.store, two, 2, "1.2", &put, &why));
	cr_assert_eq(put, 0);
	repo_world_release(&w);
}

Test(documents, a_failure_is_said_and_the_next_try_puts_the_rest)
{
	for (unsigned nth = 1;; nth++) {
		struct repo_world w;
		size_t put = 0;
		struct error why;
		enum err e;

		repo_world_init(&w, NULL);
		repo_world_fail(&w, FAULT_FAIL, nth, ERR_DENIED);
		e = documents_put(&w.fault.store, two, 2, "1.2", &put, &why);
		if (w.fault.calls < nth) {
			cr_assert_gt(nth, 2);
			repo_world_release(&w);
			break;
		}
		cr_assert_eq(e, ERR_DENIED, "call %u", nth);
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		OK(documents_put(&w.fault.store, two, 2, "1.2", &put, &why));
		assert_object(&w, "docs/1/FORMAT.md", "text");
		assert_object(&w, "docs/1/reader.py", "print()");
		repo_world_release(&w);
	}
}
