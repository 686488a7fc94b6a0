// Rows down a tree.
//
// A step has no branch to predict: the child is left + (x > threshold). What a walk waits for is
// memory, so eight rows walk side by side.
#pragma once

#include "sparse_rows.h"

namespace skprune::SKPRUNE_ISA {

template <bool kMissing>
SKPRUNE_INLINE std::uint32_t step(const Node& node, const char* row) {
    const float x = read<float>(row + static_cast<std::size_t>(node.feature) * sizeof(float));
    if constexpr (kMissing) {
        const bool right = x != x ? node.missing_left == 0 : x > node.threshold;
        return node.left + right;
    } else {
        return node.left + (x > node.threshold);
    }
}

template <bool kMissing>
std::uint32_t walk(const Node* nodes, const char* row) {
    std::uint32_t at = 0;
    for (;;) {
        const std::uint32_t next = step<kMissing>(nodes[at], row);
        if (next == at) return at;
        at = next;
    }
}

template <bool kMissing>
void walk_side_by_side(const Node* nodes, const char* rows, std::int64_t row_stride,
                       std::uint32_t* leaf) {
    constexpr int kRows = 8, kSteps = 4;
    std::uint32_t at[kRows] = {};
    std::uint32_t moved;
    do {
        // A leaf leads to itself, so a few steps too many cost less than to ask after each.
        for (int s = 1; s < kSteps; ++s) {
            for (int r = 0; r < kRows; ++r) {
                at[r] = step<kMissing>(nodes[at[r]], rows + r * row_stride);
            }
        }
        moved = 0;
        for (int r = 0; r < kRows; ++r) {
            const std::uint32_t next = step<kMissing>(nodes[at[r]], rows + r * row_stride);
            moved |= next ^ at[r];
            at[r] = next;
        }
    } while (moved);
    for (int r = 0; r < kRows; ++r) leaf[r] = at[r];
}

template <bool kMissing>
void walk_all(const Node* nodes, const char* rows, std::int64_t row_stride, std::int64_t n,
              std::uint32_t* leaf) {
    std::int64_t r = 0;
    for (; r + 8 <= n; r += 8) {
        walk_side_by_side<kMissing>(nodes, rows + r * row_stride, row_stride, leaf + r);
    }
    for (; r < n; ++r) leaf[r] = walk<kMissing>(nodes, rows + r * row_stride);
}

// Neither infinite nor, without missing values, NaN. The walk reads few features, but scikit-learn
// refuses what it would refuse, so all are looked at.
template <bool kMissing>
bool rows_are_clean(const char* rows, std::int64_t row_stride, std::int64_t n_rows,
                    std::int64_t n_columns) {
    constexpr std::int64_t kSize = sizeof(float);
    if (row_stride == n_columns * kSize) {  // no gaps: one long row
        n_columns *= n_rows;
        n_rows = 1;
    }
    Line zeros{};
    float zero = 0;
    for (std::int64_t r = 0; r < n_rows; ++r) {
        const char* row = rows + r * row_stride;
        std::int64_t j = 0;
        for (; j + kBlock <= n_columns; j += kBlock) {
            Line x = load_line<float>(row + j * kSize);
            if constexpr (kMissing) x = x != x ? Line{} : x;
            zeros += x * 0.0f;
        }
        for (; j < n_columns; ++j) {
            const float x = read<float>(row + j * kSize);
            if (!kMissing || x == x) zero += x * 0.0f;
        }
    }
    return all_finite(zeros) && zero == 0;
}

// Rows of float32 side by side are read where they are; others are copied first.
template <bool kMissing>
bool find_leaves_of(const TreeView& tree, const MatrixView& X, std::int64_t first,
                    std::int64_t last, std::uint32_t* leaf, float* scratch) {
    const char* rows = X.data + first * X.row_stride;
    std::int64_t stride = X.row_stride;
    if (X.is_double || X.column_stride != sizeof(float)) {
        stride = X.n_columns * static_cast<std::int64_t>(sizeof(float));
        rows = reinterpret_cast<const char*>(scratch);
        for (std::int64_t r = first; r < last; ++r) {
            copy_row(X, r, scratch + (r - first) * X.n_columns);
        }
    }
    if (!rows_are_clean<kMissing>(rows, stride, last - first, X.n_columns)) return false;
    walk_all<kMissing>(tree.nodes, rows, stride, last - first, leaf);
    return true;
}

inline bool find_leaves(const TreeView& tree, const MatrixView& X, std::int64_t first,
                        std::int64_t last, std::uint32_t* leaf, float* scratch) {
    if (tree.slots.of != nullptr) {
        const auto walk = [&](std::int64_t row, std::int64_t n, const char* rows,
                              std::int64_t stride) {
            walk_all<false>(tree.nodes, rows, stride, n, leaf + row);
        };
        return walk_tiles(tree.slots, X, first, last, scratch, walk);
    }
    return tree.allow_nan ? find_leaves_of<true>(tree, X, first, last, leaf, scratch)
                          : find_leaves_of<false>(tree, X, first, last, leaf, scratch);
}

}  // namespace skprune::SKPRUNE_ISA
