/*
 * Options: defaults, refusals, and that docs/limits.md and the public header
 * say the same as the code. Runs in the project's root.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "limits.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) LIMIT(struct peal_server_options, name, NULL)

/* Every option that is a limit or a time. */
static const struct limit limits[] = {
    FIELD(message_bytes_max),
    LIMIT(struct peal_server_options, frame_bytes_max,
          "as `message_bytes_max`"),
    FIELD(header_bytes_max),
    FIELD(queue_bytes_max),
    FIELD(mailbox_bytes_max),
    FIELD(http_body_bytes_max),
    FIELD(memory_bytes_max),
    FIELD(clients_max),
    FIELD(clients_per_address_max),
    FIELD(rooms_max),
    FIELD(rooms_per_client_max),
    FIELD(room_name_bytes_max),
    FIELD(metadata_bytes_max),
    FIELD(requests_per_client_max),
    FIELD(handshake_timeout_ms),
    FIELD(ping_interval_ms),
    FIELD(ping_timeout_ms),
    FIELD(close_timeout_ms),
    FIELD(request_timeout_ms),
    FIELD(stop_timeout_ms),
    FIELD(tls_handshakes_max),
    FIELD(handshakes_per_address_max),
    FIELD(drain_timeout_ms),
    FIELD(turn_timeout_ms),
    FIELD(stop_delay_ms),
    FIELD(return_spread_ms),
    FIELD(decision_timeout_ms),
    FIELD(http_timeout_ms),
};

#define LIMIT_COUNT (sizeof limits / sizeof limits[0])

static struct peal_server_options defaults(void)
{
    struct peal_server_options given = {.size = sizeof given};
    struct peal_server_options options;
    const char *problem;

    assert_int_equal(options_resolve(&options, &given, &problem), 0);
    return options;
}

static void test_document_has_every_default(void **state)
{
    const struct peal_server_options options = defaults();

    (void)state;
    limits_check_document(limits, LIMIT_COUNT, "# Limits\n", &options);
}

/* A field whose name ends like a limit must be one of those above. */
static void test_header_has_no_other_limits(void **state)
{
    static const char *const others[] = {NULL};

    (void)state;
    limits_check_header(limits, LIMIT_COUNT, others, "include/peal/options.h",
                        "struct peal_server_options {");
}

static void test_given_values_are_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        struct peal_server_options given = {.size = sizeof given};
        struct peal_server_options options;
        const char *problem;

        limits_set(&limits[i], &given, 200);
        assert_int_equal(options_resolve(&options, &given, &problem), 0);
        assert_int_equal(limits_value(&limits[i], &options), 200);
    }
}

static void refuse(const char *expected, struct peal_server_options given)
{
    struct peal_server_options options;
    const char *problem = "";

    assert_int_equal(options_resolve(&options, &given, &problem), PEAL_EINVAL);
    assert_string_equal(problem, expected);
}

static void test_nonsense_is_refused_by_name(void **state)
{
    static const char *const blank[] = {"chat", "a b", NULL};
    static const char *const empty[] = {"", NULL};
    size_t size = sizeof(struct peal_server_options);

    (void)state;
#define REFUSE(name, ...)                                                      \
    refuse(name, (struct peal_server_options){.size = size, __VA_ARGS__})
    REFUSE("loops", .loops = 65);
    REFUSE("loops", .loops = -1);
    REFUSE("backlog", .backlog = -1);
    REFUSE("dialect", .dialect = (enum peal_dialect)99);
    REFUSE("message_bytes_max", .message_bytes_max = (size_t)2 << 30);
    REFUSE("header_bytes_max", .header_bytes_max = SIZE_MAX);
    REFUSE("header_bytes_max", .header_bytes_max = (16u << 20) + 1);
    REFUSE("queue_low_bytes", .queue_low_bytes = 2, .queue_high_bytes = 1);
    REFUSE("pressure", .pressure = (enum peal_pressure)4);
    REFUSE("frame_bytes_max", .frame_bytes_max = 2, .message_bytes_max = 1);
    REFUSE("room_name_bytes_max", .room_name_bytes_max = 257);
    REFUSE("health_path", .health_path = "health");
    REFUSE("metrics_path", .metrics_path = "metrics");
    REFUSE("livez_path", .livez_path = "livez");
    REFUSE("readyz_path", .readyz_path = "?");
    REFUSE("health_path", .health_path = "/health?verbose");
    REFUSE("metrics_path", .metrics_path = "/metrics#top");
    REFUSE("livez_path", .livez_path = "/live z");
    REFUSE("protocols", .protocols = blank);
    REFUSE("protocols", .protocols = empty);
    REFUSE("ipv6_prefix_bits", .ipv6_prefix_bits = 129);
    REFUSE("refuse_by", .refuse_by = (enum peal_refuse_by)99);
    REFUSE("forwarded_header", .forwarded_header = "X-Real-IP");
    REFUSE("rate_refusal", .rate_refusal = (enum peal_refusal)99);
    REFUSE("alive_by", .alive_by = (enum peal_alive_by)99);
    REFUSE("heartbeats", .heartbeats[PEAL_DIALECT_RAW] = {
                             .alive_by = (enum peal_alive_by)99});
    REFUSE("heartbeats", .heartbeats[PEAL_DIALECT_DEFAULT] = {
                             .ping_interval_ms = 1});
    REFUSE("heartbeats", .heartbeats[PEAL_DIALECTS_MAX - 1] = {
                             .ping_timeout_ms = 1});
    REFUSE("log_level", .log_level = (enum peal_log_level)99);
    REFUSE("io_backend", .io_backend = (enum peal_io_backend)99);
#undef REFUSE
    refuse("size", (struct peal_server_options){.size = 0});
    refuse("size", (struct peal_server_options){.size = size + 1});
}

