/* The JavaScript client as a page. */
#include <peal/server.h>

/* clients/js/bundle/peal.js, by cmake/embed.cmake. */
static const unsigned char bundle[] = {
#include "server/client_js.inc"
};

int peal_server_client_js(struct peal_server *server, const char *path)
{
    return peal_server_page(server, path != NULL ? path : "/peal.js",
                            "text/javascript; charset=utf-8", bundle,
                            sizeof bundle);
}
