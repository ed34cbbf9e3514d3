/*
 * What a loop with a ring sends in one turn, as few system calls: the output
 * of plain streams is put together and handed to the ring. Part of stream.c and
 * loop.c; no other file has to do with it.
 *
 * All [L], but a batch may be closed where the loop does not run.
 */
#ifndef NET_STREAM_BATCH_H
#define NET_STREAM_BATCH_H

#include "net/stream.h"

struct stream_batch;

/* 0, PEAL_ENOMEM or an error of loop_ring_open; errno tells more. */
int stream_batch_open(struct stream_batch **out);

/* NULL is fine. */
void stream_batch_close(struct stream_batch *batch);

/*
 * For stream_flush_all: sends for all streams in the list of `loop`, which has
 * a batch, and takes them off it. Returns a list of those that are blocked.
 * What it leaves is for the caller to send.
 * When the ring has failed, the loop has no batch any more.
 */
struct stream *stream_batch_flush(struct loop *loop);

/*
 * Of stream.c: goes on with a stream for which `tried` bytes were sent with
 * this result, as of send(2) or a negative errno; what was sent is off the
 * queue already. Harmless when it is closed. on_error may come.
 */
void stream_settle(struct stream *stream, size_t tried, ssize_t result);

#endif
