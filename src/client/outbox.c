#include "client/outbox.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

struct parcel *outbox_parcel_new(const struct peal_event *event)
{
    size_t texts = event->name.size + event->room.size;
    struct parcel *parcel;

    if (event->data.size > SIZE_MAX / 2 - texts) {
        return NULL;
    }
    parcel = mem_alloc(sizeof *parcel + texts + event->data.size);
    if (parcel == NULL) {
        return NULL;
    }
    *parcel = (struct parcel){
        .data_kind = event->kind,
        .name_size = (uint32_t)event->name.size,
        .room_size = (uint32_t)event->room.size,
        .data_size = event->data.size,
    };
    list_init(&parcel->link);
    if (event->name.size > 0) {
        memcpy(parcel->bytes, event->name.data, event->name.size);
    }
    if (event->room.size > 0) {
        memcpy(parcel->bytes + event->name.size, event->room.data,
               event->room.size);
    }
    if (event->data.size > 0) {
        memcpy(parcel->bytes + texts, event->data.data, event->data.size);
    }
    return parcel;
}

void outbox_parcel_free(struct parcel *parcel)
{
    mem_free(parcel);
}

struct peal_event outbox_parcel_event(const struct parcel *parcel)
{
    const char *room = parcel->bytes + parcel->name_size;

    return (struct peal_event){
        .name = slice_make(parcel->bytes, parcel->name_size),
        .room = slice_make(room, parcel->room_size),
        .data = slice_make(room + parcel->room_size, parcel->data_size),
        .kind = parcel->data_kind,
    };
}

size_t outbox_parcel_bytes(const struct parcel *parcel)
{
    return sizeof *parcel + parcel->name_size + parcel->room_size +
           parcel->data_size;
}

void outbox_init(struct outbox *outbox)
{
    list_init(&outbox->parcels);
    outbox->count = 0;
    outbox->bytes = 0;
}

bool outbox_fits(const struct outbox *outbox, size_t bytes, uint32_t count_max,
                 size_t bytes_max)
{
    return outbox->count < count_max && bytes <= bytes_max &&
           outbox->bytes <= bytes_max - bytes;
}

void outbox_push(struct outbox *outbox, struct parcel *parcel)
{
    list_append(&outbox->parcels, &parcel->link);
    outbox->count++;
    outbox->bytes += outbox_parcel_bytes(parcel);
}

struct parcel *outbox_pop(struct outbox *outbox)
{
    struct parcel *parcel;

    if (list_is_empty(&outbox->parcels)) {
        return NULL;
    }
    parcel = CONTAINER_OF(outbox->parcels.next, struct parcel, link);
    outbox_remove(outbox, parcel);
    return parcel;
}

void outbox_remove(struct outbox *outbox, struct parcel *parcel)
{
    ASSERT(outbox->count > 0);
    list_remove(&parcel->link);
    outbox->count--;
    outbox->bytes -= outbox_parcel_bytes(parcel);
}
