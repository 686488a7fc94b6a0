// Rows of a CSR matrix down trees.
//
// Trees read few of the columns that such matrices have. So rows are scattered into a tile of those
// columns alone, which stays in the cache while they walk, and taken out again by the same indices:
// to clear the whole tile for every few rows would cost more than the walk.
#pragma once

#include "copy_in.h"

namespace skprune::SKPRUNE_ISA {

// Where the stored values of each row start and end. False unless they lie within the arrays.
template <class Index>
bool read_starts(const MatrixView& X, std::int64_t first, std::int64_t n_rows,
                 std::int64_t* starts) {
    const Index* given = static_cast<const Index*>(X.starts) + first;
    std::int64_t before = 0;
    for (std::int64_t r = 0; r <= n_rows; ++r) {
        starts[r] = given[r];
        if (starts[r] < before || starts[r] > X.n_stored) return false;
        before = starts[r];
    }
    return true;
}

template <class T>
SKPRUNE_INLINE float stored_value(const MatrixView& X, std::int64_t i) {
    return static_cast<float>(read<T>(X.data + i * static_cast<std::int64_t>(sizeof(T))));
}

// Nobody has looked at the indices before, so each is checked where it is used.
template <class Index>
SKPRUNE_INLINE bool slot_at(const Slots& slots, const MatrixView& X, std::int64_t i,
                            std::uint32_t& slot) {
    const auto column = static_cast<std::int64_t>(static_cast<const Index*>(X.indices)[i]);
    // as unsigned numbers those below 0 are too large as well
    if (static_cast<std::uint64_t>(column) >= static_cast<std::uint64_t>(X.n_columns)) return false;
    slot = slots.of[column];
    return true;
}

template <class Index>
void clear(const Slots& slots, const MatrixView& X, std::int64_t from, std::int64_t to,
           float* row) {
    std::uint32_t slot;
    for (std::int64_t i = from; i < to; ++i) {
        if (slot_at<Index>(slots, X, i, slot)) row[slot] = 0;  // or it has changed meanwhile
    }
}

// A row with entries given twice: the sum counts, as everywhere in scipy, and in its precision.
template <class T, class Index>
bool add_up(const Slots& slots, const MatrixView& X, std::int64_t from, std::int64_t to,
            float* row, T* sums) {
    std::uint32_t slot;
    for (std::int64_t i = from; i < to; ++i) {
        if (!slot_at<Index>(slots, X, i, slot)) return false;
        sums[slot] = 0;
    }
    for (std::int64_t i = from; i < to; ++i) {
        if (!slot_at<Index>(slots, X, i, slot)) return false;
        sums[slot] += read<T>(X.data + i * static_cast<std::int64_t>(sizeof(T)));
    }
    float zero = 0;
    for (std::int64_t i = from; i < to; ++i) {
        if (!slot_at<Index>(slots, X, i, slot)) return false;
        row[slot] = static_cast<float>(sums[slot]);
        zero += slot == slots.unread ? 0.0f : row[slot] * 0.0f;
    }
    return zero == 0;
}

// Puts stored values into a tile of zeros. What nobody reads has a slot, too: to skip it would take
// a branch that no processor foresees.
template <class T, class Index>
bool scatter(const Slots& slots, const MatrixView& X, const std::int64_t* starts,
             std::int64_t n_rows, float* tile, T* sums) {
    MatrixView stored = X;
    stored.data += starts[0] * static_cast<std::int64_t>(sizeof(T));
    stored.n_columns = starts[n_rows] - starts[0];
    stored.column_stride = sizeof(T);
    if (!row_is_finite<T, false>(stored, 0)) return false;
    std::uint32_t slot;
    for (std::int64_t r = 0; r < n_rows; ++r, tile += slots.stride) {
        bool twice = false;
        for (std::int64_t i = starts[r]; i < starts[r + 1]; ++i) {
            if (!slot_at<Index>(slots, X, i, slot)) return false;
            twice |= (tile[slot] != 0) & (slot != slots.unread);
            tile[slot] = stored_value<T>(X, i);
        }
        if (twice && !add_up<T, Index>(slots, X, starts[r], starts[r + 1], tile, sums)) {
            return false;
        }
    }
    return true;
}

template <class T, class Index, class Walk>
bool walk_tiles_of(const Slots& slots, const MatrixView& X, std::int64_t first, std::int64_t last,
                   float* tile, const Walk& walk) {
    std::int64_t starts[kSlotRows + 1];
    const std::int64_t n_tile = last - first < slots.n_rows ? last - first : slots.n_rows;
    T* sums = reinterpret_cast<T*>(tile + n_tile * slots.stride);
    for (std::int64_t row = first; row < last; row += slots.n_rows) {
        const std::int64_t n = last - row < slots.n_rows ? last - row : slots.n_rows;
        if (row == first) {
            std::memset(tile, 0, static_cast<std::size_t>(n * slots.stride) * sizeof(float));
        }
        if (!read_starts<Index>(X, row, n, starts)) return false;
        if (!scatter<T, Index>(slots, X, starts, n, tile, sums)) return false;
        walk(row - first, n, reinterpret_cast<const char*>(tile),
             slots.stride * static_cast<std::int64_t>(sizeof(float)));
        if (row + n == last) break;
        for (std::int64_t r = 0; r < n; ++r) {
            clear<Index>(slots, X, starts[r], starts[r + 1], tile + r * slots.stride);
        }
    }
    return true;
}

// Calls walk(first row of those, how many, the rows as floats side by side, bytes from one to the
// next) for a few rows at a time. False if a stored value is not finite, or X is no CSR matrix.
template <class Walk>
bool walk_tiles(const Slots& slots, const MatrixView& X, std::int64_t first, std::int64_t last,
                float* tile, const Walk& walk) {
    const auto run = X.is_double ? X.is_long ? walk_tiles_of<double, std::int64_t, Walk>
                                             : walk_tiles_of<double, std::int32_t, Walk>
                     : X.is_long ? walk_tiles_of<float, std::int64_t, Walk>
                                 : walk_tiles_of<float, std::int32_t, Walk>;
    return run(slots, X, first, last, tile, walk);
}

}  // namespace skprune::SKPRUNE_ISA
