// The weights of a layer, laid out as the kernels read them.
#pragma once

#include "buffer.h"
#include "views.h"

namespace skprune {

// A checked CSR matrix, outputs by inputs; each output's inputs grow.
struct CsrView {
    std::int64_t n_out;
    std::int64_t n_in;
    const std::int64_t* starts;
    const std::uint32_t* columns;
    const float* weights;
};

// Each owns what `point` shows to a layer's view.

struct PackedStream {
    int group = 0;
    Buffer<std::uint32_t> outputs, offsets32;
    Buffer<std::int64_t> starts;
    Buffer<float> weights;
    Buffer<std::uint16_t> offsets16;
    void pack(const CsrView& w, int group, int width);
    Stream view() const;
};

struct PackedColumns {
    Buffer<float> weights;
    Buffer<std::int64_t> starts;
    Buffer<std::uint16_t> outputs16;
    Buffer<std::uint32_t> outputs32;
    void pack(const CsrView& w);
    void point(LayerView& view) const;
};

struct PackedBlocks {
    int height;
    std::int64_t n_groups;
    Buffer<float> group_weights, input_weights;
    Buffer<std::int64_t> group_starts, input_starts;
    Buffer<std::uint32_t> outputs, group_inputs, input_groups;
    // `order` holds each output once, and n_out where a group is short of one.
    void pack(const CsrView& w, const std::uint32_t* order, std::int64_t n_groups, int height);
    void point(LayerView& view) const;
};

Buffer<float> packed_quads(const CsrView& w);
Buffer<float> packed_panels(const CsrView& w);

}  // namespace skprune
