/*
 * A message as it waits for slow readers: encoded, at the beginning of a
 * segment of its own, which is counted and shared by all who wait for the same.
 */
#ifndef SERVER_BACKLOG_PARCEL_H
#define SERVER_BACKLOG_PARCEL_H

#include "server/conn.h"

/*
 * What stands before the frame. The key, by which a newer message is found to
 * replace it, reaches from `room_size` to the end of the texts.
 */
struct backlog_parcel {
    uint32_t frame_at;   /* the frame reaches from here to the end */
    uint32_t payload_at; /* not 0: the payload from here is to be compressed */
    uint32_t key_size;
    bool is_binary;
    bool is_message; /* counted in messages_out when it is handed on */
    uint32_t room_size;
    uint32_t name_size;
    char texts[]; /* room, name, and what the policy conflates by */
};

/* What of a message is in its key. */
struct backlog_label {
    struct peal_slice room;
    struct peal_slice name;
    struct peal_slice key;
};

static inline const struct backlog_parcel *
backlog_parcel_of(const struct tape_segment *segment)
{
    return (const void *)segment->data;
}

/*
 * A parcel with one reference: the message as this client's form has it, to be
 * compressed later if need be; or a copy of its frame. NULL: no memory.
 */
struct tape_segment *backlog_parcel_encode(const struct conn *conn,
                                           const struct backlog_label *label,
                                           const struct wire *wire,
                                           const struct wire_plan *plan);
struct tape_segment *backlog_parcel_copy(const struct backlog_label *label,
                                         const struct tape_slice *frame);

/* Bytes of the frame. */
size_t backlog_parcel_bytes(const struct tape_segment *segment);

/* What a newer message is found by to replace it, and the room it is for. */
struct peal_slice backlog_parcel_key(const struct tape_segment *segment);
struct peal_slice backlog_parcel_room(const struct tape_segment *segment);

#endif
