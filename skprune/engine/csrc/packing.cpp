#include "packing.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace skprune {
namespace {

std::int64_t padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

template <class F>
void each_weight(const CsrView& w, const F& f) {
    for (std::int64_t o = 0; o < w.n_out; ++o) {
        for (std::int64_t i = w.starts[o]; i < w.starts[o + 1]; ++i) {
            f(o, static_cast<std::int64_t>(w.columns[i]), w.weights[i]);
        }
    }
}

}  // namespace

void PackedStream::pack(const CsrView& w, int outputs_a_group, int width) {
    group = outputs_a_group;
    // Neighbours should be equally long, because the shorter ones are padded, and a processor that
    // sees the same length often predicts its end.
    std::vector<std::uint32_t> order(w.n_out);
    std::iota(order.begin(), order.end(), 0u);
    const auto length = [&w](std::uint32_t o) { return w.starts[o + 1] - w.starts[o]; };
    std::stable_sort(order.begin(), order.end(), [&length](std::uint32_t a, std::uint32_t b) {
        return length(a) > length(b);
    });

    const std::int64_t n_groups = (w.n_out + group - 1) / group;
    order.resize(n_groups * group, static_cast<std::uint32_t>(w.n_out));
    outputs = Buffer<std::uint32_t>(order.size());
    std::copy(order.begin(), order.end(), outputs.data());
    starts = Buffer<std::int64_t>(n_groups + 1);
    for (std::int64_t g = 0; g < n_groups; ++g) {
        const std::int64_t n_slots = length(order[g * group]) * group;
        starts[g + 1] = starts[g] + padded(n_slots, std::max(group, kQuad));
    }

    const std::int64_t n_slots = starts[n_groups];
    const std::int64_t line = width * static_cast<std::int64_t>(sizeof(float)) / kOffsetUnit;
    const std::int64_t padding = w.n_in * line;
    weights = Buffer<float>(n_slots);
    std::vector<std::uint32_t> offsets(n_slots, static_cast<std::uint32_t>(padding));
    for (std::int64_t place = 0; place < w.n_out; ++place) {
        const std::uint32_t o = order[place];
        std::int64_t slot = starts[place / group] + place % group;
        for (std::int64_t i = w.starts[o]; i < w.starts[o + 1]; ++i, slot += group) {
            weights[slot] = w.weights[i];
            offsets[slot] = static_cast<std::uint32_t>(w.columns[i] * line);
        }
    }
    if (padding <= 65535) {
        offsets16 = Buffer<std::uint16_t>(n_slots);
        std::copy(offsets.begin(), offsets.end(), offsets16.data());
    } else {
        offsets32 = Buffer<std::uint32_t>(n_slots);
        std::copy(offsets.begin(), offsets.end(), offsets32.data());
    }
}

Stream PackedStream::view() const {
    return Stream{group,
                  static_cast<std::int64_t>(starts.size()) - 1,
                  outputs.data(),
                  starts.data(),
                  weights.data(),
                  offsets16.data(),
                  offsets32.data()};
}

void PackedColumns::pack(const CsrView& w) {
    const std::int64_t nnz = w.starts[w.n_out];
    const bool is_short = w.n_out <= 65536;
    starts = Buffer<std::int64_t>(w.n_in + 1);
    weights = Buffer<float>(nnz);
    if (is_short) {
        outputs16 = Buffer<std::uint16_t>(nnz);
    } else {
        outputs32 = Buffer<std::uint32_t>(nnz);
    }
    for (std::int64_t i = 0; i < nnz; ++i) ++starts[w.columns[i] + 1];
    std::partial_sum(starts.data(), starts.data() + w.n_in + 1, starts.data());
    std::vector<std::int64_t> next(starts.data(), starts.data() + w.n_in);
    each_weight(w, [&](std::int64_t o, std::int64_t j, float weight) {
        const std::int64_t to = next[j]++;
        weights[to] = weight;
        if (is_short) {
            outputs16[to] = static_cast<std::uint16_t>(o);
        } else {
            outputs32[to] = static_cast<std::uint32_t>(o);
        }
    });
}

void PackedColumns::point(LayerView& view) const {
    view.column_starts = starts.data();
    view.column_weights = weights.data();
    view.column_outputs16 = outputs16.data();
    view.column_outputs32 = outputs32.data();
}

