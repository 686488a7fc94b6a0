#include "network.h"

#include <algorithm>

#include "parallel.h"

namespace skprune {
namespace {

std::int64_t padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

std::size_t network_scratch(const NetworkView& network) {
    // Two layers of values. A lone row also lists the inputs that are not zero, their numbers and
    // their values, and sums blocks aside: as many groups as there are outputs, of up to eight.
    constexpr int kRow = 4 + 2 * kQuad;
    const int widest = std::max(kRow, 2 * kWidths[network.widest]);
    return static_cast<std::size_t>(network.max_width) * widest;
}

Network::Network(std::int64_t n_features, const std::uint32_t* inputs, std::int64_t n_inputs,
                 const float* fill, const std::array<std::uint8_t, kWidest + 1>& steps,
                 const Kernels& kernels)
    : kernels_(kernels) {
    view_.n_features = n_features;
    view_.n_inputs = n_features;
    if (inputs) {
        inputs_ = Buffer<std::uint32_t>(n_inputs);
        std::copy_n(inputs, n_inputs, inputs_.data());
        view_.inputs = inputs_.data();
        view_.n_inputs = n_inputs;
    }
    if (fill) {
        fill_ = Buffer<float>(n_features);
        std::copy_n(fill, n_features, fill_.data());
        view_.fill = fill_.data();
    }
    std::copy(steps.begin(), steps.end(), view_.steps);
    view_.widest = *std::max_element(steps.begin(), steps.end());
    view_.max_width = padded(view_.n_inputs + 1, kPad);
}

void Network::add_layer(const CsrView& w, const float* bias, Activation activation, float alpha,
                        const LayerPlan& plan) {
    Arrays own;
    LayerView view{};
    view.n_in = w.n_in;
    view.n_out = w.n_out;
    view.activation = activation;
    view.alpha = alpha;
    std::copy(plan.layout.begin(), plan.layout.end(), view.layout);

    own.bias = Buffer<float>(padded(w.n_out, kPad));
    std::copy(bias, bias + w.n_out, own.bias.data());
    view.bias = own.bias.data();

    const auto tiles_begin = plan.layout.begin() + 1;
    const auto tiles_are = [&](Layout layout) {
        return std::find(tiles_begin, plan.layout.end(), layout) != plan.layout.end();
    };
    for (int shape = 1; shape < kShapes; ++shape) {
        const bool used = std::find(view_.steps, view_.steps + kWidest + 1, shape) !=
                          view_.steps + kWidest + 1;
        if (!used || plan.layout[shape] != Layout::sparse) continue;
        own.streams[shape].pack(w, kernels_.group[shape], kWidths[shape]);
        view.streams[shape] = own.streams[shape].view();
    }
    if (tiles_are(Layout::dense)) {
        own.quads = packed_quads(w);
        view.quads = own.quads.data();
    }
    if (tiles_are(Layout::blocks) || plan.layout[0] == Layout::blocks) {
        own.blocks.pack(w, plan.order, plan.n_groups, plan.height);
        own.blocks.point(view);
    }
    if (plan.layout[0] == Layout::sparse) {
        own.columns.pack(w);
        own.columns.point(view);
    }
    if (plan.layout[0] == Layout::dense) {
        own.panels = packed_panels(w);
        view.panels = own.panels.data();
    }

    arrays_.push_back(std::move(own));
    views_.push_back(view);
    view_.layers = views_.data();
    view_.max_width = std::max(view_.max_width, padded(w.n_out + 1, kPad));
}

std::int64_t Network::width(int depth) const {
    return depth == 0 ? view_.n_inputs : views_[depth - 1].n_out;
}

bool Network::run(const MatrixView& X, int n_threads, int depth, float* out) const {
    // Small pieces, or one thread would wait for another; the same ones whatever the threads, so that
    // a row always takes the same way.
    const std::int64_t piece = std::max(32, kWidths[view_.steps[kWidest]]);
    const std::int64_t n_pieces = (X.n_rows + piece - 1) / piece;
    return for_chunks(n_pieces, n_threads, [&](std::int64_t i) {
        const Scratch scratch(network_scratch(view_));
        const std::int64_t first = i * piece;
        const std::int64_t last = std::min(first + piece, X.n_rows);
        return kernels_.run_network(view_, X, first, last, depth, out, scratch.data());
    });
}

}  // namespace skprune
