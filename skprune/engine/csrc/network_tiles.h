// Many rows at once: tiles of W columns, one a row of X, that go through all layers in turn.
//
// A tile is feature-major: the W values of one unit lie side by side. So one weight meets W inputs
// with a broadcast and a multiply-add a vector, and nothing is gathered. Every output of every row
// is summed in the same order whatever W is: bias first, then the inputs in order.
#pragma once

#include "activations.h"
#include "copy_in.h"
#include "sparse_sums.h"

namespace skprune::SKPRUNE_ISA {

// Stores V vectors of each of K outputs, activated. The cheap activations ride on the store; the
// others come by while the lines are still in the nearest cache. `to` names the place of output k.
template <class F, int K, int V, class Place>
SKPRUNE_INLINE void finish(const LayerView& layer, const F (&sums)[K][V], int n_outputs,
                           const Place& to) {
    const Activation activation = layer.activation;
    const float alpha = layer.alpha;
    const auto store_all = [&](auto f) SKPRUNE_ALWAYS_INLINE {
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) {
            if (k >= n_outputs) break;
            float* line = to(k);
#pragma GCC unroll 16
            for (int v = 0; v < V; ++v) store(line + v * kLanesOf<F>, f(sums[k][v]));
        }
    };
    if (activation == Activation::relu) {
        store_all([](F x) { return relu(x); });
    } else if (activation == Activation::leaky_relu) {
        store_all([alpha](F x) { return leaky_relu(x, alpha); });
    } else {
        store_all([](F x) { return x; });
        if (activation == Activation::identity || activation >= Activation::softmax) return;
        for (int k = 0; k < n_outputs; ++k) activate<F>(to(k), V * kLanesOf<F>, activation, alpha);
    }
}

template <int W, class Offset>
void sparse_outputs(const LayerView& layer, const Stream& stream, const Offset* offsets,
                    const float* in, float* out) {
    using Sums = TileSums<W>;
    using F = typename Sums::Value;
    for (int c = 0; c < W; c += Sums::kColumns) {
        const auto start = [&layer](std::uint32_t output, F (&sums)[Sums::kVectors])
                               SKPRUNE_ALWAYS_INLINE {
            const F bias = broadcast<F>(layer.bias[output]);
#pragma GCC unroll 8
            for (int v = 0; v < Sums::kVectors; ++v) sums[v] = bias;
        };
        const auto done = [&layer, out, c](const auto& sums, const std::uint32_t* outputs)
                              SKPRUNE_ALWAYS_INLINE {
            finish(layer, sums, Sums::kGroup, [=](int k) SKPRUNE_ALWAYS_INLINE {
                return out + static_cast<std::size_t>(outputs[k]) * W + c;
            });
        };
        sum_stream<Sums>(stream, offsets, in + c, start, done);
    }
}

template <int W>
void sparse_outputs(const LayerView& layer, int shape, const float* in, float* out) {
    const Stream& stream = layer.streams[shape];
    if (stream.offsets16) {
        sparse_outputs<W>(layer, stream, stream.offsets16, in, out);
    } else {
        sparse_outputs<W>(layer, stream, stream.offsets32, in, out);
    }
}

// The inputs of a group of outputs: all of them, or those of its blocks.
struct EveryInput {
    std::int64_t count;
    std::size_t operator[](std::int64_t j) const { return static_cast<std::size_t>(j); }
};
struct ListedInputs {
    std::int64_t count;
    const std::uint32_t* list;
    std::size_t operator[](std::int64_t j) const { return list[j]; }
};

// kQuads * 4 outputs by V vectors; an input's line is loaded once for all of them. The weights of a
// quad lie side by side, those of the next one `stride` floats further.
template <int W, int V, int kQuads, class Inputs>
SKPRUNE_INLINE void sum_quads(const float* weights, std::size_t stride, int step,
                              const Inputs& inputs, const float* in,
                              TileFloats<W> (&sums)[kQuads * kQuad][V]) {
    using F = TileFloats<W>;
    for (std::int64_t j = 0; j < inputs.count; ++j) {
        const float* line = in + inputs[j] * W;
        F x[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) x[v] = load<F>(line + v * kLanesOf<F>);
#pragma GCC unroll 8
        for (int k = 0; k < kQuads * kQuad; ++k) {
            const auto quad = static_cast<std::size_t>(k / kQuad) * stride;
            const F weight = broadcast<F>(weights[quad + j * step + k % kQuad]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sums[k][v] += weight * x[v];
        }
    }
}

template <int W, int V, int kQuads>
void dense_outputs(const LayerView& layer, const float* in, float* out) {
    using F = TileFloats<W>;
    constexpr int K = kQuads * kQuad;
    const EveryInput inputs{layer.n_in};
    const std::size_t stride = static_cast<std::size_t>(layer.n_in) * kQuad;
    for (std::int64_t o = 0; o < layer.n_out; o += K) {
        for (int c = 0; c < W; c += V * kLanesOf<F>) {
            F sums[K][V];
#pragma GCC unroll 8
            for (int k = 0; k < K; ++k) {
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) sums[k][v] = broadcast<F>(layer.bias[o + k]);
            }
            sum_quads<W, V, kQuads>(layer.quads + o * layer.n_in, stride, kQuad, inputs, in + c,
                                    sums);
            const std::int64_t here = layer.n_out - o;
            const int n_outputs = here < K ? static_cast<int>(here) : K;
            finish(layer, sums, n_outputs, [&](int k) SKPRUNE_ALWAYS_INLINE { return out + (o + k) * W + c; });
        }
    }
}

