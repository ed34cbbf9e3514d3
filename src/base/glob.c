#include "base/glob.h"

bool glob_matches(struct peal_slice pattern, struct peal_slice text)
{
    size_t star = SIZE_MAX; /* the last one seen, which may take more */
    size_t taken = 0;       /* where what comes after it has been tried */
    size_t p = 0;
    size_t t = 0;

    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            taken = t;
        } else if (p < pattern.size && pattern.data[p] == text.data[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.size;
}
