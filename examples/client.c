/*
 * Says the lines of its standard input in a room, prints what others say, and
 * stays connected:  client ws://127.0.0.1:8080/ lobby  (see examples/relay)
 */
#include <peal/client.h>

#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t answered;

static void on_answer(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    (void)link;
    if (answer->status < 0) {
        fprintf(stderr, "%s: %s\n", (const char *)user,
                peal_strerror(answer->status));
    }
    sem_post(&answered);
}

static void on_chat(struct peal_link *link, const struct peal_event *event,
                    void *user)
{
    fprintf(user, "%.*s\n", (int)event->data.size, event->data.data);
    fflush(user);
    (void)link;
}

int main(int argc, char **argv)
{
    struct peal_link_options options = {.size = sizeof options,
                                        .url = argc > 2 ? argv[1] : ""};
    struct peal_loop *loop;
    struct peal_link *link;
    char line[1024], json[8192];

    if (peal_loop_new(&loop, NULL) < 0 || peal_loop_start(loop) < 0 ||
        peal_link_new(&link, loop, &options) < 0 || sem_init(&answered, 0, 0)) {
        return 1;
    }
    peal_link_on(link, "chat", on_chat, stdout);
    peal_link_join(link, argv[2], on_answer, "not in the room");
    peal_link_open(link);
    sem_wait(&answered);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (peal_json_quote(json, sizeof json, peal_slice(line)) > 0) {
            struct peal_event event = peal_json("chat", json);
            event.room = peal_slice(argv[2]);
            peal_link_request(link, &event, 0, on_answer, "not sent");
            sem_wait(&answered);
        }
    }
    peal_link_free(link);
    peal_loop_free(loop);
}
