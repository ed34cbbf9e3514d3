/*
 * A server for clients of stelar-time-real, in their own dialect: WebSocket and
 * framed TCP in the same rooms.
 *
 *     stelar_interop WS_PORT TCP_PORT [HEARTBEAT_MS TIMEOUT_MS]
 */
#include <peal/server.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES_MAX 10485760
#define ROOMS_MAX 1000
#define NAME_MAX_BYTES 1024

static struct peal_server *server;

static void on_signal(int number)
{
    (void)number;
    peal_server_stop(server);
}

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char welcome[256];
    struct peal_event event;

    (void)user;
    snprintf(welcome, sizeof welcome, "{\"id\":\"%s\",\"protocol\":\"%s\"}",
             peal_client_id(client),
             connect->transport == PEAL_WS ? "ws" : "tcp");
    event = peal_json("welcome", welcome);
    peal_client_emit(client, &event);
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    if (event->kind == PEAL_JSON) {
        peal_client_emit(from, event);
    }
}

static void on_chat(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    if (event->kind == PEAL_JSON) {
        peal_broadcast(from, event);
    }
}

static void on_bin(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    if (event->kind == PEAL_BYTES) {
        peal_client_emit(from, event);
    }
}

static void on_binall(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    (void)user;
    if (event->kind == PEAL_BYTES) {
        peal_broadcast(from, event);
    }
}

/* A member of the data that is a text; false when there is none. */
static bool get_text(const struct peal_event *event, const char *name,
                     char *out, size_t size)
{
    struct peal_slice value;

    return event->kind == PEAL_JSON &&
           peal_json_get(event->data, name, &value) == 0 &&
           peal_json_text(value, out, size) >= 0;
}

/* Data {room,event,data}: `event` with `data` to the others in `room`. */
static void on_room(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    char room[NAME_MAX_BYTES];
    char name[NAME_MAX_BYTES];
    struct peal_event out;

    (void)user;
    if (get_text(event, "room", room, sizeof room) &&
        get_text(event, "event", name, sizeof name)) {
        out = peal_json(name, NULL);
        peal_json_get(event->data, "data", &out.data);
        peal_room_emit(from, room, &out);
    }
}

/* Data {id,data}: `whisper` with `data` to the client with that id. */
static void on_whisper(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    struct peal_event out = peal_json("whisper", NULL);
    char id[PEAL_ID_MAX + 1];

    (void)user;
    (void)from;
    if (get_text(event, "id", id, sizeof id)) {
        peal_json_get(event->data, "data", &out.data);
        peal_server_emit(server, peal_server_find(server, id), &out);
    }
}

/* Data {k,v}: keeps v under k for this connection, and answers with it. */
static void on_meta(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    char key[NAME_MAX_BYTES + 1] = "k"; /* and what it is: that may be "" */
    struct peal_slice value;
    struct peal_event out;
    char *text;

    (void)user;
    if (!get_text(event, "k", key + 1, sizeof key - 1)) {
        return;
    }
    if (peal_json_get(event->data, "v", &value) == 0) {
        text = strndup(value.data, value.size);
        if (text != NULL) {
            peal_client_set(from, key, text);
            free(text);
        }
    }
    out = peal_json("meta", peal_client_get(from, key));
    peal_client_emit(from, &out);
}

/* Answers with the array of the sender's rooms. */
static void on_rooms(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    static _Thread_local char json[ROOMS_MAX * (6 * 256 + 3) + 3];
    const char *rooms[ROOMS_MAX];
    size_t count = peal_client_rooms(from, rooms, ROOMS_MAX);
    struct peal_event out;
    size_t size = 0;

    (void)user;
    (void)event;
    json[size++] = '[';
    for (size_t i = 0; i < count; i++) {
        long quoted = peal_json_quote(json + size, sizeof json - size - 2,
                                      peal_slice(rooms[i]));

        if (quoted > 0) {
            size += (size_t)quoted;
            json[size++] = ',';
        }
    }
    size -= json[size - 1] == ',';
    memcpy(json + size, "]", 2);
    out = peal_json("rooms", json);
    peal_client_emit(from, &out);
}

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    double terms[2] = {0, 0};
    struct peal_slice value;
    char answer[64];

    (void)user;
    (void)from;
    for (int i = 0; i < 2; i++) {
        if (peal_json_get(event->data, i == 0 ? "a" : "b", &value) == 0) {
            peal_json_number(value, &terms[i]);
        }
    }
    /* What is no number in JSON is null, as in JSON.stringify. */
    if (isfinite(terms[0] + terms[1])) {
        snprintf(answer, sizeof answer, "{\"sum\":%.17g}", terms[0] + terms[1]);
    } else {
        snprintf(answer, sizeof answer, "{\"sum\":null}");
    }
    peal_request_answer(request, answer);
}

static void on_fail(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    struct peal_failure failure = {1000, "nope", "nope", false};

    (void)user;
    (void)from;
    (void)event;
    peal_request_fail(request, &failure);
}

/* Never answers: the client's own timeout tells it. */
static void on_slow(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    (void)user;
    (void)from;
    (void)event;
    (void)request;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        peal_event_function *handler;
    } events[] = {
        {"echo", on_echo},       {"chat", on_chat},     {"room", on_room},
        {"whisper", on_whisper}, {"meta", on_meta},     {"rooms", on_rooms},
        {"bin", on_bin},         {"binall", on_binall},
    };
    char ws[64];
    char tcp[64];
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = ws,
        .tcp_listen = tcp,
        .dialect = PEAL_DIALECT_STELAR,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .queue_bytes_max = 8 * MESSAGE_BYTES_MAX,
        .metadata_bytes_max = 1024 * 1024,
        .rooms_per_client_max = ROOMS_MAX,
        .requests_per_client_max = 100000,
        .clients_may_join = true,
        .health_path = "/health",
        .ping_interval_ms = 30000,
        .ping_timeout_ms = 30000,
        .stop_timeout_ms = 2000, /* it has to end within 5 s */
        .on_connect = on_connect,
        .log = peal_log_to_stderr,
        .log_level = PEAL_LOG_WARN,
    };
    int rc;

    if (argc != 3 && argc != 5) {
        fprintf(stderr,
                "usage: %s WS_PORT TCP_PORT [HEARTBEAT_MS TIMEOUT_MS]\n",
                argv[0]);
        return 2;
    }
    snprintf(ws, sizeof ws, "127.0.0.1:%s", argv[1]);
    snprintf(tcp, sizeof tcp, "127.0.0.1:%s", argv[2]);
    if (argc == 5) {
        int heartbeat_ms = atoi(argv[3]);
        int silence_ms = atoi(argv[4]) - heartbeat_ms;

        /* A client may be silent for TIMEOUT_MS; it is pinged on the way. */
        options.ping_interval_ms =
            heartbeat_ms > 0 ? (uint32_t)heartbeat_ms : 1;
        options.ping_timeout_ms = silence_ms > 0 ? (uint32_t)silence_ms : 1;
    }
    rc = peal_server_new(&server, &options);
    if (rc < 0) {
        return 1; /* the log has said why */
    }
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        peal_server_on(server, events[i].name, events[i].handler, NULL);
    }
    peal_server_on_request(server, "sum", on_sum, NULL);
    peal_server_on_request(server, "fail", on_fail, NULL);
    peal_server_on_request(server, "slow", on_slow, NULL);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    peal_server_address(server, 0, ws);
    peal_server_address(server, 1, tcp);
    printf("ready ws=%s tcp=%s\n", ws, tcp);
    fflush(stdout);
    rc = peal_server_run(server);
    peal_server_free(server);
    return rc < 0;
}
