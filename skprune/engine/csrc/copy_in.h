// From the caller's array to the kernels' float32, checked on the way.
//
// The check costs no pass of its own: 0 * x is NaN exactly where x is infinite or NaN, so a sum of
// such products is NaN exactly where one of them was not finite. Four sums, because each waits for
// the multiply-add before it.
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

constexpr int kChecks = 4;

SKPRUNE_INLINE bool all_finite(Line zeros) {
    bool finite = true;
    for (int i = 0; i < kBlock; ++i) finite &= zeros[i] == 0;
    return finite;
}

SKPRUNE_INLINE bool all_finite(const Line (&zeros)[kChecks]) {
    return all_finite((zeros[0] + zeros[1]) + (zeros[2] + zeros[3]));
}

// What stands in for a NaN: the value of its column, or where NaN is refused the NaN itself.
template <bool kFill>
SKPRUNE_INLINE Line filled(Line x, const float* fill) {
    if constexpr (kFill) return x != x ? *reinterpret_cast<const LooseLine*>(fill) : x;
    return x;
}

template <bool kFill>
SKPRUNE_INLINE float filled(float x, const float* fill) {
    if constexpr (kFill) return x != x ? *fill : x;
    return x;
}

template <class T>
SKPRUNE_INLINE float value_at(const MatrixView& X, const char* row, std::int64_t column) {
    return static_cast<float>(read<T>(row + column * X.column_stride));
}

// One row, side by side.
template <class T, bool kFill = false>
bool copy_row_of(const MatrixView& X, const float* fill, std::int64_t row, float* to) {
    const char* from = X.data + row * X.row_stride;
    Line zeros{};
    std::int64_t j = 0;
    if (X.column_stride == sizeof(T)) {
        for (; j + kBlock <= X.n_columns; j += kBlock) {
            const Line x = filled<kFill>(load_line<T>(from + j * sizeof(T)), fill + j);
            zeros += x * 0.0f;
            *reinterpret_cast<LooseLine*>(to + j) = x;
        }
    }
    float zero = 0;
    for (; j < X.n_columns; ++j) {
        const float x = filled<kFill>(value_at<T>(X, from, j), fill + j);
        zero += x * 0.0f;
        to[j] = x;
    }
    return all_finite(zeros) && zero == 0;
}

inline bool copy_row(const MatrixView& X, std::int64_t row, float* to) {
    return X.is_double ? copy_row_of<double>(X, nullptr, row, to)
                       : copy_row_of<float>(X, nullptr, row, to);
}

