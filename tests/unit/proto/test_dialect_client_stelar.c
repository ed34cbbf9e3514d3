/*
 * The client's side of the stelar dialect: against the server's, and against
 * bytes of the original.
 */
#include "client_dialects.h"

static const enum transport transports[] = {TRANSPORT_WS, TRANSPORT_TCP};

static void test_what_clients_say_is_read(void **state)
{
    const struct wire wires[] = {
        {.kind = WIRE_EVENT, .name = SLICE("chat"), .data = SLICE("{\"a\":1}")},
        {.kind = WIRE_EVENT,
         .name = SLICE("bin"),
         .data = SLICE("\x00\xff"),
         .data_kind = PEAL_BYTES},
        {.kind = WIRE_EVENT,
         .name = SLICE("sum"),
         .id = SLICE("\"sum#1\""),
         .data = SLICE("[1]"),
         .wants_answer = true},
        {.kind = WIRE_JOIN, .room = SLICE("sala \xc3\xb1\"")},
        {.kind = WIRE_LEAVE, .room = SLICE("lobby")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct wire got;
            char *out = pass(&dialect_client_stelar, &dialect_stelar, &wires[i],
                             transports[j], &got);

            assert_int_equal(got.kind, wires[i].kind);
            assert_true(slice_equal(got.name, wires[i].name));
            assert_true(slice_equal(got.room, wires[i].room));
            assert_true(slice_equal(got.data, wires[i].data));
            assert_true(slice_equal(got.id, wires[i].id));
            assert_int_equal(got.wants_answer, wires[i].wants_answer);
            if (wires[i].wants_answer) {
                assert_slice(got.ack, "sum");
            }
            free(out);
        }
    }
}

static void test_what_servers_say_is_read(void **state)
{
    const struct wire wires[] = {
        {.kind = WIRE_EVENT, .name = SLICE("chat"), .data = SLICE("{\"a\":1}")},
        {.kind = WIRE_EVENT,
         .name = SLICE("bin"),
         .data = SLICE("\x00\xff"),
         .data_kind = PEAL_BYTES},
        {.kind = WIRE_ANSWER,
         .ack = SLICE("sum"),
         .id = SLICE("\"1\""),
         .data = SLICE("{\"data\":3}")},
        {.kind = WIRE_ANSWER, .ack = SLICE("sum"), .data = SLICE("null")},
        {.kind = WIRE_JOINED, .room = SLICE("a\"b")},
        {.kind = WIRE_LEFT, .room = SLICE("lobby")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct wire got;
            char *out = pass(&dialect_stelar, &dialect_client_stelar, &wires[i],
                             transports[j], &got);

            assert_int_equal(got.kind, wires[i].kind);
            assert_true(slice_equal(got.name, wires[i].name));
            assert_true(slice_equal(got.room, wires[i].room));
            assert_true(slice_equal(got.data, wires[i].data));
            assert_true(slice_equal(got.id, wires[i].id));
            assert_true(slice_equal(got.ack, wires[i].ack));
            free(out);
        }
    }
}

