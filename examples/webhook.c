/*
 * HTTP beside WebSocket, on one port: what is posted goes to the clients in a
 * room, and the answer says how many there are.
 *
 *     webhook [--port N] [--tcp-port N] [--loops N]
 *
 *     curl -d '{"build":"done"}' http://127.0.0.1:8080/rooms/lobby/news
 *
 * Clients connect to /rooms/lobby.
 */
#include "example.h"

#include <peal/http.h>

#define ROOM_MAX 257 /* room_name_bytes_max, and a zero byte */

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char room[ROOM_MAX];

    (void)user;
    if (peal_connect_param(connect, "room", room, sizeof room) < 0 ||
        peal_client_join(client, room) < 0) {
        peal_client_close(client, 1008, "no such room");
    }
}

static void answer(struct peal_http_reply reply, int status, const char *json)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .status = status,
        .type = "application/json",
        .body = peal_slice(json),
    };

    peal_http_respond(reply, &response);
}

static void on_news(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    struct peal_event event = {
        .name = peal_slice("news"), .data = request->body, .kind = PEAL_JSON};
    struct peal_server *server = reply.server;
    char room[ROOM_MAX];
    char json[64];
    int rc;

    (void)user;
    if (peal_http_param(request, "room", room, sizeof room) < 0) {
        answer(reply, 400, "{\"error\":\"no such room\"}");
        return;
    }
    rc = peal_server_room_emit(server, room, &event, NULL, 0);
    if (rc < 0) {
        snprintf(json, sizeof json, "{\"error\":\"%s\"}", peal_error_name(rc));
        answer(reply, rc == PEAL_EINVAL ? 400 : 503, json);
        return;
    }
    snprintf(json, sizeof json, "{\"clients\":%zu}",
             peal_server_members(server, room, NULL, 0));
    answer(reply, 202, json);
}

int main(int argc, char **argv)
{
    static const struct peal_route route = {.size = sizeof route,
                                            .path = "/rooms/:room"};
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server;

    options.on_connect = on_connect;
    server = example_new(&options);
    if (peal_server_route(server, &route) < 0 ||
        peal_server_http(server, "POST", "/rooms/:room/news", on_news, NULL) <
            0) {
        return 1;
    }
    return example_run(server);
}
