/* test_serve.c: the serving part as clients see it: login, statements, dumps, ends. Real threads and sockets.
 * What a replica is sent is compared with the bytes of the sample files in the store. */
#include "tests/unit/serve_fixture.h"

static void logs_in(void)
{
    static const enum flavour flavours[] = {FLAVOUR_MYSQL, FLAVOUR_MARIADB};
    for (size_t i = 0; i < 2; i++) {
        struct client c;
        node_begin(flavours[i]);
        node_serve();
        client_login(&c, "repl", "secret");
        UNIT_TRUE(c.in);
        UNIT_INT(client_auth_result(c.auth)->plugin,
                 flavours[i] == FLAVOUR_MARIADB ? AUTH_NATIVE : AUTH_SHA2);
        UNIT_UINT(client_auth_result(c.auth)->thread_id, 1);
        UNIT_UINT(serve_sessions(node.serve), 1);
        client_close(&c);
        client_login(&c, "repl", "wrong");
        UNIT_TRUE(c.refused);
        UNIT_UINT(c.code, ER_ACCESS_DENIED);
        WAIT_FOR(c.closed);
        client_close(&c);
        client_login(&c, "nobody", "secret");
        UNIT_UINT(c.code, ER_ACCESS_DENIED);
        client_close(&c);
        client_login(&c, "root", NULL); /* our own uid */
        UNIT_TRUE(c.in);
        client_close(&c);
        WAIT_FOR(serve_sessions(node.serve) == 0);
        node_end();
    }
}

static void logs_in_with_tls(void)
{
    static const char *const names[] = {"holdfast"};
    struct buf cert, key;
    struct errmsg em = {""};
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    buf_init(&cert, 1 << 16);
    buf_init(&key, 1 << 16);
    UNIT_INT(tls_self_signed(names, 1, (int64_t)(env_wall(env) / 1000000), 1, &cert, &key, &em), 0);
    struct tls_files files = {.cert = buf_cstr(&cert), .key = buf_cstr(&key)};
    node.tls = tls_server_ctx(&files, &em);
    struct tls_files none = {.ca = NULL};
    node.client_tls = tls_client_ctx(TLS_REQUIRED, &none, &em);
    UNIT_REQUIRE(node.tls && node.client_tls);
    view_unref(node.view);
    node.view = new_view(FLAVOUR_MYSQL);
    node_serve();
    struct env_addr addr = {.is_path = true};
    struct client_auth_opts opts = {
        .user = "repl", .password = "secret", .tls_mode = TLS_REQUIRED, .tls = node.client_tls};
    snprintf(addr.host, sizeof addr.host, "%s", node.config.socket);
    client_connect(&c, &opts, &addr);
    WAIT_FOR(c.in || c.refused || c.closed);
    UNIT_TRUE(c.in && client_auth_result(c.auth)->tls);
    (void)client_ready(&c);
    UNIT_UINT(client_command(&c, COM_PING), 0);
    UNIT_UINT(client_query(&c, "SELECT 1"), 0);
    client_close(&c);
    buf_free(&cert);
    buf_free(&key);
    node_end();
}

static void answers_commands(void)
{
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    (void)client_open(&c);
    UNIT_UINT(client_command(&c, COM_PING), 0);
    UNIT_UINT(client_query(&c, "SELECT 1"), 0);
    UNIT_STR(result_value(&c.result, 0, 0, NULL), "1");
    UNIT_UINT(client_query(&c, "SET @a = 'b'"), 0);
    UNIT_UINT(client_query(&c, "SELECT @a"), 0);
    UNIT_STR(result_value(&c.result, 0, 0, NULL), "b");
    UNIT_UINT(client_command(&c, COM_RESET_CONNECTION), 0);
    UNIT_UINT(client_query(&c, "SELECT @a"), 0);
    UNIT_TRUE(result_value(&c.result, 0, 0, NULL) == NULL);
    UNIT_UINT(client_command(&c, COM_DEBUG), ER_UNKNOWN_COM);
    UNIT_UINT(client_query(&c, "FROBNICATE"), ER_PARSE);
    struct register_slave r = {.server_id = 7, .host = "here", .port = 3306};
    result_reset(&c.result);
    command_put_register_slave(c.wire, &r);
    client_flush(&c);
    WAIT_FOR(c.answered);
    UNIT_INT(c.answer, RESULT_DONE);
    c.answered = false;
    command_put(c.wire, COM_QUIT);
    client_flush(&c);
    WAIT_FOR(c.closed);
    client_close(&c);
    WAIT_FOR(serve_sessions(node.serve) == 0);
    node_end();
}

