/* restore/moved.c - the lost server's directory, when somebody moved it away before a restore in place.
 *
 * The restore then has no more than what is archived, and nobody is told of the commits that are in the old
 * directory alone.  It was most likely moved to a name beside the target, so the directories there are looked
 * at: one of the same cluster on whose pg_wal a salvage would find something is a problem, as in the target
 * itself, until it is named or given up.  A copy of the cluster has nothing: what it wrote itself is on a
 * timeline that the archive does not know.
 */
#include "restore/plan_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES_MAX = 1000 /* in a directory with more this is no place of data directories */ };

struct looking {
	struct planning *p;
	char parent[PATH_MAX];
	const char *target;
	size_t names;
};

static void look_at(const struct looking *l, const char *path, const struct lost_server *server)
{
	const struct planning *p = l->p;
	struct restore_plan *plan = p->plan;
	const struct wal_salvage_source source = lost_source(server, false);
	const struct wal_salvage_found *found;
	struct wal_salvage *salvage = NULL;
	struct error ignored; /* what cannot be read here is named by nobody */

	if (wal_salvage_look(p->env, p->archive, &source, &salvage, &ignored) != ERR_NONE)
		return;
	found = wal_salvage_found(salvage);
	if (found->answer == WAL_SALVAGE_FOUND &&
	    (plan->moved_to[0] == '\0' || found->end.value > plan->moved.end.value)) {
		plan->moved = *found;
		(void)snprintf(plan->moved_to, sizeof(plan->moved_to), "%s", path);
	}
	wal_salvage_free(salvage);
}

static int see_name(void *ctx, const char *name, mode_t type)
{
	struct looking *l = ctx;
	const struct planning *p = l->p;
	struct lost_server server = {.wal = -1};
	char path[PATH_MAX], how[256];
	struct error ignored; /* it is no data directory, or not for us */

	if (++l->names > NAMES_MAX || (type != 0 && !S_ISDIR(type)) ||
	    snprintf(path, sizeof(path), "%s/%s", l->parent, name) >= (int)sizeof(path) ||
	    strcmp(path, l->target) == 0 || lost_open(p->env, path, &server, &ignored) != ERR_NONE)
		return 0;
	if (server.control.system_identifier == p->archive->cluster[0].system_identifier &&
	    directory_is_in_use(p->env, path, how, sizeof(how)) != DIRECTORY_USED)
		look_at(l, path, &server);
	(void)p->env->files->ops->close(p->env->files, server.wal); /* a directory */
	return 0;
}

void plan_moved(struct planning *p)
{
	const struct restore_request *r = p->request;
	struct lost_server there = {.wal = -1};
	struct looking l = {.p = p};
	char target[PATH_MAX], *slash;
	struct error ignored;

	/* Where it was begun before, the WAL was saved or given up before the first change. */
	if (p->plan->side || r->standby || r->salvage_directory != NULL || p->plan->resumes ||
	    place_real(r->directory, target, &ignored) != ERR_NONE)
		return;
	if (lost_open(p->env, target, &there, &ignored) == ERR_NONE) {
		(void)p->env->files->ops->close(p->env->files, there.wal); /* a directory */
		return;
	}
	p->plan->without_lost_wal = true;
	l.target = target;
	(void)snprintf(l.parent, sizeof(l.parent), "%s", target);
	slash = strrchr(l.parent, '/');
	if (slash == l.parent)
		return; /* beside it is everything */
	*slash = '\0';
	(void)p->env->files->ops->list(p->env->files, AT_FDCWD, l.parent, see_name,
				       &l); /* one that cannot be read has nothing to say */
	if (p->plan->moved_to[0] == '\0' || r->discard_wal)
		return;
	problem_add(
		p->plan, "wal_not_saved",
		"\"%s\" has WAL of this server that was never archived, and would not be in this "
		"restore",
		p->plan->moved_to);
	problem_hint(p->plan,
		     "to save it first, and restore it: --salvage-wal with that directory; to "
		     "go on without it: --discard-wal");
}
