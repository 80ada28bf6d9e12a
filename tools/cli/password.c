/* password.c: reads secrets without showing them.
 *
 * Happy path: on a terminal, echo off, prompt, one line, echo on; otherwise one line of standard input, byte
 * by byte, so that what follows stays there for the next one who asks. Failure modes: a signal in between
 * gives the terminal its echo back before the signal does its work; no line, or one that cannot be a
 * password, is an error and never an empty password. */
#include "tools/cli/password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    caught = number;
}

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { NSIGNALS = sizeof SIGNALS / sizeof SIGNALS[0] };

/* Waits until there is something to read. Signals come in only here: one that came a moment before is seen too. */
static bool wait_readable(int fd, const sigset_t *open_to)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return !caught && (ppoll(&p, 1, NULL, open_to) >= 0 || (errno == EINTR && !caught));
}

/* `open_to`: signals are blocked, and come in only while it waits; NULL: they are not. */
static int read_line(int fd, const sigset_t *open_to, char out[PASSWORD_SIZE], struct errmsg *em)
{
    size_t n = 0;
    for (;;) {
        char c;
        if (open_to && !wait_readable(fd, open_to)) {
            return err_set(em, E_CANCELED, "interrupted");
        }
        ssize_t got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR && !caught) {
            continue;
        }
        if (got < 0) {
            return caught ? err_set(em, E_CANCELED, "interrupted")
                          : err_errno(em, errno, "cannot read a password");
        }
        if (got == 0 && n == 0) {
            return err_set(em, E_INVALID, "a password is wanted, but the input has ended");
        }
        if (got == 0 || c == '\n') {
            out[n] = 0;
            return 0;
        }
        if (c == 0) {
            return err_set(em, E_INVALID, "a password cannot hold a NUL byte");
        }
        if (n == PASSWORD_SIZE - 1) {
            return err_set(em, E_INVALID, "the password is longer than %d bytes", PASSWORD_SIZE - 1);
        }
        out[n++] = c;
    }
}

static void say(int fd, const char *text)
{
    size_t n = strlen(text);
    while (n) {
        ssize_t put = write(fd, text, n);
        if (put <= 0) {
            return; /* the terminal is gone: reading will tell */
        }
        text += put;
        n -= (size_t)put;
    }
}

static int ask_terminal(int fd, const char *prompt, char out[PASSWORD_SIZE], struct errmsg *em)
{
    struct sigaction old[NSIGNALS], act = {.sa_handler = catch_signal};
    struct termios shown, hidden;
    sigset_t blocked, before;
    if (tcgetattr(fd, &shown) != 0) {
        return err_errno(em, errno, "cannot ask for a password");
    }
    caught = 0;
    sigemptyset(&blocked);
    for (int i = 0; i < NSIGNALS; i++) {
        sigaction(SIGNALS[i], &act, &old[i]);
        sigaddset(&blocked, SIGNALS[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &before);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    hidden.c_lflag |= ICANON | ISIG;
    tcsetattr(fd, TCSAFLUSH, &hidden);
    say(fd, prompt);
    say(fd, ": ");
    int rv = read_line(fd, &before, out, em);
    say(fd, "\n");
    tcsetattr(fd, TCSAFLUSH, &shown);
    sigprocmask(SIG_SETMASK, &before, NULL);
    for (int i = 0; i < NSIGNALS; i++) {
        sigaction(SIGNALS[i], &old[i], NULL);
    }
    if (caught) {
        int number = caught;
        caught = 0;
        raise(number);
    }
    return rv;
}

int password_ask(const char *prompt, char out[PASSWORD_SIZE], struct errmsg *em)
{
    memset(out, 0, PASSWORD_SIZE);
    if (!isatty(STDIN_FILENO)) {
        return read_line(STDIN_FILENO, NULL, out, em);
    }
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    int rv = ask_terminal(fd < 0 ? STDIN_FILENO : fd, prompt, out, em);
    if (fd >= 0) {
        close(fd);
    }
    if (rv) {
        password_wipe(out, PASSWORD_SIZE);
    }
    return rv;
}

int password_ask_new(const char *prompt, char out[PASSWORD_SIZE], struct errmsg *em)
{
    int rv = password_ask(prompt, out, em);
    if (!rv && !out[0]) {
        return err_set(em, E_INVALID, "an empty password is not accepted");
    }
    if (!rv && isatty(STDIN_FILENO)) {
        char again[PASSWORD_SIZE];
        rv = password_ask("The same again", again, em);
        if (!rv && strcmp(out, again) != 0) {
            rv = err_set(em, E_INVALID, "the two passwords differ; nothing was changed");
        }
        password_wipe(again, sizeof again);
    }
    if (rv) {
        password_wipe(out, PASSWORD_SIZE);
    }
    return rv;
}

void password_wipe(void *data, size_t n)
{
    explicit_bzero(data, n);
}