/* Two statements in one write, the first of which runs on the loop. */
static void keeps_what_is_sent_ahead(void)
{
    struct client c, victim;
    char kill[32];
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    uint32_t id = client_open(&victim);
    client_login(&c, "root", NULL);
    (void)client_ready(&c);
    snprintf(kill, sizeof kill, "KILL %u", (unsigned)id);
    result_reset(&c.result);
    command_put_query(c.wire, CAPS_CLIENT, kill, strlen(kill));
    command_put_query(c.wire, CAPS_CLIENT, "SELECT 2", 8);
    wire_seq_set(c.wire, 1); /* of the first answer */
    client_flush(&c);
    WAIT_FOR(c.answered);
    UNIT_INT(c.answer, RESULT_DONE);
    UNIT_TRUE(!c.result.has_rows);
    c.answered = false;
    result_reset(&c.result);
    wire_seq_set(c.wire, 1);
    client_readable(&c, NULL, 0);
    WAIT_FOR(c.answered);
    UNIT_INT(c.answer, RESULT_DONE);
    UNIT_STR(result_value(&c.result, 0, 0, NULL), "2");
    WAIT_FOR(victim.closed);
    client_close(&c);
    client_close(&victim);
    node_end();
}

static void refuses_without_the_privilege(void)
{
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    client_login(&c, "eye", "glass");
    (void)client_ready(&c);
    dump_position(&c, "", 4, 0);
    WAIT_FOR(c.code);
    UNIT_UINT(c.code, ER_SPECIFIC_ACCESS_DENIED);
    client_close(&c);
    node_end();
}

static void load_mysql(unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        load("mysql-9.7-all-events", i);
    }
}

/* From each transaction boundary: exactly the rest. */
static void dumps_by_gtid(void)
{
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    node_begin(FLAVOUR_MYSQL);
    load_mysql(3);
    put_files(0, 3);
    node_serve();
    WAIT_FOR(idle());
    for (size_t i = 0; i < node.n_files; i++) {
        for (size_t e = 0; e < node.files[i]->n_events; e++) {
            const struct binlog_event *ev = &node.files[i]->events[e];
            struct client c;
            struct buf want;
            if (!ev->ends_txn && (i || e)) {
                continue;
            }
            if (ev->ends_txn && ev->has_gtid) {
                gtid_set_add(have, &ev->gtid);
            }
            (void)client_open(&c);
            replica_variables(&c);
            dump_gtid(&c, have, DUMP_NON_BLOCK, "");
            wait_end(&c);
            UNIT_TRUE(c.ended);
            /* the newest file whose state the replica has */
            size_t file = node.n_files - 1;
            while (file > 0 && !gtid_set_subset(node.files[file]->state_before, have)) {
                file--;
            }
            expected(&want, file, 4, have);
            if (!got_all(&c, &want)) {
                fprintf(stderr, "from file %zu event %zu\n", i, e);
            }
            UNIT_TRUE(c.first_log_pos != 0);
            UNIT_TRUE(gtid_set_is_empty(have) || file != 0 || c.first_created == 0);
            UNIT_UINT(c.rotates, node.n_files - file);
            buf_free(&want);
            WAIT_FOR(c.closed);
            client_close(&c);
        }
    }
    gtid_set_free(have);
    node_end();
}

