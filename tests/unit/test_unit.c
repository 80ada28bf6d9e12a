/*
 * test_unit: the assertions of the unit layer hold for what is equal, and its settings come from where unit.h
 * says. That failures are failures is proved from outside: planted.c, run by run.test.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

static void equal_values_hold(void)
{
    UNIT_TRUE(unit_int(-1, -1, "x", __FILE__, __LINE__));
    UNIT_TRUE(UNIT_UINT(UINT64_MAX, UINT64_MAX));
    UNIT_TRUE(UNIT_STR("same", "same"));
    UNIT_TRUE(UNIT_STR(NULL, NULL));
    UNIT_TRUE(UNIT_MEM("a\0b", "a\0b", 3));
    UNIT_REQUIRE(true);
}

static void seed_comes_from_environment(void)
{
    char saved[32] = "";

    if (getenv("SEED") != NULL) {
        strncat(saved, getenv("SEED"), sizeof(saved) - 1);
    }
    setenv("SEED", "18446744073709551615", 1);
    UNIT_UINT(unit_seed(), UINT64_MAX);
    unsetenv("SEED");
    UNIT_UINT(unit_seed(), 1);
    if (saved[0] != '\0') {
        setenv("SEED", saved, 1);
    }
}

static void tmpdir_is_one(void)
{
    UNIT_STR(unit_tmpdir(), unit_tmpdir());
    UNIT_TRUE(strlen(unit_tmpdir()) < 64);
}

UNIT_MAIN("unit", UNIT_TEST(equal_values_hold), UNIT_TEST(seed_comes_from_environment),
          UNIT_TEST(tmpdir_is_one))
