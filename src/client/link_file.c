/*
 * Files: one event whose bytes come from the disk, piece by piece, as the
 * socket takes them. WebSocket wants the size first and nothing else within the
 * frame, so nothing else is written until it is through.
 */
#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 16384
#define PIECES_PER_TURN 16

struct file_job *link_file_new(const struct peal_file *file)
{
    struct file_job *job = mem_zalloc(sizeof *job);

    if (job == NULL) {
        return NULL;
    }
    job->file = *file;
    job->fd = -1;
    job->name = mem_copy(file->name, strlen(file->name));
    job->path = mem_copy(file->path, strlen(file->path));
    if (job->name == NULL || job->path == NULL) {
        mem_free(job->name);
        mem_free(job->path);
        mem_free(job);
        return NULL;
    }
    return job;
}

void link_file_free(struct file_job *job)
{
    if (job->fd >= 0) {
        close(job->fd);
    }
    mem_free(job->name);
    mem_free(job->path);
    mem_free(job);
}

void link_file_end(struct peal_link *link, struct file_job *job, int status)
{
    struct peal_file file = job->file;

    link_file_free(job);
    if (file.on_done != NULL && !link->is_freed) {
        file.on_done(link, status, file.user);
    }
}

static int open_file(struct file_job *job)
{
    struct stat status;

    job->fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (job->fd < 0) {
        switch (errno) {
        case ENOENT:
        case ENOTDIR:
            return PEAL_ENOTFOUND;
        case EACCES:
        case EPERM:
            return PEAL_EACCESS;
        default:
            return PEAL_ESYSTEM;
        }
    }
    if (fstat(job->fd, &status) < 0) {
        return PEAL_ESYSTEM;
    }
    if (!S_ISREG(status.st_mode)) {
        return PEAL_EINVAL;
    }
    job->total = (uint64_t)status.st_size;
    return PEAL_OK;
}

/*
 * The event with no bytes, as the dialect writes it, is what stands before the
 * file's; only the sizes in it are too small.
 */
static int write_head(struct peal_link *link, struct file_job *job)
{
    const struct dialect *dialect = link->settings->dialect;
    enum transport transport = link_transport(link);
    char head[WS_HEADER_MAX + TCP_HEADER_SIZE + 6 * TCP_EVENT_MAX + 64];
    char *payload = head;
    struct wire_plan plan;
    struct wire wire;
    uint64_t size;

    wire_begin(&wire, WIRE_EVENT);
    wire.name = peal_slice(job->name);
    wire.data_kind = PEAL_BYTES;
    if (!dialect->plan(&plan, &wire, transport)) {
        return PEAL_ENOTSUP;
    }
    ASSERT(plan.size <= sizeof head - WS_HEADER_MAX);
    size = plan.size + job->total;
    if (size > UINT32_MAX ||
        (link->message_bytes_max > 0 && size > link->message_bytes_max)) {
        return PEAL_ETOOBIG;
    }
    if (transport == TRANSPORT_WS) {
        random_bytes(job->key, sizeof job->key);
        payload = ws_header_write_masked(head, WS_OPCODE_BINARY, (size_t)size,
                                         job->key);
    }
    dialect->write(payload, &plan, &wire, transport);
    if (transport == TRANSPORT_WS) {
        ws_mask(payload, plan.size, job->key, 0);
        job->masked = plan.size;
    } else {
        for (int i = 0; i < 4; i++) {
            payload[i] = (char)(size >> (24 - 8 * i) & 0xff);
        }
    }
    return link_write_bytes(link, head, (size_t)(payload - head) + plan.size);
}

bool link_file_start(struct peal_link *link, struct file_job *job)
{
    int rc = open_file(job);

    if (rc == PEAL_OK) {
        rc = write_head(link, job);
    }
    if (rc < 0) {
        link_file_end(link, job, rc);
        return false;
    }
    link_add(&link->counters.sent, 1);
    link->events_written++;
    link->file = job;
    return true;
}

/* One piece onto the tape. 0 or an error. */
static int write_piece(struct peal_link *link, struct file_job *job)
{
    struct tape *tape = &link->runner->tape;
    uint64_t left = job->total - job->sent;
    size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    char *out = tape_reserve(tape, size);
    ssize_t got;
    int rc;

    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    got = read(job->fd, out, size);
    if (got <= 0) {
        return PEAL_ESYSTEM; /* it has become shorter, or the disk failed */
    }
    if (link_transport(link) == TRANSPORT_WS) {
        ws_mask(out, (size_t)got, job->key,
                (size_t)((job->masked + job->sent) & 3));
    }
    rc = stream_send(&link->stream, tape_commit(tape, (size_t)got));
    if (rc == PEAL_OK) {
        job->sent += (uint64_t)got;
        link_add(&link->counters.bytes_out, (uint64_t)got);
    }
    return rc;
}

/* The frame cannot be completed, so the connection is of no use any more. */
static void break_off(struct peal_link *link, int error)
{
    struct file_job *job = link->file;

    link->file = NULL;
    link_lose(link, &(struct link_loss){
                        .error = error,
                        .code = WS_CLOSE_ABNORMAL,
                        .reason = "a file could not be read to its end",
                    });
    link_file_end(link, job, error);
}

bool link_file_pump(struct peal_link *link)
{
    struct file_job *job = link->file;
    uint32_t generation = link->generation;
    uint64_t before = job->sent;

    for (int i = 0; i < PIECES_PER_TURN && job->sent < job->total; i++) {
        int rc;

        stream_flush(&link->stream);
        if (link->generation != generation) {
            return true;
        }
        if (stream_queued(&link->stream) > 0) {
            break;
        }
        rc = write_piece(link, job);
        if (rc < 0) {
            break_off(link, rc);
            return true;
        }
    }
    if (job->sent > before) {
        /* What the server takes in shows that it lives. */
        link->heard_at_ms = link_now_ms(link);
        if (job->file.on_progress != NULL) {
            job->file.on_progress(link, job->sent, job->total, job->file.user);
            if (link->generation != generation) {
                return true;
            }
        }
    }
    if (job->sent == job->total) {
        link->file = NULL;
        link_file_end(link, job, PEAL_OK);
        return true;
    }
    if (stream_queued(&link->stream) == 0 || job->sent - before > 0) {
        timer_start(&link->runner->loop->timers, &link->pump,
                    link_now_ms(link) + 1);
    }
    return false;
}