/* One heartbeat moves the replica past what it has. */
static void marks_what_it_skips(void)
{
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    uint64_t end_of_last = 0;
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(1);
    put_files(0, 1);
    node_serve();
    for (size_t e = 0; e < node.files[0]->n_events; e++) {
        const struct binlog_event *ev = &node.files[0]->events[e];
        if (ev->ends_txn) {
            gtid_set_add(have, &ev->gtid);
            end_of_last = ev->end;
        }
    }
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, DUMP_HEARTBEAT_V2, "");
    WAIT_FOR(c.heartbeats == 1);
    UNIT_STR(c.heartbeat_file, "mysql-bin.000001");
    UNIT_UINT(c.heartbeat_pos, end_of_last);
    UNIT_TRUE(memchr(c.types.data, EVENT_HEARTBEAT_V2, c.types.len) != NULL);
    UNIT_TRUE(c.seq_ok && c.crc_ok);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

static void dumps_by_position(void)
{
    node_begin(FLAVOUR_MYSQL);
    load_mysql(2);
    put_files(0, 2);
    node_serve();
    WAIT_FOR(idle());
    for (size_t e = 0; e < node.files[1]->n_events; e += 3) {
        uint64_t pos = node.files[1]->events[e].start;
        struct client c;
        struct buf want;
        (void)client_open(&c);
        replica_variables(&c);
        UNIT_UINT(client_query(&c, "SET @rpl_semi_sync_replica = 1"), 0);
        c.semi_sync = true;
        dump_position(&c, "mysql-bin.000002", (uint32_t)pos, DUMP_NON_BLOCK);
        wait_end(&c);
        UNIT_TRUE(c.ended && !c.flagged);
        expected(&want, 1, pos, NULL);
        got_all(&c, &want);
        UNIT_UINT(c.formats, 1);
        UNIT_TRUE(pos == 4 ? c.first_log_pos != 0 : c.first_log_pos == 0 && c.first_created == 0);
        UNIT_UINT(c.rotate_pos, pos);
        buf_free(&want);
        client_close(&c);
    }
    node_end();
}

