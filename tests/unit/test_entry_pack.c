/* test_entry_pack: entries packed with lz4 read back as they were, do the same to the state as those that are not, and are refused
 * when they were made to harm. */
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"
#include "raft/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 100000, GTIDS = 50 };

static uint8_t events[BYTES];

static void fill(bool random)
{
    srand(7);
    for (size_t i = 0; i < BYTES; i++) {
        events[i] = random ? (uint8_t)(rand() >> 7) : (uint8_t)(i / 100 + (i % 16 == 0));
    }
}

static void put_events(struct buf *b, size_t n)
{
    struct entry_events e = {.era = 1, .name = "bin.000001", .offset = 4, .boundary = 4 + n, .ack = 4 + n, .timestamp = 9};
    struct entry_txn last = {.end = 4};
    struct buf txns;
    buf_init(&txns, ENTRY_MAX);
    for (uint64_t i = 1; i <= GTIDS; i++) {
        struct entry_txn txn = {.end = 4 + n * i / GTIDS, .gtid = {.flavour = FLAVOUR_MYSQL, .gno = i}};
        entry_txn_put(&txns, &last, &txn);
    }
    buf_init(b, ENTRY_MAX);
    entry_put_events(b, &e, &txns, events, n);
    entry_own(b, 3, 4, 5);
    buf_free(&txns);
}

static int read_events(const struct buf *b, struct entry_head *head, struct entry_events *e)
{
    struct cur body;
    UNIT_INT(entry_read(b->data, b->len, head, &body), 0);
    return entry_read_events(&body, e);
}

static void reads_back(void)
{
    struct buf plain, packed;
    struct entry_head head;
    struct entry_events e;
    fill(false);
    put_events(&plain, BYTES);
    put_events(&packed, BYTES);
    UNIT_TRUE(entry_pack(&packed));
    UNIT_TRUE(packed.len < plain.len / 4);
    UNIT_UINT(packed.len % 8, 0);
    UNIT_INT(read_events(&packed, &head, &e), 0);
    UNIT_TRUE(head.kind == ENTRY_EVENTS && head.node == 3 && head.term == 4 && head.seq == 5);
    UNIT_UINT(e.n, BYTES);
    UNIT_TRUE(e.unpacked == e.bytes && memcmp(e.bytes, events, BYTES) == 0);
    UNIT_TRUE(e.packed > 0 && e.packed < packed.len);
    UNIT_TRUE(e.era == 1 && e.offset == 4 && e.boundary == 4 + BYTES && e.ack == e.boundary && e.timestamp == 9 && !strcmp(e.name, "bin.000001"));
    entry_events_free(&e);
    UNIT_TRUE(!entry_pack(&packed)); /* not twice */
    buf_free(&plain);
    buf_free(&packed);
}

static void what_saves_nothing_stays(void)
{
    struct buf b, copy;
    fill(true);
    put_events(&b, BYTES);
    put_events(&copy, BYTES);
    UNIT_TRUE(!entry_pack(&b));
    UNIT_TRUE(b.len == copy.len && memcmp(b.data, copy.data, b.len) == 0);
    buf_free(&b);
    buf_free(&copy);
    fill(false);
    put_events(&b, 100);
    UNIT_TRUE(!entry_pack(&b));
    buf_free(&b);
    buf_init(&b, ENTRY_MAX);
    entry_noop(&b);
    UNIT_TRUE(!entry_pack(&b));
    UNIT_UINT(b.len, ENTRY_HEAD);
    buf_free(&b);
}

/* A quarter of it random: what is saved is an eighth and a bit, or just less. */
static void saves_an_eighth_at_least(void)
{
    for (unsigned random = 70; random <= 100; random++) {
        struct buf b;
        fill(true);
        memset(events, 1, BYTES - BYTES / 100 * random);
        put_events(&b, BYTES);
        size_t before = b.len;
        if (entry_pack(&b)) {
            UNIT_TRUE(b.len <= before - BYTES / 8 + 16);
        } else {
            UNIT_TRUE(random >= 86);
        }
        buf_free(&b);
    }
}

