/* ws_mask for machines without SSE2; ws_mask_sse2.c is for the others. */
#if !defined(__SSE2__)

#include "proto/ws_mask_words.h"
#include "proto/ws_frame.h"

void ws_mask(char *data, size_t size, const uint8_t key[4], size_t offset)
{
    ws_mask_words(data, size, key, offset);
}

#endif
