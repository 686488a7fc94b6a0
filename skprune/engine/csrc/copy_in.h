// From the caller's array to the kernels' float32, checked on the way.
//
// The check costs no pass of its own: 0 * x is NaN exactly where x is infinite or NaN, so a sum of
// such products is NaN exactly where one of them was not finite.
#pragma once

#include "transpose.h"
#include "views.h"

namespace skprune::SKPRUNE_ISA {

template <class T>
SKPRUNE_INLINE Line load_line(const char* p) {
    if constexpr (sizeof(T) == sizeof(float)) {
        return *reinterpret_cast<const LooseLine*>(p);
    } else {
        typedef double Wide __attribute__((vector_size(kBlock * 8), aligned(1), may_alias));
        return __builtin_convertvector(*reinterpret_cast<const Wide*>(p), Line);
    }
}

SKPRUNE_INLINE bool all_finite(Line zeros) {
    bool finite = true;
    for (int i = 0; i < kBlock; ++i) finite &= zeros[i] == 0;
    return finite;
}

// One row, side by side.
template <class T>
bool copy_row_of(const MatrixView& X, std::int64_t row, float* to) {
    const char* from = X.data + row * X.row_stride;
    Line zeros{};
    std::int64_t j = 0;
    if (X.column_stride == sizeof(T)) {
        for (; j + kBlock <= X.n_columns; j += kBlock) {
            const Line x = load_line<T>(from + j * sizeof(T));
            zeros += x * 0.0f;
            *reinterpret_cast<LooseLine*>(to + j) = x;
        }
    }
    float zero = 0;
    for (; j < X.n_columns; ++j) {
        const float x = static_cast<float>(read<T>(from + j * X.column_stride));
        zero += x * 0.0f;
        to[j] = x;
    }
    return all_finite(zeros) && zero == 0;
}

inline bool copy_row(const MatrixView& X, std::int64_t row, float* to) {
    return X.is_double ? copy_row_of<double>(X, row, to) : copy_row_of<float>(X, row, to);
}

// A tile of W columns, one a row of X. Where X ends inside it, its first row fills the rest.
template <int W, class T>
bool copy_tile_of(const MatrixView& X, std::int64_t first, int n_rows, float* tile) {
    const char* from[W];
    for (int r = 0; r < W; ++r) {
        from[r] = X.data + (first + (r < n_rows ? r : 0)) * X.row_stride;
    }
    std::int64_t j = 0;
    Line zeros{};
    if (X.column_stride == sizeof(T)) {
        for (; j + kBlock <= X.n_columns; j += kBlock) {
            for (int r = 0; r < W; r += kBlock) {
                Line x[kBlock];
                for (int i = 0; i < kBlock; ++i) {
                    x[i] = load_line<T>(from[r + i] + j * sizeof(T));
                    zeros += x[i] * 0.0f;
                }
                transpose(x);
                for (int i = 0; i < kBlock; ++i) {
                    *reinterpret_cast<Line*>(tile + (j + i) * W + r) = x[i];
                }
            }
        }
    }
    float zero = 0;
    for (; j < X.n_columns; ++j) {
        for (int r = 0; r < W; ++r) {
            const float x = static_cast<float>(read<T>(from[r] + j * X.column_stride));
            zero += x * 0.0f;
            tile[j * W + r] = x;
        }
    }
    return all_finite(zeros) && zero == 0;
}

template <int W>
bool copy_tile(const MatrixView& X, std::int64_t first, int n_rows, float* tile) {
    return X.is_double ? copy_tile_of<W, double>(X, first, n_rows, tile)
                       : copy_tile_of<W, float>(X, first, n_rows, tile);
}

}  // namespace skprune::SKPRUNE_ISA