void PackedBlocks::pack(const CsrView& w, const std::uint32_t* order, std::int64_t groups,
                        int rows) {
    height = rows;
    n_groups = groups;
    outputs = Buffer<std::uint32_t>(n_groups * height);
    std::copy_n(order, n_groups * height, outputs.data());
    group_starts = Buffer<std::int64_t>(n_groups + 1);
    std::vector<std::uint32_t> inputs;
    std::vector<float> group;
    std::vector<std::int64_t> at(height);
    for (std::int64_t g = 0; g < n_groups; ++g) {
        for (int k = 0; k < height; ++k) {
            const std::uint32_t o = outputs[g * height + k];
            at[k] = o < w.n_out ? w.starts[o] : -1;
        }
        // Merge: the outputs of a group go along their inputs together.
        for (;;) {
            std::int64_t input = w.n_in;
            for (int k = 0; k < height; ++k) {
                if (at[k] >= 0 && at[k] < w.starts[outputs[g * height + k] + 1]) {
                    input = std::min<std::int64_t>(input, w.columns[at[k]]);
                }
            }
            if (input == w.n_in) break;
            inputs.push_back(static_cast<std::uint32_t>(input));
            for (int k = 0; k < height; ++k) {
                const bool here = at[k] >= 0 && at[k] < w.starts[outputs[g * height + k] + 1] &&
                                  w.columns[at[k]] == input;
                group.push_back(here ? w.weights[at[k]++] : 0.0f);
            }
        }
        group_starts[g + 1] = static_cast<std::int64_t>(inputs.size());
    }

    const std::size_t n_blocks = inputs.size();
    group_inputs = Buffer<std::uint32_t>(n_blocks);
    std::copy(inputs.begin(), inputs.end(), group_inputs.data());
    group_weights = Buffer<float>(n_blocks * height);
    std::copy(group.begin(), group.end(), group_weights.data());

    input_starts = Buffer<std::int64_t>(w.n_in + 1);
    input_groups = Buffer<std::uint32_t>(n_blocks);
    input_weights = Buffer<float>(n_blocks * height);
    for (const std::uint32_t input : inputs) ++input_starts[input + 1];
    std::partial_sum(input_starts.data(), input_starts.data() + w.n_in + 1, input_starts.data());
    std::vector<std::int64_t> next(input_starts.data(), input_starts.data() + w.n_in);
    for (std::int64_t g = 0; g < n_groups; ++g) {
        for (std::int64_t b = group_starts[g]; b < group_starts[g + 1]; ++b) {
            const std::int64_t to = next[inputs[b]]++;
            input_groups[to] = static_cast<std::uint32_t>(g);
            std::copy_n(group.data() + b * height, height, input_weights.data() + to * height);
        }
    }
}

void PackedBlocks::point(LayerView& view) const {
    view.blocks = Blocks{height,
                         n_groups,
                         outputs.data(),
                         group_weights.data(),
                         group_starts.data(),
                         group_inputs.data(),
                         input_weights.data(),
                         input_starts.data(),
                         input_groups.data()};
}

Buffer<float> packed_quads(const CsrView& w) {
    Buffer<float> quads(padded(w.n_out, 2 * kQuad) * w.n_in);
    each_weight(w, [&](std::int64_t o, std::int64_t j, float weight) {
        quads[(o / kQuad * w.n_in + j) * kQuad + o % kQuad] = weight;
    });
    return quads;
}

Buffer<float> packed_panels(const CsrView& w) {
    const std::int64_t n_padded = padded(w.n_out, kPad);
    const std::int64_t n_whole = n_padded / kPanel * kPanel;
    Buffer<float> panels(n_padded * w.n_in);
    each_weight(w, [&](std::int64_t o, std::int64_t j, float weight) {
        std::int64_t start = o / kPanel * kPanel;
        std::int64_t width = kPanel;
        if (start == n_whole) {  // what whole panels leave: one of 32 and one of 16, or either
            const std::int64_t half = n_padded - n_whole >= 32 ? 32 : 0;
            width = o - start < half ? 32 : 16;
            if (width == 16) start += half;
        }
        panels[start * w.n_in + j * width + (o - start)] = weight;
    });
    return panels;
}

}  // namespace skprune
