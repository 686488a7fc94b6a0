// All rows of a batch: which tile takes which.
#pragma once

#include "network_rows.h"
#include "network_tiles.h"

namespace skprune::SKPRUNE_ISA {

// A tile costs the same however many of its columns are used, so the plan says for every number of
// rows that are left which tile comes next.
inline bool run_network(const NetworkView& network, const MatrixView& X, std::int64_t first,
                        std::int64_t last, int depth, float* out, float* scratch) {
    using Run = bool (*)(const NetworkView&, int, const MatrixView&, std::int64_t, int, int, float*,
                         float*);
    constexpr Run kRuns[kShapes] = {nullptr, run_tile<8>, run_tile<16>, run_tile<32>,
                                    run_tile<64>};
    while (first < last) {
        const std::int64_t left = last - first;
        const int shape = network.steps[left < kWidest ? left : kWidest];
        const int n = left < kWidths[shape] ? static_cast<int>(left) : kWidths[shape];
        const bool good = shape == 0
                              ? run_row(network, X, first, depth, out, scratch)
                              : kRuns[shape](network, shape, X, first, n, depth, out, scratch);
        if (!good) return false;
        first += n;
    }
    return true;
}

}  // namespace skprune::SKPRUNE_ISA