/* A program that was compiled with an older, shorter struct. */
static void test_shorter_struct_gets_defaults(void **state)
{
    struct peal_server_options given = {
        .size = offsetof(struct peal_server_options, rooms_max),
        .clients_max = 7,
        .rooms_max = 7, /* beyond what the caller knows of */
    };
    struct peal_server_options options;
    const char *problem;

    (void)state;
    assert_int_equal(options_resolve(&options, &given, &problem), 0);
    assert_int_equal(options.clients_max, 7);
    assert_int_equal(options.rooms_max, 100000);
}

/* The name that a declaration declares, or NULL. */
static char *declared_name(char *declaration)
{
    char *name = strstr(declaration, "(*");
    char *end;

    if (name != NULL) {
        name += 2;
        end = name + strcspn(name, ")");
    } else {
        end = declaration + strlen(declaration);
        while (end > declaration && (end[-1] == ' ' || end[-1] == '\n')) {
            end--;
        }
        name = end;
        while (name > declaration && strchr(" *\n", name[-1]) == NULL) {
            name--;
        }
        end = name + strcspn(name, "[ \n"); /* of an array */
    }
    *end = '\0';
    return *name != '\0' ? name : NULL;
}

/* Whoever adds an option says whether it can change while running. */
static void test_updates_know_every_option(void **state)
{
    char *header = limits_read_file("include/peal/options.h");
    char *begin = strstr(header, "struct peal_server_options {");
    size_t index = 0;
    char *end;

    (void)state;
    assert_non_null(begin);
    begin = strchr(begin, '{') + 1;
    end = strstr(begin, "\n};");
    assert_non_null(end);
    *end = '\0';
    for (char *from; (from = strstr(begin, "/*")) != NULL;) {
        char *to = strstr(from, "*/");

        assert_non_null(to);
        memset(from, ' ', (size_t)(to + 2 - from));
    }
    for (char *field = strtok(begin, ";"); field != NULL;
         field = strtok(NULL, ";")) {
        char *name = declared_name(field);
        const char *known = peal_server_option(index, NULL);

        if (name == NULL) {
            continue;
        }
        if (known == NULL || strcmp(name, known) != 0) {
            fail_msg("config_table.c has %s where the options have %s",
                     known != NULL ? known : "nothing", name);
        }
        index++;
    }
    assert_null(peal_server_option(index, NULL));
    free(header);
}

/* All others change while the server runs; the manual of an update says so. */
static void test_who_needs_a_restart(void **state)
{
    static const char *const fixed[] = {
        "ws_listen", "tcp_listen",     "dialect", "loops",
        "backlog",   "log",            "log_user", "internal_listen",
        "hooks",     "deflate",        "tls",     "handle_signals",
        "address_tracker", "io_backend",
    };
    const char *name;
    bool can_change;
    size_t count = 0;

    (void)state;
    for (size_t i = 0; (name = peal_server_option(i, &can_change)) != NULL;
         i++) {
        bool is_fixed = false;

        for (size_t k = 0; k < sizeof fixed / sizeof fixed[0]; k++) {
            is_fixed = is_fixed || strcmp(name, fixed[k]) == 0;
        }
        if (can_change == is_fixed) {
            fail_msg("%s %s a restart", name,
                     can_change ? "does not need" : "needs");
        }
        count += is_fixed;
    }
    assert_int_equal(count, sizeof fixed / sizeof fixed[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_has_every_default),
        cmocka_unit_test(test_header_has_no_other_limits),
        cmocka_unit_test(test_given_values_are_kept),
        cmocka_unit_test(test_nonsense_is_refused_by_name),
        cmocka_unit_test(test_shorter_struct_gets_defaults),
        cmocka_unit_test(test_updates_know_every_option),
        cmocka_unit_test(test_who_needs_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
