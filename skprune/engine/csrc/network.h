// A network laid out for the kernels.
#pragma once

#include <array>
#include <vector>

#include "kernels.h"
#include "packing.h"

namespace skprune {

// How a layer is to run: by which layout in each shape of tile, and how these are cut.
struct LayerPlan {
    std::array<Layout, kShapes> layout;
    int height;                  // of a block: 4 or 8
    std::int64_t n_groups;       // of outputs in blocks, and which these are
    const std::uint32_t* order;
};

class Network {
public:
    // `inputs`: which columns of X the first layer reads; null for all. `fill`: what stands in for
    // NaN, a value a column; null where NaN is refused. `steps`: as in NetworkView.
    Network(std::int64_t n_features, const std::uint32_t* inputs, std::int64_t n_inputs,
            const float* fill, const std::array<std::uint8_t, kWidest + 1>& steps,
            const Kernels& kernels);
    Network(const Network&) = delete;  // the views point into the arrays
    Network& operator=(const Network&) = delete;

    void add_layer(const CsrView& weight, const float* bias, Activation activation, float alpha,
                   const LayerPlan& plan);

    std::int64_t n_features() const { return view_.n_features; }
    std::int64_t width(int depth) const;  // at depth 0, of what is read of X
    int depth() const { return static_cast<int>(views_.size()); }
    bool fills() const { return view_.fill != nullptr; }

    // The first `depth` layers, at least one, on all rows of X; false if X is not finite, or no
    // CSR matrix where it says that it is one.
    bool run(const MatrixView& X, int n_threads, int depth, float* out) const;

private:
    struct Arrays {
        Buffer<float> bias, quads, panels;
        std::array<PackedStream, kShapes> streams;
        PackedColumns columns;
        PackedBlocks blocks;
    };

    const Kernels& kernels_;
    Buffer<std::uint32_t> inputs_;
    Buffer<float> fill_;
    std::vector<Arrays> arrays_;
    std::vector<LayerView> views_;
    NetworkView view_{};
};

}  // namespace skprune
