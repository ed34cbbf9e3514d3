#include "server/account.h"

#include "base/mem.h"

#include <string.h>

void account_open(struct conn *conn, const char *remote)
{
    struct worker *worker = conn_worker(conn);
    const struct log *log = &worker->engine->log;
    struct conn_extra *extra;
    size_t size = strlen(remote) + 1;
    char space[SPACE_FIELD_SIZE];

    if (!log_enabled(log, PEAL_LOG_DEBUG)) {
        return;
    }
    log_debug(log, "server", "client connected",
              "conn=%llu%s transport=%s remote=%s",
              (unsigned long long)peal_client_ref(conn->client).value,
              space_field(conn_seat(conn)->server, space),
              conn_transport(conn) == TRANSPORT_WS ? "ws" : "tcp", remote);
    extra = conn_extra_of(conn);
    if (extra == NULL) {
        return;
    }
    extra->account = mem_zalloc(sizeof *extra->account + size);
    if (extra->account == NULL) {
        return; /* then its end will be told with less */
    }
    extra->account->began_ms = worker->loop->now_ms;
    memcpy(extra->account->remote, remote, size);
    conn->is_accounted = true;
}

void account_close(struct conn *conn, const struct peal_disconnect *why)
{
    struct worker *worker = conn_worker(conn);
    const struct log *log = &worker->engine->log;
    unsigned long long ref = peal_client_ref(conn->client).value;
    const char *by = why->by_peer ? "true" : "false";
    char space[SPACE_FIELD_SIZE];
    char reason[256];

    if (!log_enabled(log, PEAL_LOG_DEBUG)) {
        return;
    }
    log_quote(reason, sizeof reason, peal_slice(why->reason));
    space_field(conn_seat(conn)->server, space);
    if (!conn->is_accounted) {
        log_debug(log, "server", "client left",
                  "conn=%llu%s code=%d reason=%s by_peer=%s", ref, space,
                  why->code, reason, by);
        return;
    }

    const struct account *account = conn->extra->account;

    log_debug(log, "server", "client left",
              "conn=%llu%s remote=%s code=%d reason=%s by_peer=%s dur_ms=%llu "
              "bytes_in=%llu bytes_out=%llu messages_in=%llu "
              "messages_out=%llu dropped=%llu",
              ref, space, account->remote, why->code, reason, by,
              (unsigned long long)(worker->loop->now_ms - account->began_ms),
              (unsigned long long)account->bytes_in,
              (unsigned long long)account->bytes_out,
              (unsigned long long)account->messages_in,
              (unsigned long long)account->messages_out,
              (unsigned long long)account->dropped);
}
