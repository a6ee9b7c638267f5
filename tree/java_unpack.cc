#include "tree/java_unpack.h"

#include <snappy.h>
#include <zlib.h>

#include <string>

#include "tree/jute.h"

namespace zabfs::tree {
namespace {

Status wrong_at(uint64_t offset, const std::string& what) {
  return Status::failed("offset " + std::to_string(offset) + ": " + what);
}

class Plain : public JavaUnpacker {
 public:
  Status feed(std::string_view packed, const Sink& sink) override {
    Status status;
    while (status.ok() && !packed.empty()) {
      status = sink(packed.substr(0, kUnpackedPieceBytes));
      packed.remove_prefix(std::min(packed.size(), kUnpackedPieceBytes));
    }
    return status;
  }
  Status finish() override { return {}; }
};

class Gzip : public JavaUnpacker {
 public:
  Gzip() : piece_(kUnpackedPieceBytes, '\0') {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    is_ready_ = ::inflateInit2(&stream_, kGzipOnly) == Z_OK;
  }
  ~Gzip() override {
    if (is_ready_) ::inflateEnd(&stream_);
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  Status feed(std::string_view packed, const Sink& sink) override {
    if (!is_ready_) return Status::failed("no memory to unpack gzip");
    Status status;
    while (status.ok() && !packed.empty() && !has_ended_) status = inflate(packed, sink);
    return status;
  }
  Status finish() override {
    return has_ended_ ? Status{} : wrong_at(read_, "the gzip stream is cut off");
  }

 private:
  // Takes from the front of `packed`, of which at most 4 GiB are seen.
  Status inflate(std::string_view& packed, const Sink& sink) {
    constexpr size_t kMostAtOnce = size_t{1} << 30;
    auto available = static_cast<uInt>(std::min(packed.size(), kMostAtOnce));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream_.avail_in = available;
    stream_.next_out = reinterpret_cast<Bytef*>(piece_.data());
    stream_.avail_out = static_cast<uInt>(piece_.size());
    int result = ::inflate(&stream_, Z_NO_FLUSH);
    size_t taken = available - stream_.avail_in;
    packed.remove_prefix(taken);
    read_ += taken;
    if (result != Z_OK && result != Z_STREAM_END) {
      return wrong_at(read_, "this is not what gzip packs");
    }
    has_ended_ = result == Z_STREAM_END;
    size_t unpacked = piece_.size() - stream_.avail_out;
    return unpacked == 0 ? Status{} : sink(std::string_view(piece_).substr(0, unpacked));
  }

  z_stream stream_ = {};
  std::string piece_;
  uint64_t read_ = 0;
  bool is_ready_ = false, has_ended_ = false;
};

// snappy-java's SnappyOutputStream: a header, then blocks of i32 length and so many packed bytes.
class Snappy : public JavaUnpacker {
 public:
  Status feed(std::string_view packed, const Sink& sink) override {
    pending_.append(packed);
    std::string_view left = pending_;
    Status status = has_header_ ? Status{} : take_header(left);
    bool is_whole = status.ok() && has_header_;
    while (is_whole && status.ok()) status = take_block(left, sink, is_whole);
    pending_.erase(0, pending_.size() - left.size());
    return status;
  }
  Status finish() override {
    bool is_whole = has_header_ && pending_.empty();
    return is_whole ? Status{} : wrong_at(offset_, "the snappy stream is cut off");
  }

 private:
  static constexpr std::string_view kMagic{"\x82SNAPPY\0", 8};
  static constexpr size_t kHeaderBytes = 16;  // and two i32, versions

  Status take_header(std::string_view& left) {
    if (left.size() < kHeaderBytes) return {};
    if (!left.starts_with(kMagic)) return wrong_at(0, "this is not a stream of snappy-java");
    left.remove_prefix(kHeaderBytes);
    offset_ = kHeaderBytes;
    has_header_ = true;
    return {};
  }
  Status take_block(std::string_view& left, const Sink& sink, bool& is_whole) {
    jute::Reader in(left);
    int32_t length = in.i32();
    if (in.ok() && (length <= 0 || static_cast<size_t>(length) > kUnpackedPieceBytes)) {
      return wrong_at(offset_, "a snappy block of " + std::to_string(length) + " bytes");
    }
    std::string_view block = in.take(static_cast<size_t>(length));
    is_whole = in.ok();
    if (!is_whole) return {};
    size_t size = 0;
    bool has_size = snappy::GetUncompressedLength(block.data(), block.size(), &size);
    if (!has_size || size > kUnpackedPieceBytes ||
        !snappy::Uncompress(block.data(), block.size(), &piece_)) {
      return wrong_at(offset_, "a corrupt snappy block");
    }
    left = in.rest();
    offset_ += sizeof(length) + block.size();
    return sink(piece_);
  }

  std::string pending_, piece_;
  uint64_t offset_ = 0;
  bool has_header_ = false;
};

}  // namespace

JavaPacking packing_of(std::string_view file_name) {
  if (file_name.ends_with(".gz")) return JavaPacking::kGzip;
  if (file_name.ends_with(".snappy")) return JavaPacking::kSnappy;
  return JavaPacking::kPlain;
}

std::unique_ptr<JavaUnpacker> make_unpacker(JavaPacking packing) {
  switch (packing) {
    case JavaPacking::kPlain:
      return std::make_unique<Plain>();
    case JavaPacking::kGzip:
      return std::make_unique<Gzip>();
    case JavaPacking::kSnappy:
      return std::make_unique<Snappy>();
  }
  return nullptr;
}

}  // namespace zabfs::tree
