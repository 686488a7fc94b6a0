// The most multiply-adds that one core makes: nothing but them, all operands in registers.
//
//     c++ -O3 -march=native -shared -fPIC fma_peak.cpp -o fma_peak.so

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

// GCC's and Clang's vectors: a * b + c contracts to one instruction where the processor has it.
typedef float Vector __attribute__((vector_size(LANES * sizeof(float))));

// Two units of latency 4 or 5 take 8 to 10 independent sums to fill; with the two factors, twelve
// fit into sixteen registers.
#define EACH_SUM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
constexpr int SUMS = 12;

// Returns floating-point operations, two a multiply-add. What the sums come to goes to `result`, so
// that the loop cannot be dropped; `start` is not known before it runs, so neither can it be
// computed ahead.
extern "C" double fma_peak(long rounds, float start, float* result) {
    const Vector factor = start * 0.5f + Vector{};  // sums tend to 2 * term: neither 0 nor infinite
    const Vector term = start + Vector{};
#define BEGIN(i) Vector sum##i = term * float(i + 1);
    EACH_SUM(BEGIN)
    for (long round = 0; round < rounds; ++round) {
#define STEP(i) sum##i = sum##i * factor + term;
        EACH_SUM(STEP)
    }
    Vector total = Vector{};
#define ADD(i) total += sum##i;
    EACH_SUM(ADD)
    for (int lane = 0; lane < LANES; ++lane) result[lane] = total[lane];
    return 2.0 * LANES * SUMS * double(rounds);
}