/* As mysqlbinlog does: from a file, without what is excluded, and saying NONE for the checksum. */
static void dumps_a_named_file_by_gtid(void)
{
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    struct client c;
    struct buf want;
    unsigned n = 0;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(3);
    put_files(1, 2); /* that the first one is gone does not matter here */
    node_serve();
    WAIT_FOR(idle());
    for (size_t e = 0; e < node.files[1]->n_events; e++) {
        const struct binlog_event *ev = &node.files[1]->events[e];
        if (ev->ends_txn && n++ % 2) {
            gtid_set_add(have, &ev->gtid);
        }
    }
    (void)client_open(&c);
    UNIT_UINT(client_query(&c, "SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'"), 0);
    c.no_checksum = true;
    dump_gtid(&c, have, DUMP_NON_BLOCK, "mysql-bin.000002");
    wait_end(&c);
    UNIT_TRUE(c.ended);
    expected(&want, 1, 4, have);
    got_all(&c, &want);
    UNIT_UINT(c.first_rotate_size, EVENT_HEADER_SIZE + 8 + 16);
    UNIT_UINT(c.heartbeats, n / 2);
    UNIT_TRUE(memchr(c.types.data, EVENT_HEARTBEAT_V2, c.types.len) == NULL);
    buf_free(&want);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

static void leaves_tagged_transactions_out(void)
{
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(2);
    put_files(0, 2);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, DUMP_NON_BLOCK | DUMP_SKIP_TAGGED, "");
    wait_end(&c);
    UNIT_TRUE(c.ended && c.n_stored > 0 && c.heartbeats > 0 && c.crc_ok && c.seq_ok);
    UNIT_TRUE(memchr(c.types.data, EVENT_GTID_TAGGED, c.types.len) == NULL);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

static void dumps_mariadb(void)
{
    struct gtid_set *have = gtid_set_new(FLAVOUR_MARIADB);
    node_begin(FLAVOUR_MARIADB);
    load("mariadb-10.11-all-events", 1);
    put_files(0, 1);
    node_serve();
    WAIT_FOR(idle());
    const struct binlog *b = node.files[0];
    unsigned dumps = 0;
    for (size_t e = 0; e < b->n_events; e++) {
        struct client c;
        struct buf want, set;
        if (!b->events[e].ends_txn || (e > 0 && !b->events[e].has_gtid)) {
            continue;
        }
        gtid_set_add(have, &b->events[e].gtid);
        buf_init(&set, 4096);
        buf_str(&set, "SET @slave_connect_state='");
        gtid_set_print_position(have, &set);
        buf_str(&set, "', @mariadb_slave_capability=4");
        (void)client_open(&c);
        replica_variables(&c);
        UNIT_UINT(client_query(&c, buf_cstr(&set)), 0);
        dump_position(&c, "", 4, DUMP_NON_BLOCK | DUMP_ANNOTATE_ROWS);
        wait_end(&c);
        UNIT_TRUE(c.ended);
        expected(&want, 0, 4, have);
        if (!got_all(&c, &want)) {
            fprintf(stderr, "after %s: code %u %s\n", buf_cstr(&set), c.code, c.message);
        }
        UNIT_TRUE(c.lists >= 1);
        UNIT_UINT(c.heartbeats, 0);
        dumps++;
        buf_free(&want);
        buf_free(&set);
        client_close(&c);
    }
    UNIT_TRUE(dumps > 10);
    gtid_set_free(have);
    node_end();
}

static void leaves_annotations_out(void)
{
    struct client c;
    node_begin(FLAVOUR_MARIADB);
    load("mariadb-10.11-all-events", 1);
    put_files(0, 1);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @mariadb_slave_capability=4"), 0);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.ended && c.n_stored > 0);
    UNIT_TRUE(memchr(c.types.data, EVENT_ANNOTATE_ROWS, c.types.len) == NULL);
    client_close(&c);
    node_end();
}

/* A dump that asks for what will come later gets it then, and follows from file to file. */
static void waits_for_more(void)
{
    struct client c, early;
    struct buf want;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(2);
    node_serve();
    (void)client_open(&early);
    replica_variables(&early);
    UNIT_UINT(client_query(&early, "SET @source_heartbeat_period = 5000000"), 0);
    dump_position(&early, "", 4, 0); /* there is no file at all */
    put_files(0, 1);
    WAIT_FOR(early.n_stored > 0 && early.heartbeats > 1);
    UNIT_STR(early.heartbeat_file, "mysql-bin.000001");
    UNIT_UINT(early.heartbeat_pos, node.files[0]->n);
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @source_heartbeat_period = 5000000"), 0);
    dump_position(&c, "mysql-bin.000002", (uint32_t)node.files[1]->events[2].start,
                  0); /* it is ahead of us */
    WAIT_FOR(c.heartbeats > 1);
    UNIT_STR(c.heartbeat_file, "mysql-bin.000002");
    UNIT_UINT(c.heartbeat_pos, node.files[1]->events[2].start);
    UNIT_UINT(c.n_stored, 0);
    UNIT_UINT(c.types.data[1], EVENT_FORMAT_DESCRIPTION); /* no source sends a heartbeat before one */
    UNIT_UINT(c.first_log_pos, 0);
    UNIT_UINT(c.first_created, 0);
    UNIT_UINT(c.formats, 1);
    put_files(1, 1);
    expected(&want, 1, node.files[1]->events[2].start, NULL);
    WAIT_FOR(c.stored.len >= want.len);
    got_all(&c, &want);
    UNIT_UINT(c.formats, 2); /* the place's own */
    buf_free(&want);
    expected(&want, 0, 4, NULL);
    WAIT_FOR(early.stored.len >= want.len);
    got_all(&early, &want);
    UNIT_UINT(early.rotates, 2);
    buf_free(&want);
    client_close(&c);
    client_close(&early);
    node_end();
}

/* A node without any file has no format description to send: it says nothing until it has one. */
static void says_nothing_before_there_is_a_file(void)
{
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(1);
    node_serve();
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @source_heartbeat_period = 5000000"), 0);
    dump_position(&c, "mysql-bin.000001", (uint32_t)node.files[0]->events[2].start, 0);
    WAIT_FOR(c.rotates == 1);
    run_for(30 * ENV_MS);
    UNIT_UINT(c.heartbeats, 0);
    UNIT_TRUE(!c.closed && !c.ended);
    put_files(0, 1);
    WAIT_FOR(c.heartbeats > 0);
    UNIT_UINT(c.types.data[2], EVENT_FORMAT_DESCRIPTION); /* behind the second ROTATE */
    client_close(&c);
    node_end();
}

/* A reader by position is led from the last file of one era to the first transaction of the next. */
static void goes_on_with_the_next_era(void)
{
    struct client c, at_the_end;
    struct buf want;
    size_t first = 0;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(2);
    put_files(0, 1);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    (void)client_open(&at_the_end);
    replica_variables(&c);
    replica_variables(&at_the_end);
    dump_position(&c, "mysql-bin.000001", 4, 0);
    dump_position(&at_the_end, "mysql-bin.000001", (uint32_t)node.files[0]->n, 0);
    WAIT_FOR(c.n_stored > 0 && at_the_end.formats == 1);
    binlog_put(node.store, node.files[1], 2, 3000, &node.index);
    const struct binlog *next = node.files[1];
    while (!event_is_gtid(next->events[first].type)) {
        first++;
    }
    node.n_files = 1;
    expected(&want, 0, 4, NULL);
    node.n_files = 2;
    buf_bytes(&want, next->bytes + next->events[first].start, next->n - next->events[first].start);
    WAIT_FOR(c.stored.len >= want.len);
    got_all(&c, &want);
    UNIT_UINT(c.rotates, 2);
    UNIT_STR(c.rotate_file, "mysql-bin.000002");
    WAIT_FOR(at_the_end.rotates == 2 && at_the_end.formats == 2);
    UNIT_STR(at_the_end.rotate_file, "mysql-bin.000002");
    UNIT_UINT(at_the_end.rotate_pos, next->events[first].start);
    buf_free(&want);
    client_close(&c);
    client_close(&at_the_end);
    node_end();
}

/* A GTID of its own; GTID_LOG_EVENT: flags, 16 bytes of the source, the number. */
static void number_gtid(uint8_t *event, size_t n, uint64_t gno)
{
    UNIT_REQUIRE(event[4] == EVENT_GTID);
    for (size_t i = 0; i < 8; i++) {
        event[EVENT_HEADER_SIZE + 17 + i] = (uint8_t)(gno >> (8 * i));
    }
    event_crc_set(event, n);
}

/* A file of many megabytes: its format description and one transaction again and again, each with its own GTID. */
static void load_large(size_t size)
{
    load_mysql(1);
    struct binlog *b = node.files[0];
    size_t first = 0, last;
    while (!b->events[first].in_txn) {
        first++;
    }
    for (last = first; !b->events[last].ends_txn; last++) {
    }
    size_t start = b->events[first].start, n = b->events[last].end - start;
    uint8_t *bytes = mem_array(start + size, 1);
    memcpy(bytes, b->bytes, start);
    size_t len = start;
    size_t n_events = first;
    b->events = mem_grow(b->events, first + (size / n + 1) * (last - first + 1), sizeof *b->events);
    struct binlog_event pattern[64];
    UNIT_REQUIRE(last - first < 64);
    memcpy(pattern, &b->events[first], (last - first + 1) * sizeof *pattern);
    while (len + n <= size) {
        memcpy(bytes + len, b->bytes + start, n);
        number_gtid(bytes + len, pattern[0].end - pattern[0].start, 1000 + n_events);
        for (size_t i = 0; i <= last - first; i++) {
            struct binlog_event ev = pattern[i];
            ev.start += len - start;
            ev.end += len - start;
            b->events[n_events++] = ev;
        }
        len += n;
    }
    mem_free(b->bytes);
    b->bytes = bytes;
    b->n = len;
    b->n_events = n_events;
}

static void take_position(void *arg, const struct serve_replica *replica)
{
    *(uint64_t *)arg = replica->position;
}

/* What waits for a replica that does not read is bounded; nothing is lost when it reads again. */
static void slow_reader_is_bounded(void)
{
    enum { SIZE = 8 << 20, BOUND = 2 << 20 }; /* kernel's buffers included */
    struct client c;
    struct buf want;
    uint64_t at = 0;
    node_begin(FLAVOUR_MYSQL);
    load_large(SIZE);
    store_file(node.store, ++node.index, 0, 1, node.files[0]->name, NULL);
    store_write(node.store, ++node.index, 4, node.files[0]->bytes + 4, node.files[0]->n - 4, node.files[0]->n,
                NULL, NULL);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    env_stream_pause(c.stream, true);
    dump_position(&c, "mysql-bin.000001", 4, 0);
    run_for(1200 * ENV_MS); /* two reports */
    serve_each_replica(node.serve, take_position, &at);
    UNIT_TRUE(at > PACKET_HEADER && at < BOUND);
    env_stream_pause(c.stream, false);
    expected(&want, 0, 4, NULL);
    WAIT_FOR(c.stored.len >= want.len);
    got_all(&c, &want);
    buf_free(&want);
    client_close(&c);
    WAIT_FOR(serve_sessions(node.serve) == 0);
    node_end();
}

static void count_begun(void *arg, const struct serve_replica *replica)
{
    *(unsigned *)arg += replica->position > 1 << 16; /* more than a start */
}

static bool both_have_begun(void)
{
    unsigned n = 0;
    serve_each_replica(node.serve, count_begun, &n);
    return n == 2;
}

/* The file behind the one that it reads is gone. By position that is the end, as from a source; by GTID the replica may have all that stood there
 * (it was ahead of a node that has fetched newer files since): it is to come again, and the start looks at what it has. */
static void lets_who_may_have_it_all_come_again(void)
{
    struct client by_position, by_gtid;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    node_begin(FLAVOUR_MYSQL);
    load_large(8 << 20);
    store_file(node.store, ++node.index, 0, 1, node.files[0]->name, NULL);
    store_write(node.store, ++node.index, 4, node.files[0]->bytes + 4, node.files[0]->n - 4, node.files[0]->n, NULL, NULL);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&by_position);
    (void)client_open(&by_gtid);
    replica_variables(&by_position);
    replica_variables(&by_gtid);
    env_stream_pause(by_position.stream, true);
    env_stream_pause(by_gtid.stream, true);
    dump_position(&by_position, "mysql-bin.000001", 4, 0);
    dump_gtid(&by_gtid, have, 0, "");
    WAIT_FOR(both_have_begun());
    store_file(node.store, ++node.index, 0, 1, "mysql-bin.000002", NULL);
    store_file(node.store, ++node.index, 0, 1, "mysql-bin.000003", NULL);
    store_purge(node.store, ++node.index, 1, "mysql-bin.000003");
    WAIT_FOR(idle());
    env_stream_pause(by_position.stream, false);
    env_stream_pause(by_gtid.stream, false);
    WAIT_FOR(by_position.closed && by_gtid.closed);
    UNIT_UINT(by_position.code, ER_DUMP_FATAL);
    UNIT_TRUE(strstr(by_position.message, "could not find next log") != NULL);
    UNIT_UINT(by_gtid.code, 0);
    UNIT_TRUE(by_gtid.n_stored > 0 && !by_gtid.ended);
    client_close(&by_position);
    client_close(&by_gtid);
    WAIT_FOR(serve_sessions(node.serve) == 0);
    gtid_set_free(have);
    node_end();
}

