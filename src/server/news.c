#include "server/news.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/backlog.h"
#include "server/conn_extra.h"

#include <string.h>

/* Messages of one room that were dropped for one reason. */
struct notice {
    struct notice *next;
    uint64_t count;
    enum peal_pressure reason;
    size_t room_size;
    char room[];
};

struct news {
    struct list link; /* in worker->news, when there are some */
    struct conn *conn;
    struct notice *notices;
    bool is_high;      /* beyond queue_high_bytes, not yet at queue_low_bytes */
    bool is_high_told; /* what the application knows */
};

/* NULL: no memory; then it is not told, as the counters are. */
static struct news *make(struct conn *conn)
{
    struct conn_extra *extra = conn_extra_of(conn);

    if (extra == NULL || extra->news != NULL) {
        return extra != NULL ? extra->news : NULL;
    }
    extra->news = mem_zalloc(sizeof *extra->news);
    if (extra->news != NULL) {
        extra->news->conn = conn;
        list_init(&extra->news->link);
    }
    return extra->news;
}

static void plan(struct news *news)
{
    if (list_is_empty(&news->link)) {
        list_append(&conn_worker(news->conn)->news, &news->link);
        loop_keep_awake(news->conn->stream.loop);
    }
}

/* --- Noting -------------------------------------------------------------- */

static struct notice *find_notice(const struct news *news,
                                  struct peal_slice room,
                                  enum peal_pressure reason)
{
    struct notice *notice = news->notices;

    while (notice != NULL &&
           (notice->reason != reason ||
            !slice_equal(slice_make(notice->room, notice->room_size), room))) {
        notice = notice->next;
    }
    return notice;
}

void news_dropped(struct conn *conn, struct peal_slice room,
                  enum peal_pressure reason)
{
    struct notice *notice;
    struct news *news;

    if (conn_seat(conn)->server->hooks.on_dropped == NULL) {
        return;
    }
    news = make(conn);
    if (news == NULL) {
        return;
    }
    notice = find_notice(news, room, reason);
    if (notice == NULL) {
        notice = mem_zalloc(sizeof *notice + room.size);
        if (notice == NULL) {
            return;
        }
        notice->reason = reason;
        notice->room_size = room.size;
        if (room.size > 0) {
            memcpy(notice->room, room.data, room.size);
        }
        notice->next = news->notices;
        news->notices = notice;
    }
    notice->count++;
    plan(news);
}

void news_level(struct conn *conn)
{
    const struct seat *seat = conn_seat(conn);
    const struct peal_server_options *options = &seat->config->options;
    struct news *news = conn->extra != NULL ? conn->extra->news : NULL;
    size_t queued;

    if (conn->client == NULL || (seat->server->hooks.on_high_water == NULL &&
                                 seat->server->hooks.on_drain == NULL)) {
        return;
    }
    queued = backlog_queued_bytes(conn);
    if (news != NULL && news->is_high) {
        news->is_high = queued > options->queue_low_bytes;
    } else if (queued > options->queue_high_bytes) {
        news = make(conn);
        if (news != NULL) {
            news->is_high = true;
        }
    }
    if (news != NULL && news->is_high != news->is_high_told) {
        plan(news);
    }
}

/* --- Telling ------------------------------------------------------------- */

static void tell_dropped(struct conn *conn, struct notice *notice)
{
    const struct seat *seat = conn_seat(conn);
    struct peal_dropped dropped = {
        .room = slice_make(notice->room, notice->room_size),
        .reason = notice->reason,
        .count = notice->count,
    };

    seat->server->hooks.on_dropped(conn->client, &dropped,
                                   seat->config->options.user);
    mem_free(notice);
}

static void tell(struct news *news)
{
    struct conn *conn = news->conn;
    const struct seat *seat = conn_seat(conn);
    const struct peal_hooks *hooks = &seat->server->hooks;
    void *user = seat->config->options.user;
    struct notice *notice = news->notices;

    news->notices = NULL;
    if (news->is_high != news->is_high_told) {
        news->is_high_told = news->is_high;
        if (news->is_high && hooks->on_high_water != NULL) {
            hooks->on_high_water(conn->client, backlog_queued_bytes(conn),
                                 user);
        } else if (!news->is_high && hooks->on_drain != NULL) {
            hooks->on_drain(conn->client, backlog_queued_bytes(conn), user);
        }
    }
    while (notice != NULL) {
        struct notice *next = notice->next;

        tell_dropped(conn, notice);
        notice = next;
    }
}

void news_tell(struct worker *worker)
{
    struct list due;

    /* What they bring about is news for the next turn. */
    list_init(&due);
    list_splice(&due, &worker->news);
    while (!list_is_empty(&due)) {
        struct news *news = CONTAINER_OF(due.next, struct news, link);

        list_remove(&news->link);
        tell(news);
    }
}

void news_end(struct conn *conn)
{
    struct news *news = conn->extra != NULL ? conn->extra->news : NULL;

    if (news == NULL) {
        return;
    }
    list_remove(&news->link);
    tell(news);
    list_remove(&news->link);
    while (news->notices != NULL) {
        struct notice *notice = news->notices;

        news->notices = notice->next;
        mem_free(notice);
    }
    mem_free(news);
    conn->extra->news = NULL;
}