// A tile of W columns, one a row of X. Where X ends inside it, its first row fills the rest.
template <int W, class T, bool kFill>
bool copy_tile_of(const MatrixView& X, const float* fill, std::int64_t first, int n_rows,
                  float* tile) {
    const char* from[W];
    for (int r = 0; r < W; ++r) {
        from[r] = X.data + (first + (r < n_rows ? r : 0)) * X.row_stride;
    }
    std::int64_t j = 0;
    Line zeros[kChecks]{};
    if (X.column_stride == sizeof(T)) {
        for (; j + kBlock <= X.n_columns; j += kBlock) {
            for (int r = 0; r < W; r += kBlock) {
                Line x[kBlock];
                for (int i = 0; i < kBlock; ++i) {
                    x[i] = filled<kFill>(load_line<T>(from[r + i] + j * sizeof(T)), fill + j);
                    zeros[i % kChecks] += x[i] * 0.0f;
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
            const float x = filled<kFill>(value_at<T>(X, from[r], j), fill + j);
            zero += x * 0.0f;
            tile[j * W + r] = x;
        }
    }
    return all_finite(zeros) && zero == 0;
}

// Whether a row is finite or, with kFill, may be made so; also where most of it is not read,
// because what scikit-learn refuses is refused.
template <class T, bool kFill>
bool row_is_finite(const MatrixView& X, std::int64_t row) {
    const char* from = X.data + row * X.row_stride;
    Line zeros{};
    std::int64_t j = 0;
    if (X.column_stride == sizeof(T)) {
        for (; j + kBlock <= X.n_columns; j += kBlock) {
            Line x = load_line<T>(from + j * sizeof(T));
            if constexpr (kFill) x = x != x ? Line{} : x;
            zeros += x * 0.0f;
        }
    }
    float zero = 0;
    for (; j < X.n_columns; ++j) {
        const float x = value_at<T>(X, from, j);
        if (!kFill || x == x) zero += x * 0.0f;
    }
    return all_finite(zeros) && zero == 0;
}

// The columns that the network reads, of W rows; see copy_tile_of.
template <int W, class T, bool kFill>
bool gather_tile_of(const NetworkView& network, const MatrixView& X, std::int64_t first,
                    int n_rows, float* tile) {
    for (int r = 0; r < W; ++r) {
        const std::int64_t row = first + (r < n_rows ? r : 0);
        if (r < n_rows && !row_is_finite<T, kFill>(X, row)) return false;
        const char* from = X.data + row * X.row_stride;
        for (std::int64_t i = 0; i < network.n_inputs; ++i) {
            const std::uint32_t column = network.inputs[i];
            tile[i * W + r] = filled<kFill>(value_at<T>(X, from, column), network.fill + column);
        }
    }
    return true;
}

// Where a column of X stands among the inputs; negative if nobody reads it.
SKPRUNE_INLINE std::int64_t input_of(const NetworkView& network, std::int64_t column) {
    if (network.inputs == nullptr) return column;
    // by hand: of a function of the library's own the linker would keep one copy for all (views.h)
    std::int64_t low = 0, high = network.n_inputs;
    while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        (network.inputs[middle] < column ? low : high) = middle + (network.inputs[middle] < column);
    }
    return low < network.n_inputs && network.inputs[low] == column ? low : -1;
}

// Rows of a CSR matrix into a tile of W columns, of which it fills n_rows; the rest is zeros. Nobody
// has looked at the indices before, so each is checked here, where it is used.
template <int W, class T, bool kFill, class Index>
bool scatter_tile_of(const NetworkView& network, const MatrixView& X, std::int64_t first,
                     int n_rows, float* tile) {
    std::memset(tile, 0, static_cast<std::size_t>(network.n_inputs) * W * sizeof(float));
    const Index* starts = static_cast<const Index*>(X.starts);
    const Index* columns = static_cast<const Index*>(X.indices);
    float zero = 0;
    for (int r = 0; r < n_rows; ++r) {
        const auto from = static_cast<std::int64_t>(starts[first + r]);
        const auto to = static_cast<std::int64_t>(starts[first + r + 1]);
        if (from < 0 || from > to || to > X.n_stored) return false;
        for (std::int64_t i = from; i < to; ++i) {
            const auto column = static_cast<std::int64_t>(columns[i]);
            if (column < 0 || column >= X.n_columns) return false;
            const float x = static_cast<float>(read<T>(X.data + i * sizeof(T)));
            if (!kFill || x == x) zero += x * 0.0f;
            const std::int64_t input = input_of(network, column);
            if (input < 0) continue;
            // of entries given twice the sum counts, as everywhere in scipy
            float& sum = tile[input * W + r];
            sum += x;
            if (!kFill || sum == sum) zero += sum * 0.0f;
        }
        if constexpr (!kFill) continue;
        for (std::int64_t i = from; i < to; ++i) {  // sums, and not what they are made of, are NaN
            const auto column = static_cast<std::int64_t>(columns[i]);
            if (column < 0 || column >= X.n_columns) return false;  // it may have changed meanwhile
            const std::int64_t input = input_of(network, column);
            if (input < 0) continue;
            float& sum = tile[input * W + r];
            sum = filled<kFill>(sum, network.fill + column);
        }
    }
    return zero == 0;
}

template <int W, class T, bool kFill>
bool copy_inputs_of(const NetworkView& network, const MatrixView& X, std::int64_t first, int n_rows,
                    float* tile) {
    if (X.indices) {
        return X.is_long
                   ? scatter_tile_of<W, T, kFill, std::int64_t>(network, X, first, n_rows, tile)
                   : scatter_tile_of<W, T, kFill, std::int32_t>(network, X, first, n_rows, tile);
    }
    if (network.inputs) return gather_tile_of<W, T, kFill>(network, X, first, n_rows, tile);
    if constexpr (W == 1) return copy_row_of<T, kFill>(X, network.fill, first, tile);
    if constexpr (W > 1) return copy_tile_of<W, T, kFill>(X, network.fill, first, n_rows, tile);
}

// What a network reads of W rows of X, feature-major; of a lone row, side by side.
template <int W>
bool copy_inputs(const NetworkView& network, const MatrixView& X, std::int64_t first, int n_rows,
                 float* tile) {
    using Copy = bool (*)(const NetworkView&, const MatrixView&, std::int64_t, int, float*);
    constexpr Copy kCopies[2][2] = {{copy_inputs_of<W, float, false>, copy_inputs_of<W, float, true>},
                                    {copy_inputs_of<W, double, false>,
                                     copy_inputs_of<W, double, true>}};
    return kCopies[X.is_double][network.fill != nullptr](network, X, first, n_rows, tile);
}

}  // namespace skprune::SKPRUNE_ISA