static void closes_with_all_open(void)
{
    struct client c[6];
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    node_begin(FLAVOUR_MYSQL);
    load_mysql(1);
    put_files(0, 1);
    node_serve();
    for (size_t i = 0; i < 6; i++) {
        (void)client_open(&c[i]);
        replica_variables(&c[i]);
        if (i % 2) {
            dump_gtid(&c[i], have, 0, "");
            WAIT_FOR(c[i].n_stored > 0);
        } else if (i % 4 == 0) { /* a statement on its way */
            command_put_query(c[i].wire, CAPS_CLIENT, "KILL 999", 8);
            client_flush(&c[i]);
        }
    }
    serve_close(node.serve, note, &node.serve_closed);
    UNIT_TRUE(!node.serve_closed);
    WAIT_FOR(node.serve_closed);
    node.serve = NULL;
    for (size_t i = 0; i < 6; i++) {
        WAIT_FOR(c[i].closed);
        UNIT_TRUE(i % 2 == 0 || c[i].ended);
        client_close(&c[i]);
    }
    gtid_set_free(have);
    node_end();
}

/* Past the limit a client is told so, and the sessions that are there go on. */
static void limits_connections(void)
{
    enum { LIMIT = 3, MORE_BY_SOCKET = 16, REFUSED = 5 };
    struct client in[LIMIT + MORE_BY_SOCKET], out[REFUSED];
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    serve_set_limits(node.serve, &(struct serve_limits){.connections = LIMIT});
    for (size_t i = 0; i < LIMIT + MORE_BY_SOCKET; i++) {
        (void)client_open(&in[i]);
    }
    for (size_t i = 0; i < REFUSED; i++) {
        client_login(&out[i], "repl", "secret");
        UNIT_TRUE(out[i].refused);
        UNIT_UINT(out[i].code, ER_CON_COUNT);
        client_close(&out[i]);
    }
    WAIT_FOR(serve_sessions(node.serve) == LIMIT + MORE_BY_SOCKET);
    UNIT_UINT(client_query(&in[0], "SELECT 1"), 0);
    client_close(&in[0]);
    WAIT_FOR(serve_sessions(node.serve) == LIMIT + MORE_BY_SOCKET - 1);
    (void)client_open(&in[0]); /* there is room again */
    UNIT_UINT(client_query(&in[0], "SELECT 1"), 0);
    for (size_t i = 0; i < LIMIT + MORE_BY_SOCKET; i++) {
        UNIT_TRUE(serve_has_session(node.serve, in[i].id));
        client_close(&in[i]);
    }
    WAIT_FOR(serve_sessions(node.serve) == 0);
    UNIT_TRUE(!serve_has_session(node.serve, in[0].id) && !serve_has_session(node.serve, 0));
    node_end();
}

