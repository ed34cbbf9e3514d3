/* A build without liburing (PEAL_URING in CMakeLists.txt). */
#include "net/loop_ring.h"

#include "base/assert.h"
#include "peal/peal.h"

#include <errno.h>

int loop_ring_open(struct loop_ring **out)
{
    (void)out;
    errno = ENOSYS;
    return PEAL_ENOTSUP;
}

void loop_ring_close(struct loop_ring *ring)
{
    ASSERT(ring == NULL);
}

bool loop_ring_send(struct loop_ring *ring, struct loop_send *sends,
                    size_t count)
{
    (void)ring;
    (void)sends;
    (void)count;
    UNREACHABLE(); /* there is no ring to send with */
}
