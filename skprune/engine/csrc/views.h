// What the kernels see: plain structs of pointers, made and owned elsewhere.
//
// The kernels are compiled once per instruction set, and the linker keeps one copy of every inline
// function it meets twice. A class with member functions in here could so smuggle AVX-512 code into
// the baseline build; plain structs cannot.
#pragma once

#include <cstdint>

namespace skprune {

// A 2-D array of float32 or float64 as Python hands it over: any strides, any alignment. Of a CSR
// matrix, `data` holds the stored values side by side, and the strides say nothing.
struct MatrixView {
    const char* data;
    std::int64_t n_rows;
    std::int64_t n_columns;
    std::int64_t row_stride;  // bytes
    std::int64_t column_stride;
    bool is_double;
    const void* indices;  // null unless CSR; int32 or int64, which nobody has checked yet
    const void* starts;
    bool is_long;           // the indices
    std::int64_t n_stored;  // how many values and indices there are
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

// The rows of X go through the network in tiles, feature-major, of so many; the first is a lone row.
constexpr int kWidths[] = {1, 8, 16, 32, 64};
constexpr int kShapes = 5;
constexpr int kWidest = 64;

constexpr int kPanel = 64;  // outputs that a dense layer computes together for a lone row
constexpr int kPad = 16;    // floats in a cache line: lone rows are padded to whole lines
constexpr int kQuad = 4;    // outputs whose weights a dense tile kernel reads together
constexpr int kOffsetUnit = 8;  // bytes: what an address may scale an offset by for nothing

// What a layer's weights are laid out for. In the order of KERNELS in planning.py.
enum class Layout : std::uint8_t { sparse, dense, blocks };

// The non-zeros as the tiles of one shape stream them. Outputs go in groups of K, the longest first,
// whose terms alternate: slot s of a group is term s / K of its output s % K. Groups are padded to
// whole quads of slots with zeros at input n_in, a line of zeros, and with output n_out.
struct Stream {
    int group;  // K; 0: there is no such stream
    std::int64_t n_groups;
    const std::uint32_t* outputs;      // n_groups * K
    const std::int64_t* starts;        // n_groups + 1, in slots
    const float* weights;              // slots
    const std::uint16_t* offsets16;  // slots: where the input's line is, in units of eight bytes;
    const std::uint32_t* offsets32;  // short ones where they suffice, else null
};

// Outputs in groups of 4 or 8 that share their inputs, in an order of its own: a block is one input
// of a group, with a weight for each output. Tiles go group by group, lone rows input by input.
struct Blocks {
    int height;
    std::int64_t n_groups;
    const std::uint32_t* outputs;       // n_groups * height; what is no output is n_out
    const float* group_weights;         // blocks * height
    const std::int64_t* group_starts;   // n_groups + 1, in blocks
    const std::uint32_t* group_inputs;  // blocks
    const float* input_weights;
    const std::int64_t* input_starts;  // n_in + 1
    const std::uint32_t* input_groups;
};

// A layer holds the layouts that its kernels read; the others are null.
struct LayerView {
    std::int64_t n_in;
    std::int64_t n_out;
    Activation activation;
    float alpha;
    Layout layout[kShapes];  // by shape of the tile
    const float* bias;       // padded with zeros to whole lines

    Stream streams[kShapes];  // that of tiles of 16 serves lone rows, too
    Blocks blocks;

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
    std::int64_t n_features;   // columns of X
    std::int64_t n_inputs;     // columns that are read
    const std::uint32_t* inputs;  // which, in order; null for all
    const float* fill;         // n_features, padded: what stands in for NaN; null: NaN is refused
    std::int64_t max_width;    // over the inputs and all outputs, padded to whole lines
    int widest;                // shape of tile that is ever used
    std::uint8_t steps[kWidest + 1];  // for so many rows left: the shape of the next tile
};

// Children of a split are neighbours: right = left + 1. A leaf is its own left child behind a
// threshold that no number exceeds, so that a walk may take more steps than the leaf is deep.
struct Node {
    float threshold;
    std::uint32_t left;
    std::uint32_t feature;
    std::uint32_t missing_left;
};

// The columns of sparse rows that the splits of a model read, in places of their own: nodes hold the
// numbers of these.
constexpr std::int64_t kSlotRows = 64;
struct Slots {
    const std::uint32_t* of;  // of each column of X; null: rows are dense
    std::uint32_t unread;     // the slot, behind the others, of all that no split reads
    std::int64_t stride;      // floats from one row of a tile to the next
    std::int64_t n_rows;      // of a tile, at most kSlotRows
};

struct TreeView {
    const Node* nodes;
    Slots slots;
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
    Slots slots;
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
    bool allow_infinity;  // of rows that are compared in double

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
