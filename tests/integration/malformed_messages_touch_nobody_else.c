/*
 * Goal: whatever breaks WebSocket, the TCP frames or the envelope gets its
 * exact close code or error answer, and nobody else notices.
 *
 * Method: one server under load from well-behaved clients, who must not miss a
 * message, while every malformed form is sent to it, each on a connection of
 * its own.
 */
#include "support/suite.h"

#include "support/bystanders.h"
#include "support/host.h"
#include "support/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES_MAX 70000

/* Bytes with their size: they hold zeros. */
#define BYTES(literal)                                                         \
    {                                                                          \
        literal, sizeof(literal) - 1                                           \
    }

struct bytes {
    const char *data;
    size_t size;
};

struct world {
    struct host host;
    struct bystanders *bystanders;
};

static int start(void **state)
{
    static struct world world;
    static const struct peal_server_options options = {
        .clients_may_join = true,
        .clients_may_publish = true,
        .message_bytes_max = MESSAGE_BYTES_MAX,
    };

    host_start(&world.host, &options, NULL);
    world.bystanders = bystanders_start(&world.host);
    *state = &world;
    return 0;
}

static int stop(void **state)
{
    struct world *world = *state;

    bystanders_stop(world->bystanders);
    host_await_empty(&world->host);
    host_stop(&world->host);
    return 0;
}

/* --- WebSocket frames ---------------------------------------------------- */

/* Sends the bytes to a WebSocket of their own, which is closed with `code`. */
static void expect_ws_close(struct world *world, struct bytes bytes, int code)
{
    struct member member;

    member_open(&member, world->host.ws, false);
    peer_send(&member.peer, bytes.data, bytes.size);
    ws_await_close(&member.peer, code);
}

/* A header with a mask key of zeros: payloads are as they read. */
#define MASK "\0\0\0\0"

static void frames_that_break_the_protocol(void **state)
{
    static const struct bytes frames[] = {
        /* Reserved bits. */
        BYTES("\xc1\x80" MASK),
        BYTES("\xa1\x80" MASK),
        BYTES("\x91\x80" MASK),
        BYTES("\xf2\x80" MASK),
        /* Reserved opcodes. */
        BYTES("\x83\x80" MASK),
        BYTES("\x84\x80" MASK),
        BYTES("\x85\x80" MASK),
        BYTES("\x86\x80" MASK),
        BYTES("\x87\x80" MASK),
        BYTES("\x8b\x80" MASK),
        BYTES("\x8c\x80" MASK),
        BYTES("\x8d\x80" MASK),
        BYTES("\x8e\x80" MASK),
        BYTES("\x8f\x80" MASK),
        BYTES("\x03\x80" MASK),
        /* Not masked. */
        BYTES("\x81\x01x"),
        BYTES("\x82\x00"),
        BYTES("\x89\x00"),
        BYTES("\x88\x02\x03\xe8"),
        /* A continuation of nothing, and a message inside of another. */
        BYTES("\x80\x80" MASK),
        BYTES("\x00\x80" MASK),
        BYTES("\x01\x81" MASK "x\x81\x81" MASK "y"),
        BYTES("\x01\x81" MASK "x\x02\x81" MASK "y"),
        BYTES("\x02\x80" MASK "\x80\x80" MASK "\x80\x80" MASK),
        /* Control frames in pieces, or too large. */
        BYTES("\x09\x80" MASK),
        BYTES("\x0a\x80" MASK),
        BYTES("\x08\x80" MASK),
        BYTES("\x89\xfe\x00\x7e" MASK),
        BYTES("\x8a\xfe\x00\x7e" MASK),
        BYTES("\x88\xfe\x00\x7e" MASK),
        BYTES("\x89\xff\0\0\0\0\0\0\0\1" MASK),
        /* Lengths longer than needed, or with the highest bit. */
        BYTES("\x82\xfe\x00\x7d" MASK),
        BYTES("\x82\xfe\x00\x00" MASK),
        BYTES("\x82\xff\0\0\0\0\0\0\xff\xff" MASK),
        BYTES("\x82\xff\x80\0\0\0\0\0\0\0" MASK),
        /* Close frames with half a code or one that may not be sent. */
        BYTES("\x88\x81" MASK "\x03"),
        BYTES("\x88\x82" MASK "\x00\x00"),
        BYTES("\x88\x82" MASK "\x03\xe7"), /* 999 */
        BYTES("\x88\x82" MASK "\x03\xec"), /* 1004 */
        BYTES("\x88\x82" MASK "\x03\xed"), /* 1005 */
        BYTES("\x88\x82" MASK "\x03\xee"), /* 1006 */
        BYTES("\x88\x82" MASK "\x03\xf7"), /* 1015 */
        BYTES("\x88\x82" MASK "\x03\xf8"), /* 1016 */
        BYTES("\x88\x82" MASK "\x07\xd0"), /* 2000 */
        BYTES("\x88\x82" MASK "\x0b\xb7"), /* 2999 */
        BYTES("\x88\x82" MASK "\x13\x88"), /* 5000 */
        BYTES("\x88\x82" MASK "\xff\xff"),
    };
    struct world *world = *state;
    uint64_t before = host_stats(&world->host).closed_protocol;

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        expect_ws_close(world, frames[i], 1002);
    }
    CHECK_EQUAL(host_stats(&world->host).closed_protocol,
                before + ARRAY_SIZE(frames));
    bystanders_talk_on(world->bystanders);
}

