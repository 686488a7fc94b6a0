// A network laid out for the kernels.
#pragma once

#include <memory>
#include <vector>

#include "buffer.h"
#include "kernels.h"

namespace skprune {

// A checked CSR matrix, outputs by inputs.
struct CsrView {
    std::int64_t n_out;
    std::int64_t n_in;
    const std::int64_t* starts;
    const std::uint32_t* columns;
    const float* weights;
};

class Network {
public:
    // Batches of up to `row_batch` rows run row by row.
    Network(std::int64_t n_features, std::int64_t row_batch, const Kernels& kernels);
    Network(const Network&) = delete;  // the views point into the arrays
    Network& operator=(const Network&) = delete;

    void add_layer(const CsrView& weight, const float* bias, Activation activation, float alpha,
                   bool dense_rows, bool dense_tiles);

    std::int64_t n_features() const { return view_.n_features; }
    std::int64_t width(int depth) const;
    int depth() const { return static_cast<int>(views_.size()); }

    // The first `depth` layers on all rows of X; false if X is not finite.
    bool run(const MatrixView& X, int n_threads, int depth, float* out) const;

private:
    struct Arrays {
        Buffer<float> bias, quads, column_weights, panels;
        Buffer<Term> terms;
        Buffer<std::int64_t> term_starts, column_starts;
        Buffer<std::uint32_t> term_outputs, column_outputs32;
        Buffer<std::uint16_t> column_outputs16;
    };

    const Kernels& kernels_;
    std::int64_t row_batch_;
    std::vector<Arrays> arrays_;
    std::vector<LayerView> views_;
    NetworkView view_{};
};

}  // namespace skprune
