// Memory that the kernels may read in whole cache lines.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

namespace skprune {

// An owned array that starts on a cache line: alignment alone is worth up to a factor of two to the
// tile kernels. Elements are plain data and start as zeros.
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t size) : size_(size) {
        if (size > (static_cast<std::size_t>(-1) / 2 - kLine) / sizeof(T)) throw std::bad_alloc();
        // One line more than asked, so that a vector load at the last element stays inside.
        const std::size_t bytes = size * sizeof(T) + kLine;
        data_ = static_cast<T*>(::operator new(bytes, std::align_val_t{kLine}));
        std::memset(static_cast<void*>(data_), 0, bytes);
    }
    Buffer(Buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { ::operator delete(data_, std::align_val_t{kLine}); }

    T* data() const { return data_; }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) const { return data_[i]; }

private:
    static constexpr std::size_t kLine = 64;
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace skprune
