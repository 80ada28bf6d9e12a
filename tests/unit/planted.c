/*
 * planted: tests that fail on purpose, each in its own way. Not one of those that "make check" counts on:
 * run.test runs it and proves that each failure becomes a line and a status that a person cannot overlook.
 */
#include "tests/unit/unit.h"

#include <signal.h>

static void values_differ(void)
{
    UNIT_INT(1, 2);
    UNIT_UINT(1, 2);
    UNIT_STR("one", "two");
    UNIT_MEM("\1\2\3", "\1\2\4", 3);
    UNIT_REQUIRE(false);
    UNIT_TRUE(!"never reached");
}

static void asserts_nothing(void)
{
}

static void lacks_something(void)
{
    UNIT_SKIP("no such thing here");
}

static void holds(void)
{
    UNIT_TRUE(true);
}

static void crashes(void)
{
    raise(SIGKILL);
}

UNIT_MAIN("planted", UNIT_TEST(holds), UNIT_TEST(values_differ), UNIT_TEST(asserts_nothing),
          UNIT_TEST(lacks_something), UNIT_TEST(crashes))
