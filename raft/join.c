/* join.c: see join.h.
 *
 * Happy path: connect, TLS if there is any, one question, one answer, the end; the answer is handed on from the timer, when the connection is closed.
 * Failure: whatever ends an attempt is logged when it is news, and again every minute; the next address is asked after a pause. */
#include "raft/join.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ATTEMPT_S = 2, LOG_S = 60, INPUT_MAX = 64 << 10, WIRE_MAX = 1 << 20, ADDRESS_SIZE = MESSAGE_ADDRESS_SIZE };

struct join {
    struct env *loop;
    struct tls_ctx *ctx;
    struct message_join request;
    char addresses[JOIN_ADDRESSES_MAX][ADDRESS_SIZE];
    size_t n, next;
    unsigned pause_ms;
    join_answered *answered;
    void *owner;
    struct env_timer timer; /* an attempt's end, or the next one */
    struct env_addr addr;
    struct env_stream *stream; /* of the attempt */
    struct tls *tls;
    struct buf input, wire;
    bool over; /* the attempt is: the timer cleans up */
    bool has_answer, another_knows;
    struct message_join_answer answer;
    struct { /* of each address, so that it is said once */
        uint32_t sum;
        uint64_t at;
    } said[JOIN_ADDRESSES_MAX];
};

static void say(struct join *j, const char *what)
{
    uint64_t now = env_now(j->loop);
    uint32_t sum = crc32c_of(0, what, strlen(what));
    if (j->said[j->next].sum != sum || now - j->said[j->next].at > LOG_S * ENV_S) {
        j->said[j->next].sum = sum;
        j->said[j->next].at = now;
        env_log(j->loop, ENV_INFO, "join: %s: %s", j->addresses[j->next], what);
    }
}

static void over(struct join *j, unsigned pause_ms)
{
    if (!j->over) {
        j->over = true;
        env_timer_start(&j->timer, pause_ms * ENV_MS);
    }
}

static void failed(struct join *j, const char *why)
{
    if (!j->over) {
        say(j, why);
        over(j, j->pause_ms);
    }
}

/* ---- the attempt ---- */

static void send_wire(struct join *j)
{
    if (j->wire.len) {
        env_stream_write(j->stream, &j->wire);
    }
}

static void ask(struct join *j)
{
    struct errmsg em;
    struct buf b;
    int rv = 0;
    buf_init(&b, INPUT_MAX);
    message_join_put(&b, &j->request);
    if (j->tls) {
        rv = tls_write(j->tls, b.data, b.len, &j->wire, &em);
        send_wire(j);
    } else {
        env_stream_write(j->stream, &b);
    }
    buf_free(&b);
    if (rv) {
        failed(j, em.text);
    }
}

static void add_address(struct join *j, const char *address)
{
    for (size_t i = 0; i < j->n; i++) {
        if (!strcmp(j->addresses[i], address)) {
            return;
        }
    }
    if (j->n < JOIN_ADDRESSES_MAX) {
        snprintf(j->addresses[j->n++], ADDRESS_SIZE, "%s", address);
    }
}

/* Who leads is asked next. False: that is who was asked now, or nobody knows his address. */
static bool learn(struct join *j)
{
    size_t asked = j->next;
    bool another = false;
    for (size_t i = 0; i < j->answer.n; i++) {
        add_address(j, j->answer.members[i].address);
    }
    for (size_t i = 0; i < j->answer.n; i++) {
        for (size_t k = 0; j->answer.members[i].id == j->answer.leader && k < j->n; k++) {
            if (!strcmp(j->addresses[k], j->answer.members[i].address)) {
                j->next = (k + j->n - 1) % j->n;
                another = k != asked;
            }
        }
    }
    return another;
}

