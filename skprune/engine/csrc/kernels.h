// The kernels of one instruction set, and how to find them.
#pragma once

#include <cstddef>
#include <vector>

#include "views.h"

namespace skprune {

struct Kernels {
    const char* isa;

    // How many outputs a sparse tile of each shape sums side by side.
    int group[kShapes];

    // Rows [first, last) of X through `depth` layers, at least one, into `out`, which is row-major
    // and belongs to row 0. False if X is not finite there, or no CSR matrix.
    bool (*run_network)(const NetworkView&, const MatrixView&, std::int64_t first,
                        std::int64_t last, int depth, float* out, float* scratch);

    // The leaf of each of the rows [first, last), as the number of a node, into leaf[0...].
    // False if a value is infinite, or NaN where the tree does not allow it; of sparse rows, if one
    // is either, or X no CSR matrix.
    bool (*find_leaves)(const TreeView&, const MatrixView&, std::int64_t first, std::int64_t last,
                        std::uint32_t* leaf, float* scratch);

    // The sums of the trees for the rows [first, last), at most kForestTile, into sums[0...], or
    // the leaf of each row in each tree into leaves[0...]; the other is null. False as above.
    bool (*run_forest)(const ForestView&, const MatrixView&, std::int64_t first, std::int64_t last,
                       double* sums, std::uint32_t* leaves, float* scratch);
};

// Floats of scratch memory that the kernels ask for.
std::size_t network_scratch(const NetworkView&);
std::size_t tile_floats(const Slots&, std::int64_t n_rows);
std::size_t tree_scratch(const TreeView&, const MatrixView&, std::int64_t n_rows);
std::size_t forest_scratch(const ForestView&, const MatrixView&, std::int64_t n_rows);

// The instruction sets that this build has and this processor runs, the best last.
std::vector<const Kernels*> available_kernels();

}  // namespace skprune
