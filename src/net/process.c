/* What the system knows of this process: Linux's /proc. */
#include "net/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t process_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double seconds(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) < 0) {
        return 0;
    }
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Size and age: fields 22 to 24 of /proc/self/stat, which follow the name in
 * parentheses that may hold anything. */
static void read_stat(struct process_facts *facts)
{
    FILE *file = fopen("/proc/self/stat", "re");
    unsigned long long start = 0;
    unsigned long long size = 0;
    long long pages = 0;
    char text[1024];
    const char *at;
    size_t used;

    if (file == NULL) {
        return;
    }
    used = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[used] = '\0';
    at = strrchr(text, ')');
    if (at == NULL ||
        sscanf(at + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
               "%*d %*d %*d %*d %llu %llu %lld",
               &start, &size, &pages) != 3) {
        return;
    }
    facts->virtual_bytes = size;
    facts->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    facts->start_seconds = seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME) +
                           (double)start / (double)sysconf(_SC_CLK_TCK);
}

/* Since Linux 6.2 the folder's size is the count; before, it is 0. */
static uint64_t count_descriptors(void)
{
    struct stat stat_of;
    uint64_t count = 0;
    DIR *folder;

    if (stat("/proc/self/fd", &stat_of) == 0 && stat_of.st_size > 0) {
        return (uint64_t)stat_of.st_size;
    }
    folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return 0;
    }
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the folder itself */
}

void process_read(struct process_facts *facts)
{
    struct rlimit limit;

    memset(facts, 0, sizeof *facts);
    read_stat(facts);
    facts->cpu_seconds = seconds(CLOCK_PROCESS_CPUTIME_ID);
    facts->descriptors = count_descriptors();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        facts->descriptors_max = limit.rlim_cur;
    }
}
