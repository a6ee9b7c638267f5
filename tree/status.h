// Success, or why something failed, in words for an operator.
//
// Start-up and storage return it: reading the configuration, opening a log, binding a port. What a
// client or a program is told has codes instead: `Error` (types.h) on the wire, an errno at the
// mount.
//
//   Status status = store.open();
//   if (!status.ok()) return status;             // passes it on
//   return Status::failed("myid: not a number");  // names the file, and what to do if it helps
#pragma once

#include <string>
#include <utility>

namespace zabfs {

class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  // `why` is not empty.
  static Status failed(std::string why) {
    Status status;
    status.why_ = std::move(why);
    return status;
  }

  bool ok() const { return why_.empty(); }
  // Empty on success.
  const std::string& why() const { return why_; }

 private:
  std::string why_;
};

}  // namespace zabfs
