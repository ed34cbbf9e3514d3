/* What the system knows of this process. */
#ifndef NET_PROCESS_H
#define NET_PROCESS_H

#include <stdint.h>

/* Memory that is resident now, or 0 when the system does not say. */
uint64_t process_resident_bytes(void);

#endif
