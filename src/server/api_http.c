/* The public functions for HTTP requests and their answers. */
#include "base/slice.h"
#include "proto/http_writer.h"
#include "server/mail.h"
#include "server/reply.h"

struct peal_slice peal_http_header(const struct peal_http_request *request,
                                   const char *name)
{
    const struct http_request *head = request->head;

    return http_header_get(head->headers, head->header_count, name);
}

long peal_http_param(const struct peal_http_request *request, const char *name,
                     char *out, size_t size)
{
    return router_param(request->pattern, request->path, name, out, size);
}

long peal_http_query(const struct peal_http_request *request, const char *name,
                     char *out, size_t size)
{
    return http_query_text(request->query, peal_slice(name), out, size);
}

/* --- Answers ------------------------------------------------------------- */

static bool is_token(const char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;

    return size > 0 && strspn(text, "!#$%&'*+-.^_`|~0123456789"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz") == size;
}

/* Nothing that could end the line and begin another (RFC 9110, 5.5). */
static bool is_value(const char *text)
{
    for (size_t i = 0; text != NULL && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return text != NULL;
}

/* Whether the server itself writes this header. */
static bool is_ours(const char *name, bool has_type)
{
    struct peal_slice given = peal_slice(name);

    return slice_equal_nocase(given, SLICE("Connection")) ||
           slice_equal_nocase(given, SLICE("Content-Length")) ||
           slice_equal_nocase(given, SLICE("Transfer-Encoding")) ||
           (has_type && slice_equal_nocase(given, SLICE("Content-Type")));
}

/* Writes the header lines, with a zero byte: their size, or an error. */
static long write_lines(char *out, const struct peal_http_response *response)
{
    struct http_writer writer = {.out = out, .size = REPLY_LINES_MAX};
    long size;

    if (response->type != NULL) {
        if (!is_value(response->type)) {
            return PEAL_EINVAL;
        }
        http_writer_field(&writer, "Content-Type", response->type);
    }
    for (size_t i = 0; i < response->field_count; i++) {
        const struct peal_http_field *field = &response->fields[i];

        if (!is_token(field->name) || !is_value(field->value) ||
            is_ours(field->name, response->type != NULL)) {
            return PEAL_EINVAL;
        }
        http_writer_field(&writer, field->name, field->value);
    }
    size = http_writer_finish(&writer);
    if (size < 0) {
        return PEAL_ETOOBIG;
    }
    out[size] = '\0';
    return size;
}

static bool is_status(int status, struct peal_slice body)
{
    bool is_empty = status == 204 || status == 205 || status == 304;

    return status >= 200 && status <= 599 && !(is_empty && body.size > 0);
}

/* Sends an answer to the loop of its connection. */
static int post(struct peal_http_reply reply, int status,
                struct peal_slice lines, struct peal_slice body)
{
    struct mail *mail = mail_new(MAIL_HTTP, (struct peal_client_ref){0}, NULL,
                                 lines.size + 1 + body.size);

    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->number = reply.value;
    mail->code = status;
    mail->name_size = lines.size;
    memcpy(mail->text, lines.data, lines.size);
    if (body.size > 0) {
        memcpy(mail->text + lines.size + 1, body.data, body.size);
    }
    return mail_post(reply.server, reply_loop(reply.value), mail);
}

int peal_http_respond(struct peal_http_reply reply,
                      const struct peal_http_response *response)
{
    struct worker *worker = worker_current(reply.server->engine);
    int status = response->status != 0 ? response->status : 200;
    char lines[REPLY_LINES_MAX + 1];
    long size;

    if (response->size != sizeof *response ||
        !is_status(status, response->body)) {
        return PEAL_EINVAL;
    }
    size = write_lines(lines, response);
    if (size < 0) {
        return (int)size;
    }
    if (worker != NULL && worker->index == reply_loop(reply.value)) {
        return reply_send(worker, reply.value, status, lines, response->body);
    }
    return post(reply, status, slice_make(lines, (size_t)size),
                response->body);
}
