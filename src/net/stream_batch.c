#include "net/stream_batch.h"

#include "base/assert.h"
#include "base/mem.h"
#include "net/loop_ring.h"
#include "net/stream_queue.h"

#include <errno.h>
#include <string.h>

/* Queues of several slices are joined here, of all streams of a batch. */
#define STREAM_BATCH_COPY_BYTES (4 * LOOP_SEND_BYTES)

struct stream_batch {
    struct loop_ring *ring;
    bool is_busy;   /* a flush is under way */
    bool is_broken; /* the ring has failed */
    size_t count;
    size_t copied_bytes;
    struct stream *streams[LOOP_RING_SENDS];
    struct loop_send sends[LOOP_RING_SENDS];
    char copies[STREAM_BATCH_COPY_BYTES];
};

int stream_batch_open(struct stream_batch **out)
{
    struct stream_batch *batch = mem_alloc(sizeof(*batch));
    int rc;

    if (batch == NULL) {
        errno = ENOMEM;
        return PEAL_ENOMEM;
    }
    rc = loop_ring_open(&batch->ring);
    if (rc < 0) {
        int error = errno;

        mem_free(batch);
        errno = error;
        return rc;
    }
    batch->is_busy = false;
    batch->is_broken = false;
    batch->count = 0;
    batch->copied_bytes = 0;
    *out = batch;
    return PEAL_OK;
}

void stream_batch_close(struct stream_batch *batch)
{
    if (batch != NULL) {
        loop_ring_close(batch->ring);
        mem_free(batch);
    }
}

/* --- Sending -------------------------------------------------------------- */

static void stream_batch_give_up(struct loop *loop)
{
    int error = errno;

    if (loop->options.log != NULL) {
        log_warn(loop->options.log, "net", "io_uring failed",
                 "loop=%d error=\"%s\"", loop->options.index, strerror(error));
    }
    loop->batch->is_broken = true;
}

/*
 * Sends it. No stream hears of anything before all queues are what they should
 * be: what is told of one may send on another.
 */
static void stream_batch_run(struct loop *loop)
{
    struct stream_batch *batch = loop->batch;
    size_t count = batch->count;

    batch->count = 0;
    batch->copied_bytes = 0;
    if (count == 1) {
        stream_flush(batch->streams[0]);
        return;
    }
    if (!loop_ring_send(batch->ring, batch->sends, count)) {
        stream_batch_give_up(loop);
    }
    loop_add(&loop->sends, count);
    loop_count(&loop->batches);
    for (size_t i = 0; i < count; i++) {
        if (batch->sends[i].result > 0) {
            stream_queue_consume(batch->streams[i],
                                 (size_t)batch->sends[i].result);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct loop_send *send = &batch->sends[i];

        if (send->result != (ssize_t)send->size ||
            batch->streams[i]->queued_bytes > 0) {
            stream_settle(batch->streams[i], send->size, send->result);
        }
    }
}

/* --- Putting it together -------------------------------------------------- */

/* The last bytes of a stream go together with its end: stream_flush does. */
static bool stream_batch_takes(const struct stream_batch *batch,
                               const struct stream *stream)
{
    return !batch->is_broken && stream->fd >= 0 && stream->queued_bytes > 0 &&
           (stream->flags & (STREAM_TLS | STREAM_FINISHING)) == 0 &&
           (stream->rest == NULL || stream->queued_bytes <= LOOP_SEND_BYTES);
}

/* Whether there may be no room for one stream more. */
static bool stream_batch_is_full(const struct stream_batch *batch)
{
    return batch->count == LOOP_RING_SENDS ||
           batch->copied_bytes + LOOP_SEND_BYTES > STREAM_BATCH_COPY_BYTES;
}

static void stream_batch_add(struct stream_batch *batch, struct stream *stream)
{
    struct loop_send *send = &batch->sends[batch->count];

    batch->streams[batch->count++] = stream;
    send->fd = stream->fd;
    if (stream->rest == NULL) {
        send->data = tape_slice_data(&stream->first);
        send->size = stream->first.size;
    } else {
        char *copy = batch->copies + batch->copied_bytes;

        send->data = copy;
        send->size = stream_queue_copy(stream, copy);
        batch->copied_bytes += send->size;
    }
}

/*
 * Fills the batch from the list of the loop. Nothing is sent or told here, so
 * that no queue changes before the ring has sent what the batch points to. What
 * is not for the ring goes to the list `alone`, what is blocked to `blocked`.
 */
static void stream_batch_fill(struct loop *loop, struct stream **alone,
                              struct stream **blocked)
{
    struct stream_batch *batch = loop->batch;

    while (loop->unflushed != NULL && !stream_batch_is_full(batch)) {
        struct stream *stream = loop->unflushed;
        struct stream **list = alone;

        loop->unflushed = stream->next_unflushed;
        if (stream->fd >= 0 && (stream->flags & STREAM_BLOCKED) != 0) {
            list = blocked;
        } else if (stream_batch_takes(batch, stream)) {
            stream->flags &= ~(uint32_t)STREAM_UNFLUSHED;
            stream_batch_add(batch, stream);
            continue;
        }
        stream->next_unflushed = *list;
        *list = stream;
    }
}

struct stream *stream_batch_flush(struct loop *loop)
{
    struct stream_batch *batch = loop->batch;
    struct stream *blocked = NULL;
    struct stream *alone = NULL;

    if (batch->is_busy) {
        return NULL; /* from a callback: what that sends goes one by one */
    }
    batch->is_busy = true;
    for (;;) {
        stream_batch_fill(loop, &alone, &blocked);
        if (batch->count > 0) {
            stream_batch_run(loop);
        } else if (alone != NULL) {
            struct stream *stream = alone;

            alone = stream->next_unflushed;
            stream->flags &= ~(uint32_t)STREAM_UNFLUSHED;
            stream_flush(stream);
        } else {
            break;
        }
    }
    batch->is_busy = false;
    if (batch->is_broken) {
        loop->batch = NULL;
        atomic_store_explicit(&loop->has_ring, false, memory_order_relaxed);
        stream_batch_close(batch);
    }
    return blocked;
}
