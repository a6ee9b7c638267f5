#include "fsd/backup/reader.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <utility>

namespace zabfs::backup {

using tree::SnapshotLoader;

Status ContentReader::feed(std::string_view bytes) {
  bytes_ += bytes.size();
  if (bytes_ > max_bytes_) {
    return Status::failed(fmt::format(
        "its content is more than {} bytes, which is what this machine's memory could hold",
        max_bytes_));
  }
  pending_.append(bytes);
  std::string_view input = pending_;
  while (true) {
    StatusOr<bool> is_taken = take_part(input);
    if (!is_taken.ok()) return is_taken.status();
    if (!*is_taken) break;
  }
  pending_.erase(0, pending_.size() - input.size());
  return {};
}

StatusOr<bool> ContentReader::take_part(std::string_view& input) {
  switch (section_) {
    case Section::kHeader:
      return take_header(input);
    case Section::kLength: {
      if (input.size() < kLengthBytes) return false;
      chunk_bytes_ = length_at(input);
      if (chunk_bytes_ > kMaxChunkBytes) return Status::failed("a chunk of the tree is too long");
      input.remove_prefix(kLengthBytes);
      section_ = chunk_bytes_ == 0 ? Section::kTrailer : Section::kChunk;
      return true;
    }
    case Section::kChunk: {
      if (input.size() < chunk_bytes_) return false;
      Status status = take_chunk(input.substr(0, chunk_bytes_));
      if (!status.ok()) return status;
      input.remove_prefix(chunk_bytes_);
      section_ = Section::kLength;
      return true;
    }
    case Section::kTrailer:
      return take_trailer(input);
    case Section::kEnd:
      if (!input.empty()) return Status::failed("there is more behind its end");
      return false;
  }
  return false;
}

StatusOr<bool> ContentReader::take_header(std::string_view& input) {
  constexpr std::string_view kKind = kFirstLine.substr(0, kFirstLine.find(' ') + 1);
  std::string_view first = input.substr(0, kFirstLine.size());
  if (first != kFirstLine.substr(0, first.size())) {
    return Status::failed(input.starts_with(kKind) ? "it was written by a later zabfs"
                                                   : "this is no backup of zabfs's");
  }
  size_t end = input.find("\n\n");
  if (end > kMaxHeaderBytes && input.size() > kMaxHeaderBytes) {
    return Status::failed("its header is too long");
  }
  if (end == std::string_view::npos) return false;
  StatusOr<Header> header =
      parse_header(input.substr(kFirstLine.size(), end + 1 - kFirstLine.size()));
  if (!header.ok()) return Status::failed("header: " + header.why());
  header_ = std::move(*header);
  input.remove_prefix(end + 2);
  section_ = Section::kLength;
  return true;
}

StatusOr<bool> ContentReader::take_trailer(std::string_view& input) {
  const std::string last = "\n" + std::string(kLastLine);
  size_t end = input.find(last);
  if (end == std::string_view::npos) {
    if (input.size() > kMaxTrailerBytes) return Status::failed("its trailer is too long");
    return false;
  }
  StatusOr<Counts> told = parse_trailer(input.substr(0, end + 1));
  if (!told.ok()) return Status::failed("trailer: " + told.why());
  told_ = *told;
  input.remove_prefix(end + last.size());
  section_ = Section::kEnd;
  return true;
}

Status ContentReader::take_chunk(std::string_view chunk) {
  ignored_.clear();
  Status status = lasting_.feed(chunk, ignored_);
  return status.ok() ? take_tree(chunk) : status;
}

Status ContentReader::take_tree(std::string_view chunk) {
  of_tree_.append(chunk);
  std::string_view input = of_tree_;
  bool is_good = true;
  if (!has_tree_) {
    SnapshotLoader::State state = loader_.feed(input);
    has_tree_ = state == SnapshotLoader::State::kDone;
    is_good = state != SnapshotLoader::State::kBad;
  }
  if (has_tree_) is_good = loader_.feed_times(input) == SnapshotLoader::State::kMore;
  of_tree_.erase(0, of_tree_.size() - input.size());
  return is_good ? Status{} : Status::failed("its tree is damaged");
}

StatusOr<Backup> ContentReader::finish() {
  if (section_ != Section::kEnd) return Status::failed("it is cut short");
  Status status = lasting_.finish();
  if (!status.ok()) return status;
  if (!has_tree_ || !of_tree_.empty()) return Status::failed("its tree is not whole");
  Backup backup;
  backup.header = std::move(header_);
  backup.counts = told_;
  const Counts& is = lasting_.counts();
  if (is.sessions != 0 || is.ephemerals != 0) {
    return Status::failed("its tree has sessions or ephemerals");
  }
  int64_t digest = is.digest;
  backup.tree = loader_.finish(backup.header.zxid);
  bool is_told = is.znodes == told_.znodes && is.data_bytes == told_.data_bytes &&
                 digest == told_.digest && backup.tree->digest() == digest;
  if (is_told) return backup;
  return Status::failed(fmt::format(
      "its tree has {} znodes, {} bytes and digest {}, and it should have {}, {} and {}", is.znodes,
      is.data_bytes, digest, told_.znodes, told_.data_bytes, told_.digest));
}

StatusOr<Backup> read_backup(const Source& source, uint64_t max_content_bytes) {
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (!context ||
      ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kMaxWindowLog))) {
    return Status::failed("can't begin to unpack: too little memory");
  }
  ContentReader content(max_content_bytes);
  std::string unpacked(ZSTD_DStreamOutSize(), '\0');
  uint64_t offset = 0;  // of what the source gave last
  bool has_ended = false;
  while (true) {
    StatusOr<std::string_view> bytes = source();
    if (!bytes.ok()) return bytes.status();
    if (bytes->empty()) break;
    ZSTD_inBuffer input{bytes->data(), bytes->size(), 0};
    auto wrong = [&](const std::string& what) {
      return Status::failed(fmt::format("byte {}: {}", offset + input.pos, what));
    };
    bool is_full = false;  // then there may be more that was unpacked already
    while (input.pos < input.size || is_full) {
      if (has_ended) return wrong("there is more behind its end");
      ZSTD_outBuffer output{unpacked.data(), unpacked.size(), 0};
      size_t left = ZSTD_decompressStream(context.get(), &output, &input);
      if (ZSTD_isError(left)) {
        return wrong(fmt::format("it is damaged, or no backup ({})", ZSTD_getErrorName(left)));
      }
      is_full = output.pos == output.size && left != 0;
      has_ended = left == 0;
      Status status = content.feed(std::string_view(unpacked).substr(0, output.pos));
      if (!status.ok()) return wrong(status.why());
    }
    offset += input.pos;
  }
  if (!has_ended) return Status::failed(fmt::format("it is cut short: it ends at byte {}", offset));
  return content.finish();
}

}  // namespace zabfs::backup
