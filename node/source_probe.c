/* source_probe.c: short dumps before the real one, each on a connection of its own that is closed as soon as it has told one fact.
 *
 * The same server (by uuid) may still have another history than the one held here: it was reset, its disk was set back, or it lost the end
 * of its binlog in a crash and gave the same GTIDs to other transactions. So before following it, its newest file that is held
 * here is looked at: the format description and the GTID state behind it must be the same (PROBE_HEAD), and so must the bytes of
 * the last transaction (PROBE_TAIL). The state keeps sums over both (raft/state.h). A difference, or a file or position that the source has not
 * got, is a stop: no retry can mend it. PROBE_FIND lets the source itself tell the file that a first start from a GTID set begins in. MySQL tells it by what
 * the heads of its files say, which may lack what the end of the file before has (raft/state.c); so the last ones before it are gone through for what is
 * lacking here (PROBE_BEFORE): the source sends nothing else of them. */
#include "node/source_impl.h"

#include "protocol/base/crc.h"

#include <stdio.h>
#include <string.h>

static struct gtid_set *start_set(const struct source *s, enum flavour flavour)
{
    struct gtid_set *set = gtid_set_new(flavour);
    const char *start = s->settings.start;
    if (strspn(start, "0123456789") == 0 && !strchr(start, ':')) { /* a file name, or a word */
        gtid_set_free(set);
        return NULL;
    }
    if (gtid_set_parse(set, start, strlen(start), NULL) || gtid_set_is_empty(set)) {
        gtid_set_free(set);
        return NULL;
    }
    return set;
}

struct gtid_set *source_probe_set(const struct source *s, enum flavour flavour)
{
    return source_is_another(s) ? gtid_set_copy(cluster_state(s->cluster)->executed) : start_set(s, flavour);
}

enum source_probe source_probe_first(const struct source *s)
{
    const struct state *state = cluster_state(s->cluster);
    if (state_file(state)) {
        return PROBE_HEAD;
    }
    struct gtid_set *mysql = start_set(s, FLAVOUR_MYSQL), *mariadb = start_set(s, FLAVOUR_MARIADB);
    bool by_set = mysql || mariadb;
    gtid_set_free(mysql);
    gtid_set_free(mariadb);
    return by_set ? PROBE_FIND : PROBE_NONE;
}

void source_probe_begin(struct source *s)
{
    source_phase(s, SOURCE_PROVING);
    wire_set_max_packet(s->wire, SOURCE_EVENT_MAX);
    wire_seq_apart(s->wire, true);
    event_format_init(&s->format, s->peer.origin.flavour, s->peer.checksum);
    s->probe_crc = 0;
    s->probe_got = 0;
}

static void contradicts(struct source *s, const char *what)
{
    const struct state *state = cluster_state(s->cluster);
    source_refused(s,
                   "its history is not the one held here: %s of %s (held up to %llu) is different there. Was it reset, or did it lose "
                   "the end of its binlog in a crash?",
                   what, state_file(state)->name, (unsigned long long)state->boundary);
}

static void look_at_format(struct source *s, const uint8_t *event, size_t n)
{
    const struct state_proof *proof = &cluster_state(s->cluster)->proof;
    if (proof->head_len && (n != proof->head_len || crc32c_of(0, event, n) != proof->head_crc)) {
        contradicts(s, "the format description");
    }
    s->probe_got = n;
}

/* The event behind the format description; a server that writes no GTID state has another one there, or none yet. */
static void look_behind_format(struct source *s, uint8_t type, const uint8_t *event, size_t n)
{
    const struct state *state = cluster_state(s->cluster);
    const struct gtid_set *held = state_head(state);
    struct gtid_set *before = NULL;
    struct errmsg em;
    int rv = 0;
    if (type == EVENT_PREVIOUS_GTIDS) {
        before = gtid_set_new(FLAVOUR_MYSQL);
        rv = event_previous_gtids_read(&s->format, event, n, before, &em);
    } else if (type == EVENT_GTID_LIST) {
        before = gtid_set_new(FLAVOUR_MARIADB);
        rv = event_gtid_list_read(&s->format, event, n, before, NULL, &em);
    }
    bool same = !before || !held || gtid_set_equal(before, held);
    gtid_set_free(before);
    if (rv) {
        source_failed(s, 0, "what the source sends for comparison cannot be read: %s", em.text);
    } else if (!same) {
        contradicts(s, "the GTID state at the head");
    } else {
        s->probe = state->proof.last_end ? PROBE_TAIL : PROBE_NONE;
        source_again(s);
    }
}

static void look_at_tail(struct source *s, const uint8_t *event, size_t n)
{
    const struct state_proof *proof = &cluster_state(s->cluster)->proof;
    uint64_t wanted = proof->last_end - proof->last_start;
    s->probe_crc = crc32c_of(s->probe_crc, event, n);
    s->probe_got += n;
    if (s->probe_got < wanted) {
        return;
    }
    if (s->probe_got > wanted || s->probe_crc != proof->last_crc) {
        contradicts(s, "the last transaction");
        return;
    }
    s->probe = PROBE_NONE;
    source_again(s);
}

