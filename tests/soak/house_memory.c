/* What this process holds. */
#include "house_inside.h"

#include "support/check.h"

#include <dirent.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Atomic uint64_t live_blocks;
static _Atomic uint64_t live_bytes;

static void count(void *block)
{
    if (block != NULL) {
        atomic_fetch_add(&live_blocks, 1);
        atomic_fetch_add(&live_bytes, malloc_usable_size(block));
    }
}

static void uncount(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&live_blocks, 1);
        atomic_fetch_sub(&live_bytes, malloc_usable_size(block));
    }
}

static void *allocate(size_t size, void *user)
{
    void *block = malloc(size);

    (void)user;
    count(block);
    return block;
}

static void *reallocate(void *block, size_t size, void *user)
{
    size_t before = block != NULL ? malloc_usable_size(block) : 0;
    void *moved = realloc(block, size);

    (void)user;
    if (moved != NULL) {
        atomic_fetch_add(&live_blocks, block == NULL);
        atomic_fetch_add(&live_bytes, malloc_usable_size(moved) - before);
    }
    return moved;
}

static void release(void *block, void *user)
{
    (void)user;
    uncount(block);
    free(block);
}

void house_count_memory(void)
{
    const struct peal_memory memory = {
        .allocate = allocate, .reallocate = reallocate, .release = release};

    peal_memory_set(&memory);
}

static uint64_t descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint64_t entries = 0;

    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        entries++;
    }
    closedir(folder);
    return entries;
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total;
    unsigned long resident;

    CHECK(file != NULL);
    CHECK_EQUAL(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct house_figures house_measure(void)
{
    struct mallinfo2 heap = mallinfo2();

    return (struct house_figures){
        .rss_bytes = resident_bytes(),
        .blocks = atomic_load(&live_blocks),
        .bytes = atomic_load(&live_bytes),
        .heap_bytes = heap.uordblks + heap.hblkhd,
        .descriptors = descriptors(),
    };
}
