/* node_sim.c: starts and stops the production node as a program of a simulated host. See node_sim.h.
 *
 * The node makes no keys and no certificate here: OpenSSL's random numbers are its own. Nothing in the simulated
 * world speaks TLS. */
#include "tests/sim/node_sim.h"

#include "node/daemon.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { IN_USE_OFFSET = EVENT_MAGIC_SIZE + 17 };

#define DATA_DIR "/data"

struct node_sim {
    struct sim_host *host;
    struct config config;
    bool may_fail;
};

/* ---- the process --------------------------------------------------------------------------------------- */

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct node_sim *node = arg;
    struct daemon *daemon = NULL;
    struct errmsg em;
    if (daemon_start(env, &node->config, &daemon, &em)) {
        if (!sim_process_is_ghost(process) && !node->may_fail) {
            sim_fail(sim_host_sim(node->host), "%s does not start: %s", sim_host_name(node->host), em.text);
        }
        env_fatal(env, "the node does not start: %s", em.text);
    }
    sim_process_set(process, daemon);
}

static void stopped(void *arg)
{
    sim_exit(arg);
}

static void stop(struct sim_process *process, void *arg)
{
    (void)arg;
    daemon_stop(sim_process_get(process), stopped, process);
}

static const struct sim_program program = {start, stop, NULL};

/* ---- its disk ------------------------------------------------------------------------------------------ */

/* As holdfastd's main does, before it takes its lock. */
static void make_data_dir(struct sim_host *host)
{
    struct disk *disk = sim_host_disk(host);
    int rv = disk_mkdir(disk, DATA_DIR, 0);
    CHECK(rv == 0);
    rv = disk_sync_dir(disk, "/", 0);
    CHECK(rv == 0);
}

/* What node and source may differ in: the in-use bit, which is always 0 here. */
static bool same_file(struct node_sim *node, unsigned era, const struct history_file *truth, bool whole, struct errmsg *em)
{
    char path[128];
    struct buf mine;
    size_t n = truth->bytes.len, at = 0;
    buf_init(&mine, (size_t)1 << 32);
    snprintf(path, sizeof path, DATA_DIR "/binlog/%u/%s", era, truth->name);
    int rv = sim_host_read(node->host, path, &mine);
    if (rv && whole) {
        err_set(em, rv, "%s: %s", path, err_text(rv));
    }
    if (!rv && (mine.len > n || (whole && mine.len < n))) {
        rv = err_set(em, E_CORRUPT, "%s has %zu bytes, the source's %zu", path, mine.len, n);
    }
    while (!rv && at < mine.len) {
        uint8_t a = mine.data[at],
                b = at == IN_USE_OFFSET ? truth->bytes.data[at] & 0xfe : truth->bytes.data[at];
        if (a != b) {
            rv = err_set(em, E_CORRUPT, "%s differs from the source's file at %zu", path, at);
        }
        at++;
    }
    buf_free(&mine);
    return rv == 0 || (!whole && rv == E_NOTFOUND);
}

size_t sim_oldest_file(struct sim_host *host, const struct history *truth)
{
    struct buf names;
    char name[64] = "";
    size_t at = 0;
    buf_init(&names, 1 << 20);
    if (sim_host_read(host, DATA_DIR "/binlog/1/mysql-bin.index", &names) == 0) {
        const char *text = buf_cstr(&names), *end = strchr(text, '\n');
        if (end && end > text + 2) {
            snprintf(name, sizeof name, "%.*s", (int)(end - text - 2), text + 2);
        }
    }
    buf_free(&names);
    for (size_t i = 0; name[0] && i < truth->n_files; i++) {
        at = strcmp(truth->files[i]->name, name) == 0 ? i : at;
    }
    return at;
}

bool sim_purged_are_gone(struct sim_host *host, const struct history *truth, struct errmsg *em)
{
    size_t oldest = sim_oldest_file(host, truth);
    for (size_t i = 0; i < 2 * oldest; i++) {
        char path[128];
        struct buf bytes;
        buf_init(&bytes, (size_t)1 << 32);
        snprintf(path, sizeof path, DATA_DIR "/%s/1/%s%s", i % 2 ? "index" : "binlog", truth->files[i / 2]->name,
                 i % 2 ? ".idx" : "");
        int rv = sim_host_read(host, path, &bytes);
        buf_free(&bytes);
        if (rv != E_NOTFOUND) {
            err_set(em, E_EXISTS, "%s is there, %s is the oldest", path, truth->files[oldest]->name);
            return false;
        }
    }
    return true;
}

bool node_sim_same_era(struct node_sim *node, unsigned era, const struct history *truth, size_t from, bool whole, struct errmsg *em)
{
    for (size_t i = from; i < truth->n_files; i++) {
        if (!same_file(node, era, truth->files[i], whole, em)) {
            return false;
        }
    }
    return true;
}

bool node_sim_same_files(struct node_sim *node, const struct history *truth, bool whole, struct errmsg *em)
{
    return node_sim_same_era(node, 1, truth, whole ? sim_oldest_file(node->host, truth) : 0, whole, em);
}

/* ---- for tests ----------------------------------------------------------------------------------------- */

struct node_sim *node_sim_new(struct sim_host *host, uint64_t id, uint64_t snapshot_bytes)
{
    struct node_sim *node = mem_new(sizeof *node);
    const char *name = sim_host_name(host);
    char text[1024];
    struct errmsg em;
    node->host = host;
    config_defaults(&node->config);
    snprintf(text, sizeof text,
             "[node]\nid = %" PRIu64 "\ndata_dir = " DATA_DIR "\n"
             "[mysql]\nlisten = 0.0.0.0:%d\nsocket = " NODE_SIM_SOCKET "\n"
             "[raft]\nlisten = %s:4307\ninitial_cluster = %" PRIu64 "@%s:4307\n",
             id, NODE_SIM_PORT, name, id, name);
    int rv = config_parse(name, text, &node->config, &em);
    CHECK(rv == 0);
    node->config.snapshot_bytes = snapshot_bytes;
    node->config.tls_off = true; /* keys are made with OpenSSL's own random, which no seed repeats */
    make_data_dir(host);
    return node;
}

void node_sim_free(struct node_sim *node)
{
    mem_free(node);
}

void node_sim_may_fail(struct node_sim *node, bool may)
{
    node->may_fail = may;
}

void node_sim_start(struct node_sim *node)
{
    sim_start(node->host, &program, node);
}
