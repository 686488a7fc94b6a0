// Independent chunks of work on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>

#include "buffer.h"

namespace skprune {

// Calls task(argument) on this thread and, as far as they are free, on up to n_threads - 1 more, and
// returns when all of those calls have returned. The task must not throw.
void on_threads(int n_threads, void (*task)(void*), void* argument);

// Calls work(chunk) for every chunk in [0, n_chunks), on up to n_threads threads, until one call
// returns false. Threads take the next chunk when they are free, so a slow core holds nobody up;
// which thread ran a chunk never shows in the result.
template <class Work>
bool for_chunks(std::int64_t n_chunks, int n_threads, const Work& work) {
    struct Chunks {
        const Work& work;
        std::int64_t count;
        std::atomic<std::int64_t> next{0};
        std::atomic<bool> good{true};
        std::atomic<bool> out_of_memory{false};

        void take() {
            try {
                while (good.load(std::memory_order_relaxed)) {
                    const std::int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
                    if (chunk >= count) return;
                    if (!work(chunk)) good = false;
                }
            } catch (const std::bad_alloc&) {
                out_of_memory = true;
                good = false;
            }
        }
    };
    Chunks chunks{work, n_chunks};
    if (n_threads <= 1 || n_chunks <= 1) {
        chunks.take();
    } else {
        on_threads(static_cast<int>(std::min<std::int64_t>(n_threads, n_chunks)),
                   [](void* all) { static_cast<Chunks*>(all)->take(); }, &chunks);
    }
    if (chunks.out_of_memory) throw std::bad_alloc();
    return chunks.good;
}

// Scratch memory of this thread. What a small model needs is kept for the next call, because fresh
// pages cost more than a small batch; large amounts are given back.
class Scratch {
public:
    explicit Scratch(std::size_t n_floats) {
        constexpr std::size_t kKeep = std::size_t{1} << 22;
        if (n_floats > kKeep) {
            large_ = Buffer<float>(n_floats);
            data_ = large_.data();
            return;
        }
        thread_local Buffer<float> kept;
        if (kept.size() < n_floats) kept = Buffer<float>(n_floats);
        data_ = kept.data();
    }
    float* data() const { return data_; }

private:
    Buffer<float> large_;
    float* data_;
};

}  // namespace skprune
