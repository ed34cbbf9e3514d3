/* What a server of the peal dialect may say, read by its client. */
#include "fuzz_dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_dialect(&dialect_client_peal, data, size);
    return 0;
}
