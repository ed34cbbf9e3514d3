/* What the system knows of this process. */
#ifndef NET_PROCESS_H
#define NET_PROCESS_H

#include <stdint.h>

/* Memory that is resident now, or 0 when the system does not say. */
uint64_t process_resident_bytes(void);

/* A field is 0 when the system does not say. */
struct process_facts {
    double cpu_seconds;   /* user and system */
    double start_seconds; /* since 1970 */
    uint64_t virtual_bytes;
    uint64_t resident_bytes;
    uint64_t descriptors; /* open */
    uint64_t descriptors_max;
};

/* Costs some system calls, whatever the process has open. */
void process_read(struct process_facts *facts);

#endif
