/* The files of page/, which the build puts into the program. */
#ifndef DEMO_PAGE_H
#define DEMO_PAGE_H

#include <stddef.h>

struct page_file {
    const char *path; /* "/style.css"; index.html is "/" */
    const char *type; /* its Content-Type */
    const unsigned char *content;
    size_t size;
};

extern const struct page_file page_files[];
extern const size_t page_file_count;

#endif
