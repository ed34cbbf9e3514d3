/* The defaults of a link, and that docs/limits.md and the header agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/link.h"
#include "limits.h"

#define FIELD(name) LIMIT(struct peal_link_options, name, NULL)

static const struct limit limits[] = {
    FIELD(message_bytes_max),   FIELD(queue_bytes_max),
    FIELD(outbox_count_max),    FIELD(outbox_bytes_max),
    FIELD(outbox_rate),         FIELD(requests_max),
    FIELD(connect_timeout_ms),  FIELD(request_timeout_ms),
    FIELD(close_timeout_ms),    FIELD(reconnect_min_ms),
    FIELD(reconnect_first_ms),  FIELD(reconnect_max_ms),
    FIELD(reconnect_stable_ms), FIELD(deflate_threshold_bytes),
};

#define LIMIT_COUNT (sizeof limits / sizeof *limits)

static void test_document_has_every_default(void **state)
{
    const struct peal_link_options given = {.size = sizeof given,
                                            .url = "ws://a"};
    struct link_settings *settings;
    struct peal_loop *loop;

    (void)state;
    assert_int_equal(peal_loop_new(&loop, NULL), 0);
    assert_int_equal(link_settings_new(&settings, &given, loop), 0);
    limits_check_document(limits, LIMIT_COUNT, "\n## Links\n",
                          &settings->options);
    link_settings_free(settings);
    peal_loop_free(loop);
}

/* A field whose name ends like a limit must be one of those above. */
static void test_header_has_no_other_limits(void **state)
{
    /* Without defaults of their own: the server's welcome tells. */
    static const char *const others[] = {"ping_interval_ms", "ping_timeout_ms",
                                         NULL};

    (void)state;
    limits_check_header(limits, LIMIT_COUNT, others, "include/peal/client.h",
                        "struct peal_link_options {");
}

static void test_nonsense_is_refused(void **state)
{
    const struct peal_link_options good = {.size = sizeof good,
                                           .url = "wss://a"};
    struct peal_link_options bad[10];
    struct link_settings *settings;
    struct peal_loop *loop;

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        bad[i] = good;
    }
    bad[0].size = 0;
    bad[1].url = NULL;
    bad[2].message_bytes_max = (size_t)2 << 30;
    bad[3].request_timeout_ms = PEAL_OFF;
    bad[4].dialect = PEAL_DIALECT_RAW;
    bad[5].reconnect_min_ms = 60000;
    bad[6].headers = "no colon, no end";
    bad[7].origin = "a\r\nX: y";
    bad[8].tls_server_name = "";
    bad[9].deflate_window_bits = 8;
    assert_int_equal(peal_loop_new(&loop, NULL), 0);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(link_settings_new(&settings, &bad[i], loop),
                         PEAL_EINVAL);
    }
    assert_int_equal(link_settings_new(&settings, &good, loop), 0);
    assert_non_null(settings->tls);
    link_settings_free(settings);
    peal_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_has_every_default),
        cmocka_unit_test(test_header_has_no_other_limits),
        cmocka_unit_test(test_nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
