// Errors as the kernel is told them.
#pragma once

#include "fsd/view/file_error.h"

namespace zabfs::fsd {

int to_errno(FileError error);

}  // namespace zabfs::fsd
