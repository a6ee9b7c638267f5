// The snapshot that a backup is made of: a file of a node that runs, or the data of a stopped one.
//
// Root reads what belongs to the node's user: the file is opened once, no symlink is followed, and
// a file that is not a snapshot of that zxid is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "consensus/disk.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::backup {

// An open file to read. A failure names the file.
StatusOr<std::unique_ptr<consensus::File>> open_to_read(const std::string& path);

// Gives the pieces of the SNAP stream that is in the snapshot's file, in order; each with how far
// it is in the file.
using TakePiece = std::function<Status(std::string_view piece, uint64_t offset)>;
Status read_snapshot(std::unique_ptr<consensus::File> file, const std::string& path,
                     tree::Zxid zxid, const TakePiece& take);

// Of the machine. A tree that is read has no more bytes: it would not fit.
uint64_t memory_bytes();

}  // namespace zabfs::backup
