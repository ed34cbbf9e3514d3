/* The client's side of the peal dialect, against the server's. */
#include "client_dialects.h"

#include <stdio.h>

static const enum transport transports[] = {TRANSPORT_WS, TRANSPORT_TCP};

static void check_same(const struct wire *sent, const struct wire *got)
{
    assert_int_equal(got->kind, sent->kind);
    assert_true(slice_equal(got->name, sent->name));
    assert_true(slice_equal(got->room, sent->room));
    assert_true(slice_equal(got->id, sent->id));
    assert_true(slice_equal(got->data, sent->data));
    assert_int_equal(got->wants_answer, sent->wants_answer);
    assert_int_equal(got->failure.code, sent->failure.code);
    assert_true(slice_equal(got->failure.name, sent->failure.name));
    assert_true(slice_equal(got->failure.message, sent->failure.message));
    assert_int_equal(got->failure.temporary, sent->failure.temporary);
}

/* Everything that a client says is what its server reads, both ways. */
static void test_what_clients_say_is_read(void **state)
{
    const struct wire_failure failure = {
        .name = SLICE("no\"way"),
        .message = SLICE("a\nb"),
        .code = 1000,
        .temporary = true,
    };
    const struct wire wires[] = {
        {.kind = WIRE_EVENT, .name = SLICE("chat"), .data = SLICE("{\"a\":1}")},
        {.kind = WIRE_EVENT, .name = SLICE("\"\xc3\xb1")},
        {.kind = WIRE_EVENT, .name = SLICE("a"), .room = SLICE("r")},
        {.kind = WIRE_EVENT, .name = SLICE("a"), .data_kind = PEAL_BYTES},
        {.kind = WIRE_EVENT,
         .name = SLICE("a"),
         .room = SLICE("r"),
         .data = SLICE("\x00\xff"),
         .data_kind = PEAL_BYTES},
        {.kind = WIRE_EVENT,
         .name = SLICE("sum"),
         .id = SLICE("7"),
         .data = SLICE("[1]"),
         .wants_answer = true},
        {.kind = WIRE_EVENT,
         .name = SLICE("sum"),
         .id = SLICE("7"),
         .data = SLICE("\x00"),
         .data_kind = PEAL_BYTES,
         .wants_answer = true},
        {.kind = WIRE_ANSWER, .id = SLICE("\"x\""), .data = SLICE("true")},
        {.kind = WIRE_ANSWER, .id = SLICE("3")},
        {.kind = WIRE_ANSWER,
         .id = SLICE("3"),
         .data = SLICE("\x01"),
         .data_kind = PEAL_BYTES},
        {.kind = WIRE_FAILURE, .id = SLICE("3"), .failure = failure},
        {.kind = WIRE_JOIN,
         .id = SLICE("1"),
         .room = SLICE("\"lobby\""),
         .wants_answer = true},
        {.kind = WIRE_JOIN, .room = SLICE("lobby")},
        {.kind = WIRE_LEAVE,
         .id = SLICE("1"),
         .room = SLICE("lobby"),
         .wants_answer = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct wire got;
            char *out = pass(&dialect_client_peal, &dialect_peal, &wires[i],
                             transports[j], &got);

            check_same(&wires[i], &got);
            free(out);
        }
    }
}

/* Everything that a server says is what its client reads, both ways. */
static void test_what_servers_say_is_read(void **state)
{
    const struct wire_failure failure = {
        .name = SLICE("sold_out"),
        .message = SLICE("No \"a\""),
        .code = 1000,
        .temporary = true,
    };
    const struct wire wires[] = {
        {.kind = WIRE_EVENT, .name = SLICE("chat"), .data = SLICE("{\"a\":1}")},
        {.kind = WIRE_EVENT,
         .name = SLICE("chat"),
         .room = SLICE("lobby"),
         .data = SLICE("1")},
        {.kind = WIRE_EVENT,
         .name = SLICE("chat"),
         .room = SLICE("lobby"),
         .data = SLICE("\x00"),
         .data_kind = PEAL_BYTES},
        {.kind = WIRE_EVENT,
         .name = SLICE("where"),
         .id = SLICE("3"),
         .data = SLICE("1"),
         .wants_answer = true},
        {.kind = WIRE_EVENT,
         .name = SLICE("where"),
         .id = SLICE("3"),
         .data = SLICE("\x00"),
         .data_kind = PEAL_BYTES,
         .wants_answer = true},
        {.kind = WIRE_ANSWER, .id = SLICE("7"), .data = SLICE("[]")},
        {.kind = WIRE_ANSWER, .id = SLICE("7")},
        {.kind = WIRE_ANSWER,
         .id = SLICE("7"),
         .data = SLICE("\xff"),
         .data_kind = PEAL_BYTES},
        {.kind = WIRE_FAILURE, .id = SLICE("7"), .failure = failure},
        {.kind = WIRE_FAILURE, .failure = failure},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct wire got;
            char *out = pass(&dialect_peal, &dialect_client_peal, &wires[i],
                             transports[j], &got);

            check_same(&wires[i], &got);
            free(out);
        }
    }
}

