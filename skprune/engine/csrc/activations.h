// Activations on vectors: polynomials with a relative error of about 1e-7.
#pragma once

#include <cmath>

#include "simd.h"
#include "views.h"

namespace skprune::SKPRUNE_ISA {

// Where exp leaves the normal floats.
constexpr float kExpLow = -87.3f;
constexpr float kExpHigh = 88.8f;

// x = n ln 2 + r with |r| <= ln 2 / 2; returns n and exp(r) - 1.
template <class F>
SKPRUNE_INLINE F reduced_expm1(F x, IntsLike<F>& n) {
    const F magic = broadcast<F>(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const F rounded = (x * 1.44269504f + magic) - magic;
    n = __builtin_convertvector(rounded, IntsLike<F>);
    // ln 2 in two parts, the first short enough that its product with n is exact
    const F r = (x - rounded * 0.693359375f) + rounded * 2.12194440e-4f;
    // Taylor's series; what it leaves out is below 1e-8 of exp(r).
    F p = broadcast<F>(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    return (p * r) * r + r;
}

template <class F>
SKPRUNE_INLINE F power_of_two(IntsLike<F> n) {
    return reinterpret_cast<F>((n + 127) << 23);
}

template <class F>
SKPRUNE_INLINE F exp(F x) {
    const F inside = x > kExpHigh ? broadcast<F>(kExpHigh) : x < kExpLow ? broadcast<F>(kExpLow) : x;
    IntsLike<F> n;
    const F tail = reduced_expm1(inside, n);
    // In two steps, because 2^128 is no float although exp(88.7) is.
    const IntsLike<F> half = n >> 1;
    const F y = (tail + 1.0f) * power_of_two<F>(half) * power_of_two<F>(n - half);
    return x < kExpLow ? F{} : y;
}

// For x <= 40, where no step can overflow.
template <class F>
SKPRUNE_INLINE F expm1(F x) {
    const F inside = x < kExpLow ? broadcast<F>(kExpLow) : x;
    IntsLike<F> n;
    const F tail = reduced_expm1(inside, n);
    const F scale = power_of_two<F>(n);
    return tail * scale + (scale - 1.0f);
}

// NaN compares as false, so here and below it stays NaN.
template <class F>
SKPRUNE_INLINE F relu(F x) { return x < 0.0f ? F{} : x; }

template <class F>
SKPRUNE_INLINE F leaky_relu(F x, float alpha) { return x < 0.0f ? x * alpha : x; }

template <class F>
SKPRUNE_INLINE F sigmoid(F x) { return 1.0f / (exp(-x) + 1.0f); }

template <class F>
SKPRUNE_INLINE F tanh(F x) {
    const F size = x < 0.0f ? -x : x;
    // Beyond 10 the float nearest to tanh is 1.
    const F t = expm1(2.0f * (size > 10.0f ? broadcast<F>(10.0f) : size));
    const F y = t / (t + 2.0f);
    return x < 0.0f ? -y : y;
}

template <class F>
SKPRUNE_INLINE F elu(F x, float alpha) {
    return x < 0.0f ? alpha * expm1(x < 0.0f ? x : F{}) : x;
}

// x Phi(x), with the normal tail Phi(-|x|) = exp(-x^2 / 2) p(t), t = 1 / (1 + 0.45 |x| / sqrt(2)).
// p is our least-squares fit to half of scipy.special.erfcx, good to 1e-9 after the exponential.
// Working with the tail loses nothing to cancellation where x is very negative.
template <class F>
SKPRUNE_INLINE F gelu(F x) {
    const F size = x < 0.0f ? -x : x;
    const F t = 1.0f / (size * (0.45f * 0.707106781f) + 1.0f);
    F p = broadcast<F>(0.0463413148f);
    p = p * t - 0.247330848f;
    p = p * t + 0.429153136f;
    p = p * t - 0.188517507f;
    p = p * t + 0.230457876f;
    p = p * t + 0.100385379f;
    p = p * t + 0.12951065f;
    const F tail = p * t * exp(size * size * -0.5f);
    return x < 0.0f ? x * tail : x - x * tail;
}

// 0.5 x (1 + tanh(u)) is x sigmoid(2 u).
template <class F>
SKPRUNE_INLINE F gelu_tanh(F x) {
    const F u = 0.797884561f * (x + 0.044715f * x * x * x);
    return x * sigmoid(2.0f * u);
}

// One aligned array of whole vectors, in place. Softmax looks across outputs and is not here.
// Never inlined: all that code inside the kernels' loops would cost them registers.
template <class F>
[[gnu::noinline]] void activate(float* x, std::int64_t n, Activation activation, float alpha) {
    const auto each = [x, n](auto f) {
        for (std::int64_t i = 0; i < n; i += kLanesOf<F>) store(x + i, f(load<F>(x + i)));
    };
    switch (activation) {
        case Activation::relu: return each([](F z) { return relu(z); });
        case Activation::leaky_relu:
            return each([alpha](F z) { return leaky_relu(z, alpha); });
        case Activation::elu: return each([alpha](F z) { return elu(z, alpha); });
        case Activation::gelu: return each([](F z) { return gelu(z); });
        case Activation::gelu_tanh: return each([](F z) { return gelu_tanh(z); });
        case Activation::tanh: return each([](F z) { return tanh(z); });
        case Activation::sigmoid: return each([](F z) { return sigmoid(z); });
        case Activation::identity:
        case Activation::softmax:
        case Activation::log_softmax: return;
    }
}

// Softmax down the columns of a tile, or its logarithm.
template <int W>
void softmax_tile(float* x, std::int64_t n, bool logarithm) {
    using F = TileFloats<W>;
    for (int c = 0; c < W; c += kLanesOf<F>) {
        F top = load<F>(x + c);
        for (std::int64_t i = 1; i < n; ++i) {
            const F z = load<F>(x + i * W + c);
            top = z < top ? top : z;
        }
        F sum{};
        for (std::int64_t i = 0; i < n; ++i) {
            const F e = exp(load<F>(x + i * W + c) - top);
            sum += e;
            if (!logarithm) store(x + i * W + c, e);
        }
        if (logarithm) {
            // Not top + log(sum) in one: beside large logits the logarithm would vanish.
            for (int k = 0; k < kLanesOf<F>; ++k) sum[k] = std::log(sum[k]);
            for (std::int64_t i = 0; i < n; ++i) {
                store(x + i * W + c, (load<F>(x + i * W + c) - top) - sum);
            }
        } else {
            const F scale = 1.0f / sum;
            for (std::int64_t i = 0; i < n; ++i) {
                store(x + i * W + c, load<F>(x + i * W + c) * scale);
            }
        }
    }
}

// Softmax of a lone row of n values, padded to whole vectors.
inline void softmax_row(float* x, std::int64_t n, bool logarithm) {
    float top = x[0];
    for (std::int64_t i = 1; i < n; ++i) top = x[i] < top ? top : x[i];
    float sum = 0;
    for (std::int64_t i = 0; i < n; i += kLanes) {
        const Floats e = exp(load<Floats>(x + i) - top);
        for (int k = 0; k < kLanes && i + k < n; ++k) sum += e[k];
        if (!logarithm) store(x + i, e);
    }
    if (logarithm) {
        const float log_sum = std::log(sum);
        for (std::int64_t i = 0; i < n; ++i) x[i] = (x[i] - top) - log_sum;
    } else {
        const float scale = 1.0f / sum;
        for (std::int64_t i = 0; i < n; ++i) x[i] *= scale;
    }
}

}  // namespace skprune::SKPRUNE_ISA
