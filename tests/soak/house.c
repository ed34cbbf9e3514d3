#include "house.h"

#include "annex.h"
#include "chance.h"
#include "house_inside.h"
#include "support/check.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A little more than a worker waits before it trims its tapes. */
#define QUIET_MS 12000

struct house_inside inside;

/* --- Making it ----------------------------------------------------------- */

static void ignore_log(enum peal_log_level level, const char *component,
                       const char *message, const char *fields, void *user)
{
    (void)component;
    (void)fields;
    (void)user;
    /* Nothing that a client does is an error of the server's. */
    if (level >= PEAL_LOG_ERROR) {
        fprintf(stderr, "soak: the server logged an error: %s %s\n", message,
                fields);
        abort();
    }
}

static void listen_with_tls(enum peal_transport transport)
{
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = transport,
        .tls = inside.tls,
    };

    CHECK_EQUAL(peal_server_listen(inside.server, &listen), 0);
}

static void listen_behind_proxies(enum peal_transport transport)
{
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = transport,
        .proxy_protocol = PEAL_PROXY_REQUIRED,
    };

    CHECK_EQUAL(peal_server_listen(inside.server, &listen), 0);
}

static void route(const char *path, enum peal_deflate deflate)
{
    struct peal_route made = {
        .size = sizeof made, .path = path, .deflate = deflate};

    CHECK_EQUAL(peal_server_route(inside.server, &made), 0);
}

static void make(const char *certificate, const char *key)
{
    static const struct peal_deflate_options deflate = {
        .size = sizeof deflate, .enabled = true, .context_takeover = true};
    static const char *const proxies[] = {"127.0.0.0/8", NULL};
    const struct peal_tls_options tls_options = {
        .size = sizeof tls_options,
        .certificate_file = certificate,
        .key_file = key,
    };
    char why[PEAL_TLS_ERROR_SIZE];

    CHECK_EQUAL(peal_tls_new(&inside.tls, &tls_options, why, sizeof why), 0);
    inside.first = (struct peal_server_options){
        .size = sizeof inside.first,
        .ws_listen = "127.0.0.1:0",
        .tcp_listen = "127.0.0.1:0",
        .internal_listen = "127.0.0.1:0",
        .health_path = "/health",
        .loops = 2,
        .message_bytes_max = 256 * 1024,
        .queue_bytes_max = 256 * 1024,
        .http_body_bytes_max = 16 * 1024,
        .trusted_proxies = proxies,
        .handshake_timeout_ms = 2000,
        .ping_interval_ms = 1000,
        .ping_timeout_ms = 10000,
        .close_timeout_ms = 1000,
        .request_timeout_ms = 2000,
        .clients_may_join = true,
        .clients_may_publish = true,
        .client_rate = {.capacity = 400, .refill = 400},
        .address_rate = {.capacity = 4000, .refill = 4000},
        .hooks = &house_hooks,
        .deflate = &deflate,
        .log = ignore_log,
        .log_level = PEAL_LOG_DEBUG,
    };
    house_set_callbacks(&inside.first);
    CHECK_EQUAL(peal_server_new(&inside.server, &inside.first), 0);
    listen_with_tls(PEAL_WS);
    listen_with_tls(PEAL_TCP);
    listen_behind_proxies(PEAL_WS);
    listen_behind_proxies(PEAL_TCP);
    annex_make(inside.server);
    route("/", PEAL_DEFLATE_DEFAULT);
    route("/rooms/:room_id/chat", PEAL_DEFLATE_ON);
    route("/plain", PEAL_DEFLATE_OFF);
    house_add_handlers(inside.server);
    CHECK_EQUAL(peal_server_start(inside.server), 0);
}

/* --- Being asked --------------------------------------------------------- */

static struct peal_server_stats stats_now(void)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_server_stats(inside.server, &stats), 0);
    return stats;
}

static struct house_figures look(void)
{
    struct peal_server_stats stats = stats_now();
    struct house_figures figures = house_measure();

    figures.gauges = stats.clients + stats.ws_clients + stats.tcp_clients +
                     stats.connections + stats.rooms + stats.queued_bytes +
                     stats.requests_pending + stats.tls_handshaking +
                     annex_gauges();
    return figures;
}

static struct house_figures settle(struct chance *chance, bool in_full)
{
    uint64_t quiet_ms = check_now_ms() + (in_full ? QUIET_MS : 0);

