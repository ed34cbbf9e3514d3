/* The frames of tests/vectors/ws, in all cuts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "proto/ws_frame.h"
#include "vectors.h"

static const char *const kind_names[] = {
    [WS_NOTHING] = "nothing", [WS_TEXT] = "text", [WS_BINARY] = "binary",
    [WS_PING] = "ping",       [WS_PONG] = "pong", [WS_CLOSED] = "close",
};

static void log_item(struct vector_log *log, const struct ws_item *item)
{
    vector_log_add(log, "%s%s", item->is_compressed ? "compressed " : "",
                   kind_names[item->kind]);
    if (item->kind == WS_CLOSED) {
        vector_log_add(log, " %d", item->code);
    }
    vector_log_bytes(log, item->data, item->size);
    vector_log_end(log);
}

/* Reads one piece to its end; false: the stream is over. */
static bool read_piece(struct ws_parser *parser, const struct ws_limits *limits,
                       char *data, size_t size, struct vector_log *log)
{
    size_t used = 0;

    while (used < size) {
        struct ws_item item;
        const char *problem = NULL;
        long rc =
            ws_parse(parser, limits, data + used, size - used, &item, &problem);

        if (rc < 0) {
            assert_non_null(problem);
            vector_log_add(log, "error %ld", -rc);
            vector_log_end(log);
            return false;
        }
        assert_in_range(rc, 1, size - used);
        used += (size_t)rc;
        if (item.kind == WS_NOTHING) {
            assert_int_equal(used, size);
            continue;
        }
        /* Whoever hands them on need not ask, even if there are none. */
        assert_non_null(item.data);
        log_item(log, &item);
        if (item.kind == WS_CLOSED) {
            return false;
        }
        /* Releasing is a courtesy: half of the items go without it. */
        if (log->size % 2 == 0) {
            ws_parser_release(parser);
        }
    }
    return true;
}

static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    bool is_client =
        strcmp(vector_get(vector, "role", "server"), "client") == 0;
    struct ws_limits limits = {
        .role = is_client ? WS_CLIENT : WS_SERVER,
        .frame_bytes_max =
            (size_t)vector_get_number(vector, "frame_max", 1 << 20),
        .message_bytes_max =
            (size_t)vector_get_number(vector, "message_max", 1 << 20),
        .may_be_compressed =
            strcmp(vector_get(vector, "deflate", "off"), "on") == 0,
    };
    struct ws_parser parser = {0};
    bool is_open = true;
    size_t offset = 0;
    uint64_t used = mem_used();

    for (size_t i = 0; i < pieces->count && is_open; i++) {
        char *data = vectors_guard(vector->in + offset, pieces->cuts[i]);

        is_open = read_piece(&parser, &limits, data, pieces->cuts[i], log);
        offset += pieces->cuts[i];
    }
    if (is_open && ws_parser_is_midway(&parser)) {
        vector_log_add(log, "midway");
        vector_log_end(log);
    }
    ws_parser_fini(&parser);
    assert_int_equal(mem_used(), used);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("ws", run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
