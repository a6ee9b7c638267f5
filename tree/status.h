// Success, or why something failed, in words for an operator.
//
// Start-up and storage return it: reading the configuration, opening a log, binding a port. What a
// client or a program is told has codes instead: `Error` (types.h) on the wire, an errno at the
// mount.
//
//   Status status = store.open();
//   if (!status.ok()) return status;             // passes it on
//   return Status::failed("myid: not a number");  // names the file, and what to do if it helps
//
// StatusOr is the same with a value on success:
//   StatusOr<Ensemble> read = parse(text);
//   if (!read.ok()) return read.status();
//   use(read.value());
#pragma once

#include <optional>
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

template <class T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(T value) : value_(std::move(value)) {}            // a value is a success
  StatusOr(Status failure) : status_(std::move(failure)) {}  // `failure` is not ok

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  const std::string& why() const { return status_.why(); }
  // Only if ok.
  T& value() { return *value_; }
  const T& value() const { return *value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace zabfs
