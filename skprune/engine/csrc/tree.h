// A tree laid out for the kernels.
#pragma once

#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "slots.h"

namespace skprune {

// Checked arrays, as scikit-learn keeps them: node 0 is the root, left is negative at a leaf.
struct TreeArrays {
    std::int64_t n_nodes;
    std::int64_t n_values;
    const std::int64_t* feature;
    const double* threshold;
    const std::int64_t* left;
    const std::int64_t* right;
    const bool* missing_left;
    const double* value;
};

// numpy's bools are bytes, which need not be 0 or 1, as those of C++ must.
inline bool is_set(const bool* flags, std::int64_t i) {
    return reinterpret_cast<const unsigned char*>(flags)[i] != 0;
}

// The nodes that the root reaches, level by level, siblings side by side.
std::vector<std::int64_t> level_order(const TreeArrays& arrays);

// The greatest float32 that is not above t: a float32 x is <= t exactly where it is <= that.
float round_down(double t);

// Throws std::invalid_argument unless the root spans a tree whose splits read known features.
void check_tree(const TreeArrays& arrays, std::int64_t n_features);

class Tree {
public:
    // Splits name columns of X or, of a tree for sparse rows, their places in `columns`.
    Tree(const TreeArrays& arrays, std::int64_t n_features, const SlotMap& columns, bool allow_nan,
         const Kernels& kernels);
    Tree(const Tree&) = delete;
    Tree& operator=(const Tree&) = delete;

    std::int64_t n_features() const { return n_features_; }
    std::int64_t n_values() const { return n_values_; }
    bool takes_sparse() const { return view_.slots.of != nullptr; }

    // Each takes sparse rows where the tree is for such, and returns false if X is not finite, or no
    // CSR matrix.
    bool predict(const MatrixView& X, int n_threads, double* out) const;
    bool apply(const MatrixView& X, int n_threads, std::int64_t* out) const;

private:
    template <class Answer>
    bool each_leaf(const MatrixView& X, int n_threads, const Answer& answer) const;

    const Kernels& kernels_;
    std::int64_t n_features_;
    std::int64_t n_values_;
    SlotMap slots_;
    Buffer<Node> nodes_;
    Buffer<std::int64_t> numbers_;  // of our nodes in the caller's arrays
    Buffer<double> values_;         // in our order
    TreeView view_{};
};

}  // namespace skprune
