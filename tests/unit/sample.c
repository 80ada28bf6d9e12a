/* sample.c: reads tests/samples. What is missing or malformed ends the program. */
#include "tests/unit/sample.h"

#include "tests/unit/unit.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MAX = 64, FIELDS = 7 };

static struct sample all[SAMPLES_MAX];
static size_t all_count;

static _Noreturn void give_up(const char *what, const char *path)
{
    fprintf(stderr, "samples: %s: %s\n", what, path);
    exit(2);
}

static void build(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void build(char *text, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, size, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= size) {
        give_up("name too long", text);
    }
}

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) {
        give_up("cannot read", path);
    }
    long end = ftell(file);
    rewind(file);
    uint8_t *data = malloc((size_t)end + 1);
    if (!data || fread(data, 1, (size_t)end, file) != (size_t)end) {
        give_up("cannot read", path);
    }
    data[end] = 0;
    *size = (size_t)end;
    fclose(file);
    return data;
}

/* Cuts a line into its fields, in place. */
static bool read_line(char *line, struct sample_event *event)
{
    char *fields[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = line;
        if (i + 1 < FIELDS) {
            line = strchr(line, '\t');
            if (!line) {
                return false;
            }
            *line++ = 0;
        }
    }
    event->offset = (size_t)strtoull(fields[0], NULL, 10);
    event->type = (unsigned)strtoul(fields[1], NULL, 10);
    event->size = (size_t)strtoull(fields[2], NULL, 10);
    event->log_pos = (uint32_t)strtoul(fields[3], NULL, 10);
    event->gtid = fields[4];
    event->length = strtoull(fields[5], NULL, 10);
    event->text = fields[6];
    return true;
}

static void load(const char *root, const char *name)
{
    char path[512];
    size_t list_size;
    if (all_count == SAMPLES_MAX) {
        give_up("too many", name);
    }
    struct sample *s = &all[all_count++];
    build(s->name, sizeof s->name, "%s", name);
    build(path, sizeof path, "%s/%s", root, name);
    s->data = read_whole(path, &s->size);
    build(path, sizeof path, "%s/%s.list", root, name);
    s->list = (char *)read_whole(path, &list_size);
    s->events = calloc(list_size + 1, sizeof *s->events); /* more than there are lines */
    if (!s->events) {
        give_up("no memory", name);
    }
    for (char *line = s->list, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) {
            *next++ = 0;
        }
        if (*line != '#' && !read_line(line, &s->events[s->count++])) {
            give_up("malformed listing", path);
        }
    }
    if (!s->count) {
        give_up("empty listing", path);
    }
}

static int list_names(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 5 && !strcmp(entry->d_name + n - 5, ".list");
}

static int folder_names(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void load_folder(const char *root, const char *folder)
{
    char path[512];
    struct dirent **names;
    build(path, sizeof path, "%s/%s", root, folder);
    int n = scandir(path, &names, list_names, alphasort);
    for (int i = 0; i < n; i++) {
        names[i]->d_name[strlen(names[i]->d_name) - 5] = 0;
        build(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        load(root, path);
        free(names[i]);
    }
    if (n >= 0) {
        free(names);
    }
}

const struct sample *samples(size_t *count)
{
    if (!all_count) {
        char root[400];
        struct dirent **folders;
        build(root, sizeof root, "%s/tests/samples", unit_srcdir());
        int n = scandir(root, &folders, folder_names, alphasort);
        for (int i = 0; i < n; i++) {
            load_folder(root, folders[i]->d_name);
            free(folders[i]);
        }
        if (!all_count) {
            give_up("none", root);
        }
        free(folders);
    }
    *count = all_count;
    return all;
}

const struct sample *sample_named(const char *name)
{
    size_t count;
    const struct sample *list = samples(&count);
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(list[i].name, name)) {
            return &list[i];
        }
    }
    give_up("no such sample", name);
}

uint8_t *sample_exact(const void *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy) {
        give_up("no memory", "");
    }
    if (n) {
        memcpy(copy, data, n);
    }
    return copy;
}

uint64_t sample_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
