/*
 * Goal: a link that offers permessage-deflate says and hears the same as one
 * that does not, with fewer bytes on the wire, whatever its server makes of the
 * offer.
 *
 * Method: a server that echoes, with all four parameters in their combinations;
 * messages that compress well, badly, and not at all.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_SIZE 20000

struct scene {
    struct host host;
    struct peal_loop *loop;
    struct peal_link *link;
    struct peal_link_options options;
    struct link_notes notes;
    char url[160];
    char sent[LONG_SIZE + 2];
    size_t sent_size;
    int echoes;
};

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_echo, NULL), 0);
}

static void on_back(struct peal_link *link, const struct peal_event *event,
                    void *user)
{
    struct scene *scene = user;

    (void)link;
    CHECK_EQUAL(event->data.size, scene->sent_size);
    CHECK(memcmp(event->data.data, scene->sent, scene->sent_size) == 0);
    scene->echoes++;
}

static void begin(struct scene *scene,
                  const struct peal_server_options *options)
{
    memset(scene, 0, sizeof *scene);
    host_start(&scene->host, options, setup);
    link_url(scene->url, host_address(&scene->host, false), false);
    scene->options = link_test_options(scene->url, &scene->notes);
    scene->options.deflate = true;
    CHECK_EQUAL(peal_loop_new(&scene->loop, NULL), 0);
}

static void open_link(struct scene *scene)
{
    CHECK_EQUAL(peal_link_new(&scene->link, scene->loop, &scene->options), 0);
    CHECK_EQUAL(peal_link_on(scene->link, "echo", on_back, scene), 0);
    CHECK_EQUAL(peal_link_open(scene->link), 0);
    LINK_STEP_UNTIL(scene->loop, scene->notes.connects == 1);
}

static void end(struct scene *scene)
{
    peal_link_free(scene->link);
    peal_loop_free(scene->loop);
    host_stop(&scene->host);
}

static struct peal_link_stats stats_of(const struct scene *scene)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_link_stats(scene->link, &stats), 0);
    return stats;
}

static void pass(struct scene *scene, enum peal_data kind)
{
    struct peal_event event = {
        .name = peal_slice("echo"),
        .kind = kind,
        .data = {scene->sent, scene->sent_size},
    };
    int echoes = scene->echoes;

    CHECK_EQUAL(peal_link_emit(scene->link, &event), 0);
    LINK_STEP_UNTIL(scene->loop, scene->echoes > echoes);
}

/* A JSON string of words from a few. */
static void pass_words(struct scene *scene)
{
    static const char *const words[] = {"red ", "green ", "blue ", "\xc3\xa9 "};
    size_t size = 1;

    scene->sent[0] = '"';
    while (size < LONG_SIZE - 8) {
        const char *word = words[rand() % 4];

        memcpy(scene->sent + size, word, strlen(word));
        size += strlen(word);
    }
    scene->sent[size] = '"';
    scene->sent_size = size + 1;
    pass(scene, PEAL_JSON);
}

/* A JSON string in which nothing comes twice. */
static void pass_letters(struct scene *scene)
{
    scene->sent_size = 8000;
    for (size_t i = 0; i < scene->sent_size; i++) {
        scene->sent[i] = (char)('A' + rand() % 26 + rand() % 2 * 32);
    }
    scene->sent[0] = '"';
    scene->sent[scene->sent_size - 1] = '"';
    pass(scene, PEAL_JSON);
}

static void pass_noise(struct scene *scene)
{
    for (size_t i = 0; i < LONG_SIZE; i++) {
        scene->sent[i] = (char)rand();
    }
    scene->sent_size = LONG_SIZE;
    pass(scene, PEAL_BYTES);
}

static void pass_little(struct scene *scene)
{
    strcpy(scene->sent, "[1]");
    scene->sent_size = 3;
    pass(scene, PEAL_JSON);
}

