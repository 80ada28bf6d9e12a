/* test_identity: the file that says which node a data directory belongs to: made once, never guessed at. */
#include "node/identity.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <string.h>

static void it_is_made_once(void)
{
    struct identity made, again;
    struct errmsg em;
    struct env *env = test_env_new(unit_seed());
    char *dir = binlog_dir("once");
    UNIT_INT(identity_open(env, dir, 3, &made, &em), 0);
    UNIT_TRUE(made.node_id == 3 && made.incarnation && made.server_id && made.server_uuid[0]);
    UNIT_INT(identity_open(env, dir, 3, &again, &em), 0);
    UNIT_TRUE(again.incarnation == made.incarnation && again.server_id == made.server_id && !strcmp(again.server_uuid, made.server_uuid));
    UNIT_INT(identity_open(env, dir, 4, &again, &em), E_INVALID);
    UNIT_TRUE(strstr(em.text, "belongs to node 3") != NULL);
    test_env_free(env);
    mem_free(dir);
}

/* A hexadecimal digit of the sum that becomes a capital one is the same sum. */
static void no_flipped_bit_makes_it_another_node(void)
{
    struct identity made, again;
    struct errmsg em;
    struct buf file;
    struct env *env = test_env_new(unit_seed());
    char *dir = binlog_dir("flips");
    unsigned refused = 0;
    UNIT_INT(identity_open(env, dir, 3, &made, &em), 0);
    UNIT_TRUE(binlog_read(env, &file, "%s/node", dir));
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        UNIT_INT(env_replace_file(env, dir, "node", file.data, file.len, NULL), 0);
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        em.text[0] = 0;
        if (identity_open(env, dir, 3, &again, &em)) {
            refused += strstr(em.text, "/node") && (strstr(em.text, "replace the member") || strstr(em.text, "newer version"));
        } else {
            UNIT_TRUE(again.incarnation == made.incarnation && again.server_id == made.server_id && !strcmp(again.server_uuid, made.server_uuid));
            refused++;
        }
    }
    UNIT_UINT(refused, file.len * 8);
    buf_free(&file);
    test_env_free(env);
    mem_free(dir);
}

UNIT_MAIN("identity", UNIT_TEST(it_is_made_once), UNIT_TEST(no_flipped_bit_makes_it_another_node))
