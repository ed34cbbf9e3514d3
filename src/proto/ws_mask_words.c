/* ws_mask for machines that are no x86-64; ws_mask_x86.c is for those. */
#if !defined(__x86_64__)

#include "proto/ws_mask_words.h"
#include "proto/ws_frame.h"

bool ws_mask(char *data, size_t size, const uint8_t key[4], size_t offset)
{
    return ws_mask_words(data, size, key, offset);
}

#endif
