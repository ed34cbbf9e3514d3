/*
 * Goal: an option that makes no sense is an error with its name, wherever it is
 * given: to a new server, to one that runs, to a namespace; and nothing of it
 * comes into force.
 *
 * Method: a table of wrong values, tried in each place; the log tells the name.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"

#include <stdio.h>
#include <string.h>

static char logged[256];

static void note(enum peal_log_level level, const char *component,
                 const char *message, const char *fields, void *user)
{
    (void)component;
    (void)user;
    if (level >= PEAL_LOG_WARN) {
        snprintf(logged, sizeof logged, "%s %s", message, fields);
    }
}

static int add_address(const char *address, void *user)
{
    (void)address;
    (void)user;
    return 0;
}

static const char *const bad_origin[] = {"example.com", NULL};
static const char *const bad_network[] = {"10.0.0.0/33", NULL};
static const char *const bad_protocol[] = {"a b", NULL};
static const struct peal_hooks no_hooks = {.size = 0};
static const struct peal_hooks more_hooks = {.size = sizeof more_hooks + 1};
static const struct peal_address_tracker half_a_tracker = {
    .size = sizeof half_a_tracker, .add = add_address};

#define WRONG(name, ...)                                                       \
    {                                                                          \
#name,                                                                 \
        {                                                                      \
            __VA_ARGS__                                                        \
        }                                                                      \
    }

static const struct {
    const char *name;
    struct peal_server_options options;
} wrong[] = {
    WRONG(dialect, .dialect = (enum peal_dialect)99),
    WRONG(message_bytes_max, .message_bytes_max = (size_t)2 << 30),
    WRONG(frame_bytes_max, .frame_bytes_max = 2, .message_bytes_max = 1),
    WRONG(room_name_bytes_max, .room_name_bytes_max = 257),
    WRONG(protocols, .protocols = bad_protocol),
    WRONG(log_level, .log_level = (enum peal_log_level)99),
    WRONG(health_path, .health_path = "health"),
    WRONG(rate_refusal, .rate_refusal = (enum peal_refusal)3),
    WRONG(hooks, .hooks = &no_hooks),
    WRONG(hooks, .hooks = &more_hooks),
    WRONG(origins, .origins = bad_origin),
    WRONG(trusted_proxies, .trusted_proxies = bad_network),
    WRONG(forwarded_header, .forwarded_header = "X-Real-IP"),
    WRONG(ipv6_prefix_bits, .ipv6_prefix_bits = 129),
    WRONG(refuse_by, .refuse_by = (enum peal_refuse_by)3),
    WRONG(proxy_protocol, .proxy_protocol = PEAL_PROXY_OPTIONAL),
    WRONG(proxy_protocol, .proxy_protocol = (enum peal_proxy_protocol)4),
    WRONG(alive_by, .alive_by = (enum peal_alive_by)99),
    WRONG(pressure, .pressure = (enum peal_pressure)99),
    WRONG(queue_low_bytes, .queue_low_bytes = 2, .queue_high_bytes = 1),
    WRONG(address_tracker, .address_tracker = &half_a_tracker),
};

/* Whether this option is of the whole server, and whether it can change. */
static bool is_shared(const char *name, bool *can_change)
{
    size_t index = 0;

    while (strcmp(peal_server_option(index, can_change), name) != 0) {
        index++;
    }
    return peal_server_option_is_shared(index);
}

static void expect_logged(const char *message, const char *name)
{
    char expected[128];
    const char *at;

    snprintf(expected, sizeof expected, "option=%s", name);
    at = strstr(logged, expected);
    if (strncmp(logged, message, strlen(message)) != 0 || at == NULL ||
        strchr(" ", at[strlen(expected)]) == NULL) {
        fprintf(stderr, "%s: logged: %s\n", name, logged);
        CHECK(!"its name is logged");
    }
    logged[0] = '\0';
}

static void new_servers(void **state)
{
    struct peal_server *server;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct peal_server_options options = wrong[i].options;

        options.size = sizeof options;
        options.ws_listen = "127.0.0.1:0";
        options.log = note;
        CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
        expect_logged("bad option", wrong[i].name);
    }
}

/* Each of a server of its own: a log does not repeat itself for ever. */
static void expect_no_namespace(struct peal_server_options options,
                                const char *name)
{
    struct peal_server_options whole = {
        .size = sizeof whole,
        .ws_listen = "127.0.0.1:0",
        .log = note,
    };
    struct peal_server *server;
    struct peal_server *space;

    options.size = sizeof options;
    CHECK_EQUAL(peal_server_new(&server, &whole), 0);
    CHECK_EQUAL(peal_server_space(server, "app", &options, &space),
                PEAL_EINVAL);
    expect_logged("bad option", name);
    peal_server_free(server);
}

static void namespaces(void **state)
{
    bool can_change;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        expect_no_namespace(wrong[i].options, wrong[i].name);
    }
    /* Also with a value that makes sense: it is the whole server's. */
    CHECK(is_shared("ipv6_prefix_bits", &can_change));
    expect_no_namespace((struct peal_server_options){.ipv6_prefix_bits = 64},
                        "ipv6_prefix_bits");
}

/* Puts the wrong value into what is in force, and that back afterwards. */
static void running_servers(void **state)
{
    const struct peal_server_options given = {.log = note, .clients_max = 77};
    struct host host;
    bool can_change;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct peal_server_options options = wrong[i].options;
        const char *problem = NULL;

        (void)is_shared(wrong[i].name, &can_change);
        if (!can_change) {
            continue; /* refused for that, whatever it is */
        }
        host_start(&host, &given, NULL);
        options.size = sizeof options;
        options.ws_listen = "127.0.0.1:0";
        options.tcp_listen = "127.0.0.1:0";
        options.log = note;
        options.clients_max = 5;
        CHECK_EQUAL(peal_server_update(host.server, &options, &problem),
                    PEAL_EINVAL);
        CHECK(problem != NULL && strcmp(problem, wrong[i].name) == 0);
        expect_logged("update refused", wrong[i].name);
        CHECK_EQUAL(host_config(&host).clients_max, 77);
        host_stop(&host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_servers),
        cmocka_unit_test(namespaces),
        cmocka_unit_test(running_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
