/*
 * replay: the main() of a fuzz target in an ordinary build. It hands every file of the target's corpus
 * (tests/fuzz/corpus/NAME for the program fuzz_NAME), and the empty input, to LLVMFuzzerTestOneInput, once,
 * so that what a fuzzer ever found is tried in each "make check". With files as arguments it tries those
 * instead.
 *
 * Happy path: "ok corpus n inputs" (the lines that tests/run reads). Failure: the target crashes, and the
 * last line of the log names the input; an empty or unreadable corpus is "not ok".
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_LIMIT (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An exact allocation, so that a sanitizer sees a read behind the end. Returns 0, or -1 with a line of log.
 * */
static int try_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    int rc = -1;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || size > (long)INPUT_LIMIT) {
        perror(path);
        goto out;
    }
    rewind(file);
    data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        goto out;
    }
    printf("input %s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    rc = 0;
out:
    free(data);
    if (file != NULL) {
        fclose(file);
    }
    return rc;
}

/* Returns the number of inputs tried, or -1. */
static int try_corpus(const char *dir)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    int tried = 0;

    if (n < 0) {
        perror(dir);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];

        if (entries[i]->d_name[0] != '.' && tried >= 0) {
            int len = snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);

            tried = len < (int)sizeof(path) && try_file(path) == 0 ? tried + 1 : -1;
        }
        free(entries[i]);
    }
    free(entries);
    return tried;
}

int main(int argc, char **argv)
{
    const char *filter = getenv("T");
    const char *root = getenv("HOLDFAST_SRCDIR");
    const char *base = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
    const char *name = strncmp(base, "fuzz_", 5) == 0 ? base + 5 : base;
    uint8_t *nothing = malloc(1);
    char dir[4096];
    int tried;

    for (int i = 1; i < argc; i++) {
        if (try_file(argv[i]) != 0) {
            return 1;
        }
    }
    if (argc > 1 || (filter != NULL && strstr("corpus", filter) == NULL)) {
        free(nothing);
        return argc > 1 ? 0 : 2;
    }
    puts("start corpus");
    LLVMFuzzerTestOneInput(nothing, 0);
    free(nothing);
    snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", root != NULL ? root : ".", name);
    tried = try_corpus(dir);
    if (tried <= 0) {
        printf("not ok corpus %s\n", tried == 0 ? "is empty" : "cannot be read");
        return 1;
    }
    printf("ok corpus %d inputs\n", tried);
    return 0;
}
