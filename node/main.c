/* main.c: holdfastd: reads its options and its configuration, starts one node, ends it on SIGTERM or SIGINT.
 *
 * Exit codes: 0 ended in order, 1 a failure while running, 2 bad options, configuration or data directory. */
#include "build.h"
#include "node/config.h"
#include "node/daemon.h"
#include "node/data_dir.h"
#include "node/env_uv.h"
#include "node/recover.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_BAD_START = 2 };

struct program {
    struct env *env;
    struct config config;
    const char *config_path;
    struct daemon *daemon;
    bool stopping;
    int exit_code;
};

static void usage(FILE *to)
{
    fprintf(to,
            "usage: holdfastd [--config FILE] [--check-config]\n"
            "       holdfastd --force-new-cluster --data-dir DIR [--yes]\n"
            "\n"
            "Runs one node of a Holdfast cluster in the foreground and logs to stderr.\n"
            "\n"
            "  --config FILE    the configuration (default %s); see holdfast.conf(5)\n"
            "  --check-config   read the configuration, say what is wrong with it, end\n"
            "  --force-new-cluster --data-dir DIR\n"
            "                   the majority of its cluster is lost for good: make the node in DIR, which must\n"
            "                   not run, a cluster of its own (holdfast recover). It says what may be lost, and\n"
            "                   asks; --yes answers\n"
            "  --version        print the version, end\n"
            "  --help           print this, end\n"
            "\n"
            "Signals: SIGTERM and SIGINT end the node in order; SIGHUP reads log level and certificates again.\n"
            "Manage it with holdfast(1), for example: holdfast -S SOCKET status\n",
            HOLDFAST_CONFIG_FILE);
}

static void stopped(void *arg)
{
    struct program *p = arg;
    env_log(p->env, ENV_INFO, "node: ended");
    env_uv_stop(p->env);
}

static void on_end(void *arg, int signum)
{
    struct program *p = arg;
    if (p->stopping) {
        return;
    }
    p->stopping = true;
    env_log(p->env, ENV_INFO, "node: ending signal=%s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
    daemon_stop(p->daemon, stopped, p);
}

/* The reason was logged: trying again without an operator would not help. */
static void on_refusal(void *arg)
{
    struct program *p = arg;
    p->exit_code = EXIT_BAD_START;
    if (!p->stopping) {
        p->stopping = true;
        daemon_stop(p->daemon, stopped, p);
    }
}

static void on_hup(void *arg, int signum)
{
    struct program *p = arg;
    struct config again;
    struct errmsg em;
    (void)signum;
    config_defaults(&again);
    if (config_read(p->config_path, &again, &em)) {
        env_log(p->env, ENV_ERROR, "node: SIGHUP: %s; nothing was changed", em.text);
        return;
    }
    env_uv_set_level(p->env, again.level);
    env_log(p->env, ENV_INFO, "node: SIGHUP: log level read again");
    if (!p->stopping) {
        daemon_reload(p->daemon);
    }
}

/* As many descriptors as the system gives: connections must never take those that the files need (node/serve.c keeps a reserve). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run(struct program *p)
{
    struct errmsg em;
    int lock = data_dir_lock(p->config.data_dir, true, &em);
    if (lock < 0) {
        fprintf(stderr, "holdfastd: %s\n", em.text);
        return EXIT_BAD_START;
    }
    raise_descriptors();
    p->env = env_uv_main(p->config.level);
    if (!p->env) {
        fprintf(stderr, "holdfastd: cannot start: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (daemon_start(p->env, &p->config, &p->daemon, &em)) {
        fprintf(stderr, "holdfastd: %s\n", em.text);
        return EXIT_BAD_START;
    }
    daemon_on_refusal(p->daemon, on_refusal, p);
    env_uv_signal(p->env, SIGTERM, on_end, p);
    env_uv_signal(p->env, SIGINT, on_end, p);
    env_uv_signal(p->env, SIGHUP, on_hup, p);
    env_uv_run(p->env);
    env_uv_free(p->env);
    close(lock);
    return p->exit_code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check-config", no_argument, NULL, 'k'},
                                            {"force-new-cluster", no_argument, NULL, 'f'},
                                            {"data-dir", required_argument, NULL, 'd'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct program p;
    struct errmsg em;
    const char *data_dir = NULL;
    bool check = false, force = false, yes = false;
    int option;
    p.config_path = HOLDFAST_CONFIG_FILE;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            p.config_path = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'f':
            force = true;
            break;
        case 'd':
            data_dir = optarg;
            break;
        case 'y':
            yes = true;
            break;
        case 'v':
            printf("holdfastd %s\n", HOLDFAST_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            usage(stdout);
            return EXIT_SUCCESS;
        default:
            usage(stderr);
            return EXIT_BAD_START;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "holdfastd: unexpected argument '%s'\n", argv[optind]);
        usage(stderr);
        return EXIT_BAD_START;
    }
    if (force != (data_dir != NULL) || (yes && !force)) {
        fprintf(stderr, "holdfastd: --force-new-cluster and --data-dir go together, and --yes with them; the data directory of a node that "
                        "runs stands in its configuration\n");
        return EXIT_BAD_START;
    }
    if (force) {
        return recover_data_dir(data_dir, yes);
    }
    config_defaults(&p.config);
    if (config_read(p.config_path, &p.config, &em)) {
        fprintf(stderr, "holdfastd: %s\n", em.text);
        return EXIT_BAD_START;
    }
    if (check) {
        printf("%s: ok\n", p.config_path);
        return EXIT_SUCCESS;
    }
    return run(&p);
}
