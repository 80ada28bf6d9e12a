/*
 * test_auth_hash: scrambles and verifiers fit each other, and those of real clients; one wrong bit, another
 * length or another scheme does not match; an account without a password takes no scramble.
 */
#include "protocol/auth_hash.h"
#include "tests/unit/unit.h"

#include <string.h>

static void salts_are_fit(void)
{
    uint8_t salt[AUTH_SALT] = {0, '$', 0x80, 0xa4, 0xff, 1};
    auth_salt_fit(salt);
    for (size_t i = 0; i < AUTH_SALT; i++) {
        UNIT_TRUE(salt[i] > 0 && salt[i] < 0x80 && salt[i] != '$');
    }
    UNIT_UINT(salt[5], 1);
}

static void verifiers(void)
{
    struct account_secret s;
    struct account_secret none;
    uint8_t salt[AUTH_SALT] = "abcdefghijklmnopqrs";
    uint8_t scramble[SHA2_SIZE];
    account_secret_set(&s, "secret", 6);
    account_secret_none(&none);
    UNIT_TRUE(account_secret_matches(&s, "secret", 6));
    UNIT_TRUE(!account_secret_matches(&s, "secre", 5));
    UNIT_TRUE(!account_secret_matches(&none, "", 0));
    sha2_scramble("secret", 6, salt, scramble);
    UNIT_TRUE(auth_verify(&s, AUTH_SHA2, salt, scramble, SHA2_SIZE));
    UNIT_TRUE(!auth_verify(&s, AUTH_NATIVE, salt, scramble, SHA2_SIZE));
    UNIT_TRUE(!auth_verify(&s, AUTH_SHA2, salt, scramble, SHA2_SIZE - 1));
    UNIT_TRUE(!auth_verify(&none, AUTH_SHA2, salt, scramble, SHA2_SIZE));
    UNIT_TRUE(!auth_verify(&none, AUTH_SHA2, salt, scramble, 0));
    for (size_t i = 0; i < SHA2_SIZE * 8; i++) {
        scramble[i / 8] ^= (uint8_t)(1u << i % 8);
        UNIT_TRUE(!auth_verify(&s, AUTH_SHA2, salt, scramble, SHA2_SIZE));
        scramble[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    account_secret_set(&s, "", 0);
    UNIT_TRUE(auth_verify(&s, AUTH_NATIVE, salt, scramble, 0));
    native_scramble("", 0, salt, scramble);
    UNIT_TRUE(!auth_verify(&s, AUTH_NATIVE, salt, scramble, NATIVE_SIZE));
}

/* Salt and scramble as a 9.7 and a 5.6 replica sent them, password repl1234. */
static void recorded_scrambles(void)
{
    static const uint8_t salt97[] = {0x0f, 0x77, 0x0e, 0x2e, 0x4d, 0x48, 0x0c, 0x29, 0x10, 0x2b,
                                     0x3d, 0x1c, 0x38, 0x14, 0x2b, 0x65, 0x6b, 0x65, 0x10, 0x1d};
    static const uint8_t sent97[] = {0x99, 0xdb, 0x68, 0x77, 0x37, 0x0c, 0xba, 0x46, 0x21, 0x41, 0xbd,
                                     0x9f, 0x2b, 0xf1, 0xed, 0x93, 0x5b, 0xb2, 0xff, 0xd9, 0xbc, 0x40,
                                     0x3c, 0x9d, 0xab, 0x48, 0xbb, 0x0c, 0x72, 0xd6, 0x06, 0x4b};
    static const uint8_t salt56[AUTH_SALT] = "QnVC-UD7%QKa(BSZIBK3";
    static const uint8_t sent56[] = {0xae, 0xd6, 0x0e, 0x5e, 0x63, 0xea, 0xf2, 0x56, 0x1d, 0x82,
                                     0x44, 0xee, 0x65, 0x08, 0xc9, 0xc0, 0x37, 0x7a, 0x54, 0x3f};
    struct account_secret s;
    uint8_t made[SHA2_SIZE];
    account_secret_set(&s, "repl1234", 8);
    UNIT_TRUE(auth_verify(&s, AUTH_SHA2, salt97, sent97, sizeof(sent97)));
    UNIT_TRUE(auth_verify(&s, AUTH_NATIVE, salt56, sent56, sizeof(sent56)));
    UNIT_TRUE(!auth_verify(&s, AUTH_NATIVE, salt97, sent56, sizeof(sent56)));
    sha2_scramble("repl1234", 8, salt97, made);
    UNIT_MEM(made, sent97, sizeof(sent97));
    native_scramble("repl1234", 8, salt56, made);
    UNIT_MEM(made, sent56, sizeof(sent56));
}

UNIT_MAIN("auth_hash", UNIT_TEST(salts_are_fit), UNIT_TEST(verifiers), UNIT_TEST(recorded_scrambles))
