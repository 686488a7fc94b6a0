#include "tree.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "parallel.h"

namespace skprune {
namespace {

// Rows a thread takes at a time. Of sparse ones more, as each chunk starts with an empty tile.
constexpr std::int64_t kChunk = 64;
constexpr std::int64_t kSparseChunk = 8 * kChunk;

}  // namespace

float round_down(double t) {
    const float near = static_cast<float>(t);
    constexpr float kLowest = -std::numeric_limits<float>::infinity();
    return static_cast<double>(near) > t ? std::nextafter(near, kLowest) : near;
}

std::vector<std::int64_t> level_order(const TreeArrays& arrays) {
    std::vector<std::int64_t> order{0};
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::int64_t node = order[i];
        if (arrays.left[node] < 0) continue;
        order.push_back(arrays.left[node]);
        order.push_back(arrays.right[node]);
    }
    return order;
}

void check_tree(const TreeArrays& arrays, std::int64_t n_features) {
    const auto require = [](bool holds) {
        if (!holds) throw std::invalid_argument("the arrays are no tree");
    };
    std::vector<bool> seen(arrays.n_nodes);
    std::vector<std::int64_t> open{0};
    seen[0] = true;
    while (!open.empty()) {
        const std::int64_t node = open.back();
        open.pop_back();
        if (arrays.left[node] < 0) continue;
        require(arrays.feature[node] >= 0 && arrays.feature[node] < n_features);
        require(!std::isnan(arrays.threshold[node]));
        for (const std::int64_t child : {arrays.left[node], arrays.right[node]}) {
            require(child >= 0 && child < arrays.n_nodes && !seen[child]);
            seen[child] = true;
            open.push_back(child);
        }
    }
}

std::size_t tile_floats(const Slots& slots, std::int64_t n_rows) {
    const std::int64_t n_sums = 2;  // a row of doubles, for entries given twice
    return static_cast<std::size_t>(slots.stride) * (std::min(slots.n_rows, n_rows) + n_sums);
}

std::size_t tree_scratch(const TreeView& tree, const MatrixView& X, std::int64_t n_rows) {
    if (tree.slots.of != nullptr) return tile_floats(tree.slots, n_rows);
    const bool in_place = !X.is_double && X.column_stride == sizeof(float);
    return in_place ? 0 : static_cast<std::size_t>(X.n_columns) * n_rows;
}

Tree::Tree(const TreeArrays& arrays, std::int64_t n_features, const SlotMap& columns,
           bool allow_nan, const Kernels& kernels)
    : kernels_(kernels), n_features_(n_features), n_values_(arrays.n_values), slots_(columns) {
    check_tree(arrays, slots_.width(n_features));
    const std::vector<std::int64_t> order = level_order(arrays);
    const std::size_t n = order.size();
    nodes_ = Buffer<Node>(n);
    numbers_ = Buffer<std::int64_t>(n);
    values_ = Buffer<double>(n * n_values_);
    std::uint32_t next = 1;
    for (std::size_t i = 0; i < n; ++i) {
        const std::int64_t node = order[i];
        numbers_[i] = node;
        std::copy_n(arrays.value + node * n_values_, n_values_, values_.data() + i * n_values_);
        if (arrays.left[node] < 0) {
            constexpr float kNever = std::numeric_limits<float>::infinity();
            nodes_[i] = Node{kNever, static_cast<std::uint32_t>(i), 0, 1};
        } else {
            nodes_[i] = Node{round_down(arrays.threshold[node]), next,
                             static_cast<std::uint32_t>(arrays.feature[node]),
                             is_set(arrays.missing_left, node)};
            next += 2;
        }
    }
    view_ = TreeView{nodes_.data(), slots_.view(), allow_nan};
}

template <class Answer>
bool Tree::each_leaf(const MatrixView& X, int n_threads, const Answer& answer) const {
    const std::int64_t n_rows = takes_sparse() ? kSparseChunk : kChunk;
    const std::int64_t n_chunks = (X.n_rows + n_rows - 1) / n_rows;
    return for_chunks(n_chunks, n_threads, [&](std::int64_t chunk) {
        const std::int64_t first = chunk * n_rows;
        const std::int64_t last = std::min(first + n_rows, X.n_rows);
        const Scratch scratch(tree_scratch(view_, X, last - first));
        std::uint32_t leaf[kSparseChunk];
        if (!kernels_.find_leaves(view_, X, first, last, leaf, scratch.data())) return false;
        for (std::int64_t r = first; r < last; ++r) answer(r, leaf[r - first]);
        return true;
    });
}

bool Tree::predict(const MatrixView& X, int n_threads, double* out) const {
    return each_leaf(X, n_threads, [this, out](std::int64_t row, std::uint32_t leaf) {
        const double* value = values_.data() + leaf * n_values_;
        double* to = out + row * n_values_;
        // A loop: a call of memcpy costs more than the few values that a leaf holds.
        for (std::int64_t v = 0; v < n_values_; ++v) to[v] = value[v];
    });
}

bool Tree::apply(const MatrixView& X, int n_threads, std::int64_t* out) const {
    return each_leaf(X, n_threads, [this, out](std::int64_t row, std::uint32_t leaf) {
        out[row] = numbers_[leaf];
    });
}

}  // namespace skprune