    CHECK_EQUAL(peal_server_update(inside.server, &inside.first, NULL), 0);
    annex_reset();
    CHECK_EQUAL(peal_server_set_event_rate(inside.server, "echo", NULL), 0);
    CHECK_EQUAL(peal_server_set_event_rate(inside.server, "noise", NULL), 0);
    CHECK_SOON(stats_now().connections == 0);
    /* What nobody waits for any more is done all the same: it must not harm. */
    while (house_has_duties()) {
        house_do_duties(chance);
    }
    CHECK_SOON(look().gauges == 0);
    CHECK_SOON(atomic_load(&inside.outcomes) == atomic_load(&inside.questions));
    CHECK_EQUAL(atomic_load(&inside.connects),
                atomic_load(&inside.disconnects));
    CHECK_EQUAL(atomic_load(&inside.emits) >= atomic_load(&inside.emitted),
                true);
    while (check_now_ms() < quiet_ms) {
        poll(NULL, 0, 100);
    }
    malloc_trim(0);
    return look();
}

static void answer(int control, const void *data, size_t size)
{
    CHECK_EQUAL(write(control, data, size), (long)size);
}

static void tell_ports(int control)
{
    int ports[HOUSE_DOORS];

    for (size_t i = 0; i < HOUSE_DOORS; i++) {
        char address[PEAL_ADDRESS_MAX];

        CHECK_EQUAL(peal_server_address(inside.server, i, address), 0);
        ports[i] = atoi(strrchr(address, ':') + 1);
    }
    answer(control, ports, sizeof ports);
}

/* Does what it is told by a letter; false in the end. */
static bool obey(int control, struct chance *chance)
{
    struct house_figures figures;
    char order;

    if (read(control, &order, 1) != 1) {
        exit(2); /* whoever started it has died */
    }
    if (order == 'q') {
        return false;
    }
    figures = order == 'l' ? look() : settle(chance, order == 'S');
    answer(control, &figures, sizeof figures);
    return true;
}

static void serve(int control, uint64_t seed, const char *certificate,
                  const char *key)
{
    struct chance chance = {seed};
    struct pollfd polled = {.fd = control, .events = POLLIN};
    bool goes_on = true;

    for (size_t i = 0; i < HOUSE_FLOOD_BYTES; i++) {
        inside.flood[i] =
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
            "WXYZ-_"[chance_below(&chance, 64)];
    }
    house_count_memory();
    make(certificate, key);
    tell_ports(control);
    while (goes_on) {
        if (poll(&polled, 1, 2) > 0) {
            goes_on = obey(control, &chance);
        }
        house_do_duties(&chance);
        house_tick(&chance);
        annex_do(&chance);
        if (chance_one_in(&chance, 8)) {
            house_do_something(&chance);
        }
    }
    peal_server_stop(inside.server);
    CHECK_EQUAL(peal_server_wait(inside.server), 0);
    inside.deeds.drops = annex_dropped();
    peal_server_free(inside.server);
    peal_tls_free(inside.tls);
    CHECK_EQUAL(house_measure().blocks, 0);
    CHECK_EQUAL(house_measure().bytes, 0);
    CHECK_EQUAL(atomic_load(&inside.connects),
                atomic_load(&inside.disconnects));
    inside.deeds.questions = atomic_load(&inside.questions);
    inside.deeds.admissions = atomic_load(&inside.admissions);
    answer(control, &inside.deeds, sizeof inside.deeds);
}

/* --- From outside -------------------------------------------------------- */

static void take(const struct house *house, void *out, size_t size)
{
    CHECK_EQUAL(recv(house->control, out, size, MSG_WAITALL), (long)size);
}

void house_start(struct house *house, uint64_t seed, const char *certificate,
                 const char *key)
{
    int ends[2];

    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    house->pid = fork();
    CHECK(house->pid >= 0);
    if (house->pid == 0) {
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        serve(ends[1], seed, certificate, key);
        exit(0);
    }
    close(ends[1]);
    house->control = ends[0];
    take(house, house->ports, sizeof house->ports);
}

static struct house_figures order(const struct house *house, char what)
{
    struct house_figures figures;

    CHECK_EQUAL(send(house->control, &what, 1, MSG_NOSIGNAL), 1);
    take(house, &figures, sizeof figures);
    return figures;
}

struct house_figures house_look(const struct house *house)
{
    return order(house, 'l');
}

struct house_figures house_settle(const struct house *house, bool in_full)
{
    return order(house, in_full ? 'S' : 's');
}

struct house_deeds house_stop(struct house *house)
{
    struct house_deeds done;
    int status;

    CHECK_EQUAL(send(house->control, "q", 1, MSG_NOSIGNAL), 1);
    take(house, &done, sizeof done);
    CHECK_EQUAL(waitpid(house->pid, &status, 0), house->pid);
    CHECK_EQUAL(status, 0);
    close(house->control);
    return done;
}