/*
 * The frames are cut off behind the first wrong byte, so the server must know
 * without the rest.
 */
static void text_that_is_not_utf8(void **state)
{
    static const struct bytes frames[] = {
        BYTES("\x81\x84" MASK "ab\xff"),   /* never a byte of it */
        BYTES("\x81\x84" MASK "a\xc0"),    /* overlong */
        BYTES("\x81\x84" MASK "\xe0\x80"), /* overlong */
        BYTES("\x81\x84" MASK "\xed\xa0"), /* a surrogate */
        BYTES("\x81\x85" MASK "\xf4\x90"), /* beyond U+10FFFF */
        BYTES("\x81\x85" MASK "\xf5"),     /* the same */
        BYTES("\x81\x84" MASK "\x80"),     /* a continuation */
        BYTES("\x81\x84" MASK "\xc3("),    /* half a character */
        BYTES("\x81\x82" MASK "\xe2\x82"), /* ends too early */
        BYTES("\x01\x81" MASK "\xff"),     /* in a first fragment */
        BYTES("\x01\x81" MASK "\xc3\x00\x84" MASK "("), /* across fragments */
        BYTES("\x01\x81" MASK "\xc3\x89\x80" MASK "\x80\x84" MASK "("),
        BYTES("\x01\x82" MASK "\xe2\x82\x80\x80" MASK), /* and at the end */
        BYTES("\x88\x84" MASK "\x03\xe8\xc3("),         /* a close's reason */
    };
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        expect_ws_close(world, frames[i], 1007);
    }
    bystanders_talk_on(world->bystanders);
}

static void messages_that_are_too_big(void **state)
{
    static const struct bytes headers[] = {
        /* 70001 as one frame, and sums of fragments beyond 70000. */
        BYTES("\x81\xff\0\0\0\0\0\1\x11\x71" MASK),
        BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK),
        BYTES("\x02\x81" MASK "x\x80\xff\0\0\0\0\0\1\x11\x70" MASK),
    };
    struct world *world = *state;
    uint64_t before = host_stats(&world->host).closed_message_bytes;

    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        expect_ws_close(world, headers[i], 1009);
    }
    CHECK_EQUAL(host_stats(&world->host).closed_message_bytes,
                before + ARRAY_SIZE(headers));
    bystanders_talk_on(world->bystanders);
}

/* What was whole before the malformed part has been answered. */
static void all_before_it_counts(void **state)
{
    struct world *world = *state;
    struct member member;

    member_open(&member, world->host.ws, false);
    member_say(&member, "{'event':'peal:ping','id':1}");
    peer_send(&member.peer, "\xff\xff", 2);
    member_say(&member, "{'event':'peal:ping','id':2}");
    member_expect(&member, "{'event':'peal:ok','id':1}");
    member_expect_close(&member, 1002);
}

/* --- TCP frames ---------------------------------------------------------- */

static void frames_without_sense(void **state)
{
    static const struct {
        struct bytes bytes;
        int code;
    } frames[] = {
        {BYTES("\0\0\0\0"), 1002},
        {BYTES("\0\0\0\1"), 1002},
        {BYTES("\0\0\0\6"), 1002},
        {BYTES("\0\0\0\7\0\0\1"), 1002},
        {BYTES("\0\0\0\x0a\0\0\4abc"), 1002},
        {BYTES("\0\0\2\0\0\1\1"), 1002},
        {BYTES("\0\0\2\0\0\xff\xff"), 1002},
        {BYTES("\0\1\x11\x71"), 1009},
        {BYTES("\x7f\xff\xff\xff"), 1009},
        {BYTES("\x80\0\0\0"), 1009},
        {BYTES("\xff\xff\xff\xff"), 1009},
        {BYTES("GET / HTTP/1.1\r\n\r\n"), 1009},
    };
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        struct member member;

        member_open(&member, world->host.tcp, true);
        peer_send(&member.peer, frames[i].bytes.data, frames[i].bytes.size);
        member_expect_close(&member, frames[i].code);
    }
    bystanders_talk_on(world->bystanders);
}

