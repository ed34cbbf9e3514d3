#include "server/backlog_parcel.h"

#include "base/slice.h"

#include <string.h>

size_t backlog_parcel_bytes(const struct tape_segment *segment)
{
    return segment->capacity - backlog_parcel_of(segment)->frame_at;
}

struct peal_slice backlog_parcel_key(const struct tape_segment *segment)
{
    const struct backlog_parcel *parcel = backlog_parcel_of(segment);

    return slice_make((const char *)&parcel->room_size, parcel->key_size);
}

struct peal_slice backlog_parcel_room(const struct tape_segment *segment)
{
    const struct backlog_parcel *parcel = backlog_parcel_of(segment);

    return slice_make(parcel->texts, parcel->room_size);
}

/* A segment with everything but the frame, for which there is room. */
static struct tape_segment *make(const struct backlog_label *label,
                                 size_t frame_size)
{
    size_t texts = label->room.size + label->name.size + label->key.size;
    size_t head = sizeof(struct backlog_parcel) + texts;
    struct tape_segment *segment = tape_segment_new(head + frame_size);
    struct backlog_parcel *parcel;
    char *at;

    if (segment == NULL) {
        return NULL;
    }
    segment->used = segment->capacity;
    parcel = (struct backlog_parcel *)(void *)segment->data;
    *parcel = (struct backlog_parcel){
        .frame_at = (uint32_t)head,
        .is_message = true,
        .key_size = (uint32_t)(2 * sizeof(uint32_t) + texts),
        .room_size = (uint32_t)label->room.size,
        .name_size = (uint32_t)label->name.size,
    };
    at = parcel->texts;
    for (size_t i = 0; i < 3; i++) {
        const struct peal_slice *text = i == 0   ? &label->room
                                        : i == 1 ? &label->name
                                                 : &label->key;

        if (text->size > 0) {
            memcpy(at, text->data, text->size);
        }
        at += text->size;
    }
    return segment;
}

struct tape_segment *backlog_parcel_encode(const struct conn *conn,
                                           const struct backlog_label *label,
                                           const struct wire *wire,
                                           const struct wire_plan *plan)
{
    enum transport transport = conn_transport(conn);
    struct tape_segment *segment =
        make(label, output_frame_size(plan, transport));
    struct backlog_parcel *parcel;

    if (segment == NULL) {
        return NULL;
    }
    parcel = (struct backlog_parcel *)(void *)segment->data;
    output_frame_write(segment->data + parcel->frame_at, conn_dialect(conn),
                       plan, wire, transport);
    parcel->is_message = output_is_message(wire->kind);
    if (conn->is_deflated) {
        parcel->payload_at = segment->capacity - (uint32_t)plan->size;
        parcel->is_binary = plan->is_binary;
    }
    return segment;
}

struct tape_segment *backlog_parcel_copy(const struct backlog_label *label,
                                         const struct tape_slice *frame)
{
    struct tape_segment *segment = make(label, frame->size);

    if (segment != NULL) {
        const struct backlog_parcel *parcel = (const void *)segment->data;

        memcpy(segment->data + parcel->frame_at, tape_slice_data(frame),
               frame->size);
    }
    return segment;
}
