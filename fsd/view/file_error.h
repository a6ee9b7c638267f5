#pragma once

namespace zabfs::fsd {

// How an operation on a file failed. The mount tells it as an errno, in fsd/fuse only.
enum class [[nodiscard]] FileError{
    kOk,           kNoEntry,    kExists,   kNotEmpty, kNotDirectory,  kIsDirectory,
    kNoAccess,      // the mode forbids it
    kNotPermitted,  // only the owner may
    kInvalid,      kOutOfRange, kTooLarge, kNoSpace,  kQuotaExceeded, kBusy,
    kTryAgain,     // it would have to wait
    kInterrupted,  // while it waited
    kClosed,       // while it waited
    kStale,        // the file, or the lock on it, is not the one that it was
    kReadOnly,     // there is no leader
    kUnsupported,
    kFailed,  // for another reason, or it is unknown whether it did
};

}  // namespace zabfs::fsd