static struct state *state_with(struct buf *entry, int *rv, struct state_effect *effect)
{
    struct state *s = state_new();
    struct entry_file f = {.era = 1, .name = "bin.000001", .origin = {.flavour = FLAVOUR_MYSQL, .uuid = "u", .version = "v"}};
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    entry_put_file(&b, &f);
    UNIT_INT(state_apply(s, 1, b.data, b.len, effect), 0);
    buf_free(&b);
    *rv = state_apply(s, 2, entry->data, entry->len, effect);
    return s;
}

static void the_state_is_the_same(void)
{
    struct buf entries[2], sums[2];
    fill(false);
    for (unsigned i = 0; i < 2; i++) {
        struct state_effect effect;
        int rv;
        put_events(&entries[i], BYTES);
        UNIT_TRUE(entry_pack(&entries[i]) || i == 0);
        if (i == 0) {
            buf_free(&entries[0]);
            put_events(&entries[0], BYTES);
        }
        struct state *s = state_with(&entries[i], &rv, &effect);
        UNIT_INT(rv, 0);
        UNIT_INT(effect.status, 0);
        UNIT_UINT(effect.events.n, BYTES);
        UNIT_TRUE((effect.events.unpacked != NULL) == (i == 1));
        buf_init(&sums[i], ENTRY_MAX);
        state_encode(s, &sums[i]);
        entry_events_free(&effect.events);
        state_free(s);
    }
    UNIT_TRUE(sums[0].len == sums[1].len && memcmp(sums[0].data, sums[1].data, sums[0].len) == 0);
    for (unsigned i = 0; i < 2; i++) {
        buf_free(&sums[i]);
        buf_free(&entries[i]);
    }
}

/* Where the size before packing stands: behind the list of transactions. */
static uint8_t *size_of(struct buf *b)
{
    struct entry_head head;
    struct entry_events e;
    UNIT_INT(read_events(b, &head, &e), 0);
    size_t at = (size_t)(e.txns.p - b->data) + cur_left(&e.txns);
    entry_events_free(&e);
    return b->data + at;
}

static int applied(struct buf *b)
{
    struct state_effect effect;
    int rv;
    state_free(state_with(b, &rv, &effect));
    entry_events_free(&effect.events);
    return rv;
}

static void refuses_what_was_made_to_harm(void)
{
    struct buf b;
    fill(false);
    put_events(&b, BYTES);
    UNIT_TRUE(entry_pack(&b));
    uint8_t *size = size_of(&b);
    le_put(size, UINT32_MAX, 4);
    UNIT_INT(applied(&b), E_TOOBIG);
    le_put(size, ENTRY_MAX + 1, 4);
    UNIT_INT(applied(&b), E_TOOBIG);
    le_put(size, ENTRY_MAX, 4); /* more than these few bytes can become */
    UNIT_INT(applied(&b), E_TOOBIG);
    le_put(size, BYTES + 1, 4);
    UNIT_INT(applied(&b), E_CORRUPT);
    le_put(size, BYTES - 1, 4);
    UNIT_INT(applied(&b), E_CORRUPT);
    le_put(size, 0, 4);
    UNIT_INT(applied(&b), E_CORRUPT);
    le_put(size, BYTES, 4);
    UNIT_INT(applied(&b), 0);
    memset(size + 8, 0xff, 64);
    UNIT_INT(applied(&b), E_CORRUPT);
    buf_free(&b);
}

static void no_changed_byte_does_harm(void)
{
    struct buf b;
    unsigned refused = 0;
    fill(false);
    put_events(&b, 4000);
    UNIT_TRUE(entry_pack(&b));
    for (size_t at = 0; at < b.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b.data[at] ^= (uint8_t)(1u << bit);
            refused += applied(&b) != 0;
            b.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    UNIT_TRUE(refused > 0);
    UNIT_INT(applied(&b), 0);
    buf_free(&b);
}

UNIT_MAIN("entry_pack", UNIT_TEST(reads_back), UNIT_TEST(what_saves_nothing_stays), UNIT_TEST(saves_an_eighth_at_least),
          UNIT_TEST(the_state_is_the_same), UNIT_TEST(refuses_what_was_made_to_harm), UNIT_TEST(no_changed_byte_does_harm))