static void test_the_welcome_is_read(void **state)
{
    const struct wire wire = {
        .kind = WIRE_WELCOME,
        .welcome = {SLICE("an\"id"), 1048576, 100, 25000, 20000},
    };

    (void)state;
    for (size_t j = 0; j < 2; j++) {
        struct wire got;
        char *out = pass(&dialect_peal, &dialect_client_peal, &wire,
                         transports[j], &got);

        assert_int_equal(got.kind, WIRE_WELCOME);
        assert_slice(got.welcome.client_id, "an\"id");
        assert_int_equal(got.welcome.message_bytes_max, 1048576);
        assert_int_equal(got.welcome.rooms_max, 100);
        assert_int_equal(got.welcome.ping_interval_ms, 25000);
        assert_int_equal(got.welcome.ping_timeout_ms, 20000);
        free(out);
    }
}

static void test_gaps_are_read(void **state)
{
    const struct wire wires[] = {
        {.kind = WIRE_GAP,
         .room = SLICE("pri\"ces"),
         .gap = {12, SLICE("drop_oldest")}},
        {.kind = WIRE_GAP, .gap = {1, SLICE("conflate")}},
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct wire got;
            char *out = pass(&dialect_peal, &dialect_client_peal, &wires[i],
                             transports[j], &got);

            assert_int_equal(got.kind, WIRE_GAP);
            assert_slice(got.name, "peal:gap");
            assert_true(slice_equal(got.room, wires[i].room));
            assert_int_equal(got.gap.count, wires[i].gap.count);
            assert_true(slice_equal(got.gap.reason, wires[i].gap.reason));
            free(out);
        }
    }
}

/* One that counts nothing is not understood; one without a reason is. */
static void test_odd_gaps(void **state)
{
    static const char *const bad[] = {
        "{\"event\":\"peal:gap\"}",
        "{\"event\":\"peal:gap\",\"data\":[1]}",
        "{\"event\":\"peal:gap\",\"data\":{\"count\":0}}",
        "{\"event\":\"peal:gap\",\"data\":{\"count\":-1}}",
        "{\"event\":\"peal:gap\",\"data\":{\"reason\":\"x\"}}",
    };
    char copy[256];
    struct wire got;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        read_text(&dialect_client_peal, bad[i], copy, &got);
        assert_int_equal(got.kind, WIRE_INVALID);
    }
    read_text(&dialect_client_peal,
              "{\"event\":\"peal:gap\",\"data\":{\"count\":3,\"reason\":4}}",
              copy, &got);
    assert_int_equal(got.kind, WIRE_GAP);
    assert_int_equal(got.gap.count, 3);
    assert_int_equal(got.gap.reason.size, 0);
}

/* Of a newer or careless server. */
static void test_odd_welcomes_are_tolerated(void **state)
{
    char copy[256];
    struct wire got;

    (void)state;
    read_text(&dialect_client_peal,
              "{\"event\":\"peal:welcome\",\"data\":{\"id\":\"x\",\"new\":1,"
              "\"ping_interval_ms\":-1,\"ping_timeout_ms\":99999999999}}",
              copy, &got);
    assert_int_equal(got.kind, WIRE_WELCOME);
    assert_int_equal(got.welcome.ping_interval_ms, 0);
    assert_int_equal(got.welcome.ping_timeout_ms, UINT32_MAX);
    assert_int_equal(got.welcome.message_bytes_max, 0);
    read_text(&dialect_client_peal, "{\"event\":\"peal:welcome\",\"data\":{}}",
              copy, &got);
    assert_int_equal(got.kind, WIRE_INVALID);
}

static void test_what_is_for_later_is_ignored(void **state)
{
    static const char *const texts[] = {
        "{\"event\":\"peal:later\",\"data\":1}",
        "{\"event\":\"peal:join\",\"data\":{\"room\":\"a\"}}",
        "{\"event\":\"peal:welcome\"}",
    };
    char copy[256];
    struct wire got;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        read_text(&dialect_client_peal, texts[i], copy, &got);
        assert_int_equal(got.kind, WIRE_IGNORED);
    }
    read_text(&dialect_client_peal, "{\"event\":\"peal:ok\"}", copy, &got);
    assert_int_equal(got.kind, WIRE_INVALID);
    read_text(&dialect_client_peal, "null", copy, &got);
    assert_int_equal(got.kind, WIRE_INVALID);
}

