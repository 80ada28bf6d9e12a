/* env_uv_file.c: files, blocking, with messages that name the path and the place.
 *
 * Happy path: whole reads and writes, in as many calls as the kernel wants. A durable file is opened with
 * O_DIRECT|O_DSYNC: each write is one trip to the device and on stable storage when it returns. One that is
 * written past the kernel's memory has a second descriptor, with O_DIRECT, for what is aligned.
 *
 * Failure: where the file system cannot do direct I/O (the second open, or a write, fails with EINVAL), the
 * file is used plainly, a durable one with an fdatasync after each write: slower, as safe. After a failed sync the kernel
 * may have dropped what was not written; the caller must not go on as if a second sync could help.
 *
 * A file may move between threads, but only one uses it at a time. */
#include "node/env_uv_impl.h"
#include "protocol/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0600, DIR_MODE = 0700 };

struct env_file {
    struct env_stream_head head;
    int fd;
    bool durable;
    bool direct; /* else a durable file is synced by hand */
    int past;    /* for aligned writes that go past the kernel's memory; -1: there are none */
    char *path;
};

/* ---- opening --------------------------------------------------------------------------------- */

static int open_flags(int flags)
{
    int access = (flags & ENV_WRITE) ? ((flags & ENV_READ) ? O_RDWR : O_WRONLY) : O_RDONLY;
    return access | O_CLOEXEC | O_NOCTTY | ((flags & ENV_CREATE) ? O_CREAT : 0) |
           ((flags & ENV_EXCL) ? O_EXCL : 0) | ((flags & ENV_TRUNC) ? O_TRUNC : 0);
}

