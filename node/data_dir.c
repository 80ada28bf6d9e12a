/* data_dir.c: see data_dir.h. Two processes on one directory would tear each other's files: the lock goes with the process. */
#include "node/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory that was just made must not be gone after a loss of power, with all that is acknowledged in it. */
static void sync_parent(const char *dir)
{
    char parent[1100];
    snprintf(parent, sizeof parent, "%s", dir);
    char *slash = strrchr(parent, '/');
    if (!slash || slash == parent) {
        return;
    }
    *slash = 0;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

int data_dir_lock(const char *dir, bool make, struct errmsg *em)
{
    char path[1100];
    if (make && !mkdir(dir, 0700)) {
        sync_parent(dir);
    } else if (make && errno != EEXIST) {
        err_set(em, E_IO, "cannot make %s: %s", dir, strerror(errno));
        return -1;
    }
    snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_set(em, E_IO, "cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        err_set(em, E_BUSY, "%s is in use by another holdfastd", dir);
        close(fd);
        return -1;
    }
    return fd;
}