static void frames_of_a_wrong_kind(void **state)
{
    static const struct {
        int type;
        const char *event;
        const char *payload;
    } frames[] = {
        {TCP_JSON_FRAME, NULL, "1"},
        {TCP_JSON_FRAME, "e", "{"},
        {TCP_JSON_FRAME, "e", "\"\xff\""},
        {TCP_JSON_FRAME, "\xff", "1"},
        {TCP_BINARY_FRAME, NULL, "1"},
        {TCP_BINARY_FRAME, "\xc3", "1"},
        {TCP_REQUEST_FRAME, "e", ""},
        {TCP_REQUEST_FRAME, "e", "{}"},
        {TCP_REQUEST_FRAME, "e", "{\"data\":1}"},
        {TCP_REQUEST_FRAME, "e", "{\"id\":null}"},
        {TCP_REQUEST_FRAME, "e", "[1]"},
        {TCP_ANSWER_FRAME, NULL, "{\"data\":1}"},
        {TCP_ANSWER_FRAME, NULL, "x"},
        {TCP_JOIN_FRAME, NULL, "lobby"},
        {TCP_JOIN_FRAME, NULL, "{}"},
        {TCP_LEAVE_FRAME, NULL, "{\"room\":7}"},
        {TCP_CONNECT_FRAME, NULL, "{}"},
        {TCP_DISCONNECT_FRAME, NULL, "bye"},
        {TCP_ERROR_FRAME, NULL, "oh"},
        {TCP_ENVELOPE_FRAME, NULL, "{\"event\":\"\xed\xa0\x80\"}"},
        {TCP_ENVELOPE_FRAME, NULL, ""},
        {TCP_BINARY_ENVELOPE_FRAME, NULL, "abc"},
        {11, NULL, ""},
        {15, NULL, ""},
        {18, NULL, ""},
        {255, "e", "1"},
    };
    struct world *world = *state;
    struct member member;

    member_open(&member, world->host.tcp, true);
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        tcp_send_text(&member.peer, frames[i].type, frames[i].event,
                      frames[i].payload);
        member_expect_failure(&member, NULL, 100);
    }
    member_expect_silence(&member);
    member_close(&member);
    bystanders_talk_on(world->bystanders);
}

/* --- Envelopes ----------------------------------------------------------- */

static void texts_that_are_no_envelope(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "[]",
        "1",
        "'x'",
        "null",
        "{}",
        "{'event'}",
        "{'event':1}",
        "{'event':null}",
        "{'event':''}",
        "{'event':['x']}",
        "{'event':'a','event':'b'}",
        "{'event':'a','data':1,'data':2}",
        "{'event':'a'}x",
        "{'event':'a'}{'event':'a'}",
        "{'event':'a',}",
        "{'event':'a','data':}",
        "{'event':'a','data':01}",
        "{'event':'a','data':1.}",
        "{'event':'a','data':.5}",
        "{'event':'a','data':+1}",
        "{'event':'a','data':NaN}",
        "{'event':'a','data':Infinity}",
        "{'event':'a','data':0x10}",
        "{'event':'a','data':True}",
        "{'event':'a','data':'\\x'}",
        "{'event':'a','data':'\\u12'}",
        "{'event':'a','data':'\n'}",
        "{'event':'a','data':[1,]}",
        "{'event':'a','data':[}",
        "{event:'a'}",
        "{'event':'a' /* why */}",
        "\xef\xbb\xbf{'event':'a'}",
        "{'event':'\\ud800'}",
        "{'event':'a','id':[]}",
        "{'event':'a','id':true}",
        "{'event':'a','room':7}",
        "{'event':'peal:join'}",
        "{'event':'peal:join','data':'lobby'}",
        "{'event':'peal:leave','data':{}}",
        "{'event':'peal:answer'}",
        "{'event':'peal:answer','id':[]}",
    };
    struct world *world = *state;

    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct member member;

        member_open(&member, host_address(&world->host, is_tcp == 1),
                    is_tcp == 1);
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
            member_say(&member, "%s", texts[i]);
            member_expect_failure(&member, NULL, 100);
        }
        member_expect_silence(&member);
        member_close(&member);
    }
    bystanders_talk_on(world->bystanders);
}

