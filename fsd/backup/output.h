// The file that a backup or an export is written to: there whole or not at all, its maker's alone
// (mode 0600), and never in the place of another one. `-` is standard output.
//
// Until it is whole it has no name; where a filesystem can't do that, it is NAME.part.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fsd/beneath.h"
#include "tree/status.h"

namespace zabfs::backup {

class Output {
 public:
  explicit Output(std::string path);
  // What was not finished is removed.
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Fails if the file is there, or standard output is a terminal.
  Status open();
  Status write(std::string_view bytes);
  // All is written: it is made durable, and gets its name.
  Status finish();
  uint64_t bytes() const { return bytes_; }  // written by `write`
  int fd() const { return file_.get(); }     // of the open file, for who writes by himself
  bool is_standard_output() const { return path_ == "-"; }

 private:
  Status open_part();
  Status give_name();
  Status failed(const char* what) const;

  const std::string path_;
  std::string name_, part_;  // in the directory; part_ is empty if there is none
  fsd::Descriptor directory_, file_;
  uint64_t bytes_ = 0;
};

}  // namespace zabfs::backup
