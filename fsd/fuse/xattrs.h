// Extended attributes: a znode's Stat, whether there is a leader (of the root), and until when what
// an open file of the control room holds is held. All are read-only. Thread-safe.
#pragma once

#include <string_view>

#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/request.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"

namespace zabfs::fsd {

class Xattrs {
 public:
  Xattrs(const NodeReader& reader, const Writer& writer, const ClientSession& session)
      : reader_(reader), writer_(writer), session_(session) {}

  void get(const RequestPtr& request, KernelNode id, std::string_view name, size_t size) const;
  void list(const RequestPtr& request, KernelNode id, size_t size) const;

 private:
  const NodeReader& reader_;
  const Writer& writer_;
  const ClientSession& session_;
};

}  // namespace zabfs::fsd
