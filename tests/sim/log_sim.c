/* log_sim.c: what the world prints: a ring of the last lines, shown when something fails, and the seed that
 * shows it again. */
#include "tests/sim/sim_impl.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sim *caught; /* whose lines are printed when this program is ended */

static void keep_line(struct sim *sim, const char *who, char level, const char *line)
{
    char *to = sim->log + sim->log_next * LOG_LINE_BYTES;
    uint64_t t = sim_time(sim);
    snprintf(to, LOG_LINE_BYTES, "%4llu.%06llu %-16s %c %s", (unsigned long long)(t / ENV_S),
             (unsigned long long)(t % ENV_S / 1000), who, level, line);
    sim->log_next = (sim->log_next + 1) % LOG_LINES;
    sim->log_count++;
    if (sim->verbose) {
        fprintf(sim->verbose, "%s\n", to);
    }
}

void sim_log_line(struct sim *sim, const struct sim_env *env, enum env_level level, const char *line)
{
    char who[128];
    const struct sim_process *p = env->process;
    struct sim_struck *struck = &p->host->struck;
    for (unsigned i = 0; i < SIM_STRUCK_PATHS && !p->ghost; i++) {
        struck->told = struck->told || (struck->paths[i][0] && strstr(line, struck->paths[i]));
    }
    snprintf(who, sizeof who, "%.40s#%u%s/%.40s", p->host->name, p->incarnation, p->ghost ? "+" : "",
             env->name);
    keep_line(sim, who, "EWID"[level], line);
}

void sim_note(struct sim *sim, const char *fmt, ...)
{
    char line[LOG_LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    keep_line(sim, "-", ' ', line);
}

void sim_verbose(struct sim *sim, FILE *to)
{
    sim->verbose = to;
}

void sim_log_level(struct sim *sim, enum env_level level)
{
    sim->level = level;
}

void sim_dump(struct sim *sim, FILE *to)
{
    size_t n = sim->log_count < LOG_LINES ? sim->log_count : LOG_LINES;
    for (size_t i = 0; i < n && to != sim->verbose; i++) {
        fprintf(to, "%s\n", sim->log + (sim->log_next + LOG_LINES - n + i) % LOG_LINES * LOG_LINE_BYTES);
    }
    fprintf(to, "seed=%llu time=%llu.%06llu events=%llu hash=%016llx\n", (unsigned long long)sim->seed,
            (unsigned long long)(sim->now / ENV_S), (unsigned long long)(sim->now % ENV_S / 1000),
            (unsigned long long)sim->n_events, (unsigned long long)sim->hash);
    fflush(to);
}

void sim_on_failure(struct sim *sim, void (*failed)(void *arg, const char *text), void *arg)
{
    sim->on_failure = failed;
    sim->on_failure_arg = arg;
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    char text[LOG_LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim->failed = true;
    if (sim->on_failure) {
        sim->on_failure(sim->on_failure_arg, text);
        return;
    }
    sim_dump(sim, stderr);
    fprintf(stderr, "FAILED: %s\nagain with seed %llu\n", text, (unsigned long long)sim->seed);
    fflush(stderr);
    _exit(1);
}

bool sim_failed(const struct sim *sim)
{
    return sim->failed;
}

/* Printing from a handler is not safe in general; here the alternative is to know nothing. */
static void dump_caught(void)
{
    if (caught && !caught->dumping) {
        caught->dumping = true;
        sim_dump(caught, stderr);
    }
}

static void on_signal(int number)
{
    dump_caught();
    signal(number, SIG_DFL);
    raise(number);
}

/* Sanitizers end a program without a signal, but call this one if they are there. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void sim_catch_abort(struct sim *sim)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM, SIGTERM};
    caught = sim;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!__sanitizer_set_death_callback || numbers[i] != SIGSEGV) {
            signal(numbers[i], sim ? on_signal : SIG_DFL);
        }
    }
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(sim ? dump_caught : NULL);
    }
}