/* Something lacking begins in s->file, or nothing stands before found_file. */
static void looked_before(struct source *s)
{
    if (strcmp(s->file, s->found_file) != 0) {
        env_log(s->loop, ENV_INFO, "source: what is lacking here begins before the file that it told file=%s told=%s", s->file, s->found_file);
        snprintf(s->found_file, sizeof s->found_file, "%s", s->file);
    }
    s->looked_before = true;
    s->probe = PROBE_NONE;
    source_again(s);
}

static void look_at_place(struct source *s, const uint8_t *event, size_t n)
{
    struct event_rotate r;
    struct errmsg em;
    if (event_rotate_read(&s->format, event, n, &r, &em)) {
        source_failed(s, 0, "an event cannot be read: %s", em.text);
    } else if (s->probe == PROBE_FIND) {
        snprintf(s->found_file, sizeof s->found_file, "%.*s", (int)sizeof s->found_file - 1, r.name);
        s->found_at = s->peer.origin;
        s->probe = PROBE_NONE;
        source_again(s);
    } else if (s->probe == PROBE_BEFORE) {
        snprintf(s->file, sizeof s->file, "%.*s", (int)sizeof s->file - 1, r.name);
        if (!strcmp(s->file, s->found_file)) {
            looked_before(s);
        }
    } else if (strcmp(r.name, s->file) != 0) {
        contradicts(s, "the end");
    }
}

static void look_at_event(struct source *s, const uint8_t *event, size_t n)
{
    struct event_header h;
    struct errmsg em;
    int rv = source_check_event(s, event, n, &h, &em);
    if (!rv && h.type == EVENT_FORMAT_DESCRIPTION) {
        rv = event_format_read(event, n, &s->format, &em);
    }
    if (rv) {
        source_failed(s, 0, "what the source sends for comparison cannot be read: %s", em.text);
    } else if (h.type == EVENT_ROTATE && h.flags & EVENT_FLAG_ARTIFICIAL) {
        look_at_place(s, event, n);
    } else if (h.flags & EVENT_FLAG_ARTIFICIAL) {
        return;
    } else if (s->probe == PROBE_BEFORE) {
        if (event_is_gtid(h.type)) {
            looked_before(s);
        }
    } else if (h.type == EVENT_START_ENCRYPTION && (h.log_pos == 0 || s->probe == PROBE_HEAD)) {
        return; /* a copy, for a start in the middle; or it stands before the GTID state */
    } else if (h.type == EVENT_HEARTBEAT || h.type == EVENT_HEARTBEAT_V2) {
        if (s->probe == PROBE_TAIL) { /* it has nothing more to send */
            contradicts(s, "the end");
        } else if (s->probe == PROBE_HEAD && s->probe_got) {
            look_behind_format(s, h.type, event, n);
        }
    } else if (h.type == EVENT_FORMAT_DESCRIPTION && s->probe == PROBE_HEAD) {
        look_at_format(s, event, n);
    } else if (s->probe == PROBE_HEAD) {
        look_behind_format(s, h.type, event, n);
    } else if (source_is_copy(s, &h)) {
        return;
    } else if (s->probe == PROBE_TAIL) {
        look_at_tail(s, event, n);
    }
}

bool source_permanent(const struct stream_packet *error)
{
    /* servers give this number for passing troubles too */
    static const char *const texts[] = {"position > file size", "impossible position",          "position < 4", "find first log file name",
                                        "purged",               "not in the master's binlog", "is missing the GTID"};
    for (size_t i = 0; error->code == 1236 && i < sizeof texts / sizeof texts[0]; i++) {
        if (strstr(error->message, texts[i])) {
            return true;
        }
    }
    return false;
}

void source_probe_packet(struct source *s, const struct packet *p)
{
    struct stream_packet sp;
    struct errmsg em;
    if (stream_parse(p, false, &sp, &em)) {
        source_failed(s, 0, "a packet of the binlog stream cannot be read: %s", em.text);
        return;
    }
    switch (sp.kind) {
    case STREAM_END:
        source_failed(s, 0, "the source ended the stream");
        break;
    case STREAM_ERROR:
        if (s->probe == PROBE_FIND && source_permanent(&sp) && source_is_another(s)) {
            source_refused(s, "it cannot give all that follows on what is held here, so transactions of it would be missing for ever. "
                              "It says: %s", sp.message);
        } else if (s->probe == PROBE_FIND && source_permanent(&sp)) {
            source_refused(s, "it cannot start behind %s, as asked for: %s", s->settings.start, sp.message);
        } else if (source_permanent(&sp) && s->probe != PROBE_BEFORE) {
            source_refused(s, "it has not got what follows on %s, the newest file held here (up to %llu): purged before we had all of it, "
                              "reset, or lost in a crash. It says: %s",
                           s->file, (unsigned long long)cluster_state(s->cluster)->boundary, sp.message);
        } else {
            source_failed(s, (uint16_t)sp.code, "the source refuses: %s (%u)", sp.message, sp.code);
        }
        break;
    case STREAM_EVENT:
        look_at_event(s, sp.event, sp.n);
        break;
    }
}
