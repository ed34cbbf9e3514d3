/*
 * The server that the tests of this client talk to. Flags as the examples;
 * PEAL_PING_MS is the interval and the timeout of its heartbeat, PEAL_RETURN_MS
 * the spread of the times at which it tells clients to come back. PEAL_STELAR,
 * "WS_PORT,TCP_PORT", are ports for stelar clients, told by a line of its own:
 * "stelar ws=HOST:PORT tcp=HOST:PORT".
 *
 *     echo DATA             comes back to the sender
 *     echo? DATA            is answered with DATA
 *     sum? {a,b}            is answered with {sum}
 *     fail?                 is refused: 1000 sold_out, temporary
 *     slow?                 is never answered
 *     count {n}             sends `number` from 0 to n - 1
 *     ask? {name,data}      asks the client that, and answers {status,data}
 *     kick {code}           closes the client
 *     flood? {n}            sends `number` {n}, 4 KiB each, to the room "flood",
 *                           from 0 to n - 1; is answered after that
 *     number {client,n}     is printed, also if it is a request
 *
 * With PEAL_DROP, messages to rooms are dropped for whoever reads too slowly.
 *
 * Clients may join rooms but those that begin with "private", and publish.
 */
#include "../../../../examples/example.h"

#include <string.h>

static double get_number(const struct peal_event *event, const char *name)
{
    struct peal_slice value;
    double number = 0;

    if (peal_json_get(event->data, name, &value) == 0) {
        peal_json_number(value, &number);
    }
    return number;
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void on_echo_request(struct peal_client *from,
                            const struct peal_event *event,
                            struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    peal_request_answer_event(request, event);
}

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    char answer[64];

    (void)from;
    (void)user;
    snprintf(answer, sizeof answer, "{\"sum\":%.17g}",
             get_number(event, "a") + get_number(event, "b"));
    peal_request_answer(request, answer);
}

static void on_fail(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    struct peal_failure failure = {1000, "sold_out", "No seats left", true};

    (void)from;
    (void)event;
    (void)user;
    peal_request_fail(request, &failure);
}

static void on_slow(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)request;
    (void)user;
}

static void on_count(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    int count = (int)get_number(event, "n");

    (void)user;
    for (int i = 0; i < count; i++) {
        char json[32];
        struct peal_event number;

        snprintf(json, sizeof json, "%d", i);
        number = peal_json("number", json);
        peal_client_emit(from, &number);
    }
}

/* The request that waits for what the client says; one at a time will do. */
static struct peal_request asking;

static void on_answer(struct peal_client *client,
                      const struct peal_answer *answer, void *user)
{
    char json[512];

    (void)client;
    (void)user;
    if (answer->status == 0 && answer->event.kind == PEAL_BYTES) {
        peal_request_answer_event(asking, &answer->event);
        return;
    }
    snprintf(json, sizeof json,
             "{\"status\":%d,\"code\":%d,\"name\":\"%s\",\"data\":%.*s}",
             answer->status, answer->failure.code,
             answer->failure.name != NULL ? answer->failure.name : "",
             answer->event.data.size > 0 ? (int)answer->event.data.size : 4,
             answer->event.data.size > 0 ? answer->event.data.data : "null");
    peal_request_answer(asking, json);
}

static void on_ask(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    struct peal_failure failure = {1001, "cannot_ask", "", false};
    struct peal_slice name;
    struct peal_event question = peal_json("", NULL);
    char text[64];

    (void)user;
    if (peal_json_get(event->data, "name", &name) < 0 ||
        peal_json_text(name, text, sizeof text) < 0) {
        peal_request_fail(request, &failure);
        return;
    }
    asking = request;
    question = peal_json(text, NULL);
    peal_json_get(event->data, "data", &question.data);
    if (peal_client_request(from, &question, 1000, on_answer, NULL) < 0) {
        peal_request_fail(request, &failure);
    }
}

static void on_kick(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_close(from, (int)get_number(event, "code"), "kicked");
}

static void on_flood(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    static char json[4096];
    int count = (int)get_number(event, "n");

    (void)from;
    for (int i = 0; i < count; i++) {
        struct peal_event number;

        snprintf(json, sizeof json, "{\"n\":%d,\"pad\":\"%04000d\"}", i, 0);
        number = peal_json("number", json);
        peal_server_room_emit(user, "flood", &number, NULL, 0);
    }
    peal_request_answer(request, NULL);
}

static void on_number(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    (void)from;
    (void)user;
    printf("number %.0f %.0f\n", get_number(event, "client"),
           get_number(event, "n"));
}

static void on_number_request(struct peal_client *from,
                              const struct peal_event *event,
                              struct peal_request request, void *user)
{
    on_number(from, event, user);
    peal_request_answer(request, NULL);
}

static int on_join(struct peal_client *client, struct peal_slice room,
                   void *user)
{
    (void)client;
    (void)user;
    return room.size >= 7 && memcmp(room.data, "private", 7) == 0 ? PEAL_EACCESS
                                                                  : 0;
}

static void listen_for_stelar(struct peal_server *server, const char *ports)
{
    int numbers[2];
    char addresses[2][PEAL_ADDRESS_MAX];

    if (sscanf(ports, "%d,%d", &numbers[0], &numbers[1]) != 2) {
        example_usage("server");
    }
    for (int i = 0; i < 2; i++) {
        struct peal_listen listen = {
            .size = sizeof listen,
            .address = addresses[i],
            .transport = i == 0 ? PEAL_WS : PEAL_TCP,
            .dialect = PEAL_DIALECT_STELAR,
        };

        snprintf(addresses[i], sizeof addresses[i], "127.0.0.1:%d", numbers[i]);
        if (peal_server_listen(server, &listen) < 0) {
            exit(1); /* the log has said why */
        }
        peal_server_address(server, 2 + (size_t)i, addresses[i]);
    }
    printf("stelar ws=%s tcp=%s\n", addresses[0], addresses[1]);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    const char *ping = getenv("PEAL_PING_MS");
    const char *stelar = getenv("PEAL_STELAR");
    const char *spread = getenv("PEAL_RETURN_MS");
    struct peal_server *server;

    options.clients_may_join = true;
    options.clients_may_publish = true;
    options.message_bytes_max = 4 * 1024 * 1024;
    options.queue_bytes_max = 32 * 1024 * 1024;
    options.on_join = on_join;
    if (ping != NULL) {
        options.ping_interval_ms = (uint32_t)atoi(ping);
        options.ping_timeout_ms = (uint32_t)atoi(ping);
    }
    if (getenv("PEAL_DROP") != NULL) {
        options.pressure = PEAL_PRESSURE_DROP_OLDEST;
        options.queue_bytes_max = 8 * 1024 * 1024;
    }
    if (spread != NULL) {
        options.return_spread_ms = (uint32_t)atoi(spread);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    server = example_new(&options);
    if (stelar != NULL) {
        listen_for_stelar(server, stelar);
    }
    peal_server_on(server, "echo", on_echo, NULL);
    peal_server_on(server, "count", on_count, NULL);
    peal_server_on(server, "kick", on_kick, NULL);
    peal_server_on(server, "number", on_number, NULL);
    peal_server_on_request(server, "echo", on_echo_request, NULL);
    peal_server_on_request(server, "sum", on_sum, NULL);
    peal_server_on_request(server, "fail", on_fail, NULL);
    peal_server_on_request(server, "slow", on_slow, NULL);
    peal_server_on_request(server, "ask", on_ask, NULL);
    peal_server_on_request(server, "flood", on_flood, server);
    peal_server_on_request(server, "number", on_number_request, NULL);
    return example_run(server);
}
