/* Pages and the application's HTTP handlers: which one a request is for. */
#include "server/resource.h"

#include "base/mem.h"
#include "base/slice.h"
#include "server/reply.h"

#include <stdio.h>

#define METHOD_MAX 32 /* bytes, as in requests */
#define ALLOW_MAX 512 /* bytes of the header */

void resource_free(void *value)
{
    struct resource *resource = value;

    if (resource == NULL) {
        return;
    }
    while (resource->methods != NULL) {
        struct resource_method *method = resource->methods;

        resource->methods = method->next;
        mem_free(method);
    }
    mem_free(resource);
}

/* --- Registration -------------------------------------------------------- */

static bool is_method(const char *name)
{
    size_t size = name != NULL ? strlen(name) : 0;

    return size > 0 && size <= METHOD_MAX &&
           strspn(name, "!#$%&'*+-.^_`|~0123456789"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "abcdefghijklmnopqrstuvwxyz") == size;
}

static const struct resource_method *
find_method(const struct resource *resource, struct peal_slice name)
{
    const struct resource_method *method = resource->methods;

    while (method != NULL &&
           !slice_equal(slice_make(method->name, method->name_size), name)) {
        method = method->next;
    }
    return method;
}

/* Adds a method, which it owns also when it fails. */
static int add(struct peal_server *server, const char *path,
               struct resource_method *method)
{
    struct router *resources = &server->engine->resources;
    struct resource *resource = mem_zalloc(sizeof *resource);
    struct router_entry *entry = NULL;
    int rc = resource != NULL ? router_add(resources, path, &entry)
                              : PEAL_ENOMEM;

    if (rc == 0) {
        entry->value = resource;
    } else {
        mem_free(resource);
    }
    if (rc == PEAL_EEXIST) {
        resource = entry->value;
        rc = find_method(resource, slice_make(method->name,
                                              method->name_size)) == NULL
                 ? 0
                 : PEAL_EEXIST;
    }
    if (rc < 0) {
        mem_free(method);
        return rc;
    }
    method->server = server;
    method->next = resource->methods;
    resource->methods = method;
    return 0;
}

static struct resource_method *method_new(const char *name, size_t more)
{
    size_t size = strlen(name);
    struct resource_method *method =
        mem_zalloc(sizeof *method + size + 1 + more);

    if (method != NULL) {
        method->name_size = size;
        memcpy(method->name, name, size);
    }
    return method;
}

int peal_server_http(struct peal_server *server, const char *name,
                     const char *path, peal_http_function *handler, void *user)
{
    struct resource_method *method;

    if (atomic_load(&server->engine->state) != SERVER_NEW) {
        return PEAL_ESTATE;
    }
    if (!is_method(name) || handler == NULL) {
        return PEAL_EINVAL;
    }
    method = method_new(name, 0);
    if (method == NULL) {
        return PEAL_ENOMEM;
    }
    method->handler = handler;
    method->user = user;
    return add(server, path, method);
}

int peal_server_page(struct peal_server *server, const char *path,
                     const char *type, const void *content, size_t size)
{
    struct resource_method *method;
    size_t type_size;
    char *text;

    if (atomic_load(&server->engine->state) != SERVER_NEW) {
        return PEAL_ESTATE;
    }
    if (type == NULL || strpbrk(type, "\r\n") != NULL || strlen(type) > 128) {
        return PEAL_EINVAL;
    }
    type_size = strlen(type);
    method = method_new("GET", type_size + 1 + size);
    if (method == NULL) {
        return PEAL_ENOMEM;
    }
    text = method->name + method->name_size + 1;
    method->type = memcpy(text, type, type_size);
    text += type_size + 1;
    if (size > 0) {
        memcpy(text, content, size);
    }
    method->content = slice_make(text, size);
    return add(server, path, method);
}

/* --- Requests ------------------------------------------------------------ */

static void refuse_method(struct conn *conn, const struct resource *resource)
{
    char allow[ALLOW_MAX] = "Allow: ";
    size_t used = strlen(allow);
    const char *comma = "";

    for (const struct resource_method *method = resource->methods;
         method != NULL && used < sizeof allow - METHOD_MAX - 16;
         method = method->next) {
        bool has_head = slice_equal(slice_make(method->name,
                                               method->name_size),
                                    SLICE("GET")) &&
                        find_method(resource, SLICE("HEAD")) == NULL;

        used += (size_t)snprintf(allow + used, sizeof allow - used, "%s%s%s",
                                 comma, method->name,
                                 has_head ? ", HEAD" : "");
        comma = ", ";
    }
    snprintf(allow + used, sizeof allow - used, "\r\n");
    conn_refuse(conn, 405, allow);
}

static void serve_page(struct conn *conn, const struct http_request *request,
                       const struct resource_method *page)
{
    struct http_answer ok = {
        .status = 200,
        .headers = "Cache-Control: no-cache\r\n"
                   "X-Content-Type-Options: nosniff\r\n",
        .type = page->type,
        .body = page->content,
        .is_last = !request->keep_alive,
        .is_kept = request->minor_version == 0,
        .is_head = slice_equal(request->method, SLICE("HEAD")),
    };

    if (request->content_length > 0 || request->is_chunked) {
        conn_refuse(conn, 413, "");
    } else {
        conn_answer(conn, &ok);
    }
}

bool resource_serve(struct conn *conn, const struct http_request *request,
                    struct peal_slice head)
{
    const struct router *resources = &conn_worker(conn)->engine->resources;
    const struct resource_method *method;
    const struct router_entry *entry;

    if (router_find(resources, request->path, &entry) < 0) {
        return false;
    }
    method = find_method(entry->value, request->method);
    if (method == NULL && slice_equal(request->method, SLICE("HEAD"))) {
        method = find_method(entry->value, SLICE("GET"));
    }
    if (method == NULL) {
        refuse_method(conn, entry->value);
        return true;
    }
    conn_move(conn, method->server);
    if (method->handler == NULL) {
        serve_page(conn, request, method);
    } else {
        reply_begin(conn, request, head,
                    &(struct reply_to){entry->pattern, method->handler,
                                       method->user});
    }
    return true;
}
