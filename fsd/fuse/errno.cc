#include "fsd/fuse/errno.h"

#include <cerrno>

namespace zabfs::fsd {

int to_errno(FileError error) {
  switch (error) {
    case FileError::kOk:
      return 0;
    case FileError::kNoEntry:
      return ENOENT;
    case FileError::kExists:
      return EEXIST;
    case FileError::kNotEmpty:
      return ENOTEMPTY;
    case FileError::kNotDirectory:
      return ENOTDIR;
    case FileError::kIsDirectory:
      return EISDIR;
    case FileError::kNoAccess:
      return EACCES;
    case FileError::kNotPermitted:
      return EPERM;
    case FileError::kInvalid:
      return EINVAL;
    case FileError::kOutOfRange:
      return ERANGE;
    case FileError::kTooLarge:
      return EFBIG;
    case FileError::kNoSpace:
      return ENOSPC;
    case FileError::kQuotaExceeded:
      return EDQUOT;
    case FileError::kBusy:
      return EBUSY;
    case FileError::kTryAgain:
      return EAGAIN;
    case FileError::kInterrupted:
      return EINTR;
    case FileError::kClosed:
      return EBADF;
    case FileError::kStale:
      return ESTALE;
    case FileError::kReadOnly:
      return EROFS;
    case FileError::kUnsupported:
      return EOPNOTSUPP;
    case FileError::kFailed:
      return EIO;
  }
  return EIO;
}

}  // namespace zabfs::fsd
