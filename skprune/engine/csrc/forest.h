// Many trees laid out for the kernels, and what becomes of their sums.
#pragma once

#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "tree.h"

namespace skprune {

// How sums become predictions; in the order of LINKS in links.py.
enum class Link : int { identity, exp, sigmoid, exponential, softmax, clip };

// Checked arrays, tree after tree; children are numbered within their tree, as in TreeArrays.
struct ForestArrays {
    TreeArrays nodes;  // of all trees together
    std::int64_t n_trees;
    const std::int64_t* tree_starts;  // n_trees + 1
    const std::int64_t* outputs;      // of each tree; null: each adds to all sums
    std::int64_t n_sums;
    const double* base;  // n_sums
    double divisor;
    Link link;
    const std::int64_t* groups;  // sums that make one answer, for Link::clip; they add up to n_sums
    std::int64_t n_groups;
    const std::int64_t* set;  // of each node: a row of sets, or -1; null: no node has one
    const std::uint32_t* sets;
    std::int64_t n_sets;
    std::int64_t n_words;
    std::int64_t n_categorical;
    const std::int64_t* category_columns;
    const std::int64_t* category_starts;  // n_categorical + 1
    const double* categories;
};

class Forest {
public:
    // Throws std::invalid_argument unless all arrays hang together.
    // Splits name columns of X or, of a forest for sparse rows, their places in `columns`.
    Forest(const ForestArrays& arrays, std::int64_t n_features, const SlotMap& columns,
           bool is_double, bool allow_nan, bool allow_infinity, const Kernels& kernels);
    Forest(const Forest&) = delete;
    Forest& operator=(const Forest&) = delete;

    std::int64_t n_features() const { return n_features_; }
    std::int64_t n_trees() const { return view_.n_trees; }
    std::int64_t n_sums() const { return view_.n_sums; }
    std::int64_t n_answers() const;
    bool takes_sparse() const { return view_.slots.of != nullptr; }

    // Each takes sparse rows where the forest is for such, and returns false if X is not finite,
    // where it has to be, or no CSR matrix.
    bool predict(const MatrixView& X, int n_threads, double* out) const;
    bool decide(const MatrixView& X, int n_threads, double* out) const;
    bool apply(const MatrixView& X, int n_threads, std::int64_t* out) const;

private:
    template <class Node>
    void lay_out(const ForestArrays& arrays, Buffer<Node>& nodes);
    void finish(const double* sums, std::int64_t n_rows, Link link, double* out) const;
    bool sum_up(const MatrixView& X, int n_threads, Link link, double* out) const;

    const Kernels& kernels_;
    std::int64_t n_features_;
    SlotMap slots_;
    double divisor_;
    Link link_;
    Buffer<ShortNode> short_nodes_;  // one of three is filled
    Buffer<WideNode> wide_nodes_;
    Buffer<DoubleNode> double_nodes_;
    Buffer<bool> missing_left_;
    Buffer<ForestTree> trees_;
    Buffer<double> values_;
    Buffer<std::int64_t> numbers_;  // of the leaves in the caller's arrays
    std::vector<double> base_, categories_;
    std::vector<std::uint32_t> sets_;
    std::vector<std::int64_t> category_columns_, category_starts_, groups_;
    ForestView view_{};
};

}  // namespace skprune