static void test_all_that_can_be_agreed_on_works(void **state)
{
    static const int bits[] = {0, 9, 12, 15};
    const int combinations = 2 * 2 * 4 * 4;

    (void)state;
    for (int i = 0; i < combinations; i++) {
        const struct peal_deflate_options deflate = {
            .size = sizeof deflate,
            .enabled = true,
            .context_takeover = i % 2 == 1,
            .window_bits = bits[i / 4 % 4],
        };
        struct scene scene;
        struct peal_link_stats stats;

        begin(&scene, &(struct peal_server_options){.deflate = &deflate});
        scene.options.deflate_context_takeover = i / 2 % 2 == 1;
        scene.options.deflate_window_bits = bits[i / 16];
        open_link(&scene);
        for (int j = 0; j < 3; j++) {
            pass_words(&scene);
            pass_noise(&scene);
            pass_little(&scene);
        }
        stats = stats_of(&scene);
        CHECK(stats.deflated >= 3 && stats.inflated >= 3);
        CHECK(stats.deflated <= 6 && stats.inflated <= 6);
        CHECK(stats.deflated_bytes >= 3 * (LONG_SIZE - 16));
        /* Words are less than half as long; noise is at least 20,000. */
        CHECK(stats.bytes_out < 3 * LONG_SIZE + 3 * LONG_SIZE / 2 + 2000);
        CHECK(stats.bytes_in < 3 * LONG_SIZE + 3 * LONG_SIZE / 2 + 2000);
        CHECK_EQUAL(host_stats(&scene.host).inflated_messages, stats.deflated);
        CHECK_EQUAL(scene.notes.errors, 0);
        end(&scene);
    }
}

/* The second of two equal messages costs next to nothing. */
static void test_takeover_remembers_the_last_message(void **state)
{
    const struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = true,
        .context_takeover = true,
        .window_bits = 15,
    };
    struct scene scene;
    uint64_t first;

    (void)state;
    begin(&scene, &(struct peal_server_options){.deflate = &deflate});
    scene.options.deflate_context_takeover = true;
    scene.options.deflate_window_bits = 15;
    open_link(&scene);
    pass_letters(&scene);
    first = stats_of(&scene).deflated_wire_bytes;
    pass(&scene, PEAL_JSON);
    CHECK(stats_of(&scene).deflated_wire_bytes - first < first / 10);
    CHECK(stats_of(&scene).inflated_wire_bytes < first * 5 / 4);
    /* A new connection begins with nothing, on both sides. */
    CHECK_EQUAL(peal_link_close(scene.link, 1000, ""), 0);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    LINK_STEP_UNTIL(scene.loop, scene.notes.connects == 2);
    first = stats_of(&scene).deflated_wire_bytes;
    pass(&scene, PEAL_JSON);
    CHECK(stats_of(&scene).deflated_wire_bytes - first > 1000);
    end(&scene);
}

static void test_nothing_is_compressed_unless_both_want_it(void **state)
{
    const struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = true,
    };
    struct scene scene;

    (void)state;
    for (int i = 0; i < 3; i++) {
        begin(&scene,
              &(struct peal_server_options){
                  .deflate = i == 0 ? NULL : &deflate,
                  .dialect = i == 2 ? PEAL_DIALECT_STELAR : PEAL_DIALECT_PEAL,
              });
        scene.options.deflate = i != 1;
        scene.options.dialect =
            i == 2 ? PEAL_DIALECT_STELAR : PEAL_DIALECT_PEAL;
        open_link(&scene);
        pass_words(&scene);
        CHECK_EQUAL(stats_of(&scene).deflated, 0);
        CHECK_EQUAL(stats_of(&scene).inflated, 0);
        end(&scene);
    }
}

static void test_the_threshold_can_change(void **state)
{
    const struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = true,
    };
    struct scene scene;

    (void)state;
    begin(&scene, &(struct peal_server_options){.deflate = &deflate});
    scene.options.deflate_threshold_bytes = LONG_SIZE * 2;
    open_link(&scene);
    pass_words(&scene);
    CHECK_EQUAL(stats_of(&scene).deflated, 0);
    scene.options.deflate_threshold_bytes = 1;
    CHECK_EQUAL(peal_link_update(scene.link, &scene.options), 0);
    pass_words(&scene);
    CHECK_EQUAL(stats_of(&scene).deflated, 1);
    scene.options.deflate_window_bits = 8;
    CHECK_EQUAL(peal_link_update(scene.link, &scene.options), PEAL_EINVAL);
    scene.options.deflate_window_bits = 16;
    CHECK_EQUAL(peal_link_update(scene.link, &scene.options), PEAL_EINVAL);
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_that_can_be_agreed_on_works),
        cmocka_unit_test(test_takeover_remembers_the_last_message),
        cmocka_unit_test(test_nothing_is_compressed_unless_both_want_it),
        cmocka_unit_test(test_the_threshold_can_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
