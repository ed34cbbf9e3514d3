/* Which rooms a link is in, or wants to be in. */
#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

static struct link_room *find_room(const struct peal_link *link,
                                   const char *name)
{
    for (struct list *node = link->rooms.next; node != &link->rooms;
         node = node->next) {
        struct link_room *room = CONTAINER_OF(node, struct link_room, link);

        if (strcmp(room->name, name) == 0) {
            return room;
        }
    }
    return NULL;
}

static void free_room(struct link_room *room)
{
    timer_stop(&room->owner->runner->loop->timers, &room->timer);
    list_remove(&room->link);
    mem_free(room);
}

static void forget_room(struct peal_link *link, const char *name)
{
    struct link_room *room = find_room(link, name);

    if (room != NULL) {
        free_room(room);
    }
}

void link_room_clear(struct peal_link *link)
{
    while (!list_is_empty(&link->rooms)) {
        free_room(CONTAINER_OF(link->rooms.next, struct link_room, link));
    }
}

static void plan_join(struct link_room *room)
{
    struct peal_link *link = room->owner;

    timer_start(&link->runner->loop->timers, &room->timer,
                link_now_ms(link) + link_backoff_ms(link, ++room->attempts));
}

static void write_membership(struct peal_link *link, struct request *request)
{
    struct wire wire;
    int rc;

    wire_begin(&wire, request->kind == REQUEST_JOIN ? WIRE_JOIN : WIRE_LEAVE);
    wire.room = peal_slice(request->room);
    wire.id = slice_make(request->id, request->id_size);
    wire.wants_answer = true;
    rc = link_write(link, &wire);
    if (rc == PEAL_OK) {
        link_add(&link->counters.sent, 1);
        request->is_written = true;
    }
}

static struct request *find_join(struct peal_link *link, const char *room)
{
    for (struct list *node = link->requests.next; node != &link->requests;
         node = node->next) {
        struct request *request = CONTAINER_OF(node, struct request, link);

        if (request->kind == REQUEST_JOIN && !request->is_written &&
            strcmp(request->room, room) == 0) {
            return request;
        }
    }
    return NULL;
}

/* Not while a file is on its way: link_room_rejoin does it after that. */
static bool can_write_now(const struct peal_link *link)
{
    return link->phase == LINK_OPEN && link->file == NULL;
}

static void join_again(struct timer *timer, uint64_t now_ms)
{
    struct link_room *room = CONTAINER_OF(timer, struct link_room, timer);
    struct peal_link *link = room->owner;
    struct request *request;

    (void)now_ms;
    if (link->phase != LINK_OPEN || find_join(link, room->name) != NULL) {
        return;
    }
    request = link_request_new(link, REQUEST_JOIN, room->name, 0, NULL, NULL);
    if (request == NULL) {
        plan_join(room);
    } else if (can_write_now(link)) {
        write_membership(link, request);
    }
}

static int keep_room(struct peal_link *link, const char *name)
{
    size_t size = strlen(name);
    struct link_room *room = find_room(link, name);

    if (room != NULL) {
        return PEAL_OK;
    }
    room = mem_alloc(sizeof *room + size + 1);
    if (room == NULL) {
        return PEAL_ENOMEM;
    }
    room->owner = link;
    room->attempts = 0;
    timer_init(&room->timer, join_again);
    memcpy(room->name, name, size + 1);
    list_append(&link->rooms, &room->link);
    return PEAL_OK;
}

int link_room_join(struct peal_link *link, const char *room,
                   peal_link_answer_function *on_answer, void *user)
{
    struct request *request;

    if (link->requests_by_id.count >= link_options(link)->requests_max) {
        return PEAL_ELIMIT;
    }
    if (keep_room(link, room) < 0) {
        return PEAL_ENOMEM;
    }
    request = link_request_new(link, REQUEST_JOIN, room, 0, on_answer, user);
    if (request == NULL) {
        return PEAL_ENOMEM;
    }
    if (can_write_now(link)) {
        write_membership(link, request);
    }
    return PEAL_OK;
}

static void left(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    link_request_fail(CONTAINER_OF(timer, struct request, timer), PEAL_OK);
}

int link_room_leave(struct peal_link *link, const char *room,
                    peal_link_answer_function *on_answer, void *user)
{
    struct request *request;

    if (link->requests_by_id.count >= link_options(link)->requests_max) {
        return PEAL_ELIMIT;
    }
    forget_room(link, room);
    request = link_request_new(link, REQUEST_LEAVE, room, 0, on_answer, user);
    if (request == NULL) {
        return PEAL_ENOMEM;
    }
    if (can_write_now(link)) {
        write_membership(link, request);
    } else if (link->phase != LINK_OPEN) {
        /* The outcome must not come before the return: at the next turn. */
        timer_start(&link->runner->loop->timers, &request->timer,
                    link_now_ms(link));
        request->timer.fire = left;
    }
    return PEAL_OK;
}

void link_room_fail_join(struct peal_link *link, const struct request *request,
                         const struct peal_answer *answer)
{
    struct link_room *room = find_room(link, request->room);
    bool is_refused = answer->status == PEAL_EREFUSED;

    if (room == NULL || link->phase != LINK_OPEN) {
        return; /* left meanwhile, or joined with the next connection */
    }
    if (request->on_answer != NULL) {
        if (is_refused) {
            free_room(room);
        }
        return;
    }
    if (is_refused && !answer->failure.temporary) {
        free_room(room);
        link_report(link, PEAL_EREFUSED, "a room was refused");
        return;
    }
    plan_join(room);
    link_report(link, answer->status, "a room could not be joined yet");
}

void link_room_rejoin(struct peal_link *link)
{
    for (struct list *node = link->rooms.next; node != &link->rooms;
         node = node->next) {
        struct link_room *room = CONTAINER_OF(node, struct link_room, link);

        timer_stop(&link->runner->loop->timers, &room->timer);
        room->attempts = 0;
        if (find_join(link, room->name) == NULL) {
            link_request_new(link, REQUEST_JOIN, room->name, 0, NULL, NULL);
        }
    }
    link_room_write_memberships(link);
}

void link_room_write_memberships(struct peal_link *link)
{
    for (struct list *node = link->requests.next; node != &link->requests;
         node = node->next) {
        struct request *request = CONTAINER_OF(node, struct request, link);

        if (request->kind != REQUEST_EVENT && !request->is_written) {
            write_membership(link, request);
        }
    }
}
