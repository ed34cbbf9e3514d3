/*
 * Unmasking by 64-bit words, for machines that are no x86-64. Inline, so that
 * the tests can hold it against the naive loop on any machine.
 */
#ifndef PROTO_WS_MASK_WORDS_H
#define PROTO_WS_MASK_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Ends shorter than a word are done first and by overlap: the last word is
 * loaded before the loop changes it, and stored over what the loop wrote, which
 * is the same. So there is no loop over single bytes.
 */
static inline bool ws_mask_words(char *data, size_t size, const uint8_t key[4],
                                 size_t offset)
{
    uint8_t pattern[16]; /* the key as it meets data[0], data[1], ... */
    uint64_t mask, last;
    uint64_t all = 0; /* bytes, in one */

    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = key[(offset + i) & 3];
    }
    if (size < 8) {
        for (size_t i = 0; i < size; i++) {
            data[i] = (char)(data[i] ^ pattern[i]);
            all |= (unsigned char)data[i];
        }
        return (all & 0x80) == 0;
    }
    size_t tail = size - 8;

    memcpy(&mask, pattern + (tail & 3), sizeof mask);
    memcpy(&last, data + tail, sizeof last);
    last ^= mask;
    memcpy(&mask, pattern, sizeof mask);
    for (size_t i = 0; i < tail; i += 8) {
        uint64_t word;

        memcpy(&word, data + i, sizeof word);
        word ^= mask;
        memcpy(data + i, &word, sizeof word);
        all |= word;
    }
    memcpy(data + tail, &last, sizeof last);
    return ((all | last) & 0x8080808080808080) == 0;
}

#endif
