#include "hub/message.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* Copies a slice to `*at`, and steps over it. */
static struct peal_slice message_store(char **at, struct peal_slice slice)
{
    struct peal_slice stored = {*at, slice.size};

    if (slice.size > 0) {
        memcpy(*at, slice.data, slice.size);
        *at += slice.size;
    }
    return stored;
}

struct message *message_new(const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, uint32_t mail_count)
{
    struct message *message;
    size_t size = sizeof *message + mail_count * sizeof message->mails[0] +
                  except_count * sizeof *except + event->name.size +
                  event->data.size + event->room.size;
    char *at;

    if (except_count > UINT32_MAX) {
        return NULL;
    }
    message = mem_alloc(size);
    if (message == NULL) {
        return NULL;
    }
    atomic_init(&message->references, 1);
    message->except_count = (uint32_t)except_count;
    message->size = size;
    message->serial = 0;
    message->mail_count = mail_count;
    message->mail_taken = 0;
    message->except = (struct peal_client_ref *)&message->mails[mail_count];
    if (except_count > 0) {
        memcpy(message->except, except, except_count * sizeof *except);
    }
    at = (char *)&message->except[except_count];
    message->event = (struct peal_event){
        .name = message_store(&at, event->name),
        .kind = event->kind,
    };
    message->event.data = message_store(&at, event->data);
    message->event.room = message_store(&at, event->room);
    return message;
}

struct message_mail *message_take_mail(struct message *message,
                                       enum message_kind kind)
{
    struct message_mail *mail;

    ASSERT(message->mail_taken < message->mail_count);
    mail = &message->mails[message->mail_taken++];
    mail->size = message->size;
    mail->message = message;
    mail->kind = (uint8_t)kind;
    message_ref(message);
    return mail;
}

void message_ref(struct message *message)
{
    atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
}

void message_unref(struct message *message)
{
    /* Acquire: the last one must see what the others did before they let go. */
    uint32_t before = atomic_fetch_sub_explicit(&message->references, 1,
                                                memory_order_acq_rel);

    ASSERT(before > 0);
    if (before == 1) {
        mem_free(message);
    }
}
