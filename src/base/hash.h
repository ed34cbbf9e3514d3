/*
 * SipHash-1-3 under a key that is drawn once per process: peers choose room
 * names and ids, and must not be able to choose collisions.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Under the process's key. Any thread. */
uint64_t hash_bytes(const void *data, size_t size);

/* Under the key given: for test vectors. */
uint64_t hash_siphash13(const uint8_t key[16], const void *data, size_t size);

#endif
