#include "support/handlers.h"

#include "support/check.h"

#include <stdio.h>
#include <string.h>

void handlers_echo(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    (void)peal_request_answer_event(request, event);
}

void handlers_never(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)request;
    (void)user;
}

void handlers_keep_address(struct peal_client *client,
                           const struct peal_connect *connect, void *user)
{
    char address[PEAL_ADDRESS_MAX];

    (void)user;
    peal_client_address(client, address);
    CHECK(strcmp(address, connect->address) == 0);
    CHECK_EQUAL(peal_client_set(client, "address", address), 0);
}

void handlers_tell_address(struct peal_client *from,
                           const struct peal_event *event, void *user)
{
    char json[PEAL_ADDRESS_MAX + 2];
    struct peal_event answer;

    (void)event;
    (void)user;
    snprintf(json, sizeof json, "\"%s\"", peal_client_get(from, "address"));
    answer = peal_json("you", json);
    CHECK_EQUAL(peal_client_emit(from, &answer), 0);
}
