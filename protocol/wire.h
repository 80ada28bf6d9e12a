/* wire.h: one MySQL connection without its socket: TLS filter, compression (both optional) and packet layer.
 *
 * In:  wire_feed takes what arrived; wire_next gives one logical packet after the other.
 * Out: wire_put* or wire_begin/wire_end append logical packets; wire_output gives the bytes for the stream:
 *          struct buf *out = wire_output(w);
 *          if (out->len)
 *              env_stream_write(stream, out);
 *      After every wire_feed there may be output too (TLS handshake, alerts): call wire_output also when
 *      nothing was put, and also after an error, so that the peer learns of it.
 *
 * Sequence numbers. *Together* (default): both directions share one counter, as in handshakes and commands:
 * what comes in is checked against it, what goes out takes it. Call wire_seq_reset when a command begins: the
 * client before it puts it, the server before it waits for the next one. *Apart* (wire_seq_apart): for a
 * dump: incoming packets have numbers of their own and are not checked (fragments of one packet are),
 * outgoing ones count on by themselves; after an event that asks for an ACK the server calls wire_seq_set(w,
 * 1), before an ACK the client wire_seq_set(w, 0).
 *
 * Errors are final: the connection is to be closed. After one of wire_feed, wire_next still gives the packets
 * that were complete before it, then the same error.
 * Owner: one session; one thread at a time; freed by wire_free. */
#ifndef HOLDFAST_WIRE_H
#define HOLDFAST_WIRE_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"
#include "protocol/compress.h"
#include "protocol/packet.h"

#include <stdbool.h>

struct tls;
struct wire;

/* What waits for wire_output at most; puts beyond it fail with E_TOOBIG. Callers stop long before. */
#define WIRE_OUTPUT_MAX (((size_t)1 << 30) + ((size_t)64 << 20))

struct wire *wire_new(size_t max_packet); /* largest logical packet that is taken in */
void wire_free(struct wire *w);           /* with its tls; NULL is fine */
void wire_set_max_packet(struct wire *w, size_t max_packet); /* small before a login, larger after it */

/* ---- in ---- */

/* Takes n bytes from the stream. 0 or an error (E_TLS, E_TOOBIG, E_CLOSED when the peer ended TLS in order).
 * */
int wire_feed(struct wire *w, const void *data, size_t n, struct errmsg *em);

/* 1: *p is the next logical packet, valid until the next wire_next, wire_feed or wire_start_tls. 0: more
 * bytes are needed. E_TOOBIG: larger than max_packet; E_MALFORMED: out of sequence. */
int wire_next(struct wire *w, struct packet *p, struct errmsg *em);

/* Bytes taken in and not yet given as packets (a partial packet, for progress and idle limits). */
size_t wire_pending(const struct wire *w);

/* ---- out ---- */

/* One logical packet, split at 16 MiB. 0 or E_TOOBIG, E_NOMEM (sticky: later puts fail too). */
int wire_put(struct wire *w, const void *payload, size_t n);

/* The same from two ranges, head first: one copy into the output, none before. */
int wire_put2(struct wire *w, const void *head, size_t nhead, const void *body, size_t nbody);

/* Built in place: append the payload to the buffer that wire_begin gives (only append), then wire_end. No
 * other call in between. */
struct buf *wire_begin(struct wire *w);
int wire_end(struct wire *w);
/* Takes back what was built since wire_begin, in place of wire_end. */
void wire_cancel(struct wire *w);

/* One logical packet of n bytes that come piece by piece: wire_open, then wire_more until all are there, which
 * they must be before anything else is put. wire_output gives what there is in between. */
int wire_open(struct wire *w, size_t n);
int wire_more(struct wire *w, const void *bytes, size_t n);
bool wire_is_open(const struct wire *w); /* bytes of it are missing */

/* The bytes to send, encrypted where TLS is on; never NULL, maybe empty. The caller takes the content
 * (buf_move, env_stream_write) or sends a part and calls buf_consume. Its err is set when output was lost:
 * close the connection. */
struct buf *wire_output(struct wire *w);

/* ---- sequence ---- */

void wire_seq_reset(struct wire *w); /* next number is 0; together again */
void wire_seq_set(struct wire *w, uint8_t seq);
void wire_seq_apart(struct wire *w, bool apart);
void wire_seq_check(struct wire *w, bool check); /* default: on */

/* ---- TLS ---- */

/* Takes tls, also on failure. What was put before leaves in clear, what was fed and not yet given by
 * wire_next goes through TLS, as does all that follows. The client's first flight is in wire_output at once.
 * */
int wire_start_tls(struct wire *w, struct tls *tls, struct errmsg *em);
bool wire_has_tls(const struct wire *w); /* started; packets can only come through it */
const struct tls *wire_tls(const struct wire *w); /* NULL: none */

/* ---- compression ---- */

/* Behind the login's OK: what was put before leaves as it is, what was fed and not yet given by wire_next are frames,
 * as is all that follows. */
int wire_start_compress(struct wire *w, const struct compress_choice *choice, struct errmsg *em);
enum compress_kind wire_compression(const struct wire *w);

#endif
