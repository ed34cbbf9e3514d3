/*
 * A stream of WebSocket frames. Checked besides memory: the same bytes in other
 * pieces give the same items and the same refusal, items read the same when
 * they are written anew, and what the parser holds follows what has arrived.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "proto/ws_frame.h"

#define MESSAGE_MAX 4096

/* What the parser itself may take, beside the bytes of a message. */
#define FIXED_MEMORY_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The items of one run, in a form that can be compared. */
struct record {
    char *data;
    size_t size;
};

static void record_put(struct record *record, const void *data, size_t size)
{
    record->data = realloc(record->data, record->size + size + 1);
    assert(record->data != NULL);
    if (size > 0) {
        memcpy(record->data + record->size, data, size);
        record->size += size;
    }
}

static void record_item(struct record *record, const struct ws_item *item)
{
    const long facts[3] = {(long)item->kind, item->code, (long)item->size};

    record_put(record, facts, sizeof facts);
    record_put(record, item->data, item->size);
}

static enum ws_opcode opcode_of(enum ws_item_kind kind)
{
    switch (kind) {
    case WS_TEXT:
        return WS_OPCODE_TEXT;
    case WS_BINARY:
        return WS_OPCODE_BINARY;
    case WS_PING:
        return WS_OPCODE_PING;
    case WS_PONG:
        return WS_OPCODE_PONG;
    default:
        return WS_OPCODE_CLOSE;
    }
}

/* Writes the item as either side would, and reads it back. */
static void check_written(const struct ws_item *item, enum ws_role reader)
{
    static const uint8_t key[4] = {0x7a, 0x01, 0xff, 0x80};
    struct ws_limits limits = {reader, 2 * MESSAGE_MAX, 2 * MESSAGE_MAX, false};
    char *frame = malloc(WS_HEADER_MAX + item->size + 2);
    char close_payload[WS_CONTROL_MAX];
    const char *data = item->data;
    size_t size = item->size;
    char *at;

    assert(frame != NULL);
    if (item->kind == WS_CLOSED) {
        size = ws_close_write(close_payload, item->code,
                              slice_make(item->data, item->size));
        data = close_payload;
    }
    if (reader == WS_SERVER) {
        at = ws_header_write_masked(frame, opcode_of(item->kind), size, key);
    } else {
        at = ws_header_write(frame, opcode_of(item->kind), size);
        assert((size_t)(at - frame) == ws_header_size(size));
    }
    if (size > 0) {
        memcpy(at, data, size);
    }
    if (reader == WS_SERVER) {
        ws_mask(at, size, key, 0);
    }
    size_t frame_size = (size_t)(at - frame) + size;
    struct ws_parser parser = {0};
    struct ws_item again;
    const char *problem;

    assert(ws_parse(&parser, &limits, frame, frame_size, &again, &problem) ==
           (long)frame_size);
    assert(again.kind == item->kind && again.code == item->code);
    assert(again.size == item->size);
    assert(again.size == 0 || memcmp(again.data, item->data, again.size) == 0);
    assert(parser.partial == NULL);
    free(frame);
}

/* Reads one piece to its end; false: the stream is over. */
static bool read_piece(struct ws_parser *parser, const struct ws_limits *limits,
                       char *data, size_t size, struct record *record)
{
    for (size_t used = 0; used < size;) {
        struct ws_item item;
        const char *problem = NULL;
        long rc =
            ws_parse(parser, limits, data + used, size - used, &item, &problem);

        if (rc < 0) {
            assert(problem != NULL);
            assert(rc == -1002 || rc == -1007 || rc == -1009);
            record_put(record, &rc, sizeof rc);
            return false;
        }
        assert(rc > 0 && (size_t)rc <= size - used);
        used += (size_t)rc;
        if (item.kind == WS_NOTHING) {
            assert(used == size);
            continue;
        }
        assert(item.kind != WS_TEXT || utf8_is_valid(item.data, item.size));
        assert(item.size <= MESSAGE_MAX);
        check_written(&item, WS_SERVER);
        check_written(&item, WS_CLIENT);
        record_item(record, &item);
        ws_parser_release(parser);
        if (item.kind == WS_CLOSED) {
            return false;
        }
    }
    return true;
}

/* Runs the stream in pieces of 1 to `piece_max` bytes; 0: in one piece. */
static struct record read_stream(const uint8_t *data, size_t size,
                                 enum ws_role role, size_t piece_max)
{
    struct ws_limits limits = {role, MESSAGE_MAX / 2, MESSAGE_MAX, false};
    struct ws_parser parser = {0};
    struct record record = {0};
    uint32_t random = (uint32_t)size;
    bool is_open = true;
    uint64_t used_before = mem_used();

    for (size_t at = 0; at < size && is_open;) {
        random = random * 1664525 + 1013904223;
        size_t piece = piece_max == 0 ? size : 1 + (random >> 8) % piece_max;

        piece = piece < size - at ? piece : size - at;
        char *copy = malloc(piece);

        assert(copy != NULL);
        memcpy(copy, data + at, piece);
        is_open = read_piece(&parser, &limits, copy, piece, &record);
        free(copy);
        at += piece;
        assert(mem_used() - used_before <= FIXED_MEMORY_MAX + 2 * at);
    }
    bool is_midway = is_open && ws_parser_is_midway(&parser);

    record_put(&record, &is_midway, sizeof is_midway);
    ws_parser_fini(&parser);
    return record;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t piece_max[] = {1, 7, 200};
    /* The input tells the role: the mask bit of its first frame is right. */
    bool is_client = size > 1 && (data[1] & 0x80) == 0;
    enum ws_role role = is_client ? WS_CLIENT : WS_SERVER;
    struct record whole = read_stream(data, size, role, 0);

    for (size_t i = 0; i < sizeof piece_max / sizeof piece_max[0]; i++) {
        struct record pieces = read_stream(data, size, role, piece_max[i]);

        assert(pieces.size == whole.size);
        assert(memcmp(pieces.data, whole.data, whole.size) == 0);
        free(pieces.data);
    }
    free(whole.data);
    return 0;
}