/* Frames as they were captured from the original server. */
static void test_frames_of_the_original_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum wire_kind kind;
        const char *data;
    } frames[] = {
        {"\0\0\0\x35\x06\0\3sum{\"data\":{\"sum\":3},"
         "\"_correlationId\":\"sum#1\"}",
         0x35, WIRE_ANSWER, "{\"sum\":3}"},
        {"\0\0\0\x13\x06\0\3sum{\"sum\":7}", 0x13, WIRE_ANSWER, "{\"sum\":7}"},
        {"\0\0\0\x0f\x01\0\4echonull", 15, WIRE_EVENT, "null"},
        {"\0\0\0\x07\x03\0\0", 7, WIRE_PING, ""},
        {"\0\0\0\x07\x04\0\0", 7, WIRE_PONG, ""},
        {"\0\0\0\x0e\x02\0\3bin\0\1\2\xff", 14, WIRE_EVENT, NULL},
        {"\0\0\0\x1b\x01\0\x0bjoined-room\"sala\"", 24, WIRE_JOINED, ""},
        {"\0\0\0\x07\x08\0\0", 7, WIRE_GOODBYE, ""},
        {"\0\0\0\x21\x0b\0\5errorInvalid frame size: 6", 33, WIRE_GOODBYE, ""},
        {"\0\0\0\x0a\x07\0\0abc", 10, WIRE_WELCOME, ""},
        {"\0\0\0\x07\x0c\0\0", 7, WIRE_IGNORED, ""},
        {"\0\0\0\x08\x01\0\0{", 8, WIRE_INVALID, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        char copy[64];
        struct tcp_frame frame;
        struct wire got;

        memcpy(copy, frames[i].bytes, frames[i].size);
        copy[3] = (char)frames[i].size;
        assert_int_equal(
            tcp_frame_parse(&frame, copy, frames[i].size, sizeof copy),
            frames[i].size);
        dialect_client_stelar.read_tcp(&got, &frame);
        assert_int_equal(got.kind, frames[i].kind);
        if (frames[i].data != NULL) {
            assert_slice(got.data, frames[i].data);
        }
    }
}

static void test_texts_are_those_of_the_original(void **state)
{
    const struct wire request = {.kind = WIRE_EVENT,
                                 .name = SLICE("sum"),
                                 .id = SLICE("\"sum#1\""),
                                 .data = SLICE("1"),
                                 .wants_answer = true};
    const struct wire join = {.kind = WIRE_JOIN, .room = SLICE("ROOM")};
    const struct wire event = {.kind = WIRE_EVENT, .name = SLICE("echo")};
    char copy[256];
    struct wire got;

    (void)state;
    check_text(&dialect_client_stelar, &request,
               "{\"event\":\"sum\",\"data\":1,\"_ackName\":\"sum\","
               "\"_correlationId\":\"sum#1\"}");
    check_text(&dialect_client_stelar, &join,
               "{\"event\":\"join-room\",\"data\":\"ROOM\"}");
    check_text(&dialect_client_stelar, &event,
               "{\"event\":\"echo\",\"data\":null}");
    read_text(&dialect_client_stelar, "{\"event\":\"ping\"}", copy, &got);
    assert_int_equal(got.kind, WIRE_IGNORED);
    read_text(&dialect_client_stelar, "null", copy, &got);
    assert_int_equal(got.kind, WIRE_INVALID);
    read_text(&dialect_client_stelar, "{\"event\":\"left-room\",\"data\":1}",
              copy, &got);
    assert_int_equal(got.kind, WIRE_INVALID);
}

static void test_what_would_be_misread_is_not_written(void **state)
{
    static const char *const names[] = {
        "",    "ping", "pong",     "connect", "disconnect", "error",
        "a b", "a_b",  "\xc3\xb1", "a\"b",    "a,b",        "a;b"};
    const struct wire binary = {.kind = WIRE_EVENT,
                                .name = SLICE("a"),
                                .id = SLICE("1"),
                                .data_kind = PEAL_BYTES,
                                .wants_answer = true};
    const struct wire good = {.kind = WIRE_EVENT, .name = SLICE("a-Z.0/9:")};
    struct wire_plan plan;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct wire wire = {.kind = WIRE_EVENT,
                                  .name = peal_slice(names[i])};

        assert_false(dialect_client_stelar.plan(&plan, &wire, TRANSPORT_WS));
    }
    assert_false(dialect_client_stelar.plan(&plan, &binary, TRANSPORT_TCP));
    assert_true(dialect_client_stelar.plan(&plan, &good, TRANSPORT_TCP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_clients_say_is_read),
        cmocka_unit_test(test_what_servers_say_is_read),
        cmocka_unit_test(test_frames_of_the_original_are_read),
        cmocka_unit_test(test_texts_are_those_of_the_original),
        cmocka_unit_test(test_what_would_be_misread_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
