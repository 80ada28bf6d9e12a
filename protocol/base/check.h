/* check.h: assertions about our own state. They stay on in release builds: a broken invariant must stop a program whose
 * promise is to lose nothing. Input from the network or from a file is never a CHECK. */
#ifndef HOLDFAST_CHECK_H
#define HOLDFAST_CHECK_H

_Noreturn void check_failed(const char *what, const char *file, int line);

#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))

/* From a member to the struct that holds it. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
