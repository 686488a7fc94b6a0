// Square blocks of float32, rows to columns: the way into a tile and out of it.
#pragma once

#include "simd.h"

namespace skprune::SKPRUNE_ISA {

// Blocks of eight where a vector holds eight. Sixteen would need twice the shuffles a value.
constexpr int kBlock = kLanes < 8 ? 4 : 8;

typedef float Line __attribute__((vector_size(kBlock * 4), may_alias));
typedef float LooseLine __attribute__((vector_size(kBlock * 4), aligned(1), may_alias));

SKPRUNE_INLINE void transpose(Line (&x)[kBlock]) {
#if defined(__AVX2__)
    Line a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        a[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; ++j) {
            const Line p = a[i + j], q = a[i + j + 2];
            b[i + 2 * j] = __builtin_shufflevector(p, q, 0, 1, 8, 9, 4, 5, 12, 13);
            b[i + 2 * j + 1] = __builtin_shufflevector(p, q, 2, 3, 10, 11, 6, 7, 14, 15);
        }
    }
    for (int i = 0; i < 4; ++i) {
        x[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        x[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#else
    const Line a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
    const Line b = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    const Line c = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    const Line d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
#endif
}

}  // namespace skprune::SKPRUNE_ISA
