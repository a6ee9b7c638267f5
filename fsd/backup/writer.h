// Writes a backup (format.h), of a snapshot's stream that is fed in pieces: what ends with its
// sessions is left out on the way, and nothing is kept but a piece.
//
// Not thread-safe.
#pragma once

#include <zstd.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fsd/backup/format.h"
#include "tree/lasting_snapshot.h"

namespace zabfs::backup {

class BackupWriter {
 public:
  // Takes the next bytes of the file.
  using Sink = std::function<Status(std::string_view bytes)>;

  explicit BackupWriter(Sink sink);

  // First.
  Status begin(const Header& header);
  // The next bytes of the SNAP stream, with sessions and ephemerals.
  Status add(std::string_view piece);
  // Last: the stream has ended.
  Status finish();
  // Once finished.
  const Counts& counts() const { return lasting_.counts(); }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  Status compress(std::string_view bytes, ZSTD_EndDirective end);
  // Whole chunks, and at the end the rest.
  Status write_chunks(bool is_end);

  const Sink sink_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::string compressed_;  // room for what zstd gives at once
  tree::LastingSnapshot lasting_;
  std::string stream_;  // that lasts, and is in no chunk yet
};

}  // namespace zabfs::backup
