/*
 * A server that leaves it to its clients to whom they talk: they join rooms and
 * publish to them by themselves, and call each other. Made for `peal sub`,
 * `peal pub`, `peal request` and `peal reply`. What else they can say:
 *
 *     {"event":"note","data":...}         the room `notes` hears the same
 *     {"event":"call","id":1,"data":{"room":"workers","event":"sum","data":X}}
 *                      a member of `workers` is asked `sum` with X; what it
 *                      answers is the answer
 *
 *     relay [--port N] [--tcp-port N] [--loops N] ...
 */
#include "example.h"

#include <stdatomic.h>

#define NAME_MAX_BYTES 256
#define CALL_TIMEOUT_MS 5000

static void refuse(struct peal_request request, int code, const char *name,
                   const char *message)
{
    struct peal_failure failure = {code, name, message, false};

    peal_request_fail(request, &failure);
}

/* --- Calls ---------------------------------------------------------------- */

enum { BAD_CALL = 1000, NOBODY_THERE, NO_ANSWER };

/* The one who was asked has answered, or will not: so has the one who asks. */
static void on_answer(struct peal_client *client,
                      const struct peal_answer *answer, void *user)
{
    struct peal_request *request = user;

    (void)client;
    if (answer->status == 0) {
        peal_request_answer_event(*request, &answer->event);
    } else if (answer->status == PEAL_EREFUSED) {
        peal_request_fail(*request, &answer->failure);
    } else {
        refuse(*request, NO_ANSWER, "no_answer", peal_strerror(answer->status));
    }
    free(request);
}

/* One of the members after the other has its turn. */
static int pick(struct peal_server *server, const char *room,
                struct peal_client_ref *out)
{
    static _Atomic unsigned turn;
    struct peal_client_ref members[64];
    size_t count = peal_server_members(server, room, members,
                                       sizeof members / sizeof *members);

    if (count == 0) {
        return PEAL_ENOTFOUND;
    }
    *out = members[atomic_fetch_add(&turn, 1) % count];
    return 0;
}

static bool get_text(struct peal_slice json, const char *member, char *out,
                     size_t size)
{
    struct peal_slice value;

    return peal_json_get(json, member, &value) == 0 &&
           peal_json_text(value, out, size) > 0;
}

static void on_call(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    struct peal_server *server = peal_client_server(from);
    struct peal_event question = {.kind = PEAL_JSON};
    char room[NAME_MAX_BYTES + 1];
    char name[NAME_MAX_BYTES + 1];
    struct peal_client_ref member;
    struct peal_request *kept;

    (void)user;
    if (event->kind != PEAL_JSON ||
        !get_text(event->data, "room", room, sizeof room) ||
        !get_text(event->data, "event", name, sizeof name)) {
        refuse(request, BAD_CALL, "bad_call", "A call has a room and an event");
        return;
    }
    if (pick(server, room, &member) < 0) {
        refuse(request, NOBODY_THERE, "nobody_there",
               "There is nobody in that room");
        return;
    }
    question.name = peal_slice(name);
    peal_json_get(event->data, "data", &question.data);
    kept = malloc(sizeof *kept);
    if (kept == NULL) {
        return; /* it is told that nobody answered in time */
    }
    *kept = request;
    if (peal_server_request(server, member, &question, CALL_TIMEOUT_MS,
                            on_answer, kept) < 0) {
        free(kept);
        refuse(request, NO_ANSWER, "no_answer", "It cannot be asked");
    }
}

/* --- Notes ---------------------------------------------------------------- */

static void on_note(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_room_emit(from, "notes", event);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server;

    options.clients_may_join = true;
    options.clients_may_publish = true;
    options.health_path = "/health";
    options.metrics_path = "/metrics";
    server = example_new(&options);
    peal_server_on(server, "note", on_note, NULL);
    peal_server_on_request(server, "call", on_call, NULL);
    return example_run(server);
}
