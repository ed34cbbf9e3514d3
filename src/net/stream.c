#include "net/stream.h"

#include "base/assert.h"
#include "net/loop_poller.h"
#include "net/stream_batch.h"
#include "net/stream_queue.h"
#include "net/stream_tls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define STREAM_PARTS_MAX 64

/* --- The poller's interest ------------------------------------------------ */

static unsigned stream_interest(const struct stream *stream)
{
    unsigned ready = 0;

    if ((stream->flags & (STREAM_PAUSED | STREAM_ENDED)) == 0) {
        ready |= LOOP_READABLE;
    }
    if ((stream->flags & STREAM_BLOCKED) != 0) {
        ready |= LOOP_WRITABLE;
    }
    return ready;
}

/* What is queued for a full socket counts; what is sent at the end of the turn
 * does not, so that queueing costs no more than a branch. */
static void stream_count_blocked(struct stream *stream, uint64_t amount)
{
    loop_add(&stream->loop->blocked_bytes, amount);
}

static void stream_fail(struct stream *stream, int error)
{
    stream->events->on_error(stream, error);
    ASSERT(stream->fd < 0);
}

static void stream_rewatch(struct stream *stream)
{
    int rc = loop_poller_rewatch(stream->loop, stream->fd, stream, LOOP_STREAM,
                                 stream_interest(stream));

    /* Changing what is watched takes no memory. */
    ASSERT(rc == 0);
}

int stream_open(struct stream *stream, struct loop *loop, int fd,
                const struct stream_events *events)
{
    int rc = loop_poller_watch(loop, fd, stream, LOOP_STREAM, LOOP_READABLE);

    if (rc < 0) {
        return rc;
    }
    *stream = (struct stream){.fd = fd, .loop = loop, .events = events};
    return PEAL_OK;
}

int stream_connect(struct stream *stream, struct loop *loop, int fd,
                   const struct stream_events *events)
{
    int rc = loop_poller_watch(loop, fd, stream, LOOP_STREAM,
                               LOOP_READABLE | LOOP_WRITABLE);

    if (rc < 0) {
        return rc;
    }
    *stream = (struct stream){
        .fd = fd,
        .flags = STREAM_BLOCKED,
        .loop = loop,
        .events = events,
    };
    return PEAL_OK;
}

void stream_close(struct stream *stream)
{
    if (stream->fd < 0) {
        return;
    }
    if ((stream->flags & STREAM_BLOCKED) != 0) {
        stream_count_blocked(stream, 0 - (uint64_t)stream->queued_bytes);
    }
    if ((stream->flags & STREAM_TLS) != 0) {
        stream_tls_close(stream);
    }
    loop_poller_unwatch(stream->loop, stream->fd);
    close(stream->fd);
    stream->fd = -1;
    stream_queue_clear(stream);
}

void stream_pause(struct stream *stream)
{
    if (stream->fd < 0 || (stream->flags & STREAM_PAUSED) != 0) {
        return;
    }
    stream->flags |= STREAM_PAUSED;
    stream_rewatch(stream);
}

void stream_resume(struct stream *stream)
{
    if (stream->fd < 0 || (stream->flags & STREAM_PAUSED) == 0) {
        return;
    }
    stream->flags &= ~(uint32_t)STREAM_PAUSED;
    stream_rewatch(stream);
}

/* --- Output --------------------------------------------------------------- */

static void stream_link(struct stream *stream)
{
    if ((stream->flags & STREAM_UNFLUSHED) != 0) {
        return;
    }
    stream->flags |= STREAM_UNFLUSHED;
    stream->next_unflushed = stream->loop->unflushed;
    stream->loop->unflushed = stream;
}

int stream_send_apart(struct stream *stream, struct tape_slice slice)
{
    ASSERT(stream->fd >= 0 && slice.size > 0);
    ASSERT((stream->flags & (STREAM_FINISHING | STREAM_FINISHED |
                             STREAM_SECURING)) == 0);

    int rc = stream_queue_push(stream, slice);

    if (rc == PEAL_OK) {
        if ((stream->flags & STREAM_BLOCKED) != 0) {
            stream_count_blocked(stream, slice.size);
        }
        stream_link(stream);
    }
    return rc;
}

