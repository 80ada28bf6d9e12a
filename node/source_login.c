/* source_login.c: how the link to the source logs in: TLS files, modes, compression.
 *
 * Happy path: the PEM files that the settings name are read on a thread of their own, at each connect, so
 * that a certificate that was renewed on disk counts from the next connection on; then the login is prepared
 * and the source is called. Without such files it is called at once. Failure modes: a file that cannot be
 * read or used, settings that contradict each other: the connect fails with the reason, and is tried again
 * like any other. */
#include "node/source_impl.h"

#include "node/client.h"
#include "node/pem.h"

#include <string.h>

static void login(struct source *s, const struct tls_files *files)
{
    struct errmsg em;
    if (client_login(&s->settings, s->addr.host, "binary_log_listener", files, &s->tls, &s->auth, &em)) {
        source_failed(s, 0, "%s", em.text);
    } else {
        source_reach(s);
    }
}

static void files_read(void *arg, int code, const char *why, const struct tls_files *files)
{
    struct source *s = arg;
    s->reading = NULL;
    if (s->status.phase != SOURCE_CONNECTING || s->auth) {
        return; /* nobody waits for them any more */
    }
    if (s->reading_for != s->connection) {
        source_login_begin(s); /* asked for by an earlier try, perhaps with other settings */
    } else if (code) {
        source_failed(s, 0, "a TLS file for the source cannot be used: %s", why);
    } else {
        login(s, files);
    }
}

void source_login_begin(struct source *s)
{
    static const struct tls_files none = {0};
    const char *const paths[PEM_FILES] = {
        [PEM_CA] = s->settings.ssl_ca, [PEM_CERT] = s->settings.ssl_cert, [PEM_KEY] = s->settings.ssl_key};
    if (!strcmp(s->settings.ssl_mode, tls_mode_name(TLS_DISABLED)) ||
        (!paths[0][0] && !paths[1][0] && !paths[2][0])) {
        login(s, &none);
        return;
    }
    if (s->reading) {
        return; /* files_read goes on, also with what it was not asked for */
    }
    s->reading_for = s->connection;
    s->reading = pem_read(s->loop, paths, files_read, s);
    if (!s->reading) {
        source_failed(s, 0, "no thread can be started to read the TLS files for the source");
    }
}

void source_login_end(struct source *s)
{
    pem_end(s->reading);
    s->reading = NULL;
}

/* What the login agreed on, for log and status; what was asked for and is not had is a warning. */
void source_login_note(struct source *s)
{
    const struct client_auth_result *r = client_auth_result(s->auth);
    const struct tls *tls = wire_tls(s->wire);
    struct compress_choice asked = {.kind = COMPRESS_NONE};
    compress_parse(s->settings.compression, &asked);
    env_log(s->loop, ENV_INFO,
            "source: connected source=%s:%u version=%s auth=%s tls=%s cipher=%s compression=%s", s->addr.host,
            (unsigned)s->addr.port, r->version, auth_plugin_name(r->plugin), tls ? tls_version(tls) : "no",
            tls ? tls_cipher(tls) : "none", compress_name(r->compress));
    if (asked.kind != r->compress) {
        env_log(s->loop, ENV_WARN, "source: it does not offer compression=%s, so there is none source=%s:%u",
                compress_name(asked.kind), s->addr.host, (unsigned)s->addr.port);
    }
}
