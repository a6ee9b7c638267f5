#include "fsd/backup/writer.h"

#include <algorithm>
#include <utility>

namespace zabfs::backup {
namespace {

constexpr int kLevel = 3;  // zstd's own choice: faster than a disk, and most of what is to be had
constexpr size_t kChunkBytes = 256u << 10;
static_assert(kChunkBytes <= kMaxChunkBytes);

}  // namespace

BackupWriter::BackupWriter(Sink sink)
    : sink_(std::move(sink)),
      context_(ZSTD_createCCtx()),
      compressed_(ZSTD_CStreamOutSize(), '\0') {}

Status BackupWriter::begin(const Header& header) {
  bool is_set =
      context_ != nullptr &&
      !ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel)) &&
      !ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1));
  if (!is_set) return Status::failed("can't begin to compress: too little memory");
  return compress(header_text(header), ZSTD_e_continue);
}

Status BackupWriter::add(std::string_view piece) {
  Status status = lasting_.feed(piece, stream_);
  return status.ok() ? write_chunks(false) : status;
}

Status BackupWriter::finish() {
  Status status = lasting_.finish();
  if (status.ok()) status = write_chunks(true);
  if (status.ok()) status = compress(length_bytes(0), ZSTD_e_continue);
  if (status.ok()) status = compress(trailer_text(lasting_.counts()), ZSTD_e_end);
  return status;
}

Status BackupWriter::write_chunks(bool is_end) {
  std::string_view left = stream_;
  while (left.size() >= kChunkBytes || (is_end && !left.empty())) {
    std::string_view chunk = left.substr(0, kChunkBytes);
    Status status = compress(length_bytes(chunk.size()), ZSTD_e_continue);
    if (status.ok()) status = compress(chunk, ZSTD_e_continue);
    if (!status.ok()) return status;
    left.remove_prefix(chunk.size());
  }
  stream_.erase(0, stream_.size() - left.size());
  return {};
}

Status BackupWriter::compress(std::string_view bytes, ZSTD_EndDirective end) {
  ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
  for (bool is_done = false; !is_done;) {
    ZSTD_outBuffer output{compressed_.data(), compressed_.size(), 0};
    size_t left = ZSTD_compressStream2(context_.get(), &output, &input, end);
    if (ZSTD_isError(left)) {
      return Status::failed(std::string("can't compress: ") + ZSTD_getErrorName(left));
    }
    if (output.pos > 0) {
      Status status = sink_(std::string_view(compressed_).substr(0, output.pos));
      if (!status.ok()) return status;
    }
    is_done = end == ZSTD_e_end ? left == 0 : input.pos == input.size;
  }
  return {};
}

}  // namespace zabfs::backup
