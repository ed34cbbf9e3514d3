/* Random choices that a seed repeats: SplitMix64. */
#ifndef SOAK_CHANCE_H
#define SOAK_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

struct chance {
    uint64_t state;
};

static inline uint64_t chance_next(struct chance *chance)
{
    uint64_t mixed = chance->state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

/* 0 to below - 1. */
static inline unsigned chance_below(struct chance *chance, unsigned below)
{
    return (unsigned)(chance_next(chance) % below);
}

/* True in one of so many cases. */
static inline bool chance_one_in(struct chance *chance, unsigned cases)
{
    return chance_below(chance, cases) == 0;
}

#endif
