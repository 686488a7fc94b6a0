// Rows down many trees.
//
// As in tree_walk.h a step has no branch, and what a walk waits for is memory. So trees pass by a
// tile of rows, eight of which walk side by side; a lone row walks down sixteen trees at once. In
// both cases a row's sums are made in the order of the trees, so they do not depend on the batch.
#pragma once

#include "tree_walk.h"

namespace skprune::SKPRUNE_ISA {

// Not std::min, std::copy_n or std::lower_bound: see views.h on code that the linker shares.
SKPRUNE_INLINE std::int64_t lesser(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

enum class Gaps { none, missing, categories };

template <class Node>
struct Forest;
template <>
struct Forest<ShortNode> {
    using X = float;
    static const ShortNode* nodes(const ForestView& f) { return f.short_nodes; }
    static std::uint32_t leaf(const ShortNode& node) {
        std::uint32_t bits;
        std::memcpy(&bits, &node.threshold, sizeof bits);
        return bits & 0x3fffffu;
    }
};
template <>
struct Forest<WideNode> {
    using X = float;
    static const WideNode* nodes(const ForestView& f) { return f.wide_nodes; }
    static std::uint32_t leaf(const WideNode& node) { return node.leaf; }
};
template <>
struct Forest<DoubleNode> {
    using X = double;
    static const DoubleNode* nodes(const ForestView& f) { return f.double_nodes; }
    static std::uint32_t leaf(const DoubleNode& node) { return node.leaf; }
};

template <class Node, Gaps kGaps>
SKPRUNE_INLINE std::uint32_t step(const ForestView& f, const Node* nodes, const bool* missing_left,
                                  std::uint32_t at, const char* row) {
    using X = typename Forest<Node>::X;
    const Node& node = nodes[at];
    const X x = read<X>(row + static_cast<std::size_t>(node.feature) * sizeof(X));
    bool right = x > node.threshold;
    if constexpr (kGaps != Gaps::none) {
        if (x != x) right = !missing_left[at];
    }
    if constexpr (kGaps == Gaps::categories) {
        if (node.set != 0 && x == x) {
            const auto category = static_cast<std::uint32_t>(x);
            const std::uint32_t* set = f.sets + (node.set - 1) * f.n_words;
            right = ((set[category >> 5] >> (category & 31)) & 1) == 0;
        }
    }
    return node.left + right;
}

// Eight rows down one tree.
template <class Node, Gaps kGaps>
SKPRUNE_INLINE void walk_rows(const ForestView& f, const Node* nodes, const bool* missing_left,
                              std::uint32_t depth, const char* rows, std::int64_t stride,
                              std::uint32_t* at) {
    constexpr int kRows = 8;
    constexpr std::uint32_t kSteps = 4;  // between looks whether all have arrived
    for (int r = 0; r < kRows; ++r) at[r] = 0;
    const auto step_all = [&] {
        for (int r = 0; r < kRows; ++r) {
            at[r] = step<Node, kGaps>(f, nodes, missing_left, at[r], rows + r * stride);
        }
    };
    std::uint32_t d = 0;
    for (; d + kSteps <= depth; d += kSteps) {
        std::uint32_t before[kRows];
        for (std::uint32_t s = 1; s < kSteps; ++s) step_all();
        for (int r = 0; r < kRows; ++r) before[r] = at[r];
        step_all();
        std::uint32_t moved = 0;
        for (int r = 0; r < kRows; ++r) moved |= before[r] ^ at[r];
        if (moved == 0) return;
    }
    for (; d < depth; ++d) step_all();
}

// All rows down one deep tree, eight at a time. Its branches are of very different lengths, so who
// has arrived makes room for the next row.
template <class Node, Gaps kGaps, class Arrived>
SKPRUNE_INLINE void walk_rows_in_turn(const ForestView& f, const Node* nodes,
                                      const bool* missing_left, const char* rows,
                                      std::int64_t stride, std::int64_t n_rows,
                                      const Arrived& arrived) {
    constexpr int kRows = 8;
    constexpr int kSteps = 4;
    std::uint32_t at[kRows];
    std::int64_t number[kRows];  // negative: there are no more rows
    const char* row[kRows];
    for (int r = 0; r < kRows; ++r) {
        at[r] = 0;
        number[r] = r;
        row[r] = rows + r * stride;
    }
    std::int64_t next = kRows, left = n_rows;
    for (;;) {
        std::uint32_t before[kRows];
        for (int s = 0; s < kSteps; ++s) {
            for (int r = 0; r < kRows; ++r) {
                before[r] = at[r];
                at[r] = step<Node, kGaps>(f, nodes, missing_left, at[r], row[r]);
            }
        }
        for (int r = 0; r < kRows; ++r) {
            if (before[r] != at[r] || number[r] < 0) continue;
            arrived(number[r], at[r]);
            if (--left == 0) return;
            if (next == n_rows) {
                number[r] = -1;
                continue;
            }
            at[r] = 0;
            number[r] = next;
            row[r] = rows + next * stride;
            ++next;
        }
    }
}

// One row down sixteen trees, or the last few.
template <class Node, Gaps kGaps>
SKPRUNE_INLINE void walk_trees(const ForestView& f, const ForestTree* trees, int n_trees,
                               const char* row, std::uint32_t* at) {
    constexpr int kTrees = 16;
    const Node* nodes[kTrees];
    const bool* missing_left[kTrees];
    std::uint32_t depth = 0;
    for (int t = 0; t < kTrees; ++t) {
        const ForestTree& tree = trees[t < n_trees ? t : 0];
        nodes[t] = Forest<Node>::nodes(f) + tree.nodes;
        missing_left[t] = f.missing_left + tree.nodes;
        if (tree.depth > depth) depth = tree.depth;
        at[t] = 0;
    }
    constexpr std::uint32_t kSteps = 4;
    for (std::uint32_t d = 0; d < depth; d += kSteps) {
        std::uint32_t moved = 0;
        for (std::uint32_t s = 0; s < kSteps; ++s) {
            moved = 0;
            for (int t = 0; t < kTrees; ++t) {
                const std::uint32_t next =
                    step<Node, kGaps>(f, nodes[t], missing_left[t], at[t], row);
                moved |= next ^ at[t];
                at[t] = next;
            }
        }
        if (moved == 0) return;
    }
}

// What is done with the leaf that a row has reached in a tree.
struct LeafSums {
    const ForestView& f;
    double* sums;
    template <int kValues>
    SKPRUNE_INLINE void add(std::int64_t row, const ForestTree& tree, std::uint32_t leaf) const {
        const std::int64_t n = kValues ? kValues : f.n_values;
        const double* value = f.values + (tree.leaves + leaf) * n;
        double* to = sums + row * n;
        for (std::int64_t v = 0; v < n; ++v) to[v] += value[v];
    }
    SKPRUNE_INLINE void add_one(std::int64_t row, const ForestTree& tree,
                                std::uint32_t leaf) const {
        sums[row * f.n_sums + tree.output] += f.values[tree.leaves + leaf];
    }
};

template <class Node, Gaps kGaps, class Sink>
void walk_forest(const ForestView& f, const char* rows, std::int64_t stride, std::int64_t n_rows,
                 const Sink& sink) {
    constexpr int kRows = 8, kTrees = 16;
    constexpr std::uint32_t kDeep = 20;
    const auto leaf_at = [](const Node* nodes, std::uint32_t at) {
        return Forest<Node>::leaf(nodes[at]);
    };
    if (n_rows < kRows) {
        for (std::int64_t r = 0; r < n_rows; ++r) {
            for (std::int64_t first = 0; first < f.n_trees; first += kTrees) {
                const ForestTree* trees = f.trees + first;
                const int n = static_cast<int>(lesser(kTrees, f.n_trees - first));
                std::uint32_t at[kTrees];
                walk_trees<Node, kGaps>(f, trees, n, rows + r * stride, at);
                for (int t = 0; t < n; ++t) {
                    sink(r, first + t, leaf_at(Forest<Node>::nodes(f) + trees[t].nodes, at[t]));
                }
            }
        }
        return;
    }
    for (std::int64_t t = 0; t < f.n_trees; ++t) {
        const ForestTree& tree = f.trees[t];
        const Node* nodes = Forest<Node>::nodes(f) + tree.nodes;
        if (tree.depth >= kDeep) {
            const auto arrived = [&](std::int64_t r, std::uint32_t at) {
                sink(r, t, leaf_at(nodes, at));
            };
            walk_rows_in_turn<Node, kGaps>(f, nodes, f.missing_left + tree.nodes, rows, stride,
                                           n_rows, arrived);
            continue;
        }
        std::int64_t done = 0;
        while (done < n_rows) {
            const std::int64_t first = lesser(done, n_rows - kRows);  // the last ones overlap
            std::uint32_t at[kRows];
            walk_rows<Node, kGaps>(f, nodes, f.missing_left + tree.nodes, tree.depth,
                                   rows + first * stride, stride, at);
            for (std::int64_t r = done; r < first + kRows; ++r) {
                sink(r, t, leaf_at(nodes, at[r - first]));
            }
            done = first + kRows;
        }
    }
}

template <class Node, Gaps kGaps>
void run_forest_on(const ForestView& f, const char* rows, std::int64_t stride, std::int64_t n_rows,
                   double* sums, std::uint32_t* leaves) {
    const LeafSums to{f, sums};
    const auto with = [&](const auto& sink) {
        walk_forest<Node, kGaps>(f, rows, stride, n_rows, sink);
    };
    using Row = std::int64_t;
    using Leaf = std::uint32_t;
    if (leaves != nullptr) {
        with([&](Row r, Row t, Leaf leaf) { leaves[r * f.n_trees + t] = leaf; });
        return;
    }
    for (Row r = 0; r < n_rows; ++r) {
        for (std::int64_t s = 0; s < f.n_sums; ++s) sums[r * f.n_sums + s] = f.base[s];
    }
    if (f.one_output) {
        with([&](Row r, Row t, Leaf leaf) { to.add_one(r, f.trees[t], leaf); });
    } else if (f.n_values == 1) {
        with([&](Row r, Row t, Leaf leaf) { to.template add<1>(r, f.trees[t], leaf); });
    } else if (f.n_values == 2) {
        with([&](Row r, Row t, Leaf leaf) { to.template add<2>(r, f.trees[t], leaf); });
    } else {
        with([&](Row r, Row t, Leaf leaf) { to.template add<0>(r, f.trees[t], leaf); });
    }
}

template <class Node>
bool run_forest_float(const ForestView& f, const MatrixView& X, std::int64_t first,
                      std::int64_t last, double* sums, std::uint32_t* leaves, float* scratch) {
    const char* rows = X.data + first * X.row_stride;
    std::int64_t stride = X.row_stride;
    if (X.is_double || X.column_stride != sizeof(float)) {
        stride = X.n_columns * static_cast<std::int64_t>(sizeof(float));
        rows = reinterpret_cast<const char*>(scratch);
        for (std::int64_t r = first; r < last; ++r) copy_row(X, r, scratch + (r - first) * X.n_columns);
    }
    if (rows_are_clean<false>(rows, stride, last - first, X.n_columns)) {
        run_forest_on<Node, Gaps::none>(f, rows, stride, last - first, sums, leaves);
    } else if (f.allow_nan && rows_are_clean<true>(rows, stride, last - first, X.n_columns)) {
        run_forest_on<Node, Gaps::missing>(f, rows, stride, last - first, sums, leaves);
    } else {
        return false;
    }
    return true;
}

// Categories as their numbers; those that are not known, and NaN, as NaN. Returns how many are NaN.
inline std::int64_t number_categories(const ForestView& f, double* row) {
    std::int64_t n_missing = 0;
    for (std::int64_t c = 0; c < f.n_categorical; ++c) {
        double& x = row[f.category_columns[c]];
        n_missing += x != x;
        std::int64_t low = f.category_starts[c], high = f.category_starts[c + 1];
        while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            if (f.categories[middle] < x) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        const bool known = low < f.category_starts[c + 1] && f.categories[low] == x;
        x = known ? static_cast<double>(low - f.category_starts[c]) : __builtin_nan("");
    }
    return n_missing;
}

inline bool run_forest_double(const ForestView& f, const MatrixView& X, std::int64_t first,
                              std::int64_t last, double* sums, std::uint32_t* leaves,
                              float* scratch) {
    const char* rows = X.data + first * X.row_stride;
    std::int64_t stride = X.row_stride;
    std::int64_t n_missing = 0;  // numbers: categories always may be
    double infinities = 0;       // NaN if there are any
    if (!X.is_double || X.column_stride != sizeof(double) || f.n_categorical != 0) {
        double* copy = reinterpret_cast<double*>(scratch);
        stride = X.n_columns * static_cast<std::int64_t>(sizeof(double));
        rows = reinterpret_cast<const char*>(copy);
        for (std::int64_t r = first; r < last; ++r) {
            double* row = copy + (r - first) * X.n_columns;
            for (std::int64_t j = 0; j < X.n_columns; ++j) {
                const char* from = X.data + r * X.row_stride + j * X.column_stride;
                row[j] = X.is_double ? read<double>(from) : static_cast<double>(read<float>(from));
                n_missing += row[j] != row[j];
                infinities += row[j] == row[j] ? row[j] * 0.0 : 0.0;
            }
            n_missing -= number_categories(f, row);
        }
    } else {
        for (std::int64_t r = 0; r < last - first; ++r) {
            for (std::int64_t j = 0; j < X.n_columns; ++j) {
                const double x = read<double>(rows + r * stride + j * sizeof(double));
                n_missing += x != x;
                infinities += x == x ? x * 0.0 : 0.0;
            }
        }
    }
    if (n_missing != 0 && !f.allow_nan) return false;
    if (infinities != infinities && !f.allow_infinity) return false;
    const auto run = f.n_categorical != 0 ? run_forest_on<DoubleNode, Gaps::categories>
                     : n_missing != 0     ? run_forest_on<DoubleNode, Gaps::missing>
                                          : run_forest_on<DoubleNode, Gaps::none>;
    run(f, rows, stride, last - first, sums, leaves);
    return true;
}

inline bool run_forest(const ForestView& f, const MatrixView& X, std::int64_t first,
                       std::int64_t last, double* sums, std::uint32_t* leaves, float* scratch) {
    if (f.slots.of != nullptr) {
        const auto run = f.size == NodeSize::narrow ? run_forest_on<ShortNode, Gaps::none>
                                                    : run_forest_on<WideNode, Gaps::none>;
        const auto walk = [&](std::int64_t row, std::int64_t n, const char* rows,
                              std::int64_t stride) {
            run(f, rows, stride, n, sums == nullptr ? nullptr : sums + row * f.n_sums,
                leaves == nullptr ? nullptr : leaves + row * f.n_trees);
        };
        return walk_tiles(f.slots, X, first, last, scratch, walk);
    }
    const auto run = f.size == NodeSize::narrow ? run_forest_float<ShortNode>
                     : f.size == NodeSize::wide ? run_forest_float<WideNode>
                                                : run_forest_double;
    return run(f, X, first, last, sums, leaves, scratch);
}

}  // namespace skprune::SKPRUNE_ISA
