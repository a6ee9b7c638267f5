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
// What has a value to give returns a StatusOr of it:
//
//   StatusOr<Config> config = load_config(file);
//   if (!config.ok()) return config.status();
//   run(*config);
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

// A value, or why there is none. Without a value nothing but `ok`, `why` and `status` is called.
template <class T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(T value) : value_(std::move(value)) {}          // NOLINT: implicit on purpose
  StatusOr(Status failed) : status_(std::move(failed)) {}  // NOLINT: implicit on purpose

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // Empty if there is a value.
  const std::string& why() const { return status_.why(); }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace zabfs
