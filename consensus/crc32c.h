// CRC-32C (Castagnoli), the checksum of our files: the SSE4.2 instruction, or a table without it.
#pragma once

#include <cstdint>
#include <string_view>

namespace zabfs::consensus {

// Extends `crc` (0 to begin with) by `bytes`.
uint32_t crc32c(uint32_t crc, std::string_view bytes);

}  // namespace zabfs::consensus
