// What the kernels see: plain structs of pointers, made and owned elsewhere.
//
// The kernels are compiled once per instruction set, and the linker keeps one copy of every inline
// function it meets twice. A class with member functions in here could so smuggle AVX-512 code into
// the baseline build; plain structs cannot.
#pragma once

#include <cstdint>

namespace skprune {

// A 2-D array of float32 or float64 as Python hands it over: any strides, any alignment.
struct MatrixView {
    const char* data;
    std::int64_t n_rows;
    std::int64_t n_columns;
    std::int64_t row_stride;  // bytes
    std::int64_t column_stride;
    bool is_double;
};

// In the order of ACTIVATIONS in activations.py.
enum class Activation : int {
    identity,
    relu,
    leaky_relu,
    elu,
    gelu,
    gelu_tanh,
    tanh,
    sigmoid,
    softmax,
    log_softmax,
};

constexpr int kTile = 32;   // rows of X that go through the network together
constexpr int kPanel = 64;  // outputs that a dense layer computes together for a lone row
constexpr int kPad = 16;    // floats in a cache line: lone rows are padded to whole lines
constexpr int kQuad = 4;    // outputs whose weights a dense tile kernel reads together

// One non-zero as a tile kernel streams it.
struct Term {
    float weight;
    std::uint32_t at;  // column * kTile: where its input starts in a tile, in floats
};

// A layer holds two of four forms, one for tiles and one for lone rows; the others are null. Where
// lone rows are sparse tiles must be, too: a lone row may use either form.
struct LayerView {
    std::int64_t n_in;
    std::int64_t n_out;
    Activation activation;
    float alpha;
    const float* bias;  // padded with zeros to whole lines

    // Tiles, sparse: the non-zeros output by output, longest output first.
    const Term* terms;
    const std::int64_t* term_starts;     // n_out + 1
    const std::uint32_t* term_outputs;   // which output each run of terms is

    // Tiles, dense: four outputs interleaved, input by input; padded to eight outputs.
    const float* quads;

    // Lone rows, sparse: the non-zeros input by input. Short rows indices where they suffice.
    const float* column_weights;
    const std::int64_t* column_starts;   // n_in + 1
    const std::uint16_t* column_outputs16;
    const std::uint32_t* column_outputs32;

    // Lone rows, dense: panels of 64 outputs, then one of 32 and one of 16, each input by input.
    const float* panels;
};

struct NetworkView {
    const LayerView* layers;
    std::int64_t n_features;
    std::int64_t max_width;  // over the input and all outputs, padded to whole lines
};

// Children of a split are neighbours: right = left + 1. A leaf is its own left child behind a
// threshold that no number exceeds, so that a walk may take more steps than the leaf is deep.
struct Node {
    float threshold;
    std::uint32_t left;
    std::uint32_t feature;
    std::uint32_t missing_left;
};

struct TreeView {
    const Node* nodes;
    bool allow_nan;
};

// The nodes of a forest come in three sizes. All keep Node's rules, but the threshold of a leaf is
// NaN, which no number exceeds either; the smallest hides the leaf's place in the NaN's low bits.
struct ShortNode {
    float threshold;
    std::uint16_t feature;
    std::uint16_t left;
};
struct WideNode {
    float threshold;
    std::uint32_t left;
    std::uint32_t feature;
    std::uint32_t leaf;
};
struct DoubleNode {
    double threshold;
    std::uint32_t left;
    std::uint32_t feature;
    std::uint32_t leaf;
    std::uint32_t set;  // a split by category: the number of its set, from 1; 0 for others
};

struct ForestTree {
    std::size_t nodes;   // where its nodes start
    std::size_t leaves;  // and its leaves
    std::uint32_t depth;
    std::uint32_t output;  // the column that it adds to, where trees hold one value
};

enum class NodeSize : int { narrow, wide, doubles };

struct ForestView {
    NodeSize size;
    const ShortNode* short_nodes;  // two of three are null
    const WideNode* wide_nodes;
    const DoubleNode* double_nodes;
    const bool* missing_left;  // beside the nodes: only rows with missing values look at it
    const ForestTree* trees;
    std::int64_t n_trees;
    std::int64_t n_values;  // of a leaf
    std::int64_t n_sums;    // of a row
    bool one_output;        // whether each tree adds its one value to its own column
    const double* values;   // of the leaves
    const double* base;     // n_sums
    bool allow_nan;

    // Splits by category read numbers of categories, which stand in the column from the copy on.
    const std::uint32_t* sets;
    std::int64_t n_words;              // of a set
    std::int64_t n_categorical;        // columns
    const std::int64_t* category_columns;
    const std::int64_t* category_starts;  // n_categorical + 1
    const double* categories;             // growing in each column
};

constexpr std::int64_t kForestTile = 256;  // rows that stay in the cache while the trees go by

}  // namespace skprune
