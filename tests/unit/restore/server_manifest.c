/* backup_manifest after a restore. */
#include "scene.h"

Test(server_manifest, the_servers_manifest_says_what_the_map_of_moved_tablespaces_is)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);
	struct writer expected;
	char map[1100];

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	(void)snprintf(map, sizeof(map), "16400 %s\n", place.to);
	add_manifest(NULL, map, &expected);
	assert_file(s, "backup_manifest", writer_view(&expected), 0600);
	writer_release(&expected);
	scene_end(s);
}

Test(server_manifest, the_servers_manifest_is_otherwise_left_as_it_is)
{
	struct scene *s = scene_begin();
	struct error why;
	const char *text =
		"{ \"Path\": \"tablespace_map\", \"Size\": 1, \"Checksum-Algorithm\": "
		"\"CRC32C\", \"Checksum\": \"00000000\" }\n\"Manifest-Checksum\": \"0\"}";

	add_usual(s, false);
	OK(pack_section_add(s->backup.packs, "server-manifest", bytes_of_text(text), &why));
	scene_commit(s);
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_file(s, "backup_manifest", bytes_of_text(text), 0600);
	scene_end(s);
}
