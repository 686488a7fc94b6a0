// Many rows at once: tiles of W columns, one a row of X, that go through all layers in turn.
//
// A tile is feature-major: the W values of one unit lie side by side. So one weight meets W inputs
// with a broadcast and W / kLanes multiply-adds, and nothing is gathered. Every output of every row
// is summed in the same order whatever W is: bias first, then the inputs in order.
#pragma once

#include "activations.h"
#include "copy_in.h"
#include "sparse_sums.h"

namespace skprune::SKPRUNE_ISA {

// Stores V vectors of each of K outputs, activated. The cheap activations ride on the store; the
// others come by while the lines are still in the nearest cache. `to` names the place of output k.
template <int K, int V, class Place>
SKPRUNE_INLINE void finish(const LayerView& layer, const Floats (&sums)[K][V], int n_outputs,
                           const Place& to) {
    const Activation activation = layer.activation;
    const float alpha = layer.alpha;
    const auto store_all = [&](auto f) {
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) {
            if (k >= n_outputs) break;
            float* line = to(k);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) store(line + v * kLanes, f(sums[k][v]));
        }
    };
    if (activation == Activation::relu) {
        store_all([](Floats x) { return relu(x); });
    } else if (activation == Activation::leaky_relu) {
        store_all([alpha](Floats x) { return leaky_relu(x, alpha); });
    } else {
        store_all([](Floats x) { return x; });
        if (activation == Activation::identity || activation >= Activation::softmax) return;
        for (int k = 0; k < n_outputs; ++k) activate(to(k), V * kLanes, activation, alpha);
    }
}

template <int W>
void sparse_outputs(const LayerView& layer, const float* in, float* out) {
    sum_sparse<TileLine<W>>(layer, in, [&](const auto& sums, const std::uint32_t* outputs) {
        constexpr int kOutputs = sizeof sums / sizeof sums[0];
        finish(layer, sums, kOutputs,
               [=](int k) { return out + static_cast<std::int64_t>(outputs[k]) * W; });
    });
}

// Blocks of kQuad * G outputs by V vectors; the input's line is loaded once for all of them.
template <int W, int V, int G>
void dense_outputs(const LayerView& layer, const float* in, float* out) {
    for (std::int64_t o = 0; o < layer.n_out; o += kQuad * G) {
        const float* weights = layer.quads + o * layer.n_in;
        for (int c = 0; c < W; c += V * kLanes) {
            Floats sums[G * kQuad][V];
#pragma GCC unroll 8
            for (int k = 0; k < G * kQuad; ++k) {
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) sums[k][v] = broadcast(layer.bias[o + k]);
            }
            for (std::int64_t j = 0; j < layer.n_in; ++j) {
                Floats x[V];
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) x[v] = load(in + j * W + c + v * kLanes);
#pragma GCC unroll 8
                for (int k = 0; k < G * kQuad; ++k) {
                    const std::int64_t quad = k / kQuad * layer.n_in + j;
                    const Floats weight = broadcast(weights[quad * kQuad + k % kQuad]);
#pragma GCC unroll 8
                    for (int v = 0; v < V; ++v) sums[k][v] += weight * x[v];
                }
            }
            const std::int64_t here = layer.n_out - o;
            const int n_outputs = here < G * kQuad ? static_cast<int>(here) : G * kQuad;
            finish(layer, sums, n_outputs, [&](int k) { return out + (o + k) * W + c; });
        }
    }
}

template <int W>
void run_layer(const LayerView& layer, const float* in, float* out) {
    if (layer.terms) {
        sparse_outputs<W>(layer, in, out);
    } else if constexpr (W == kLanes) {
        dense_outputs<W, 1, 2>(layer, in, out);
    } else {
        dense_outputs<W, 2, 1>(layer, in, out);
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
bool run_tile(const NetworkView& network, const MatrixView& X, std::int64_t first, int n_rows,
              int depth, float* out, float* scratch) {
    float* here = scratch;
    float* next = scratch + network.max_width * kTile;
    if (!copy_tile<W>(X, first, n_rows, here)) return false;
    std::int64_t width = network.n_features;
    for (int i = 0; i < depth; ++i) {
        run_layer<W>(network.layers[i], here, next);
        std::swap(here, next);
        width = network.layers[i].n_out;
    }
    copy_out<W>(here, width, n_rows, out + first * width);
    return true;
}

// A tile costs the same however many of its columns are used, so what remains of X takes the
// narrowest that holds it. The narrowest of all is a vector.
inline bool run_tiles(const NetworkView& network, const MatrixView& X, std::int64_t first,
                      std::int64_t last, int depth, float* out, float* scratch) {
    constexpr int kNarrow = kLanes > 8 ? kLanes : 8;
    for (; first < last; first += kTile) {
        const int n = last - first < kTile ? static_cast<int>(last - first) : kTile;
        const auto run = n <= kNarrow ? run_tile<kNarrow> : n <= 16 ? run_tile<16> : run_tile<32>;
        if (!run(network, X, first, n, depth, out, scratch)) return false;
    }
    return true;
}

}  // namespace skprune::SKPRUNE_ISA
