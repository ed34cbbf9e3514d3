/* Connections that the program has accepted itself. */
#include "server/adopt.h"

#include "base/assert.h"
#include "base/slice.h"
#include "peal/http.h"
#include "proto/http.h"
#include "server/conn.h"

#include <unistd.h>

/* What may have been read behind the head: as much as is read at once here. */
#define EARLY_BYTES_MAX LOOP_READ_BYTES

void adopt_init(struct peal_server *server)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        server->engine->adopted[i].server = server;
        server->engine->adopted[i].transport = TRANSPORT_WS;
        server->engine->adopted[i].dialect = conn_dialects[i];
        server->engine->adopted[i].proxy_protocol = PEAL_PROXY_OFF;
    }
}

static const struct listener *listener_of(const struct peal_server *server,
                                          enum peal_dialect name)
{
    const struct dialect *dialect = options_dialect(name, server->dialect);
    size_t i = 0;

    while (server->engine->adopted[i].dialect != dialect) {
        i++;
    }
    return &server->engine->adopted[i];
}

/* --- The program's side --------------------------------------------------- */

/* Whether it is one whole head, so that the program can still answer itself. */
static int check_head(struct peal_server *server, struct peal_slice head)
{
    struct config *config = config_ref(server);
    struct http_request request;
    long used = http_request_parse(&request, head.data, head.size,
                                   config->options.header_bytes_max);

    config_unref(config);
    if (used < 0) {
        return used == -431 ? PEAL_ETOOBIG : PEAL_EPROTOCOL;
    }
    return (size_t)used == head.size && used > 0 ? 0 : PEAL_EINVAL;
}

static int check(struct peal_server *server, const struct peal_adopt *adopt)
{
    if (adopt->size != sizeof *adopt || adopt->head == NULL ||
        options_dialect(adopt->dialect, server->dialect) == NULL ||
        !socket_is_connection(adopt->fd)) {
        return PEAL_EINVAL;
    }
    if (adopt->early_size > EARLY_BYTES_MAX) {
        return PEAL_ETOOBIG;
    }
    return check_head(server, slice_make(adopt->head, adopt->head_size));
}

int peal_server_adopt(struct peal_server *server,
                      const struct peal_adopt *adopt)
{
    unsigned turn;
    struct mail *mail;
    int rc;

    if (server->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (atomic_load(&server->engine->state) != SERVER_RUNNING ||
        atomic_load(&server->engine->is_stop_asked)) {
        return PEAL_ESTATE;
    }
    rc = check(server, adopt);
    if (rc < 0) {
        return rc;
    }
    mail = mail_new(MAIL_ADOPT, (struct peal_client_ref){0}, NULL,
                    adopt->head_size + adopt->early_size);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->code = adopt->fd;
    mail->number = (uint64_t)adopt->dialect;
    memcpy(mail->text, adopt->head, adopt->head_size);
    if (adopt->early_size > 0) {
        memcpy(mail->text + adopt->head_size, adopt->early, adopt->early_size);
    }
    turn = atomic_fetch_add_explicit(&server->engine->adopted_count, 1,
                                     memory_order_relaxed);
    turn %= (unsigned)server->engine->worker_count;
    return mail_post(server, (int)turn, mail);
}

/* --- Its loop ------------------------------------------------------------- */

/* The conn that has been made last, if its socket is this one. */
static struct conn *newest(struct worker *worker, int fd)
{
    struct conn *conn = CONTAINER_OF(worker->conns.previous, struct conn, link);

    return list_is_empty(&worker->conns) || conn->stream.fd != fd ? NULL
                                                                  : conn;
}

void adopt_carry_out(struct seat *seat, struct mail *mail)
{
    struct peal_server *server = seat->server;
    struct worker *worker = seat->worker;
    struct socket_address peer = {.size = sizeof peer.of};
    size_t size = mail->base.size - sizeof *mail;
    int fd = mail->code;
    struct conn *conn;

    if (worker->is_stopping ||
        atomic_load(&worker->engine->state) != SERVER_RUNNING ||
        socket_take_over(fd) < 0 ||
        getpeername(fd, &peer.of.any, &peer.size) < 0) {
        close(fd);
        return;
    }
    conn_accept(worker, listener_of(server, (enum peal_dialect)mail->number),
                fd, &peer);
    conn = newest(worker, fd);
    if (conn != NULL) {
        /* As if it had been read here; the bytes are the mail's own. */
        conn_events.on_data(&conn->stream, mail->text, size);
    }
}