static void texts_that_ask_for_too_much(void **state)
{
    struct world *world = *state;
    char long_text[400];
    struct member member;

    memset(long_text, 'n', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        member_open(&member, host_address(&world->host, is_tcp == 1),
                    is_tcp == 1);
        member_say(&member, "{'event':'%.257s','id':1}", long_text);
        member_expect_failure(&member, "1", 100);
        member_say(&member, "{'event':'%.256s','id':2}", long_text);
        member_expect_failure(&member, "2", 101);
        member_say(&member, "{'event':'a','id':'%.300s'}", long_text);
        member_expect_failure(&member, NULL, 100);
        member_say(&member,
                   "{'id':3,'event':'peal:join',"
                   "'data':{'room':'%.257s'}}",
                   long_text);
        member_expect_failure(&member, "3", 104);
        member_say(&member, "{'id':4,'event':'peal:join','data':{'room':''}}");
        member_expect_failure(&member, "4", 104);
        member_say(&member, "{'id':5,'event':'peal:leave','data':{'room':''}}");
        member_expect_failure(&member, "5", 104);
        member_say(&member, "{'id':6,'event':'a','room':''}");
        member_expect_failure(&member, "6", 104);
        member_expect_silence(&member);
        member_close(&member);
    }
}

static void words_of_the_protocol_are_not_for_clients(void **state)
{
    static const char *const names[] = {"peal:welcome", "peal:ok", "peal:error",
                                        "peal:", "peal:x"};
    struct world *world = *state;
    struct member member;

    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        member_open(&member, host_address(&world->host, is_tcp == 1),
                    is_tcp == 1);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            char header[64];

            member_say(&member, "{'event':'%s','id':1}", names[i]);
            member_expect_failure(&member, "1", 102);
            snprintf(header, sizeof header, "{'event':'%s','id':2}", names[i]);
            member_say_bytes(&member, header, "", 0);
            member_expect_failure(&member, "2", 102);
        }
        member_close(&member);
    }
}

static void bytes_that_are_no_envelope(void **state)
{
    static const struct bytes messages[] = {
        BYTES(""),
        BYTES("\0\0\0"),
        BYTES("\0\0\0\1"),
        BYTES("\0\0\0\0"),
        BYTES("\xff\xff\xff\xff{}"),
        BYTES("\0\0\0\2{}"),
        BYTES("\0\0\0\2[]"),
        BYTES("\0\0\0\1{}"),
        BYTES("\0\0\0\x0d{\"event\":\"\xff\"}"),
        BYTES("\0\0\0\x0c{\"event\":\"\"}"),
    };
    struct world *world = *state;
    struct member member;

    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        member_open(&member, host_address(&world->host, is_tcp == 1),
                    is_tcp == 1);
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
            if (is_tcp == 1) {
                tcp_send(&member.peer, TCP_BINARY_ENVELOPE_FRAME, NULL,
                         messages[i].data, messages[i].size);
            } else {
                ws_send(&member.peer, WS_BINARY_FRAME, messages[i].data,
                        messages[i].size);
            }
            member_expect_failure(&member, NULL, 100);
        }
        member_expect_silence(&member);
        member_close(&member);
    }
}

/* Nothing is as deep as a text can be; and deep enough is deep enough. */
static void data_that_is_too_deep(void **state)
{
    struct world *world = *state;
    size_t depth = 30000;
    char *deep = calloc(1, 2 * depth + 1);
    struct member member;

    CHECK(deep != NULL);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        member_open(&member, host_address(&world->host, is_tcp == 1),
                    is_tcp == 1);
        member_say(&member, "{'event':'a','data':%s}", deep);
        member_expect_failure(&member, NULL, 100);
        member_say(&member, "{'event':'a','id':1,'data':%.16s%s}", deep,
                   deep + 2 * depth - 16);
        member_expect_failure(&member, "1", 101);
        member_close(&member);
    }
    free(deep);
    bystanders_talk_on(world->bystanders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_that_break_the_protocol),
        cmocka_unit_test(text_that_is_not_utf8),
        cmocka_unit_test(messages_that_are_too_big),
        cmocka_unit_test(all_before_it_counts),
        cmocka_unit_test(frames_without_sense),
        cmocka_unit_test(frames_of_a_wrong_kind),
        cmocka_unit_test(texts_that_are_no_envelope),
        cmocka_unit_test(texts_that_ask_for_too_much),
        cmocka_unit_test(words_of_the_protocol_are_not_for_clients),
        cmocka_unit_test(bytes_that_are_no_envelope),
        cmocka_unit_test(data_that_is_too_deep),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
