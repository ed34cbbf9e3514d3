/* UUIDs of version 4 (RFC 9562, 5.4). */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdint.h>

#define UUID_TEXT_SIZE 36

struct uuid {
    uint8_t bytes[16];
};

struct uuid uuid_make(void);

/* Writes 36 lower-case characters and a zero byte. */
void uuid_format(struct uuid uuid, char out[UUID_TEXT_SIZE + 1]);

#endif
