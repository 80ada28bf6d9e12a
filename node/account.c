/* account.c: hosts of accounts, against addresses of clients.
 *
 * Addresses are compared as bytes where both can be read as such, so that ::1 and 0:0:0:0:0:0:0:1 are one; an
 * IPv4 address that came in over an IPv6 socket (::ffff:10.0.0.1) is an IPv4 address. */
#include "node/account.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ADDRESS_TEXT = 64, EXACT = 1000, NETWORK = 500 };

struct address {
    size_t n; /* bytes: 4 or 16 */
    uint8_t bytes[16];
};

static bool read_address(const char *text, struct address *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, text, a->bytes) == 1) {
        a->n = 4;
    } else if (inet_pton(AF_INET6, text, a->bytes) == 1) {
        a->n = 16;
        if (memcmp(a->bytes, mapped, sizeof mapped) == 0) {
            memmove(a->bytes, a->bytes + 12, 4);
            a->n = 4;
        }
    }
    return a->n > 0;
}

/* ADDRESS/BITS, ADDRESS/MASK: how many bits count; -1: it is no network. */
static int read_network(const char *host, struct address *base)
{
    const char *slash = strchr(host, '/');
    char text[ADDRESS_TEXT];
    struct address mask;
    size_t n = slash ? (size_t)(slash - host) : 0;
    if (!slash || n >= sizeof text) {
        return -1;
    }
    memcpy(text, host, n);
    text[n] = 0;
    if (!read_address(text, base)) {
        return -1;
    }
    size_t digits = strspn(slash + 1, "0123456789");
    if (digits > 0 && digits <= 3 && !slash[1 + digits]) {
        int bits = (int)strtol(slash + 1, NULL, 10);
        return bits <= (int)base->n * 8 ? bits : -1;
    }
    if (base->n != 4 || !read_address(slash + 1, &mask) || mask.n != 4) {
        return -1;
    }
    uint32_t word = (uint32_t)mask.bytes[0] << 24 | (uint32_t)mask.bytes[1] << 16 | (uint32_t)mask.bytes[2] << 8 | mask.bytes[3];
    int bits = 0;
    while (bits < 32 && word & 0x80000000u) {
        word <<= 1;
        bits++;
    }
    return word ? -1 : bits; /* ones behind a zero */
}

static bool bit(const struct address *a, int i)
{
    return a->bytes[i / 8] & 0x80 >> i % 8;
}

static bool in_network(const struct address *base, int bits, const struct address *a)
{
    for (int i = 0; i < bits; i++) {
        if (bit(base, i) != bit(a, i)) {
            return false;
        }
    }
    return a->n == base->n;
}

/* % for any text, _ for any one character; both texts are short. */
static bool like(const char *text, const char *pattern)
{
    const char *again_text = NULL, *again_pattern = NULL;
    while (*text) {
        if (*pattern == '%') {
            again_pattern = ++pattern;
            again_text = text;
        } else if (*pattern == '_' || (*pattern && strncasecmp(pattern, text, 1) == 0)) {
            pattern++;
            text++;
        } else if (again_pattern) {
            pattern = again_pattern;
            text = ++again_text;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "%")] == 0;
}

static bool is_localhost(const char *host)
{
    return strcasecmp(host, "localhost") == 0;
}

bool account_host_ok(const char *host)
{
    struct address a;
    int bits;
    if (is_localhost(host) || read_address(host, &a)) {
        return true;
    }
    if (strchr(host, '/')) { /* 10.1.2.3/16 is 10.1.0.0/16 misspelt, or 10.1.2.3 */
        bits = read_network(host, &a);
        for (int i = bits; i >= 0 && i < (int)a.n * 8; i++) {
            if (bit(&a, i)) {
                return false;
            }
        }
        return bits >= 0;
    }
    return strpbrk(host, "%_") && host[strspn(host, "0123456789abcdefABCDEF.:%_")] == 0;
}

bool account_host_matches(const char *host, const char *address)
{
    struct address base, a;
    char text[INET6_ADDRSTRLEN];
    bool is_address = read_address(address, &a);
    if (is_localhost(host)) {
        static const uint8_t loopback[16] = {[15] = 1};
        return is_localhost(address) ||
               (is_address && (a.n == 4 ? a.bytes[0] == 127 : memcmp(a.bytes, loopback, sizeof loopback) == 0));
    }
    if (strcmp(host, "%") == 0) {
        return true;
    }
    if (!is_address) {
        return false;
    }
    if (read_address(host, &base)) {
        return base.n == a.n && memcmp(base.bytes, a.bytes, a.n) == 0;
    }
    if (strchr(host, '/')) {
        int bits = read_network(host, &base);
        return bits >= 0 && in_network(&base, bits, &a);
    }
    return inet_ntop(a.n == 4 ? AF_INET : AF_INET6, a.bytes, text, sizeof text) && like(text, host);
}

/* How much a host says. */
static int weight(const char *host)
{
    struct address base;
    int bits = read_network(host, &base);
    if (bits >= 0) {
        return NETWORK + bits;
    }
    return strpbrk(host, "%_") ? (int)strcspn(host, "%_") : EXACT;
}

const struct user_account *account_of_client(const struct user_account *users, size_t n, const char *name,
                                             const char *address)
{
    const struct user_account *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(users[i].name, name) == 0 && account_host_matches(users[i].host, address) &&
            (!best || weight(users[i].host) > weight(best->host))) {
            best = &users[i];
        }
    }
    return best;
}
