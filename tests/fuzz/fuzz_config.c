/* fuzz_config: the daemon's configuration file, from text; and addresses.
 *
 * Input: the file. Properties: texts end inside their fields, numbers are in their ranges; an address that
 * was read can be printed and read again. */
#include "node/config.h"
#include "tests/fuzz/fuzz.h"

static void check_addr(const struct env_addr *a)
{
    char text[600];
    struct env_addr b;
    MUST(strnlen(a->host, sizeof a->host) < sizeof a->host);
    env_addr_format(a, text, sizeof text);
    MUST(env_addr_parse(text, 1, &b, NULL) == 0);
    MUST(!strcmp(a->host, b.host) && a->port == b.port && a->is_path == b.is_path);
}

static bool ends(const char *text, size_t size)
{
    return strnlen(text, size) < size;
}

static void check_config(const struct config *c)
{
    MUST(c->id != 0 && c->data_dir[0] && ends(c->data_dir, sizeof c->data_dir));
    MUST(ends(c->socket, sizeof c->socket) && ends(c->raft_advertise, sizeof c->raft_advertise));
    MUST(ends(c->mysql_ssl_ca, sizeof c->mysql_ssl_ca) && ends(c->mysql_ssl_cert, sizeof c->mysql_ssl_cert) &&
         ends(c->mysql_ssl_key, sizeof c->mysql_ssl_key));
    MUST(c->n_initial <= CLUSTER_MEMBERS_MAX);
    if (c->has_mysql_listen) {
        check_addr(&c->mysql_listen);
    }
    if (c->has_http_listen) {
        check_addr(&c->http_listen);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = calloc(1, sizeof *config);
    struct errmsg em = {.text = ""};
    struct env_addr addr;
    char *text = malloc(size + 1);
    MUST(config && text);
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    config_defaults(config);
    if (config_parse("fuzz.conf", text, config, &em)) {
        MUST(em.text[0] && ends(em.text, sizeof em.text));
    } else {
        check_config(config);
    }
    text[strcspn(text, "\n")] = '\0';
    if (env_addr_parse(text, 3306, &addr, &em) == 0) {
        check_addr(&addr);
    }
    free(text);
    free(config);
    return 0;
}