// Groups of H outputs, kQuads * 4 of them at a time.
template <int W, int V, int kQuads, int H>
void block_outputs(const LayerView& layer, const float* in, float* out) {
    using F = TileFloats<W>;
    constexpr int K = kQuads * kQuad;
    const Blocks& blocks = layer.blocks;
    for (std::int64_t g = 0; g < blocks.n_groups; ++g) {
        const std::int64_t first = blocks.group_starts[g];
        const ListedInputs inputs{blocks.group_starts[g + 1] - first, blocks.group_inputs + first};
        for (int part = 0; part < H; part += K) {
            const std::uint32_t* outputs = blocks.outputs + g * H + part;
            const float* weights = blocks.group_weights + first * H + part;
            for (int c = 0; c < W; c += V * kLanesOf<F>) {
                F sums[K][V];
#pragma GCC unroll 8
                for (int k = 0; k < K; ++k) {
#pragma GCC unroll 8
                    for (int v = 0; v < V; ++v) sums[k][v] = broadcast<F>(layer.bias[outputs[k]]);
                }
                sum_quads<W, V, kQuads>(weights, kQuad, H, inputs, in + c, sums);
                finish(layer, sums, K, [&](int k) SKPRUNE_ALWAYS_INLINE {
                    return out + static_cast<std::size_t>(outputs[k]) * W + c;
                });
            }
        }
    }
}

// `in` has a line to spare behind the inputs, and `out` behind the outputs: what pads groups of
// outputs reads zeros there, and writes there.
template <int W>
void run_layer(const LayerView& layer, int shape, float* in, float* out) {
    // A narrow tile has fewer vectors a unit, and takes more outputs to fill the registers.
    constexpr bool kOne = W == kLanesOf<TileFloats<W>>;
    if (layer.layout[shape] == Layout::sparse) {
        std::memset(in + layer.n_in * W, 0, W * sizeof(float));
        sparse_outputs<W>(layer, shape, in, out);
    } else if (layer.layout[shape] == Layout::dense) {
        dense_outputs<W, kOne ? 1 : 2, kOne ? 2 : 1>(layer, in, out);
    } else if (layer.blocks.height == 2 * kQuad) {
        block_outputs<W, kOne ? 1 : 2, kOne ? 2 : 1, 2 * kQuad>(layer, in, out);
    } else {
        block_outputs<W, kOne ? 1 : 2, 1, kQuad>(layer, in, out);
    }
    if (layer.activation >= Activation::softmax) {
        softmax_tile<W>(out, layer.n_out, layer.activation == Activation::log_softmax);
    }
}

// The first n_rows columns of a tile, back to rows of `width` floats.
template <int W>
void copy_out(const float* tile, std::int64_t width, int n_rows, float* out) {
    int r = 0;
    for (; r + kBlock <= n_rows; r += kBlock) {
        std::int64_t j = 0;
        for (; j + kBlock <= width; j += kBlock) {
            Line x[kBlock];
            for (int i = 0; i < kBlock; ++i) {
                x[i] = *reinterpret_cast<const Line*>(tile + (j + i) * W + r);
            }
            transpose(x);
            for (int i = 0; i < kBlock; ++i) {
                *reinterpret_cast<LooseLine*>(out + (r + i) * width + j) = x[i];
            }
        }
        for (; j < width; ++j) {
            for (int i = 0; i < kBlock; ++i) out[(r + i) * width + j] = tile[j * W + r + i];
        }
    }
    for (; r < n_rows; ++r) {
        for (std::int64_t j = 0; j < width; ++j) out[r * width + j] = tile[j * W + r];
    }
}

template <int W>
bool run_tile(const NetworkView& network, int shape, const MatrixView& X, std::int64_t first,
              int n_rows, int depth, float* out, float* scratch) {
    float* here = scratch;
    float* next = scratch + network.max_width * W;
    if (!copy_inputs<W>(network, X, first, n_rows, here)) return false;
    std::int64_t width = 0;
    for (int i = 0; i < depth; ++i) {
        run_layer<W>(network.layers[i], shape, here, next);
        std::swap(here, next);
        width = network.layers[i].n_out;
    }
    copy_out<W>(here, width, n_rows, out + first * width);
    return true;
}

}  // namespace skprune::SKPRUNE_ISA
