#include "load.h"

#include <stdio.h>

static const char *const MODES[] = {
    [MODE_ECHO] = "echo",
    [MODE_FANOUT] = "fanout",
    [MODE_IDLE] = "idle",
    [MODE_CONNECT] = "connect",
};

void report_begin(const struct load_options *options)
{
    printf("{\"mode\":\"%s\"", MODES[options->mode]);
    report_text("wire", options->wire == WIRE_WS ? "ws" : "tcp");
    report_text("dialect", options->dialect);
    report_count("size", options->size);
    report_count("conns", options->conns);
}

void report_count(const char *name, uint64_t value)
{
    printf(",\"%s\":%llu", name, (unsigned long long)value);
}

void report_real(const char *name, double value)
{
    printf(",\"%s\":%.4f", name, value);
}

void report_text(const char *name, const char *value)
{
    printf(",\"%s\":\"%s\"", name, value);
}

void report_span(const struct mark *from, const struct mark *to)
{
    double wall = (double)(to->wall_ns - from->wall_ns);
    double server = (double)(to->server_ns - from->server_ns);
    double client = (double)(to->client_ns - from->client_ns);
    double messages = (double)(to->messages - from->messages);
    double divisor = messages > 0 ? messages : 1;

    report_real("seconds", wall / (double)NS_PER_SECOND);
    report_count("messages", to->messages - from->messages);
    report_real("rate", messages * (double)NS_PER_SECOND / wall);
    report_real("server_us", server / divisor / 1000);
    report_real("client_us", client / divisor / 1000);
    report_real("server_busy", server / wall);
    report_real("client_busy", client / wall);
}

int report_end(const struct load *load, uint64_t lost)
{
    bool ok = load_is_clean(load) && lost == 0;

    report_count("lost", lost);
    if (load->options->is_deflated) {
        report_count("compressed", load->compressed);
    }
    if (load->options->tls != 0) {
        report_count("tls_handshakes", load->handshakes);
        report_count("tls_resumed", load->resumed);
        ok = ok && load->options->resumes == (load->resumed > 0);
    }
    report_count("mismatches", load->mismatches);
    report_count("closes", load->closes);
    if (load->close_code != 0) {
        report_count("close_code", (uint64_t)load->close_code);
    }
    report_count("refused", load->refused);
    printf(",\"ok\":%s}\n", ok ? "true" : "false");
    return ok ? 0 : 1;
}
