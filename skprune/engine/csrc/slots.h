// Where the columns that splits read stand in a tile of sparse rows.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "views.h"

namespace skprune {

// Owns what `view` shows. Made without columns, it says that rows are dense.
class SlotMap {
public:
    SlotMap(const std::uint32_t* columns, std::int64_t n_slots, std::int64_t n_features)
        : n_slots_(n_slots) {
        if (n_slots == 0) return;
        const auto unread = static_cast<std::uint32_t>(n_slots);
        of_.assign(n_features, unread);
        for (std::int64_t s = 0; s < n_slots; ++s) {
            if (columns[s] >= n_features || of_[columns[s]] != unread) {
                throw std::invalid_argument("columns must be different columns of X");
            }
            of_[columns[s]] = static_cast<std::uint32_t>(s);
        }
    }

    // Columns that a split may name.
    std::int64_t width(std::int64_t n_features) const { return n_slots_ ? n_slots_ : n_features; }

    Slots view() const {
        if (n_slots_ == 0) return {nullptr, 0, 0, 0};
        // An odd number of cache lines, or all rows would compete for the same few places of it.
        constexpr std::int64_t kLine = 16;
        const std::int64_t stride = ((n_slots_ / kLine + 1) | 1) * kLine;
        return {of_.data(), static_cast<std::uint32_t>(n_slots_), stride,
                std::clamp(kTileFloats / stride, std::int64_t{8}, kSlotRows)};
    }

private:
    static constexpr std::int64_t kTileFloats = std::int64_t{1} << 19;  // 2 MB
    std::int64_t n_slots_;
    std::vector<std::uint32_t> of_;
};

}  // namespace skprune
