// Lone rows. Inputs that are zero, as pixels and ReLU outputs often are, are skipped where it pays.
//
// A sparse layer has its non-zeros twice, and the row decides: by columns the zeros cost nothing,
// by outputs a non-zero costs less; they break even where half (98% sparsity) to three quarters
// (90%) of the inputs are not zero. A dense layer goes by columns, which costs it nothing.
#pragma once

#include "activations.h"
#include "copy_in.h"
#include "sparse_sums.h"

namespace skprune::SKPRUNE_ISA {

// The inputs of a layer that are not zero.
struct Active {
    std::uint32_t* index;
    float* value;
    std::int64_t count;
};

#if defined(__AVX2__)
// For each set of lanes: these lanes, in order, then anything. Made once; a byte a lane.
struct LaneTable {
    std::uint64_t lanes[256];
    LaneTable() {
        for (int set = 0; set < 256; ++set) {
            lanes[set] = 0;
            int n = 0;
            for (int lane = 0; lane < 8; ++lane) {
                if (set >> lane & 1) lanes[set] |= std::uint64_t(lane) << 8 * n++;
            }
        }
    }
};

// Eight at a time: those that are not zero move to the front, and the next eight overwrite the rest.
// `x` is padded to whole lines with anything, and so are the lists.
inline void find_active(const float* x, std::int64_t n, Active& active) {
    static const LaneTable table;
    std::int64_t count = 0;
    for (std::int64_t j = 0; j < n; j += 8) {
        const __m256 values = _mm256_load_ps(x + j);
        // not equal, or not comparable: NaN is no zero
        const __m256 is_active = _mm256_cmp_ps(values, _mm256_setzero_ps(), _CMP_NEQ_UQ);
        unsigned set = static_cast<unsigned>(_mm256_movemask_ps(is_active));
        if (n - j < 8) set &= (1u << (n - j)) - 1;
        const __m256i lanes = _mm256_cvtepu8_epi32(
            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(&table.lanes[set])));
        const __m256i index = _mm256_add_epi32(lanes, _mm256_set1_epi32(static_cast<int>(j)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(active.index + count), index);
        _mm256_storeu_ps(active.value + count, _mm256_permutevar8x32_ps(values, lanes));
        count += __builtin_popcount(set);
    }
    active.count = count;
}
#else
// Write, then count or not: no branch that random zeros would mislead.
inline void find_active(const float* x, std::int64_t n, Active& active) {
    std::int64_t count = 0;
    for (std::int64_t j = 0; j < n; ++j) {
        active.index[count] = static_cast<std::uint32_t>(j);
        active.value[count] = x[j];
        count += x[j] != 0.0f;
    }
    active.count = count;
}
#endif

template <class Index>
void add_columns(const LayerView& layer, const Index* outputs, const Active& active, float* out) {
    for (std::int64_t a = 0; a < active.count; ++a) {
        const float x = active.value[a];
        const std::int64_t* start = layer.column_starts + active.index[a];
        const std::int64_t end = start[1];
        std::int64_t i = start[0];
        // The outputs of a column differ, which the compiler cannot know: load four, then store.
        for (; i + 4 <= end; i += 4) {
            float* to[4];
            float sum[4];
            for (int k = 0; k < 4; ++k) to[k] = out + outputs[i + k];
            for (int k = 0; k < 4; ++k) sum[k] = *to[k] + layer.column_weights[i + k] * x;
            for (int k = 0; k < 4; ++k) *to[k] = sum[k];
        }
        for (; i < end; ++i) out[outputs[i]] += layer.column_weights[i] * x;
    }
}

inline void sum_outputs_of_row(const LayerView& layer, const Stream& stream, float* in,
                               float* out) {
    in[layer.n_in] = 0;
    const auto start = [&layer](std::uint32_t output, float (&sum)[1]) SKPRUNE_ALWAYS_INLINE {
        sum[0] = layer.bias[output];
    };
    const auto done = [out](const auto& sums, const std::uint32_t* outputs) SKPRUNE_ALWAYS_INLINE {
        for (int k = 0; k < RowSums::kGroup; ++k) out[outputs[k]] = sums[k][0];
    };
    if (stream.offsets16) {
        sum_stream<RowSums>(stream, stream.offsets16, in, start, done);
    } else {
        sum_stream<RowSums>(stream, stream.offsets32, in, start, done);
    }
}

// H outputs of a group side by side: a block is one multiply-add of vectors.
template <int H>
void add_blocks(const LayerView& layer, const Active& active, float* sums, float* out) {
    typedef float Group __attribute__((vector_size(H * 4), aligned(16), may_alias));
    const Blocks& blocks = layer.blocks;
    const std::int64_t n = blocks.n_groups * H;
    for (std::int64_t i = 0; i < n; ++i) sums[i] = out[blocks.outputs[i]];
    for (std::int64_t a = 0; a < active.count; ++a) {
        const float x = active.value[a];
        const std::int64_t* start = blocks.input_starts + active.index[a];
        for (std::int64_t b = start[0]; b < start[1]; ++b) {
            const std::size_t group = blocks.input_groups[b];
            Group& sum = *reinterpret_cast<Group*>(sums + group * H);
            sum += x * *reinterpret_cast<const Group*>(blocks.input_weights + b * H);
        }
    }
    for (std::int64_t i = 0; i < n; ++i) out[blocks.outputs[i]] = sums[i];
}

// N outputs of a panel whose inputs lie `stride` floats apart. Each output is one sum over the inputs
// in order, as in a tile: a narrow panel could keep several sums in flight, but a row would then
// depend, in its last bit, on how many others it came with.
template <int N>
void add_panel(const float* panel, int stride, const Active& active, float* out) {
    constexpr int kAcross = N / kLanes;
    Floats sums[kAcross];
#pragma GCC unroll 8
    for (int v = 0; v < kAcross; ++v) sums[v] = load<Floats>(out + v * kLanes);
    for (std::int64_t a = 0; a < active.count; ++a) {
        const float* weights = panel + static_cast<std::int64_t>(active.index[a]) * stride;
        const Floats x = broadcast<Floats>(active.value[a]);
#pragma GCC unroll 8
        for (int v = 0; v < kAcross; ++v) sums[v] += x * load<Floats>(weights + v * kLanes);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kAcross; ++v) store(out + v * kLanes, sums[v]);
}

inline void add_panels(const LayerView& layer, const Active& active, float* out) {
    // No wider than the registers hold.
    constexpr int kWidest = 8 * kLanes < kPanel ? 8 * kLanes : kPanel;
    const std::int64_t n_padded = (layer.n_out + kPad - 1) / kPad * kPad;
    std::int64_t o = 0;
    for (; o + kPanel <= n_padded; o += kPanel) {
        const float* panel = layer.panels + o * layer.n_in;
        for (int part = 0; part < kPanel; part += kWidest) {
            add_panel<kWidest>(panel + part, kPanel, active, out + o + part);
        }
    }
    if (o + 32 <= n_padded) {
        add_panel<32>(layer.panels + o * layer.n_in, 32, active, out + o);
        o += 32;
    }
    if (o < n_padded) add_panel<16>(layer.panels + o * layer.n_in, 16, active, out + o);
}

// `sums` is room for another row of outputs.
inline void run_row_layer(const LayerView& layer, float* in, Active& active, float* sums,
                          float* out) {
    const std::int64_t n_padded = (layer.n_out + kPad - 1) / kPad * kPad;
    std::memcpy(out, layer.bias, n_padded * sizeof(float));
    find_active(in, layer.n_in, active);
    if (layer.layout[0] == Layout::dense) {
        add_panels(layer, active, out);
    } else if (layer.layout[0] == Layout::blocks) {
        (layer.blocks.height == kQuad ? add_blocks<kQuad> : add_blocks<2 * kQuad>)(layer, active,
                                                                                  sums, out);
    } else if (layer.streams[kRowShape].group && 5 * active.count > 3 * layer.n_in) {
        sum_outputs_of_row(layer, layer.streams[kRowShape], in, out);
    } else if (layer.column_outputs16) {
        add_columns(layer, layer.column_outputs16, active, out);
    } else {
        add_columns(layer, layer.column_outputs32, active, out);
    }
    if (layer.activation >= Activation::softmax) {
        softmax_row(out, layer.n_out, layer.activation == Activation::log_softmax);
    } else {
        activate<Floats>(out, n_padded, layer.activation, layer.alpha);
    }
}

inline bool run_row(const NetworkView& network, const MatrixView& X, std::int64_t row, int depth,
                    float* out, float* scratch) {
    const std::int64_t stride = network.max_width;
    Active active{reinterpret_cast<std::uint32_t*>(scratch + 2 * stride), scratch + 3 * stride, 0};
    float* here = scratch;
    float* next = scratch + stride;
    if (!copy_inputs<1>(network, X, row, 1, here)) return false;
    std::int64_t width = 0;
    for (int i = 0; i < depth; ++i) {
        run_row_layer(network.layers[i], here, active, scratch + 4 * stride, next);
        std::swap(here, next);
        width = network.layers[i].n_out;
    }
    std::memcpy(out + row * width, here, width * sizeof(float));
    return true;
}

}  // namespace skprune::SKPRUNE_ISA
