#include "output.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
    char name[32];
    bool is_json;
    bool is_quiet;
    bool is_colored;       /* standard output */
    bool is_error_colored; /* standard error */
} output = {.name = "peal"};

static bool wants_color(const char *when, int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    if (strcmp(when, "auto") != 0) {
        return strcmp(when, "always") == 0;
    }
    return isatty(fd) && (no_color == NULL || no_color[0] == '\0') &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

void output_begin(const struct options *options)
{
    if (options->command != NULL) {
        snprintf(output.name, sizeof output.name, "peal %s",
                 options->command->name);
    }
    output.is_json = options->json;
    output.is_quiet = options->quiet;
    output.is_colored = wants_color(options->color, STDOUT_FILENO);
    output.is_error_colored = wants_color(options->color, STDERR_FILENO);
}

const char *output_color(enum output_color color)
{
    static const char *const sequences[] = {"\033[0m",  "\033[2m",  "\033[1m",
                                            "\033[31m", "\033[32m", "\033[33m",
                                            "\033[36m"};

    return output.is_colored ? sequences[color] : "";
}

void output_say(enum output_level level, const char *format, ...)
{
    static const char *const names[] = {"note", "warning", "error"};
    char text[1024];
    va_list list;

    if (output.is_quiet && level != OUTPUT_ERROR) {
        return;
    }
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    output_flush(); /* so that a terminal shows both in their order */
    if (output.is_json) {
        fprintf(stderr, "{\"level\":\"%s\",\"message\":", names[level]);
        output_json_string(stderr, peal_slice(text));
        fputs("}\n", stderr);
        return;
    }
    if (output.is_error_colored && level != OUTPUT_NOTE) {
        fputs(level == OUTPUT_ERROR ? "\033[31m" : "\033[33m", stderr);
    }
    fprintf(stderr, "%s: ", output.name);
    output_clean(stderr, peal_slice(text));
    fputs(output.is_error_colored && level != OUTPUT_NOTE ? "\033[0m\n" : "\n",
          stderr);
}

/* --- Text ----------------------------------------------------------------- */

/* Whether a terminal could take it for a command: C0, DEL, or C1 in UTF-8. */
static size_t control_size(const unsigned char *at, size_t left)
{
    if (*at < ' ' || *at == 127) {
        return 1;
    }
    return left > 1 && at[0] == 0xc2 && at[1] < 0xa0 ? 2 : 0;
}

void output_clean(FILE *out, struct peal_slice text)
{
    const unsigned char *at = (const unsigned char *)text.data;

    for (size_t i = 0; i < text.size;) {
        size_t control = control_size(at + i, text.size - i);

        if (control == 0) {
            fputc(at[i], out);
            i++;
            continue;
        }
        fprintf(out, "\\x%02x", at[i + control - 1]);
        i += control;
    }
}

/* The bytes of the UTF-8 character at the beginning; 0 when it is none. */
static size_t character_size(const unsigned char *at, size_t left)
{
    char quoted[32];
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    struct peal_slice one = {(const char *)at, size};

    return size <= left && peal_json_quote(quoted, sizeof quoted, one) > 0
               ? size
               : 0;
}

void output_json_string(FILE *out, struct peal_slice text)
{
    const unsigned char *at = (const unsigned char *)text.data;

    fputc('"', out);
    for (size_t i = 0; i < text.size;) {
        size_t control = control_size(at + i, text.size - i);
        size_t size = character_size(at + i, text.size - i);

        if (size == 0) {
            fputs("\xef\xbf\xbd", out);
            size = 1;
        } else if (control > 0) {
            fprintf(out, "\\u%04x", at[i + control - 1]);
        } else if (at[i] == '"' || at[i] == '\\') {
            fprintf(out, "\\%c", at[i]);
        } else {
            fwrite(at + i, 1, size, out);
        }
        i += size;
    }
    fputc('"', out);
}

void output_json(FILE *out, struct peal_slice json)
{
    const unsigned char *at = (const unsigned char *)json.data;
    bool is_string = false;

    for (size_t i = 0; i < json.size;) {
        size_t control = control_size(at + i, json.size - i);

        if (control > 0 && is_string) { /* only DEL and C1 stand in strings */
            fprintf(out, "\\u%04x", at[i + control - 1]);
            i += control;
            continue;
        }
        if (is_string && at[i] == '\\' && i + 1 < json.size) {
            fputc(at[i++], out);
        } else if (at[i] == '"') {
            is_string = !is_string;
        } else if (!is_string && (at[i] == ' ' || control > 0)) {
            i++;
            continue;
        }
        fputc(at[i++], out);
    }
}

void output_base64(FILE *out, struct peal_slice bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)bytes.data;

    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)at[i] << 16 |
                         (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0);

        fputc(digits[group >> 18], out);
        fputc(digits[group >> 12 & 63], out);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', out);
        fputc(left > 2 ? digits[group & 63] : '=', out);
    }
}

/* --- Data ----------------------------------------------------------------- */

void output_raw(FILE *out, const struct peal_event *event)
{
    struct peal_slice data = event->data;
    char *text;
    long size;

    if (event->kind == PEAL_JSON && data.size > 0 && data.data[0] == '"' &&
        (text = malloc(data.size + 1)) != NULL) {
        size = peal_json_text(data, text, data.size + 1);
        if (size >= 0) {
            fwrite(text, 1, (size_t)size, out);
            free(text);
            return;
        }
        free(text);
    }
    if (event->kind == PEAL_JSON) {
        output_json(out, data);
    } else if (data.size > 0) {
        fwrite(data.data, 1, data.size, out);
    }
}

void output_json_data(FILE *out, const struct peal_event *event)
{
    if (event->kind == PEAL_BYTES) {
        fputs(",\"bytes\":\"", out);
        output_base64(out, event->data);
        fputc('"', out);
    } else if (event->kind == PEAL_TEXT) {
        fputs(",\"text\":", out);
        output_json_string(out, event->data);
    } else if (event->data.size > 0) {
        fputs(",\"data\":", out);
        output_json(out, event->data);
    }
}

void output_data(FILE *out, const struct peal_event *event)
{
    if (event->kind == PEAL_BYTES) {
        fputs("base64:", out);
        output_base64(out, event->data);
    } else if (event->kind == PEAL_TEXT) {
        output_json_string(out, event->data);
    } else {
        output_json(out, event->data);
    }
}

void output_time(char out[32])
{
    struct timespec now;
    struct tm parts;
    char seconds[20] = "";

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, 32, "%s.%03uZ", seconds,
             (unsigned)(now.tv_nsec / 1000000) % 1000);
}

void output_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return;
    }
    if (errno == EPIPE) {
        /* As any program that writes to a pipe which nobody reads. */
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    fprintf(stderr, "%s: cannot write: %s\n", output.name, strerror(errno));
    _exit(EXIT_ERROR);
}
