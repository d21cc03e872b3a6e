/* Pack table and root as bytes: what no writer writes is refused. */
#include "repo/manifest_internal.h"
#include "repo_world.h"

#include <stdlib.h>
#include <string.h>

static struct manifest *sample(void)
{
	struct manifest *m = manifest_new();
	struct section *s;
	struct error why;

	for (uint32_t i = 0; i < 3; i++) {
		struct pack_id id = {.attempt = attempt_number(1), .seq = i};
		uint32_t index;

		OK(manifest_pack_index(m, &id, &index, &why));
	}
	OK(manifest_section_ensure(m, "files", &s, &why));
	for (uint32_t i = 0; i < 5; i++) {
		struct frame_place place = {.ordinal = i, .offset = i * 9, .plain_len = 100 + i};

		OK(section_add_frame(s, i % 3, &place, &why));
	}
	OK(manifest_section_ensure(m, "hba", &s, &why));
	return m;
}

static struct manifest *packs_of(const struct manifest *m)
{
	struct manifest *back = manifest_new();
	struct writer w;
	struct error why;

	writer_init(&w, 1 << 20);
	pack_table_encode(m, &w);
	OK(pack_table_decode(writer_view(&w), back, &why));
	writer_release(&w);
	return back;
}

Test(manifest_codec, sections_come_back_with_the_empty_one)
{
	struct manifest *m = sample(), *back = packs_of(m);
	const struct section *s;
	struct writer w;
	struct error why;

	writer_init(&w, 1 << 20);
	root_encode(m, &w);
	OK(root_decode(writer_view(&w), back, &why));
	s = manifest_section(back, "files");
	cr_assert_not_null(s);
	cr_assert_eq(s->frames, 5);
	cr_assert_eq(s->plain_bytes, 100 + 101 + 102 + 103 + 104);
	cr_assert_eq(s->frame[4].pack, 1);
	cr_assert_eq(s->frame[4].place.offset, 36);
	cr_assert_eq(manifest_section(back, "hba")->frames, 0);
	writer_release(&w);
	manifest_free(m);
	manifest_free(back);
}

Test(manifest_codec, a_section_in_an_unknown_pack_is_corrupt)
{
	struct manifest *m = sample(), *back = packs_of(m);
	struct writer w;
	struct error why;

	m->section[0].frame[2].pack = 3;
	writer_init(&w, 1 << 20);
	root_encode(m, &w);
	cr_assert_eq(root_decode(writer_view(&w), back, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "pack"));
	writer_release(&w);
	manifest_free(m);
	manifest_free(back);
}

Test(manifest_codec, a_pack_listed_twice_is_corrupt)
{
	struct manifest *m = sample(), *back = manifest_new();
	struct writer w;
	struct error why;

	m->pack[2].id = m->pack[0].id;
	writer_init(&w, 1 << 20);
	pack_table_encode(m, &w);
	cr_assert_eq(w.len, 3 * 72);
	cr_assert_eq(pack_table_decode(writer_view(&w), back, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "twice"));
	writer_release(&w);
	manifest_free(m);
	manifest_free(back);
}

Test(manifest_codec, damage_anywhere_stays_in_bounds)
{
	struct manifest *m = sample();
	struct writer w;
	uint8_t *copy;

	writer_init(&w, 1 << 20);
	root_encode(m, &w);
	for (size_t i = 0; i < w.len * 8; i++) {
		struct manifest *back = packs_of(m);
		struct error why;

		copy = malloc(w.len);
		memcpy(copy, w.data, w.len);
		copy[i / 8] = (uint8_t)(copy[i / 8] ^ 1 << i % 8);
		if (root_decode(bytes_of(copy, w.len), back, &why) == ERR_NONE)
			for (uint32_t n = 0; n < back->sections; n++)
				for (uint32_t k = 0; k < back->section[n].frames; k++)
					cr_assert_lt(back->section[n].frame[k].pack, back->packs);
		free(copy);
		manifest_free(back);
	}
	for (size_t len = 0; len < w.len; len++) {
		struct manifest *back = packs_of(m);

		copy = malloc(len ? len : 1);
		memcpy(copy, w.data, len);
		cr_assert_eq(root_decode(bytes_of(copy, len), back, NULL), ERR_CORRUPT);
		free(copy);
		manifest_free(back);
	}
	writer_release(&w);
	manifest_free(m);
}
