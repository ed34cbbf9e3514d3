/*
 * A stream: one connected socket on a loop, and its output queue, which is a
 * short list of slices of tape. Lives inside the connection that uses it. With
 * TLS or without, it is used in the same way.
 *
 * All [L].
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/loop.h"
#include "net/tape.h"
#include "peal/tls.h"

enum stream_flag {
    STREAM_UNFLUSHED = 1 << 0, /* in the loop's list of streams to flush */
    STREAM_BLOCKED = 1 << 1,   /* the socket takes no more for now */
    STREAM_PAUSED = 1 << 2,    /* is not read */
    STREAM_FINISHING = 1 << 3, /* FIN once the queue is empty */
    STREAM_FINISHED = 1 << 4,  /* FIN was sent */
    STREAM_ENDED = 1 << 5,     /* the peer's FIN was read */
    STREAM_TLS = 1 << 6,       /* `events` are those of a struct stream_tls */
    STREAM_SECURING = 1 << 7,  /* the TLS handshake is not done */
    STREAM_KTLS = 1 << 8       /* the kernel encrypts what is sent */
};

/* Whether the kernel encrypts what is sent. */
enum stream_ktls {
    STREAM_KTLS_OFF,       /* it is not asked for */
    STREAM_KTLS_SENDS,     /* it does */
    STREAM_KTLS_UNKNOWN,   /* OpenSSL does not hand over such keys */
    STREAM_KTLS_NO_KERNEL, /* the kernel has no TLS */
    STREAM_KTLS_REFUSED,   /* it does not take such keys on such a socket */
    STREAM_KTLS_LATE,      /* the socket was full when the keys were due */
    STREAM_KTLS_COUNT
};

/* What happens on a stream. One table for all streams of a kind. */
struct stream_events {
    /*
     * Bytes arrived: at most LOOP_READ_BYTES, in the loop's buffer, which may
     * be written to and is reused after the return. May close the stream.
     */
    void (*on_data)(struct stream *stream, char *data, size_t size);
    /* The peer will send no more. May close the stream; else it stays open. */
    void (*on_end)(struct stream *stream);
    /* The connection is broken: `error` is the errno. Must close the stream. */
    void (*on_error)(struct stream *stream, int error);
    /*
     * The queue was blocked and is empty again; after stream_finish, the FIN
     * has been sent, too.
     */
    void (*on_drained)(struct stream *stream);
    /*
     * The socket takes no more for now; again whenever it has taken a part and
     * no more. Only to look: it may come from inside of any function here that
     * sends. NULL: not wanted.
     */
    void (*on_blocked)(struct stream *stream);
    /*
     * The TLS handshake is done: before that nothing else is told but on_error,
     * and nothing may be sent. What the peer sent together with its last part
     * comes next, even if this pauses the stream. Streams with TLS only.
     */
    void (*on_secured)(struct stream *stream);
};

struct stream_queue; /* slices beyond the first */

struct stream {
    int fd; /* -1 when closed */
    uint32_t flags;
    struct loop *loop;
    const struct stream_events *events;
    struct tape_slice first;   /* segment NULL: nothing is queued */
    struct stream_queue *rest; /* NULL: at most one slice is queued */
    struct stream *next_unflushed;
    size_t queued_bytes;
};

/*
 * Takes over `fd`. Reading starts. 0, PEAL_ENOMEM or PEAL_ESYSTEM; then `fd` is
 * still the caller's.
 */
int stream_open(struct stream *stream, struct loop *loop, int fd,
                const struct stream_events *events);

/*
 * Begins TLS on an open stream as the side that accepts, before anything has
 * been sent; `data` is what on_data has told of it so far. `protocol` is the
 * ALPN name that is spoken on it, "" for none; static storage. An end without a
 * close_notify is an error (EPROTO), for anybody could have cut it short.
 *
 * 0; or PEAL_ENOMEM, then nothing has changed. on_error may come from inside.
 */
int stream_secure(struct stream *stream, struct peal_tls *tls,
                  const char *protocol, const char *data, size_t size);

struct tls_session;
struct tls_wish; /* net/tls.h */

/*
 * Begins TLS on an open stream as the side that connects: nothing is queued,
 * and nothing has been received that was not told. As above from then on. 0;
 * PEAL_ENOMEM; PEAL_ESYSTEM when the socket is broken.
 */
int stream_start_tls(struct stream *stream, const struct tls_wish *wish);

/* The session to begin the next connection with; the caller's. NULL: none. */
struct tls_session *stream_tls_take_session(struct stream *stream);

/*
 * In on_error: what TLS itself has failed for, in a few words; NULL when it was
 * the socket, or the end of it. Static storage.
 */
const char *stream_tls_problem(const struct stream *stream);

/* What is known after on_secured; false for a stream without TLS. */
bool stream_tls_facts(const struct stream *stream,
                      struct peal_tls_facts *facts);

/* What OpenSSL has for it of memory, as far as is known; 0 without TLS. */
size_t stream_tls_bytes(const struct stream *stream);

/* What has become of peal_tls_options.ktls; known after on_secured. */
enum stream_ktls stream_tls_ktls(const struct stream *stream);

/*
 * The same for a socket that is still connecting. Then comes on_drained, and
 * stream_connect_error tells whether it is through; or on_error. Nothing is to
 * be sent before.
 */
int stream_connect(struct stream *stream, struct loop *loop, int fd,
                   const struct stream_events *events);

/* 0, or the errno with which the connecting failed. */
int stream_connect_error(const struct stream *stream);

/*
 * Closes the socket and drops the queue. No event comes after it. The memory of
 * the stream must outlive the turn (on_turn_end is early enough to free it).
 * Harmless when it is closed.
 */
void stream_close(struct stream *stream);

/* For stream_send. */
int stream_send_apart(struct stream *stream, struct tape_slice slice);

/*
 * Queues a slice; it is sent when the loop flushes. PEAL_ENOMEM: it was not
 * queued. Not to be called after stream_finish or stream_close.
 */
static inline int stream_send(struct stream *stream, struct tape_slice slice)
{
    const uint32_t flags = STREAM_UNFLUSHED | STREAM_BLOCKED |
                           STREAM_FINISHING | STREAM_FINISHED |
                           STREAM_SECURING;

    /* Of a fan-out's messages to a member, all of a turn but the first. */
    if ((stream->flags & flags) == STREAM_UNFLUSHED && stream->rest == NULL &&
        tape_slice_join(&stream->first, slice)) {
        stream->queued_bytes += slice.size;
        return PEAL_OK;
    }
    return stream_send_apart(stream, slice);
}

/* Sends what it can of the queue now. Never calls an event but on_error. */
void stream_flush(struct stream *stream);

/*
 * Bytes that the other side's system has not taken yet: in the queue, and in
 * the socket (SIOCOUTQ). 0 when closed.
 */
size_t stream_unsent(const struct stream *stream);

/* Ends the output: FIN follows what is queued. Reading goes on. */
void stream_finish(struct stream *stream);

/* Stops and restarts reading. Harmless when closed. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* For the loop: sends what it can of all queues in the list of `loop`. */
void stream_flush_all(struct loop *loop);

/* For the poller: `ready` is of enum loop_ready. */
void stream_ready(struct stream *stream, unsigned ready);

static inline bool stream_is_open(const struct stream *stream)
{
    return stream->fd >= 0;
}

static inline size_t stream_queued(const struct stream *stream)
{
    return stream->queued_bytes;
}

#endif
