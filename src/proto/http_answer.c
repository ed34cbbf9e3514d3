#include <stdio.h>

#include "base/assert.h"
#include "proto/http.h"
#include "proto/http_writer.h"

/* RFC 9110, 15; 428 to 431 from RFC 6585. */
static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    /* The phrase may be empty, and readers have to ignore it (RFC 9112, 4). */
    return "";
}

long http_answer_write(char *out, size_t size, const struct http_answer *answer)
{
    struct http_writer writer = {.out = out, .size = size};
    bool has_body = answer->status >= 200 && answer->status != 204 &&
                    answer->status != 304;
    char number[32];

    ASSERT(answer->status >= 100 && answer->status <= 999);
    snprintf(number, sizeof number, "HTTP/1.1 %d ", answer->status);
    http_writer_text(&writer, number);
    http_writer_text(&writer, http_reason(answer->status));
    http_writer_text(&writer, "\r\n");
    http_writer_text(&writer, answer->headers);
    if (answer->type != NULL) {
        http_writer_field(&writer, "Content-Type", answer->type);
    }
    if (has_body) {
        snprintf(number, sizeof number, "%zu", answer->body.size);
        http_writer_field(&writer, "Content-Length", number);
    }
    if (answer->is_last) {
        http_writer_field(&writer, "Connection", "close");
    } else if (answer->is_kept) {
        http_writer_field(&writer, "Connection", "keep-alive");
    }
    http_writer_text(&writer, "\r\n");
    if (has_body && !answer->is_head) {
        http_writer_put(&writer, answer->body.data, answer->body.size);
    }
    return http_writer_finish(&writer);
}
