/* dirs.c: see dirs.h. */
#include "storage/dirs.h"

#include "protocol/base/mem.h"

int dirs_unlink(struct env *env, char *path, struct errmsg *em)
{
    int rv = env_unlink(env, path, em);
    mem_free(path);
    return rv == E_NOTFOUND ? 0 : rv;
}

int dirs_sync(struct env *env, char *path, struct errmsg *em)
{
    int rv = env_sync_dir(env, path, em);
    mem_free(path);
    return rv == E_NOTFOUND ? 0 : rv;
}

static void take_name(void *arg, const char *name)
{
    struct dirs_names *names = arg;
    names->name = mem_grow(names->name, names->n + 1, sizeof *names->name);
    names->name[names->n++] = mem_str(name);
}

int dirs_list(struct env *env, const char *dir, struct dirs_names *names, struct errmsg *em)
{
    *names = (struct dirs_names){.n = 0};
    int rv = env_list_dir(env, dir, take_name, names, em);
    return rv == E_NOTFOUND ? 0 : rv;
}

void dirs_names_free(struct dirs_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        mem_free(names->name[i]);
    }
    mem_free(names->name);
    *names = (struct dirs_names){.n = 0};
}
