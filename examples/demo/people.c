#include "people.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More names than this are only counted. */
#define LISTED_MAX 100

struct person {
    struct person *next;
    uint64_t client; /* the value of its reference */
    const char *via;
    char id[PEAL_ID_MAX + 1];
    char room[LABEL_MAX + 1];
    char name[LABEL_MAX + 1];
};

struct people {
    pthread_mutex_t mutex;
    struct person *first;
    uint64_t version;
};

struct people *people_new(void)
{
    struct people *people = calloc(1, sizeof *people);

    if (people != NULL) {
        pthread_mutex_init(&people->mutex, NULL);
    }
    return people;
}

void people_free(struct people *people)
{
    struct person *next;

    for (struct person *person = people->first; person != NULL; person = next) {
        next = person->next;
        free(person);
    }
    pthread_mutex_destroy(&people->mutex);
    free(people);
}

/* The link that leads to this client, or the last one, which leads nowhere. */
static struct person **find(struct people *people, uint64_t client)
{
    struct person **link = &people->first;

    while (*link != NULL && (*link)->client != client) {
        link = &(*link)->next;
    }
    return link;
}

bool people_put(struct people *people, struct peal_client *client,
                const char *room, const char *name)
{
    uint64_t key = peal_client_ref(client).value;
    const char *id = peal_client_id(client);
    struct person **link;
    bool is_there;

    pthread_mutex_lock(&people->mutex);
    link = find(people, key);
    if (*link == NULL) {
        *link = calloc(1, sizeof **link);
    }
    is_there = *link != NULL && id != NULL;
    if (is_there) {
        struct person *person = *link;

        person->client = key;
        person->via = peal_client_transport(client) == PEAL_TCP ? "tcp" : "ws";
        snprintf(person->id, sizeof person->id, "%s", id);
        snprintf(person->room, sizeof person->room, "%s", room);
        snprintf(person->name, sizeof person->name, "%s", name);
    }
    pthread_mutex_unlock(&people->mutex);
    return is_there;
}

void people_remove(struct people *people, struct peal_client *client)
{
    struct person **link;
    struct person *gone;

    pthread_mutex_lock(&people->mutex);
    link = find(people, peal_client_ref(client).value);
    gone = *link;
    if (gone != NULL) {
        *link = gone->next;
    }
    pthread_mutex_unlock(&people->mutex);
    free(gone);
}

static void write_person(FILE *out, const struct person *person)
{
    char name[6 * LABEL_MAX + 3];

    /* Ids are UUIDs here and need no quoting. */
    peal_json_quote(name, sizeof name, peal_slice(person->name));
    fprintf(out, "{\"id\":\"%s\",\"name\":%s,\"via\":\"%s\"}", person->id, name,
            person->via);
}

static void write_room(FILE *out, struct people *people, const char *room)
{
    int total = 0;

    fprintf(out, "{\"version\":%llu,\"members\":[",
            (unsigned long long)++people->version);
    for (struct person *person = people->first; person != NULL;
         person = person->next) {
        if (strcmp(person->room, room) != 0) {
            continue;
        }
        if (++total <= LISTED_MAX) {
            fputs(total > 1 ? "," : "", out);
            write_person(out, person);
        }
    }
    fprintf(out, "],\"total\":%d}", total);
}

void people_tell(struct people *people, struct peal_server *server,
                 const char *room)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL) {
        return;
    }
    pthread_mutex_lock(&people->mutex);
    write_room(out, people, room);
    pthread_mutex_unlock(&people->mutex);
    if (fclose(out) == 0) {
        struct peal_event event = peal_json("members", text);

        peal_server_room_emit(server, room, &event, NULL, 0);
    }
    free(text);
}