static void reports_a_bad_address(void)
{
    struct errmsg em = {""};
    node_begin(FLAVOUR_MYSQL);
    snprintf(node.config.socket, sizeof node.config.socket, "%s/no/such/dir/s", unit_tmpdir());
    UNIT_TRUE(serve_open(&node.control, node.store, node.view, &node.serve, &em) < 0);
    UNIT_TRUE(node.serve == NULL && strstr(em.text, "[mysql] socket") != NULL);
    node_end();
}

UNIT_MAIN("serve", UNIT_TEST(logs_in), UNIT_TEST(logs_in_with_tls), UNIT_TEST(answers_commands),
          UNIT_TEST(keeps_what_is_sent_ahead), UNIT_TEST(refuses_without_the_privilege),
          UNIT_TEST(dumps_by_gtid), UNIT_TEST(marks_what_it_skips), UNIT_TEST(dumps_by_position),
          UNIT_TEST(dumps_a_named_file_by_gtid), UNIT_TEST(leaves_tagged_transactions_out),
          UNIT_TEST(dumps_mariadb), UNIT_TEST(leaves_annotations_out), UNIT_TEST(waits_for_more),
          UNIT_TEST(says_nothing_before_there_is_a_file),
          UNIT_TEST(goes_on_with_the_next_era), UNIT_TEST(slow_reader_is_bounded),
          UNIT_TEST(lets_who_may_have_it_all_come_again), UNIT_TEST(closes_with_all_open),
          UNIT_TEST(limits_connections), UNIT_TEST(reports_a_bad_address))
