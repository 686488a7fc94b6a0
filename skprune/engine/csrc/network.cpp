#include "network.h"

#include <algorithm>
#include <numeric>

#include "parallel.h"

namespace skprune {
namespace {

std::int64_t padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// The order of the outputs in a tile kernel, which runs several side by side as far as the shortest
// goes: neighbours should be equally long.
std::vector<std::uint32_t> longest_first(const CsrView& w) {
    std::vector<std::uint32_t> order(w.n_out);
    std::iota(order.begin(), order.end(), 0u);
    const auto length = [&w](std::uint32_t o) { return w.starts[o + 1] - w.starts[o]; };
    std::stable_sort(order.begin(), order.end(), [&length](std::uint32_t a, std::uint32_t b) {
        return length(a) > length(b);
    });
    return order;
}

}  // namespace

std::size_t tile_scratch(const NetworkView& network) {
    return static_cast<std::size_t>(network.max_width) * kTile * 2;
}

std::size_t row_scratch(const NetworkView& network) {
    // Two layers of values, and the inputs that are not zero: their numbers and their values.
    return static_cast<std::size_t>(network.max_width) * 4;
}

Network::Network(std::int64_t n_features, std::int64_t row_batch, const Kernels& kernels)
    : kernels_(kernels), row_batch_(row_batch) {
    view_.n_features = n_features;
    view_.max_width = padded(n_features + 1, kPad);
}

void Network::add_layer(const CsrView& w, const float* bias, Activation activation, float alpha,
                        bool dense_rows, bool dense_tiles) {
    const std::int64_t nnz = w.starts[w.n_out];
    Arrays own;
    LayerView view{};
    view.n_in = w.n_in;
    view.n_out = w.n_out;
    view.activation = activation;
    view.alpha = alpha;

    own.bias = Buffer<float>(padded(w.n_out, kPad));
    std::copy(bias, bias + w.n_out, own.bias.data());
    view.bias = own.bias.data();

    const auto each_weight = [&w](auto f) {
        for (std::int64_t o = 0; o < w.n_out; ++o) {
            for (std::int64_t i = w.starts[o]; i < w.starts[o + 1]; ++i) {
                f(o, static_cast<std::int64_t>(w.columns[i]), w.weights[i]);
            }
        }
    };

    if (dense_tiles) {
        own.quads = Buffer<float>(padded(w.n_out, 2 * kQuad) * w.n_in);
        each_weight([&](std::int64_t o, std::int64_t j, float weight) {
            own.quads[(o / kQuad * w.n_in + j) * kQuad + o % kQuad] = weight;
        });
        view.quads = own.quads.data();
    } else {
        own.terms = Buffer<Term>(nnz);
        own.term_starts = Buffer<std::int64_t>(w.n_out + 1);
        own.term_outputs = Buffer<std::uint32_t>(w.n_out);
        const std::vector<std::uint32_t> order = longest_first(w);
        std::int64_t to = 0;
        for (std::int64_t k = 0; k < w.n_out; ++k) {
            const std::uint32_t o = order[k];
            own.term_outputs[k] = o;
            for (std::int64_t i = w.starts[o]; i < w.starts[o + 1]; ++i) {
                own.terms[to++] = Term{w.weights[i], w.columns[i] * kTile};
            }
            own.term_starts[k + 1] = to;
        }
        view.terms = own.terms.data();
        view.term_starts = own.term_starts.data();
        view.term_outputs = own.term_outputs.data();
    }

    if (dense_rows) {
        const std::int64_t n_padded = padded(w.n_out, kPad);
        const std::int64_t n_whole = n_padded / kPanel * kPanel;
        own.panels = Buffer<float>(n_padded * w.n_in);
        each_weight([&](std::int64_t o, std::int64_t j, float weight) {
            std::int64_t start = o / kPanel * kPanel;
            std::int64_t width = kPanel;
            if (start == n_whole) {  // what whole panels leave: one of 32 and one of 16, or either
                const std::int64_t half = n_padded - n_whole >= 32 ? 32 : 0;
                width = o - start < half ? 32 : 16;
                if (width == 16) start += half;
            }
            own.panels[start * w.n_in + j * width + (o - start)] = weight;
        });
        view.panels = own.panels.data();
    } else {
        own.column_starts = Buffer<std::int64_t>(w.n_in + 1);
        own.column_weights = Buffer<float>(nnz);
        const bool is_short = w.n_out <= 65536;
        if (is_short) {
            own.column_outputs16 = Buffer<std::uint16_t>(nnz);
        } else {
            own.column_outputs32 = Buffer<std::uint32_t>(nnz);
        }
        for (std::int64_t i = 0; i < nnz; ++i) ++own.column_starts[w.columns[i] + 1];
        std::partial_sum(own.column_starts.data(), own.column_starts.data() + w.n_in + 1,
                         own.column_starts.data());
        std::vector<std::int64_t> next(own.column_starts.data(),
                                       own.column_starts.data() + w.n_in);
        each_weight([&](std::int64_t o, std::int64_t j, float weight) {
            const std::int64_t to = next[j]++;
            own.column_weights[to] = weight;
            if (is_short) {
                own.column_outputs16[to] = static_cast<std::uint16_t>(o);
            } else {
                own.column_outputs32[to] = static_cast<std::uint32_t>(o);
            }
        });
        view.column_starts = own.column_starts.data();
        view.column_weights = own.column_weights.data();
        view.column_outputs16 = own.column_outputs16.data();
        view.column_outputs32 = own.column_outputs32.data();
    }

    arrays_.push_back(std::move(own));
    views_.push_back(view);
    view_.layers = views_.data();
    view_.max_width = std::max(view_.max_width, padded(w.n_out + 1, kPad));
}

std::int64_t Network::width(int depth) const {
    return depth == 0 ? view_.n_features : views_[depth - 1].n_out;
}

bool Network::run(const MatrixView& X, int n_threads, int depth, float* out) const {
    if (X.n_rows <= row_batch_) {
        const Scratch scratch(row_scratch(view_));
        return kernels_.run_rows(view_, X, 0, X.n_rows, depth, out, scratch.data());
    }
    const std::int64_t n_tiles = (X.n_rows + kTile - 1) / kTile;
    return for_chunks(n_tiles, n_threads, [&](std::int64_t tile) {
        const Scratch scratch(tile_scratch(view_));
        const std::int64_t first = tile * kTile;
        const std::int64_t last = std::min(first + kTile, X.n_rows);
        return kernels_.run_tiles(view_, X, first, last, depth, out, scratch.data());
    });
}

}  // namespace skprune
