/*
 * The stelar dialect: reading never goes out of bounds, and what was read as an
 * event is written by every dialect and read back as the same.
 */
#include "fuzz_dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_dialect(&dialect_stelar, data, size);
    return 0;
}
