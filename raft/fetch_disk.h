/* fetch_disk.h: the files that are being fetched: what is done with them on an env of its own, so that the loop never waits for a disk.
 *
 * Owner: raft/fetch.c. Each call is made on the loop, done in the order of the calls, and answered there, never inside the call. Calls that are not answered
 * yet when it is closed are not answered any more. A disk that fails ends the process. */
#ifndef HOLDFAST_RAFT_FETCH_DISK_H
#define HOLDFAST_RAFT_FETCH_DISK_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"

struct fetch_disk;
struct filelist;

/* Bytes of a file on their way, in memory that goes from one to the next and that a disk can read by itself. */
struct fetch_piece {
    struct fetch_piece *next;
    uint8_t *bytes; /* room for MESSAGE_PIECE_MAX */
    size_t n;
    uint64_t end;   /* where they end in their file */
};

struct fetch_piece *fetch_piece_new(void);
void fetch_piece_free(struct fetch_piece *piece); /* NULL is fine */

struct fetch_disk_handler {
    void (*prepared)(void *owner, uint64_t at);    /* so many bytes of the file are there */
    void (*written)(void *owner, struct fetch_piece *piece); /* takes it back */
    void (*finished)(void *owner, bool right);     /* wrong: what was there is gone; it is to be prepared again */
    void (*marked)(void *owner);                   /* all that is there is durable, and marked */
    /* The answer to fetch_disk_read: a message with the piece, to be taken; or why there is none (E_NOTFOUND), and it is empty. */
    void (*read)(void *owner, uint64_t peer, uint64_t ticket, int status, struct buf *frame);
};

/* A file as it will be, and what is known of its beginning. */
struct fetch_file {
    uint64_t era;
    char name[256];
    uint64_t size;
    uint32_t sum;      /* of all its bytes */
    bool newest;       /* it will grow */
    uint64_t keep;     /* bytes that a file of that name in binlog/ has; 0: none that can be used */
    uint32_t keep_sum;
    uint64_t safe;     /* what was fetched of it last ends here or is not sure; 0: all is */
    uint32_t safe_sum;
};

int fetch_disk_open(struct env *loop, const char *data_dir, const struct fetch_disk_handler *handler, void *owner, struct fetch_disk **disk);
void fetch_disk_close(struct fetch_disk *disk); /* waits for what is being done */

void fetch_disk_prepare(struct fetch_disk *disk, const struct fetch_file *file);
void fetch_disk_write(struct fetch_disk *disk, struct fetch_piece *piece); /* behind what is there; takes it */
void fetch_disk_finish(struct fetch_disk *disk);
/* To be put beside a file that is there; takes the content. An empty one: there is to be none. */
void fetch_disk_index(struct fetch_disk *disk, const struct fetch_file *file, struct buf *index);
/* Of what an earlier attempt left only these files from `from` on are of use. */
void fetch_disk_keep(struct fetch_disk *disk, const struct filelist *files, size_t from);
void fetch_disk_mark(struct fetch_disk *disk, uint64_t index);
void fetch_disk_drop(struct fetch_disk *disk); /* nothing of it is wanted */

/* For another member: n bytes of a file in binlog/, fewer at its end. */
void fetch_disk_read(struct fetch_disk *disk, uint64_t peer, uint64_t ticket, uint64_t era, const char *name, uint64_t offset, size_t n);

#endif