static int open_retry(const char *path, int oflags)
{
    int fd;
    do {
        fd = open(path, oflags, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* A second descriptor for direct I/O: a file system that cannot do it may refuse after it has created the
 * file, so the first open is plain. -1: there is none here. 0 or an errno. */
static int open_direct(struct env *env, const struct env_file *f, int oflags, int *fd)
{
    *fd = open_retry(f->path, (oflags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_DIRECT);
    if (*fd < 0 && errno != EINVAL) {
        return errno;
    }
    if (*fd < 0) {
        env_log(env, ENV_INFO, "no direct I/O here, using fdatasync path=%s", f->path);
    }
    return 0;
}

static int go_durable(struct env *env, struct env_file *f, int oflags)
{
    int fd, error = open_direct(env, f, oflags | O_DSYNC, &fd);
    if (fd >= 0) {
        close(f->fd);
        f->fd = fd;
        f->direct = true;
    }
    return error;
}

int file_open(struct env *env, const char *path, int flags, struct env_file **file, struct errmsg *em)
{
    *file = NULL;
    int oflags = open_flags(flags);
    int fd = open_retry(path, oflags);
    if (fd < 0) {
        return err_errno(em, errno, "cannot %s %s", (flags & ENV_CREATE) ? "create" : "open", path);
    }
    struct env_file *f = mem_new(sizeof *f);
    f->head.env = env;
    f->fd = fd;
    f->durable = (flags & ENV_DURABLE) != 0;
    f->past = -1;
    f->path = mem_str(path);
    int error = f->durable ? go_durable(env, f, oflags) : flags & ENV_PAST ? open_direct(env, f, oflags, &f->past) : 0;
    if (error) {
        file_close(f);
        return err_errno(em, error, "cannot open %s", path);
    }
    *file = f;
    return 0;
}

void file_close(struct env_file *file)
{
    close(file->fd);
    if (file->past >= 0) {
        close(file->past);
    }
    mem_free(file->path);
    mem_free(file);
}

/* ---- reading and writing --------------------------------------------------------------------- */

static bool is_aligned(const void *data, size_t n, uint64_t at)
{
    return (uintptr_t)data % ENV_BLOCK == 0 && n % ENV_BLOCK == 0 && at % ENV_BLOCK == 0;
}

int file_pread(struct env_file *file, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em)
{
    size_t done = 0;
    CHECK(!file->durable || is_aligned(data, n, at));
    *got = 0;
    while (done < n) {
        ssize_t rv = pread(file->fd, (char *)data + done, n - done, (off_t)(at + done));
        if (rv < 0 && errno == EINTR) {
            continue;
        }
        if (rv < 0) {
            return err_errno(em, errno, "cannot read %s at offset %llu", file->path,
                             (unsigned long long)(at + done));
        }
        done += (size_t)rv;
        if (rv == 0 || (file->direct && done % ENV_BLOCK != 0)) { /* the end, in the middle of a block */
            break;
        }
    }
    *got = done;
    return 0;
}

/* The kernel has taken O_DIRECT, the device does not: from here on without it. False when that is not the
 * reason. */
static bool go_plain(struct env_file *f)
{
    int oflags = fcntl(f->fd, F_GETFL);
    if (f->past >= 0) {
        close(f->past);
        f->past = -1;
    } else if (!f->direct || oflags < 0 || fcntl(f->fd, F_SETFL, oflags & ~O_DIRECT) != 0) {
        return false;
    }
    f->direct = false;
    env_log(f->head.env, ENV_INFO, "no direct I/O here, using fdatasync path=%s", f->path);
    return true;
}

int file_pwrite(struct env_file *file, const void *data, size_t n, uint64_t at, struct errmsg *em)
{
    size_t done = 0;
    CHECK(!file->durable || is_aligned(data, n, at));
    while (done < n) {
        bool past = file->past >= 0 && is_aligned((const char *)data + done, n - done, at + done);
        ssize_t rv = pwrite(past ? file->past : file->fd, (const char *)data + done, n - done, (off_t)(at + done));
        if (rv < 0 && (errno == EINTR || (errno == EINVAL && go_plain(file)))) {
            continue;
        }
        if (rv <= 0) {
            return err_errno(em, rv < 0 ? errno : EIO, "cannot write %s at offset %llu", file->path,
                             (unsigned long long)(at + done));
        }
        done += (size_t)rv; /* cut short within a block, a direct write goes on plainly, by way of EINVAL */
    }
    if (file->durable && !file->direct) {
        return file_sync(file, em);
    }
    return 0;
}

void file_hint(struct env_file *file, size_t n, uint64_t at)
{
    (void)posix_fadvise(file->fd, (off_t)at, (off_t)n, POSIX_FADV_WILLNEED);
}

int file_sync(struct env_file *file, struct errmsg *em)
{
    int rv;
    do {
        rv = fdatasync(file->fd);
    } while (rv != 0 && errno == EINTR);
    return rv ? err_errno(em, errno, "cannot sync %s", file->path) : 0;
}

int file_truncate(struct env_file *file, uint64_t size, struct errmsg *em)
{
    int rv;
    do {
        rv = ftruncate(file->fd, (off_t)size);
    } while (rv != 0 && errno == EINTR);
    return rv ? err_errno(em, errno, "cannot truncate %s to %llu bytes", file->path, (unsigned long long)size)
              : 0;
}

int file_size(struct env_file *file, uint64_t *size, struct errmsg *em)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        return err_errno(em, errno, "cannot stat %s", file->path);
    }
    *size = (uint64_t)st.st_size;
    return 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

int file_rename(struct env *env, const char *from, const char *to, struct errmsg *em)
{
    (void)env;
    return rename(from, to) ? err_errno(em, errno, "cannot rename %s to %s", from, to) : 0;
}

int file_unlink(struct env *env, const char *path, struct errmsg *em)
{
    (void)env;
    return unlink(path) ? err_errno(em, errno, "cannot remove %s", path) : 0;
}

int file_mkdir(struct env *env, const char *path, struct errmsg *em)
{
    (void)env;
    return mkdir(path, DIR_MODE) ? err_errno(em, errno, "cannot create directory %s", path) : 0;
}

int file_sync_dir(struct env *env, const char *path, struct errmsg *em)
{
    (void)env;
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(em, errno, "cannot open directory %s", path);
    }
    int rv = fsync(fd) ? err_errno(em, errno, "cannot sync directory %s", path) : 0;
    close(fd);
    return rv;
}

struct names {
    char **list;
    size_t n;
    size_t cap;
};

static void names_add(struct names *names, const char *name)
{
    if (names->n == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 64;
        names->list = mem_grow(names->list, names->cap, sizeof *names->list);
    }
    names->list[names->n++] = mem_str(name);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* 0 or an errno. */
static int names_read(DIR *dir, struct names *names)
{
    for (;;) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (!d) {
            return errno;
        }
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
            names_add(names, d->d_name);
        }
    }
}

int file_list_dir(struct env *env, const char *path, void (*entry)(void *arg, const char *name), void *arg,
                  struct errmsg *em)
{
    struct names names = {.list = NULL};
    (void)env;
    DIR *dir = opendir(path);
    if (!dir) {
        return err_errno(em, errno, "cannot open directory %s", path);
    }
    int error = names_read(dir, &names);
    closedir(dir);
    if (names.n > 1) {
        qsort(names.list, names.n, sizeof *names.list, name_order);
    }
    for (size_t i = 0; i < names.n; i++) {
        if (!error) {
            entry(arg, names.list[i]);
        }
        mem_free(names.list[i]);
    }
    mem_free(names.list);
    return error ? err_errno(em, error, "cannot read directory %s", path) : 0;
}
