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
SKPRUNE_INLINE Floats reduced_expm1(Floats x, Ints& n) {
    const Floats magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Floats rounded = (x * 1.44269504f + magic) - magic;
    n = __builtin_convertvector(rounded, Ints);
    // ln 2 in two parts, the first short enough that its product with n is exact
    const Floats r = (x - rounded * 0.693359375f) + rounded * 2.12194440e-4f;
    // Taylor's series; what it leaves out is below 1e-8 of exp(r).
    Floats p = broadcast(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    return (p * r) * r + r;
}

SKPRUNE_INLINE Floats power_of_two(Ints n) { return reinterpret_cast<Floats>((n + 127) << 23); }

SKPRUNE_INLINE Floats exp(Floats x) {
    const Floats inside = x > kExpHigh ? broadcast(kExpHigh) : x < kExpLow ? broadcast(kExpLow) : x;
    Ints n;
    const Floats tail = reduced_expm1(inside, n);
    // In two steps, because 2^128 is no float although exp(88.7) is.
    const Ints half = n >> 1;
    const Floats y = (tail + 1.0f) * power_of_two(half) * power_of_two(n - half);
    return x < kExpLow ? Floats{} : y;
}

// For x <= 40, where no step can overflow.
SKPRUNE_INLINE Floats expm1(Floats x) {
    const Floats inside = x < kExpLow ? broadcast(kExpLow) : x;
    Ints n;
    const Floats tail = reduced_expm1(inside, n);
    const Floats scale = power_of_two(n);
    return tail * scale + (scale - 1.0f);
}

// NaN compares as false, so here and below it stays NaN.
SKPRUNE_INLINE Floats relu(Floats x) { return x < 0.0f ? Floats{} : x; }

SKPRUNE_INLINE Floats leaky_relu(Floats x, float alpha) { return x < 0.0f ? x * alpha : x; }

SKPRUNE_INLINE Floats sigmoid(Floats x) { return 1.0f / (exp(-x) + 1.0f); }

SKPRUNE_INLINE Floats tanh(Floats x) {
    const Floats size = x < 0.0f ? -x : x;
    // Beyond 10 the float nearest to tanh is 1.
    const Floats t = expm1(2.0f * (size > 10.0f ? broadcast(10.0f) : size));
    const Floats y = t / (t + 2.0f);
    return x < 0.0f ? -y : y;
}

SKPRUNE_INLINE Floats elu(Floats x, float alpha) {
    return x < 0.0f ? alpha * expm1(x < 0.0f ? x : Floats{}) : x;
}

// x Phi(x), with the normal tail Phi(-|x|) = exp(-x^2 / 2) p(t), t = 1 / (1 + 0.45 |x| / sqrt(2)).
// p is our least-squares fit to half of scipy.special.erfcx, good to 1e-9 after the exponential.
// Working with the tail loses nothing to cancellation where x is very negative.
SKPRUNE_INLINE Floats gelu(Floats x) {
    const Floats size = x < 0.0f ? -x : x;
    const Floats t = 1.0f / (size * (0.45f * 0.707106781f) + 1.0f);
    Floats p = broadcast(0.0463413148f);
    p = p * t - 0.247330848f;
    p = p * t + 0.429153136f;
    p = p * t - 0.188517507f;
    p = p * t + 0.230457876f;
    p = p * t + 0.100385379f;
    p = p * t + 0.12951065f;
    const Floats tail = p * t * exp(size * size * -0.5f);
    return x < 0.0f ? x * tail : x - x * tail;
}

// 0.5 x (1 + tanh(u)) is x sigmoid(2 u).
SKPRUNE_INLINE Floats gelu_tanh(Floats x) {
    const Floats u = 0.797884561f * (x + 0.044715f * x * x * x);
    return x * sigmoid(2.0f * u);
}

// One aligned array of whole vectors, in place. Softmax looks across outputs and is not here.
// Never inlined: all that code inside the kernels' loops would cost them registers.
[[gnu::noinline]] inline void activate(float* x, std::int64_t n, Activation activation,
                                       float alpha) {
    const auto each = [x, n](auto f) {
        for (std::int64_t i = 0; i < n; i += kLanes) store(x + i, f(load(x + i)));
    };
    switch (activation) {
        case Activation::relu: return each([](Floats z) { return relu(z); });
        case Activation::leaky_relu:
            return each([alpha](Floats z) { return leaky_relu(z, alpha); });
        case Activation::elu: return each([alpha](Floats z) { return elu(z, alpha); });
        case Activation::gelu: return each([](Floats z) { return gelu(z); });
        case Activation::gelu_tanh: return each([](Floats z) { return gelu_tanh(z); });
        case Activation::tanh: return each([](Floats z) { return tanh(z); });
        case Activation::sigmoid: return each([](Floats z) { return sigmoid(z); });
        case Activation::identity:
        case Activation::softmax:
        case Activation::log_softmax: return;
    }
}

// Softmax down the columns of a tile, or its logarithm.
template <int W>
void softmax_tile(float* x, std::int64_t n, bool logarithm) {
    for (int c = 0; c < W; c += kLanes) {
        Floats top = load(x + c);
        for (std::int64_t i = 1; i < n; ++i) {
            const Floats z = load(x + i * W + c);
            top = z < top ? top : z;
        }
        Floats sum{};
        for (std::int64_t i = 0; i < n; ++i) {
            const Floats e = exp(load(x + i * W + c) - top);
            sum += e;
            if (!logarithm) store(x + i * W + c, e);
        }
        if (logarithm) {
            // Not top + log(sum) in one: beside large logits the logarithm would vanish.
            for (int k = 0; k < kLanes; ++k) sum[k] = std::log(sum[k]);
            for (std::int64_t i = 0; i < n; ++i) {
                store(x + i * W + c, (load(x + i * W + c) - top) - sum);
            }
        } else {
            const Floats scale = 1.0f / sum;
            for (std::int64_t i = 0; i < n; ++i) {
                store(x + i * W + c, load(x + i * W + c) * scale);
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
        const Floats e = exp(load(x + i) - top);
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
