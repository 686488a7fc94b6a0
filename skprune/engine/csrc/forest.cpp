#include "forest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>

#include "parallel.h"

namespace skprune {
namespace {

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// One tree of the arrays.
TreeArrays tree_of(const ForestArrays& arrays, std::int64_t tree) {
    const std::int64_t start = arrays.tree_starts[tree];
    TreeArrays nodes = arrays.nodes;
    nodes.n_nodes = arrays.tree_starts[tree + 1] - start;
    nodes.feature += start;
    nodes.threshold += start;
    nodes.left += start;
    nodes.right += start;
    nodes.missing_left += start;
    nodes.value += start * nodes.n_values;
    return nodes;
}

void check_sets(const ForestArrays& arrays, std::int64_t n_features) {
    std::map<std::int64_t, std::int64_t> n_categories;  // by column; columns may be very many
    for (std::int64_t c = 0; c < arrays.n_categorical; ++c) {
        const std::int64_t column = arrays.category_columns[c];
        require(column >= 0 && column < n_features, "a categorical column is out of range");
        const std::int64_t first = arrays.category_starts[c], last = arrays.category_starts[c + 1];
        require(n_categories.emplace(column, last - first).second,
                "a categorical column is listed twice");
        for (std::int64_t i = first; i < last; ++i) {
            require(!std::isnan(arrays.categories[i]), "a category is NaN");
            require(i == first || arrays.categories[i - 1] < arrays.categories[i],
                    "categories do not grow");
        }
    }
    if (arrays.set == nullptr) return;
    for (std::int64_t i = 0; i < arrays.nodes.n_nodes; ++i) {
        if (arrays.set[i] < 0 || arrays.nodes.left[i] < 0) continue;
        require(arrays.set[i] < arrays.n_sets, "a set is out of range");
        const auto known = n_categories.find(arrays.nodes.feature[i]);
        require(known != n_categories.end(),
                "a split by category reads a column without categories");
        require(known->second <= 32 * arrays.n_words, "a set is too short");
    }
}

void check(const ForestArrays& arrays, std::int64_t n_features) {
    require(arrays.n_trees >= 1, "there is no tree");
    require(arrays.tree_starts[0] == 0, "the first tree does not start at 0");
    for (std::int64_t t = 0; t < arrays.n_trees; ++t) {
        require(arrays.tree_starts[t] < arrays.tree_starts[t + 1], "a tree has no node");
        require(arrays.tree_starts[t + 1] <= arrays.nodes.n_nodes, "a tree ends behind the nodes");
    }
    for (std::int64_t t = 0; t < arrays.n_trees; ++t) {
        check_tree(tree_of(arrays, t), n_features);
        if (arrays.outputs != nullptr) {
            require(arrays.outputs[t] >= 0 && arrays.outputs[t] < arrays.n_sums,
                    "an output is out of range");
        }
    }
    require(arrays.nodes.n_values == (arrays.outputs != nullptr ? 1 : arrays.n_sums),
            "leaves hold another number of values than there are sums");
    std::int64_t n_grouped = 0;
    for (std::int64_t g = 0; g < arrays.n_groups; ++g) {
        require(arrays.groups[g] >= 1 && arrays.groups[g] <= arrays.n_sums, "a group is empty");
        n_grouped += arrays.groups[g];
    }
    require(n_grouped == arrays.n_sums, "the groups are not those of the sums");
    check_sets(arrays, n_features);
}

void make_leaf(ShortNode& node, std::uint32_t at, std::uint32_t leaf) {
    const std::uint32_t bits = 0x7fc00000u | leaf;
    std::memcpy(&node.threshold, &bits, sizeof bits);
    node.left = static_cast<std::uint16_t>(at);
}
void make_leaf(WideNode& node, std::uint32_t at, std::uint32_t leaf) {
    node = {std::numeric_limits<float>::quiet_NaN(), at, 0, leaf};
}
void make_leaf(DoubleNode& node, std::uint32_t at, std::uint32_t leaf) {
    node = {std::numeric_limits<double>::quiet_NaN(), at, 0, leaf, 0};
}

void make_split(ShortNode& node, double threshold, std::uint32_t left, std::uint32_t feature,
                std::uint32_t) {
    node = {round_down(threshold), static_cast<std::uint16_t>(feature),
            static_cast<std::uint16_t>(left)};
}
void make_split(WideNode& node, double threshold, std::uint32_t left, std::uint32_t feature,
                std::uint32_t) {
    node = {round_down(threshold), left, feature, 0};
}
void make_split(DoubleNode& node, double threshold, std::uint32_t left, std::uint32_t feature,
                std::uint32_t set) {
    node = {threshold, left, feature, 0, set};
}

std::uint32_t depth_of(const TreeArrays& tree, const std::vector<std::int64_t>& order) {
    std::vector<std::uint32_t> depth(tree.n_nodes);
    std::uint32_t deepest = 0;
    for (const std::int64_t node : order) {
        deepest = std::max(deepest, depth[node]);
        if (tree.left[node] < 0) continue;
        depth[tree.left[node]] = depth[tree.right[node]] = depth[node] + 1;
    }
    return deepest;
}

}  // namespace

std::size_t forest_scratch(const ForestView& view, const MatrixView& X, std::int64_t n_rows) {
    if (view.slots.of != nullptr) return tile_floats(view.slots, n_rows);
    const bool doubles = view.size == NodeSize::doubles;
    const std::int64_t item = doubles ? sizeof(double) : sizeof(float);
    const bool in_place =
        X.is_double == doubles && X.column_stride == item && view.n_categorical == 0;
    return in_place ? 0 : static_cast<std::size_t>(X.n_columns * n_rows) * (doubles ? 2 : 1);
}

template <class Node>
void Forest::lay_out(const ForestArrays& arrays, Buffer<Node>& nodes) {
    nodes = Buffer<Node>(arrays.nodes.n_nodes);
    const std::int64_t n_values = arrays.nodes.n_values;
    std::size_t at = 0, leaf = 0;
    for (std::int64_t t = 0; t < arrays.n_trees; ++t) {
        const TreeArrays tree = tree_of(arrays, t);
        const std::vector<std::int64_t> order = level_order(tree);
        const auto output = arrays.outputs ? static_cast<std::uint32_t>(arrays.outputs[t]) : 0u;
        trees_[t] = {at, leaf, depth_of(tree, order), output};
        std::uint32_t next = 1;
        for (std::uint32_t i = 0; i < order.size(); ++i, ++at) {
            const std::int64_t node = order[i];
            if (tree.left[node] < 0) {
                make_leaf(nodes[at], i, static_cast<std::uint32_t>(leaf - trees_[t].leaves));
                missing_left_[at] = true;
                numbers_[leaf] = node;
                std::copy_n(tree.value + node * n_values, n_values,
                            values_.data() + leaf * n_values);
                ++leaf;
                continue;
            }
            const std::int64_t given =
                arrays.set ? arrays.set[arrays.tree_starts[t] + node] : std::int64_t{-1};
            const std::int64_t set = std::max(given, std::int64_t{-1});  // all below 0 mean none
            make_split(nodes[at], tree.threshold[node], next,
                       static_cast<std::uint32_t>(tree.feature[node]),
                       static_cast<std::uint32_t>(set + 1));
            missing_left_[at] = is_set(tree.missing_left, node);
            next += 2;
        }
    }
}

Forest::Forest(const ForestArrays& arrays, std::int64_t n_features, const SlotMap& columns,
               bool is_double, bool allow_nan, bool allow_infinity, const Kernels& kernels)
    : kernels_(kernels),
      n_features_(n_features),
      slots_(columns),
      divisor_(arrays.divisor),
      link_(arrays.link) {
    const std::int64_t width = slots_.width(n_features);
    check(arrays, width);
    view_.slots = slots_.view();
    require(!is_double || !takes_sparse(), "sparse rows are read as floats");
    require(is_double || (arrays.n_categorical == 0 && arrays.set == nullptr),
            "categories are read as doubles");
    const std::int64_t n_nodes = arrays.tree_starts[arrays.n_trees];
    missing_left_ = Buffer<bool>(n_nodes);
    trees_ = Buffer<ForestTree>(arrays.n_trees);
    values_ = Buffer<double>(n_nodes * arrays.nodes.n_values);
    numbers_ = Buffer<std::int64_t>(n_nodes);
    groups_.assign(arrays.groups, arrays.groups + arrays.n_groups);
    base_.assign(arrays.base, arrays.base + arrays.n_sums);
    sets_.assign(arrays.sets, arrays.sets + arrays.n_sets * arrays.n_words);
    category_columns_.assign(arrays.category_columns,
                             arrays.category_columns + arrays.n_categorical);
    category_starts_.assign(arrays.category_starts,
                            arrays.category_starts + arrays.n_categorical + 1);
    categories_.assign(arrays.categories,
                       arrays.categories + arrays.category_starts[arrays.n_categorical]);

    std::int64_t largest = 0;
    for (std::int64_t t = 0; t < arrays.n_trees; ++t) {
        largest = std::max(largest, arrays.tree_starts[t + 1] - arrays.tree_starts[t]);
    }
    constexpr std::int64_t kShort = std::int64_t{1} << 16;
    if (is_double) {
        view_.size = NodeSize::doubles;
        lay_out(arrays, double_nodes_);
    } else if (largest <= kShort && width <= kShort) {
        view_.size = NodeSize::narrow;
        lay_out(arrays, short_nodes_);
    } else {
        view_.size = NodeSize::wide;
        lay_out(arrays, wide_nodes_);
    }
    view_.short_nodes = short_nodes_.data();
    view_.wide_nodes = wide_nodes_.data();
    view_.double_nodes = double_nodes_.data();
    view_.missing_left = missing_left_.data();
    view_.trees = trees_.data();
    view_.n_trees = arrays.n_trees;
    view_.n_values = arrays.nodes.n_values;
    view_.n_sums = arrays.n_sums;
    view_.one_output = arrays.outputs != nullptr;
    view_.values = values_.data();
    view_.base = base_.data();
    view_.allow_nan = allow_nan;
    view_.allow_infinity = allow_infinity;
    view_.sets = sets_.data();
    view_.n_words = arrays.n_words;
    view_.n_categorical = arrays.n_categorical;
    view_.category_columns = category_columns_.data();
    view_.category_starts = category_starts_.data();
    view_.categories = categories_.data();
}

std::int64_t Forest::n_answers() const {
    return link_ == Link::sigmoid || link_ == Link::exponential ? 2 : view_.n_sums;
}

bool Forest::predict(const MatrixView& X, int n_threads, double* out) const {
    return sum_up(X, n_threads, link_, out);
}

bool Forest::decide(const MatrixView& X, int n_threads, double* out) const {
    return sum_up(X, n_threads, Link::identity, out);
}

bool Forest::sum_up(const MatrixView& X, int n_threads, Link link, double* out) const {
    const std::int64_t width = link == Link::identity ? view_.n_sums : n_answers();
    const std::int64_t n_chunks = (X.n_rows + kForestTile - 1) / kForestTile;
    return for_chunks(n_chunks, n_threads, [&](std::int64_t chunk) {
        const std::int64_t first = chunk * kForestTile;
        const std::int64_t n_rows = std::min(kForestTile, X.n_rows - first);
        const std::size_t n_copy = forest_scratch(view_, X, n_rows);
        // the sums behind the rows, on a line of their own
        const std::size_t n_before = (n_copy + 15) / 16 * 16;
        const Scratch scratch(n_before + 2 * static_cast<std::size_t>(n_rows * view_.n_sums));
        double* sums = reinterpret_cast<double*>(scratch.data() + n_before);
        if (!kernels_.run_forest(view_, X, first, first + n_rows, sums, nullptr, scratch.data())) {
            return false;
        }
        finish(sums, n_rows, link, out + first * width);
        return true;
    });
}

bool Forest::apply(const MatrixView& X, int n_threads, std::int64_t* out) const {
    const std::int64_t n_chunks = (X.n_rows + kForestTile - 1) / kForestTile;
    return for_chunks(n_chunks, n_threads, [&](std::int64_t chunk) {
        const std::int64_t first = chunk * kForestTile;
        const std::int64_t n_rows = std::min(kForestTile, X.n_rows - first);
        const Scratch scratch(forest_scratch(view_, X, n_rows));
        Buffer<std::uint32_t> leaves(n_rows * view_.n_trees);
        if (!kernels_.run_forest(view_, X, first, first + n_rows, nullptr, leaves.data(),
                                 scratch.data())) {
            return false;
        }
        std::int64_t* to = out + first * view_.n_trees;
        for (std::int64_t i = 0; i < n_rows * view_.n_trees; ++i) {
            to[i] = numbers_[trees_[i % view_.n_trees].leaves + leaves[i]];
        }
        return true;
    });
}

// One row after the other, so that a row's answer does not depend on its neighbours.
void Forest::finish(const double* sums, std::int64_t n_rows, Link link, double* out) const {
    const std::int64_t n = view_.n_sums;
    const double divisor = divisor_;
    for (std::int64_t r = 0; r < n_rows; ++r, sums += n) {
        switch (link) {
            case Link::identity:
                for (std::int64_t s = 0; s < n; ++s) out[s] = sums[s] / divisor;
                out += n;
                break;
            case Link::exp:
                for (std::int64_t s = 0; s < n; ++s) out[s] = std::exp(sums[s] / divisor);
                out += n;
                break;
            case Link::sigmoid:
            case Link::exponential: {
                const double z = sums[0] / divisor * (link == Link::exponential ? 2.0 : 1.0);
                out[1] = 1.0 / (1.0 + std::exp(-z));
                out[0] = 1.0 - out[1];
                out += 2;
                break;
            }
            case Link::softmax: {
                double largest = sums[0] / divisor, total = 0.0;
                for (std::int64_t s = 1; s < n; ++s) largest = std::max(largest, sums[s] / divisor);
                for (std::int64_t s = 0; s < n; ++s) {
                    out[s] = std::exp(sums[s] / divisor - largest);
                    total += out[s];
                }
                for (std::int64_t s = 0; s < n; ++s) out[s] /= total;
                out += n;
                break;
            }
            case Link::clip: {
                const double* sum = sums;
                for (const std::int64_t size : groups_) {
                    double total = 0.0;
                    for (std::int64_t s = 0; s < size; ++s) {
                        out[s] = std::max(sum[s] / divisor, 0.0);
                        total += out[s];
                    }
                    for (std::int64_t s = 0; s < size; ++s) {
                        // where nothing is left, nothing is known
                        out[s] = total == 0.0 ? 1.0 / static_cast<double>(size) : out[s] / total;
                    }
                    out += size;
                    sum += size;
                }
                break;
            }
        }
    }
}

}  // namespace skprune
