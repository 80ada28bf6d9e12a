/* config.h: the INI file that holdfastd reads at start (see docs/man/holdfast.conf.5). */
#ifndef HOLDFAST_NODE_CONFIG_H
#define HOLDFAST_NODE_CONFIG_H

#include "protocol/base/env.h"
#include "raft/cluster.h"

struct config {
    uint64_t id;
    char data_dir[1024];
    struct env_addr mysql_listen;
    bool has_mysql_listen;
    char socket[108];
    char mysql_ssl_ca[1024], mysql_ssl_cert[1024], mysql_ssl_key[1024];
    struct env_addr raft_listen;
    char raft_advertise[300];
    char raft_ssl_ca[1024], raft_ssl_cert[1024], raft_ssl_key[1024];
    char raft_secret_file[1024];
    struct cluster_member initial[CLUSTER_MEMBERS_MAX];
    size_t n_initial;
    char join[CLUSTER_MEMBERS_MAX][300]; /* host:port of members to ask; instead of initial_cluster */
    size_t n_join;
    struct env_addr http_listen;
    bool has_http_listen;
    enum env_level level;
    unsigned workers;
    uint64_t snapshot_bytes, keep_bytes; /* 0: the default; tests make them small */
    bool forgets;            /* likewise: see raft/cluster.h */
    bool tls_off;            /* not from the file: the simulator's, since OpenSSL's own random is not repeatable */
};

void config_defaults(struct config *config);
/* Unknown sections and keys, bad values, a missing id or data_dir: E_INVALID with file, line and what would be right. */
int config_read(const char *path, struct config *config, struct errmsg *em);
/* The same from text (tests, the simulator). */
int config_parse(const char *name, const char *text, struct config *config, struct errmsg *em);

#endif