void stream_finish(struct stream *stream)
{
    ASSERT(stream->fd >= 0);
    if ((stream->flags & STREAM_FINISHING) != 0) {
        return;
    }
    stream->flags |= STREAM_FINISHING;
    stream_link(stream);
}

/*
 * Gives the socket as much of the queue as fits one call. Returns what it took,
 * or -1 with errno; `tried` is what it was given.
 *
 * The last bytes before a FIN wait for it in the socket (MSG_MORE), so that
 * both go out as one segment. With TLS a record comes between them.
 */
static ssize_t stream_transmit(struct stream *stream, size_t *tried)
{
    struct loop *loop = stream->loop;
    const void *data = tape_slice_data(&stream->first);
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT;

    loop_count(&loop->sends);
    *tried = stream->first.size;
    if (stream->rest != NULL) {
        if (stream->queued_bytes > LOOP_SEND_BYTES) {
            struct iovec parts[STREAM_PARTS_MAX];
            struct msghdr message = {.msg_iov = parts};

            message.msg_iovlen =
                stream_queue_gather(stream, parts, STREAM_PARTS_MAX, tried);
            return sendmsg(stream->fd, &message, flags);
        }

        /* One contiguous send beats a vector, even with the copy. */
        *tried = stream_queue_copy(stream, loop->send_buffer);
        data = loop->send_buffer;
    }
    if ((stream->flags & (STREAM_FINISHING | STREAM_TLS)) == STREAM_FINISHING &&
        *tried == stream->queued_bytes) {
        flags |= MSG_MORE;
    }
    return send(stream->fd, data, *tried, flags);
}

/*
 * The socket is full. The stream stays on the list of the loop, whose flush
 * copies out what it pins when all others have sent theirs.
 */
static void stream_block(struct stream *stream)
{
    stream->flags |= STREAM_BLOCKED;
    stream_count_blocked(stream, stream->queued_bytes);
    stream_rewatch(stream);
    stream_link(stream);
    if (stream->events->on_blocked != NULL) {
        stream->events->on_blocked(stream);
    }
}

/* Sends the queue as it is. False when it was not all, for whatever reason. */
static bool stream_flush_queue(struct stream *stream)
{
    while (stream->queued_bytes > 0) {
        size_t tried;
        ssize_t sent = stream_transmit(stream, &tried);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            stream_fail(stream, errno);
            return false;
        }
        if (sent > 0) {
            stream_queue_consume(stream, (size_t)sent);
            if ((stream->flags & STREAM_KTLS) != 0) {
                stream_tls_count(stream, (size_t)sent);
            }
        }
        if (sent < 0 || (size_t)sent < tried) {
            stream_block(stream);
            return false;
        }
    }
    return true;
}

/* The queue is empty: sends the FIN if that is due. */
static void stream_flush_end(struct stream *stream)
{
    if ((stream->flags & (STREAM_FINISHING | STREAM_FINISHED)) ==
        STREAM_FINISHING) {
        /* Fails only on a broken connection, which the poller reports. */
        shutdown(stream->fd, SHUT_WR);
        stream->flags |= STREAM_FINISHED;
    }
}

/* As stream_flush, for a stream with TLS. */
static void stream_flush_tls(struct stream *stream)
{
    enum stream_tls_status status = stream_tls_flush(stream);

    if (status == STREAM_TLS_MORE && (stream->flags & STREAM_KTLS) != 0 &&
        !stream_flush_queue(stream)) {
        return;
    }
    while (status == STREAM_TLS_MORE && stream->queued_bytes > 0) {
        size_t sent = 0;

        status = stream_tls_write(stream, &sent);
        if (status == STREAM_TLS_MORE) {
            stream_queue_consume(stream, sent);
        }
    }
    if (status == STREAM_TLS_MORE &&
        (stream->flags & (STREAM_FINISHING | STREAM_FINISHED)) ==
            STREAM_FINISHING) {
        status = stream_tls_finish(stream);
    }
    if (status == STREAM_TLS_BROKEN) {
        stream_fail(stream, errno);
    } else if (status == STREAM_TLS_WAIT) {
        stream_block(stream);
    } else {
        stream_flush_end(stream);
    }
}

