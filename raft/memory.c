/* memory.c: see memory.h. The file has two slots of a block: magic, version, number of the write, the rows, CRC32C. Writes go to them in turn, so that one that is torn
 * leaves the one before it. */
#include "raft/memory.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_VERSION = 1, SLOTS = 2, PATH_BYTES = 4096 };

#define FILE_NAME "peers"
#define MEMORY_MAGIC 0x314d454d4c444448ull /* "HDDLMEM1" */

struct memory {
    struct env *loop, *writer;
    struct env_file *file; /* the writer's, once it runs */
    uint64_t number;       /* of the last write */
    struct memory_row rows[MEMORY_ROWS];
    size_t n;
    bool news;
};

struct store { /* one write, on its way */
    struct env_msg msg;
    struct memory *memory;
    uint64_t number;
    uint8_t *block;
};

/* ---- bytes ---- */

static uint8_t *encode(const struct memory *m)
{
    uint8_t *block = aligned_alloc(ENV_BLOCK, ENV_BLOCK);
    struct buf b;
    CHECK(block);
    buf_init(&b, ENV_BLOCK);
    buf_u64(&b, MEMORY_MAGIC);
    buf_u32(&b, MEMORY_VERSION);
    buf_u64(&b, m->number);
    buf_u32(&b, (uint32_t)m->n);
    for (size_t i = 0; i < m->n; i++) {
        buf_u64(&b, m->rows[i].id);
        buf_u64(&b, m->rows[i].incarnation);
        buf_u64(&b, m->rows[i].held);
        buf_u64(&b, m->rows[i].term);
    }
    buf_u32(&b, crc32c_of(0, b.data, b.len));
    CHECK(!b.err);
    memset(block, 0, ENV_BLOCK);
    memcpy(block, b.data, b.len);
    buf_free(&b);
    return block;
}

/* True: it is whole; it counts when it is the newest one. */
static bool decode(struct memory *m, const uint8_t *block, size_t size)
{
    struct memory_row rows[MEMORY_ROWS];
    struct cur c = cur_of(block, size);
    uint64_t magic = cur_u64(&c);
    uint32_t version = cur_u32(&c);
    uint64_t number = cur_u64(&c);
    uint32_t n = cur_u32(&c);
    if (!cur_ok(&c) || magic != MEMORY_MAGIC || version != MEMORY_VERSION || n > MEMORY_ROWS) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        rows[i].id = cur_u64(&c);
        rows[i].incarnation = cur_u64(&c);
        rows[i].held = cur_u64(&c);
        rows[i].term = cur_u64(&c);
    }
    size_t summed = size - cur_left(&c);
    uint32_t crc = cur_u32(&c);
    if (!cur_ok(&c) || crc != crc32c_of(0, block, summed)) {
        return false;
    }
    if (number > m->number) {
        m->number = number;
        m->n = n;
        memcpy(m->rows, rows, n * sizeof *rows);
    }
    return true;
}

/* ---- open and close ---- */

static int read_slots(struct memory *m, const char *path, struct errmsg *em)
{
    uint8_t *block = aligned_alloc(ENV_BLOCK, ENV_BLOCK);
    unsigned good = 0;
    int rv = 0;
    CHECK(block);
    for (uint64_t slot = 0; slot < SLOTS && !rv; slot++) {
        size_t got = 0;
        rv = env_pread(m->file, block, ENV_BLOCK, slot * ENV_BLOCK, &got, em);
        good += !rv && decode(m, block, got);
    }
    free(block);
    if (!rv && !good) {
        env_log(m->loop, ENV_WARN, "memory: %s is damaged, or of a newer version: what the other members had before this start is not known here", path);
    }
    return rv;
}

/* Under another name first: one that exists has a good slot. */
static int create(struct memory *m, const char *dir, const char *path, struct errmsg *em)
{
    char tmp[PATH_BYTES];
    uint8_t *block = NULL;
    snprintf(tmp, sizeof tmp, "%s/" FILE_NAME ".tmp", dir);
    int rv = env_open(m->loop, tmp, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_TRUNC | ENV_DURABLE, &m->file, em);
    for (uint64_t slot = 0; slot < SLOTS && !rv; slot++) {
        m->number++;
        block = encode(m);
        rv = env_pwrite(m->file, block, ENV_BLOCK, m->number % SLOTS * ENV_BLOCK, em);
        free(block);
    }
    rv = rv ? rv : env_rename(m->loop, tmp, path, em);
    return rv ? rv : env_sync_dir(m->loop, dir, em);
}

int memory_open(struct env *loop, const char *dir, struct env *writer, struct memory **out, struct errmsg *em)
{
    char path[PATH_BYTES];
    struct memory *m = mem_new(sizeof *m);
    m->loop = loop;
    m->writer = writer;
    snprintf(path, sizeof path, "%s/" FILE_NAME, dir);
    int rv = env_open(loop, path, ENV_READ | ENV_WRITE | ENV_DURABLE, &m->file, em);
    if (rv == E_NOTFOUND) {
        rv = create(m, dir, path, em);
    } else if (!rv) {
        rv = read_slots(m, path, em);
    }
    if (rv) {
        memory_close(m);
        return err_wrap(em, rv, "what the other members had is not known");
    }
    *out = m;
    return 0;
}

void memory_close(struct memory *m)
{
    if (m && m->file) {
        env_close(m->file);
    }
    mem_free(m);
}

/* ---- what is remembered ---- */

const struct memory_row *memory_of(const struct memory *m, uint64_t id, uint64_t incarnation)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->rows[i].id == id && m->rows[i].incarnation == incarnation) {
            return &m->rows[i];
        }
    }
    return NULL;
}

const struct memory_row *memory_rows(const struct memory *m, size_t *n)
{
    *n = m->n;
    return m->rows;
}

void memory_take(struct memory *m, const struct memory_row *rows, size_t n)
{
    struct memory_row next[MEMORY_ROWS];
    CHECK(n <= MEMORY_ROWS);
    m->news = m->news || n != m->n;
    for (size_t i = 0; i < n; i++) {
        const struct memory_row *was = memory_of(m, rows[i].id, rows[i].incarnation);
        next[i] = rows[i];
        next[i].held = was && was->held > next[i].held ? was->held : next[i].held;
        next[i].term = was && was->term > next[i].term ? was->term : next[i].term;
        m->news = m->news || !was || was->held != next[i].held || was->term != next[i].term;
    }
    memcpy(m->rows, next, n * sizeof *next);
    m->n = n;
}

/* On the writer. */
static void write_slot(struct env_msg *msg)
{
    struct store *s = CONTAINER_OF(msg, struct store, msg);
    struct errmsg em;
    if (env_pwrite(s->memory->file, s->block, ENV_BLOCK, s->number % SLOTS * ENV_BLOCK, &em)) {
        env_fatal(s->memory->writer, "cannot store what the other members have: %s; this node stops", em.text);
    }
    free(s->block);
    mem_free(s);
}

void memory_store(struct memory *m)
{
    if (!m->news) {
        return;
    }
    struct store *s = mem_new(sizeof *s);
    m->news = false;
    m->number++;
    *s = (struct store){.msg.run = write_slot, .memory = m, .number = m->number, .block = encode(m)};
    env_post(m->writer, &s->msg);
}
