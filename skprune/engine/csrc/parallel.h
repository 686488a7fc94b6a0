// Independent chunks of work on several threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "buffer.h"

namespace skprune {

// Calls work(chunk) for every chunk in [0, n_chunks), on this thread and up to n_threads - 1 more,
// until one call returns false. Threads take the next chunk when they are free, so a slow core
// holds nobody up; which thread ran a chunk never shows in the result.
template <class Work>
bool for_chunks(std::int64_t n_chunks, int n_threads, const Work& work) {
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> good{true};
    std::atomic<bool> out_of_memory{false};
    const auto take_chunks = [&] {
        try {
            while (good.load(std::memory_order_relaxed)) {
                const std::int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
                if (chunk >= n_chunks) return;
                if (!work(chunk)) good = false;
            }
        } catch (const std::bad_alloc&) {
            out_of_memory = true;
            good = false;
        }
    };
    std::vector<std::thread> others;
    try {
        while (static_cast<std::int64_t>(others.size()) + 1 < n_threads &&
               static_cast<std::int64_t>(others.size()) + 1 < n_chunks) {
            others.emplace_back(take_chunks);
        }
    } catch (const std::exception&) {
        // No more threads to be had: those that run will do.
    }
    take_chunks();
    for (std::thread& other : others) other.join();
    if (out_of_memory) throw std::bad_alloc();
    return good;
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