void stream_flush(struct stream *stream)
{
    if (stream->fd < 0 || (stream->flags & STREAM_BLOCKED) != 0) {
        return;
    }
    if ((stream->flags & STREAM_TLS) != 0) {
        stream_flush_tls(stream);
    } else if (stream_flush_queue(stream)) {
        stream_flush_end(stream);
    }
}

void stream_settle(struct stream *stream, size_t tried, ssize_t result)
{
    if (stream->fd < 0 || (stream->flags & STREAM_BLOCKED) != 0) {
        return;
    }
    if (result == -EAGAIN || (result >= 0 && (size_t)result < tried)) {
        stream_block(stream);
    } else if (result < 0 && result != -EINTR) {
        stream_fail(stream, (int)-result);
    } else {
        stream_flush(stream); /* what else is queued, and FIN */
    }
}

void stream_flush_all(struct loop *loop)
{
    struct stream *blocked = NULL;

    if (loop->batch != NULL && loop->unflushed != NULL &&
        loop->unflushed->next_unflushed != NULL) {
        blocked = stream_batch_flush(loop);
    }
    while (loop->unflushed != NULL) {
        struct stream *stream = loop->unflushed;

        loop->unflushed = stream->next_unflushed;
        if (stream->fd >= 0 && (stream->flags & STREAM_BLOCKED) != 0) {
            stream->next_unflushed = blocked;
            blocked = stream;
            continue;
        }
        stream->flags &= ~(uint32_t)STREAM_UNFLUSHED;
        stream_flush(stream);
    }

    /* Only now do segments tell what the slow readers alone owe. */
    while (blocked != NULL) {
        struct stream *stream = blocked;

        blocked = stream->next_unflushed;
        stream->flags &= ~(uint32_t)STREAM_UNFLUSHED;
        stream_queue_unpin(stream);
    }
}

/*
 * The first flight fits any socket that has sent little before. What it does
 * not take waits as it does after reading.
 */
int stream_start_tls(struct stream *stream, const struct tls_wish *wish)
{
    int rc;

    ASSERT(stream->fd >= 0 && stream->queued_bytes == 0 &&
           (stream->flags & (STREAM_BLOCKED | STREAM_TLS)) == 0);
    rc = stream_tls_connect(stream, wish);
    if (rc < 0) {
        return rc;
    }
    if (stream_tls_shake_hands(stream) != STREAM_TLS_WAIT) {
        return PEAL_ESYSTEM;
    }
    switch (stream_tls_flush(stream)) {
    case STREAM_TLS_WAIT:
        stream_block(stream);
        return PEAL_OK;
    case STREAM_TLS_BROKEN:
        return PEAL_ESYSTEM;
    default:
        return PEAL_OK;
    }
}

/* --- Readiness ------------------------------------------------------------ */

static int stream_pending_error(const struct stream *stream)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        return errno;
    }
    return error;
}

int stream_connect_error(const struct stream *stream)
{
    return stream_pending_error(stream);
}

static void stream_end(struct stream *stream)
{
    stream->flags |= STREAM_ENDED;
    stream->events->on_end(stream);
    if (stream->fd >= 0) {
        /* The end stays readable for ever. */
        stream_rewatch(stream);
    }
}

/* Reading writes, too: the handshake, answers to new keys. */
static void stream_answer_tls(struct stream *stream)
{
    enum stream_tls_status status;

    if (stream->fd < 0 || (stream->flags & STREAM_BLOCKED) != 0) {
        return;
    }
    status = stream_tls_flush(stream);
    if (status == STREAM_TLS_WAIT) {
        stream_block(stream);
    } else if (status == STREAM_TLS_BROKEN) {
        stream_fail(stream, errno);
    }
}

int stream_secure(struct stream *stream, struct peal_tls *tls,
                  const char *protocol, const char *data, size_t size)
{
    enum stream_tls_status status = STREAM_TLS_WAIT;
    int rc = stream_tls_accept(stream, tls, protocol);

    if (rc < 0) {
        return rc;
    }
    if (size > 0) {
        status = stream_tls_feed(stream, data, size);
    }
    if (status == STREAM_TLS_MORE) {
        status = stream_tls_read(stream, &size);
        if (status == STREAM_TLS_SECURED) {
            /* No handshake is done before the peer has heard our part. */
            status = STREAM_TLS_BROKEN;
            errno = EPROTO;
        }
    }
    if (status == STREAM_TLS_BROKEN) {
        stream_fail(stream, errno);
    }
    stream_answer_tls(stream);
    return PEAL_OK;
}

