/*
 * A chat in the peal dialect, over WebSocket and TCP. Requests of its clients:
 *
 *     {"event":"join","id":1,"data":"lobby"}
 *     {"event":"say","id":2,"data":{"room":"lobby","text":"hi"}}
 *     {"event":"who","id":3,"data":"lobby"}       answer: {"count":2}
 *
 * The others in the room hear {"event":"said","room":"lobby","data":...}.
 *
 *     chat [--port N] [--tcp-port N] [--loops N]
 */
#include "example.h"

#define ROOM_MAX 256

static void refuse(struct peal_request request, int error)
{
    struct peal_failure failure = {1000, peal_error_name(error),
                                   peal_strerror(error), false};

    peal_request_fail(request, &failure);
}

static void on_join(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    char room[ROOM_MAX + 1] = "";
    int rc;

    (void)user;
    peal_json_text(event->data, room, sizeof room);
    rc = peal_client_join(from, room);
    if (rc < 0) {
        refuse(request, rc);
    } else {
        peal_request_answer(request, NULL);
    }
}

static void on_say(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    struct peal_event said = {.name = peal_slice("said"), .data = event->data};
    char room[ROOM_MAX + 1] = "";
    struct peal_slice value;

    (void)user;
    if (peal_json_get(event->data, "room", &value) == 0) {
        peal_json_text(value, room, sizeof room);
    }
    if (!peal_client_is_in(from, room)) {
        refuse(request, PEAL_ENOTFOUND);
        return;
    }
    peal_room_emit(from, room, &said);
    peal_request_answer(request, NULL);
}

static void on_who(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    char room[ROOM_MAX + 1] = "";
    char answer[64];

    (void)user;
    peal_json_text(event->data, room, sizeof room);
    snprintf(answer, sizeof answer, "{\"count\":%zu}",
             peal_server_members(peal_client_server(from), room, NULL, 0));
    peal_request_answer(request, answer);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server = example_new(&options);

    peal_server_on_request(server, "join", on_join, NULL);
    peal_server_on_request(server, "say", on_say, NULL);
    peal_server_on_request(server, "who", on_who, NULL);
    return example_run(server);
}
