#include "server/prom.h"

#include "base/assert.h"

void prom_family(struct prom *text, const char *name, enum prom_kind kind,
                 const char *unit, const char *help)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    /* In OpenMetrics a counter's family has no "_total". */
    const char *suffix =
        kind == PROM_COUNTER && !text->is_open_metrics ? "_total" : "";

    PROM_PRINT(text, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help,
               name, suffix, kinds[kind]);
    if (text->is_open_metrics && unit != NULL) {
        PROM_PRINT(text, "# UNIT %s %s\n", name, unit);
    }
}

void prom_gauge(struct prom *text, const char *name, const char *unit,
                const char *help, uint64_t value)
{
    prom_family(text, name, PROM_GAUGE, unit, help);
    PROM_PRINT(text, "%s %llu\n", name, (unsigned long long)value);
}

void prom_sample(struct prom *text, const struct peal_server *server,
                 const char *name, const char *more, uint64_t value)
{
    const char *space = server->name;

    PROM_PRINT(text, "%s%s%s%s%s%s%s%s %llu\n", name,
               space != NULL || more[0] != '\0' ? "{" : "",
               space != NULL ? "namespace=\"" : "", space != NULL ? space : "",
               space != NULL ? "\"" : "",
               space != NULL && more[0] != '\0' ? "," : "", more,
               space != NULL || more[0] != '\0' ? "}" : "",
               (unsigned long long)value);
}

void prom_escape(char *out, size_t size, struct peal_slice value)
{
    size_t at = 0;

    ASSERT(size > 0);
    for (size_t i = 0; i < value.size && at + 2 < size; i++) {
        char byte = value.data[i];

        if (byte == '\\' || byte == '"' || byte == '\n') {
            out[at++] = '\\';
            byte = byte == '\n' ? 'n' : byte;
        }
        out[at++] = byte;
    }
    out[at] = '\0';
}
