/* state.h: the replicated state: what all nodes agree on after applying the same entries. In memory; its snapshot is the manifest.
 *
 * Owner: raft/cluster.c, on the loop env; others read it there between two entries. state_apply is deterministic: same state and same
 * entry, same result on every node. It does no I/O: what storage must do is in the effect. */
#ifndef HOLDFAST_RAFT_STATE_H
#define HOLDFAST_RAFT_STATE_H

#include "raft/entry.h"
#include "raft/state_members.h"
#include "storage/filelist.h"

enum { STATE_ALARMS_MAX = 64 };

struct state_era {
    uint64_t id;
    struct entry_origin origin; /* version: of the newest file */
};

struct state_file {
    uint64_t era;
    char name[FILE_NAME_SIZE];
    uint64_t size;           /* committed end */
    struct gtid_set *before; /* what was held when it began; NULL while GTIDs are unknown */
};

/* What is needed to prove that a source still has the history held here, without reading the files: sums over their bytes. All of the
 * newest file. */
struct state_proof {
    uint32_t head_len, head_crc; /* its format description, at offset 4; 0: not there yet */
    uint64_t last_start, last_end; /* bytes up to the end of the last transaction; 0: none in this file */
    uint32_t last_crc;
    uint64_t open_start;           /* last boundary, and the sum from there on */
    uint32_t open_crc;
    uint32_t all_crc, boundary_crc; /* of the whole file, and of it up to the boundary */
};

struct state {
    uint64_t index; /* last entry applied */
    struct state_era *eras;
    size_t n_eras;
    uint64_t era_floor; /* eras up to here were put away: their numbers are not used again */
    struct filelist *files; /* all, oldest first, packed (storage/filelist.h); the last one is being written: */
    struct state_file file; /* see state_file */
    uint64_t boundary;         /* last transaction end in the newest file; its size is larger inside a transaction */
    uint32_t last_timestamp; /* of the newest event, by the source's clock */
    struct state_proof proof;
    struct gtid_set *executed; /* all that is held, of all eras; NULL before the first file */
    /* A later source's own log: it need not have all that was held before it in the same places. NULL: as `executed`, which is so in the first era. */
    struct gtid_set *logged;
    struct gtid_set *head; /* what the head of the newest file says; NULL: as file.before */
    bool anonymous, anonymous_before; /* transactions without a GTID stand in the newest file; in the one before it */
    struct user_account *users;
    size_t n_users;
    bool has_source;
    struct source_settings source;
    struct entry_setting *settings;
    size_t n_settings;
    struct alarm *alarms; /* oldest first, at most STATE_ALARMS_MAX */
    size_t n_alarms;
    uint64_t last_alarm;      /* id */
    uint64_t dropped_alarms;  /* had to make room before anybody acknowledged them */
    struct state_members members;
};

/* What an entry means for storage, in this order. Pointers lie in the entry or in the state. */
struct state_effect {
    struct entry_head head;
    int status;       /* 0, or why the entry changed nothing (E_CONTRADICTION: it does not continue the files) */
    bool cut;         /* the newest file ends at cut_to */
    uint64_t cut_to;
    const struct state_file *new_file;
    uint32_t sealed_sum; /* of the file before that one, all of it */
    bool purge; /* the files before this one are removed: */
    struct entry_purge purge_to;
    bool reset; /* all files are put away: */
    struct entry_reset reset_to;
    struct entry_events events; /* n > 0: write; events.unpacked is the caller's */
};

struct state *state_new(void);
void state_free(struct state *s);

/* E_MALFORMED, E_VERSION, E_TOOBIG, E_CORRUPT: this program cannot read the entry: the node must stop. */
int state_apply(struct state *s, uint64_t index, const void *entry, size_t n, struct state_effect *effect);

void state_encode(const struct state *s, struct buf *b);
int state_decode(struct cur *c, struct state **s); /* E_MALFORMED, E_VERSION */

const struct state_era *state_era(const struct state *s);   /* the newest; NULL before the first file */
uint64_t state_next_era(const struct state *s);
const struct state_file *state_file(const struct state *s); /* the newest; NULL before the first file */
const struct gtid_set *state_head(const struct state *s);   /* what the newest file's head says; NULL: GTIDs are unknown */
const struct gtid_set *state_logged(const struct state *s); /* what the head of the next file of the same source will say */
const struct user_account *state_user(const struct state *s, const char *name, const char *host);
const char *state_setting(const struct state *s, const char *name); /* NULL when not set */
const struct alarm *state_alarm(const struct state *s, uint64_t id);                   /* NULL when not there */
const struct alarm *state_alarm_open(const struct state *s, enum alarm_kind kind);     /* the one that goes on; NULL */

#endif