static void test_beats_and_goodbyes_are_frames(void **state)
{
    const enum wire_kind kinds[] = {WIRE_PING, WIRE_PONG, WIRE_GOODBYE};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct wire wire = {
            .kind = kinds[i],
            .data = kinds[i] == WIRE_GOODBYE ? SLICE("") : SLICE("12"),
            .data_kind = PEAL_BYTES,
            .failure = {.code = 1000, .message = SLICE("done")},
        };
        struct wire_plan plan;
        struct wire got;
        char *out;

        assert_false(dialect_client_peal.plan(&plan, &wire, TRANSPORT_WS));
        out = pass(&dialect_client_peal, &dialect_peal, &wire, TRANSPORT_TCP,
                   &got);
        assert_int_equal(got.kind, kinds[i]);
        if (kinds[i] == WIRE_GOODBYE) {
            assert_int_equal(got.failure.code, 1000);
            assert_slice(got.failure.message, "done");
        } else {
            assert_slice(got.data, "12");
        }
        free(out);
    }
}

/* Servers may say when to come back, over WebSocket by an event for it. */
static void test_goodbyes_say_when_to_come_back(void **state)
{
    static const struct {
        const char *text;
        enum wire_kind kind;
        uint32_t retry_after_ms;
    } odd[] = {
        {"{\"code\":1,\"retry_after_ms\":-1}", WIRE_GOODBYE, 0},
        {"{\"code\":1,\"retry_after_ms\":1.5}", WIRE_GOODBYE, 0},
        {"{\"code\":1,\"retry_after_ms\":99999999999}", WIRE_GOODBYE, 0},
        {"{\"code\":1,\"retry_after_ms\":\"1\"}", WIRE_GOODBYE, 0},
        {"{\"code\":1,\"retry_after_ms\":4294967295}", WIRE_GOODBYE,
         UINT32_MAX},
        {"{\"retry_after_ms\":1}", WIRE_INVALID, 0},
        {"{\"code\":1,\"reason\":2}", WIRE_INVALID, 0},
        {"7", WIRE_INVALID, 0},
    };
    const struct wire wire = {
        .kind = WIRE_GOODBYE,
        .failure = {.code = 1001,
                    .message = SLICE("be\"back"),
                    .retry_after_ms = 1733},
    };
    char text[128];
    char copy[256];
    struct wire got;

    (void)state;
    for (size_t j = 0; j < 2; j++) {
        char *out = pass(&dialect_peal, &dialect_client_peal, &wire,
                         transports[j], &got);

        assert_int_equal(got.kind, WIRE_GOODBYE);
        assert_int_equal(got.failure.code, 1001);
        assert_slice(got.failure.message, "be\"back");
        assert_int_equal(got.failure.retry_after_ms, 1733);
        free(out);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        snprintf(text, sizeof text, "{\"event\":\"peal:goodbye\",\"data\":%s}",
                 odd[i].text);
        read_text(&dialect_client_peal, text, copy, &got);
        assert_int_equal(got.kind, odd[i].kind);
        assert_int_equal(got.failure.retry_after_ms, odd[i].retry_after_ms);
    }
    read_text(&dialect_client_peal, "{\"event\":\"peal:goodbye\"}", copy, &got);
    assert_int_equal(got.kind, WIRE_INVALID);
}

static void test_names_of_the_protocol_are_not_written(void **state)
{
    const struct wire wires[] = {
        {.kind = WIRE_EVENT, .name = SLICE("peal:ok")},
        {.kind = WIRE_EVENT},
        {.kind = WIRE_ANSWER},
        {.kind = WIRE_JOIN},
        {.kind = WIRE_WELCOME},
    };
    struct wire_plan plan;

    (void)state;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        assert_false(dialect_client_peal.plan(&plan, &wires[i], TRANSPORT_WS));
        assert_false(dialect_client_peal.plan(&plan, &wires[i], TRANSPORT_TCP));
    }
}

static void test_texts_are_those_of_the_protocol(void **state)
{
    const struct wire request = {.kind = WIRE_EVENT,
                                 .name = SLICE("sum"),
                                 .id = SLICE("7"),
                                 .data = SLICE("1"),
                                 .wants_answer = true};
    const struct wire join = {
        .kind = WIRE_JOIN, .room = SLICE("lobby"), .id = SLICE("1")};

    (void)state;
    check_text(&dialect_client_peal, &request,
               "{\"event\":\"sum\",\"id\":7,\"data\":1}");
    check_text(&dialect_client_peal, &join,
               "{\"event\":\"peal:join\",\"id\":1,"
               "\"data\":{\"room\":\"lobby\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_clients_say_is_read),
        cmocka_unit_test(test_what_servers_say_is_read),
        cmocka_unit_test(test_the_welcome_is_read),
        cmocka_unit_test(test_odd_welcomes_are_tolerated),
        cmocka_unit_test(test_gaps_are_read),
        cmocka_unit_test(test_odd_gaps),
        cmocka_unit_test(test_what_is_for_later_is_ignored),
        cmocka_unit_test(test_beats_and_goodbyes_are_frames),
        cmocka_unit_test(test_goodbyes_say_when_to_come_back),
        cmocka_unit_test(test_names_of_the_protocol_are_not_written),
        cmocka_unit_test(test_texts_are_those_of_the_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
