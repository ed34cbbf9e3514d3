#include "server/conn_extra.h"

#include "base/assert.h"
#include "base/mem.h"
#include "server/admission.h"

struct conn_extra *conn_extra_of(struct conn *conn)
{
    struct conn_extra *extra = conn->extra;

    if (extra == NULL) {
        extra = mem_zalloc(sizeof *extra);
        if (extra != NULL) {
            list_init(&extra->requests.asked);
            list_init(&extra->requests.awaited);
            conn->extra = extra;
        }
    }
    return extra;
}

void conn_extra_free(struct conn *conn)
{
    struct conn_extra *extra = conn->extra;

    if (extra != NULL) {
        ASSERT(extra->held == NULL && extra->backlog == NULL &&
               extra->news == NULL);
        admission_forget(conn);
        mem_free(extra->address);
        mem_free(extra->peer);
        mem_free(extra->event_buckets);
        mem_free(extra->account);
        mem_free(extra);
        conn->extra = NULL;
    }
}
