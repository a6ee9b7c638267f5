// Extended attributes: a znode's Stat, whether there is a leader, and until when what
// an open file of the control room holds is held. All are read-only. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/request.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"

namespace zabfs::fsd {

// Answers a getxattr that has room for `size` bytes; with 0 it only asks for the size.
void reply_value(const RequestPtr& request, const std::string& value, size_t size);

class Xattrs {
 public:
  Xattrs(const NodeReader& reader, const Writer& writer, const ClientSession& session)
      : reader_(reader), writer_(writer), session_(session) {}

  void get(const RequestPtr& request, KernelNode id, std::string_view name, size_t size) const;
  // None are listed: programs that copy files would copy them, and can't write them.
  static void list(const RequestPtr& request, size_t size);

 private:
  const NodeReader& reader_;
  const Writer& writer_;
  const ClientSession& session_;
};

}  // namespace zabfs::fsd
