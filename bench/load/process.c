#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t process_cpu_ns(pid_t pid)
{
    struct timespec used;
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    int error = pid == 0 ? 0 : clock_getcpuclockid(pid, &clock);

    if (error != 0 || clock_gettime(clock, &used) < 0) {
        die("no CPU clock of process %d", (int)pid);
    }
    return (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec;
}

/* The number after `name` in a file of the kernel's "name: number" lines. */
static uint64_t read_field(const char *path, const char *name)
{
    char line[256];
    uint64_t value = 0;
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        die("%s: %s", path, strerror(errno));
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            unsigned long long number;

            if (sscanf(line + strlen(name), " %llu", &number) == 1) {
                value = number;
            }
            break;
        }
    }
    fclose(file);
    return value;
}

/* TCP: inuse 8 orphan 0 tw 7 alloc 12 mem 3 */
static uint64_t read_tcp_pages(void)
{
    char line[256];
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/net/sockstat", "r");

    if (file == NULL) {
        die("/proc/net/sockstat: %s", strerror(errno));
    }
    while (fgets(line, sizeof line, file) != NULL) {
        const char *memory = strstr(line, " mem ");

        if (strncmp(line, "TCP:", 4) == 0 && memory != NULL) {
            (void)sscanf(memory, " mem %llu", &pages);
        }
    }
    fclose(file);
    return pages;
}

void process_memory(pid_t pid, struct process_memory *memory)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    memory->rss = pid == 0 ? 0 : read_field(path, "Rss:") * 1024;
    memory->kernel_slab = read_field("/proc/meminfo", "Slab:") * 1024;
    memory->kernel_tcp = read_tcp_pages() * 4096;
}

void mark_set(struct mark *mark, pid_t pid, uint64_t messages)
{
    mark->wall_ns = now_ns();
    mark->server_ns = pid == 0 ? 0 : process_cpu_ns(pid);
    mark->client_ns = process_cpu_ns(0);
    mark->messages = messages;
}
