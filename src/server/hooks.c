/* The application's hooks, as it gave them. */
#include "server/server.h"

#include <string.h>

int hooks_set(struct peal_server *server, const struct peal_hooks *given)
{
    if (given == NULL) {
        return 0;
    }
    if (given->size < sizeof given->size ||
        given->size > sizeof server->hooks) {
        return PEAL_EINVAL;
    }
    memcpy(&server->hooks, given, given->size);
    return 0;
}