/* As stream_read, for a stream with TLS. */
static void stream_read_tls(struct stream *stream, bool is_broken)
{
    enum stream_tls_status status;
    size_t size;

    /* Handshakes are long work; a flood of them must not hold up the others. */
    if ((stream->flags & STREAM_SECURING) != 0 && !is_broken &&
        loop_is_over_budget(stream->loop)) {
        return;
    }
    status = stream_tls_receive(stream);
    if (status == STREAM_TLS_MORE) {
        status = stream_tls_read(stream, &size);
        if (status == STREAM_TLS_SECURED) {
            stream->events->on_secured(stream);
            if (stream->fd < 0) {
                return;
            }
            status = stream_tls_read(stream, &size);
        }
    } else if (status == STREAM_TLS_WAIT && is_broken) {
        int error = stream_pending_error(stream);

        if (error != 0) {
            stream_fail(stream, error);
            return;
        }
    }
    if (status == STREAM_TLS_MORE) {
        stream->events->on_data(stream, stream->loop->read_buffer, size);
    } else if (status == STREAM_TLS_END) {
        stream_end(stream);
    } else if (status == STREAM_TLS_BROKEN) {
        stream_fail(stream, errno);
    }
    stream_answer_tls(stream);
}

/*
 * One read: whether more is there, the next wait tells, and reading until
 * EAGAIN would cost a second system call per message.
 */
static void stream_read(struct stream *stream, bool is_broken)
{
    struct loop *loop = stream->loop;

    if ((stream->flags & STREAM_TLS) != 0) {
        stream_read_tls(stream, is_broken);
        return;
    }

    ssize_t size =
        recv(stream->fd, loop->read_buffer, LOOP_READ_BYTES, MSG_DONTWAIT);

    loop_count(&loop->reads);
    if (size > 0) {
        stream->events->on_data(stream, loop->read_buffer, (size_t)size);
    } else if (size == 0) {
        stream_end(stream);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        stream_fail(stream, errno);
    } else if (is_broken) {
        int error = stream_pending_error(stream);

        if (error != 0) {
            stream_fail(stream, error);
        }
    }
}

size_t stream_unsent(const struct stream *stream)
{
    size_t size = stream->queued_bytes;
    int in_socket = 0;

    if (stream->fd < 0) {
        return 0;
    }
    if ((stream->flags & STREAM_TLS) != 0) {
        size += stream_tls_unsent(stream);
    }
    if (ioctl(stream->fd, SIOCOUTQ, &in_socket) == 0 && in_socket > 0) {
        size += (size_t)in_socket;
    }
    return size;
}

static void stream_unblock(struct stream *stream)
{
    stream->flags &= ~(uint32_t)STREAM_BLOCKED;
    stream_count_blocked(stream, 0 - (uint64_t)stream->queued_bytes);
    stream_flush(stream);
    if (stream->fd < 0 || (stream->flags & STREAM_BLOCKED) != 0) {
        return;
    }
    stream_rewatch(stream);
    if ((stream->flags & STREAM_SECURING) == 0) {
        stream->events->on_drained(stream);
    }
}

void stream_ready(struct stream *stream, unsigned ready)
{
    bool is_broken = (ready & LOOP_BROKEN) != 0;

    if (stream->fd < 0) {
        return;
    }
    if ((stream->flags & (STREAM_PAUSED | STREAM_ENDED)) == 0) {
        if (is_broken || (ready & LOOP_READABLE) != 0) {
            stream_read(stream, is_broken);
        }
    } else if (is_broken) {
        int error = stream_pending_error(stream);

        if (error != 0) {
            stream_fail(stream, error);
        }
    }
    if (stream->fd >= 0 && (stream->flags & STREAM_BLOCKED) != 0 &&
        (is_broken || (ready & LOOP_WRITABLE) != 0)) {
        stream_unblock(stream);
    }
}
