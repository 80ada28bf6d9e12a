/* sample.h: the recorded binlog files under tests/samples and their listings.
 *
 * Each file has beside it NAME.list, made by a decoder that has nothing in common with ours: one event a
 * line, fields apart by tabs: offset, type, size, log_pos, GTID (or the set of a PREVIOUS_GTIDS or
 * GTID_LIST), transaction_length (0: none), text of the event. "-": nothing. */
#ifndef TESTS_UNIT_SAMPLE_H
#define TESTS_UNIT_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sample_event {
    size_t offset;
    unsigned type;
    size_t size;
    uint32_t log_pos;
    const char *gtid;
    uint64_t length;
    const char *text;
};

struct sample {
    char name[128]; /* "mysql-9.7-all-events/mysql-bin.000001" */
    uint8_t *data;
    size_t size;
    struct sample_event *events;
    size_t count;
    char *list; /* holds the texts */
};

/* All of tests/samples, sorted by name; read at the first call and kept. Ends the program if there is none or
 * one cannot be read. */
const struct sample *samples(size_t *count);
const struct sample *sample_named(const char *name);

/* A copy of n bytes of exactly that size on the heap, so that a sanitizer sees a read past its end. Freed
 * with free(). */
uint8_t *sample_exact(const void *data, size_t n);

/* A small generator for random tests: splitmix64. */
uint64_t sample_random(uint64_t *state);

#endif