static void take(struct join *j)
{
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used;
    int rv = message_next(j->input.data, j->input.len, &kind, &body, &used, &em);
    if (rv < 0) {
        failed(j, em.text);
    } else if (rv == 0) {
        return;
    } else if (kind != MESSAGE_JOIN_ANSWER || message_join_answer_get(&body, &j->answer)) {
        failed(j, "it answers with something else; is it an older holdfastd?");
    } else {
        j->has_answer = true;
        if (j->answer.text[0]) {
            say(j, j->answer.text);
        }
        j->another_knows = learn(j) && j->answer.verdict == JOIN_WAIT;
        over(j, 0);
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct join *j = owner;
    struct errmsg em;
    int rv = 0;
    if (j->over) {
        return;
    }
    if (j->tls) {
        bool was_ready = tls_ready(j->tls);
        rv = tls_feed(j->tls, data, n, &j->input, &j->wire, &em);
        send_wire(j);
        if (!rv && !was_ready && tls_ready(j->tls)) {
            ask(j);
        }
    } else {
        buf_bytes(&j->input, data, n);
        rv = j->input.err ? err_set(&em, j->input.err, "it sends more than an answer may have") : 0;
    }
    if (rv) {
        failed(j, em.text);
    } else {
        take(j);
    }
}

static void ended(void *owner, int code, const char *why)
{
    (void)code;
    failed(owner, why);
}

static void connected(void *owner)
{
    struct join *j = owner;
    struct errmsg em;
    if (j->over) {
        return;
    }
    if (!j->ctx) {
        ask(j);
        return;
    }
    j->tls = tls_client_new(j->ctx, j->addr.host, &em);
    int rv = j->tls ? tls_feed(j->tls, NULL, 0, &j->input, &j->wire, &em) : E_TLS;
    if (rv) {
        failed(j, em.text);
    } else {
        send_wire(j);
    }
}

static const struct env_stream_handler stream_handler = {.connected = connected, .readable = readable, .closed = ended};

static void clean_up(struct join *j)
{
    if (j->stream) {
        env_stream_close(j->stream);
        j->stream = NULL;
    }
    tls_free(j->tls);
    j->tls = NULL;
    buf_reset(&j->input);
    buf_reset(&j->wire);
}

static void begin(struct join *j)
{
    struct errmsg em;
    j->over = false;
    j->next = (j->next + 1) % j->n;
    env_timer_start(&j->timer, ATTEMPT_S * ENV_S);
    int rv = env_addr_parse(j->addresses[j->next], 0, &j->addr, &em);
    rv = rv ? rv : env_connect(j->loop, &j->addr, &stream_handler, j, &j->stream);
    if (rv) {
        failed(j, "no connection can be begun");
    }
}

static void fired(struct env_timer *timer)
{
    struct join *j = CONTAINER_OF(timer, struct join, timer);
    if (!j->over) {
        failed(j, "it does not answer in time");
        return;
    }
    clean_up(j);
    if (j->has_answer) {
        j->has_answer = false;
        struct message_join_answer answer = j->answer;
        env_timer_start(&j->timer, j->another_knows ? 0 : j->pause_ms * ENV_MS);
        j->answered(j->owner, &answer);
        return;
    }
    begin(j);
}

/* ---- what the owner calls ---- */

int join_open(const struct join_options *o, join_answered *answered, void *owner, struct join **out, struct errmsg *em)
{
    struct join *j = mem_new(sizeof *j);
    CHECK(o->n && o->n <= JOIN_ADDRESSES_MAX);
    j->loop = o->loop;
    j->request = o->request;
    j->pause_ms = o->pause_ms;
    j->answered = answered;
    j->owner = owner;
    for (size_t i = 0; i < o->n; i++) {
        add_address(j, o->addresses[i]);
    }
    j->next = j->n - 1;
    buf_init(&j->input, INPUT_MAX);
    buf_init(&j->wire, WIRE_MAX);
    int rv = env_timer_open(o->loop, &j->timer, fired);
    if (rv) {
        mem_free(j);
        return err_set(em, rv, "no timer to ask the members");
    }
    j->ctx = o->tls ? tls_ctx_ref(o->tls) : NULL;
    j->over = true;
    env_timer_start(&j->timer, 0);
    *out = j;
    return 0;
}

void join_also(struct join *j, const char *address)
{
    add_address(j, address);
}

void join_close(struct join *j)
{
    if (!j) {
        return;
    }
    env_timer_close(&j->timer);
    clean_up(j);
    tls_ctx_free(j->ctx);
    buf_free(&j->input);
    buf_free(&j->wire);
    mem_free(j);
}
