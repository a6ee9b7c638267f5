// The past as files: `@/history/NAME/ZXID`, `@/at/WHEN/...`, `@/at/WHEN.export` and `@/changes`
// (DESIGN.md, "The past").
//
// Nothing in there can be written. What a file or directory was is shown with the mode and the
// owner that it had, so the kernel checks who could read it then. Whether he may now is checked
// here, when it is opened, listed or looked up (fsd/history/access.h).
//
// Requests come on FUSE workers. Those whose answer is at hand are answered there. Others wait for
// the thread of `Past`, which answers them. Nothing waits on a FUSE worker, and nothing here is on
// the strand. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "consensus/service.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/request.h"
#include "fsd/history/past.h"
#include "fsd/transfer/subtree.h"

namespace zabfs::fsd {

class PastFiles {
 public:
  PastFiles(consensus::Service& service, Past& past, NodeTable& nodes, const NodeReader& reader,
            NodeAnswers& answers, HandleNumbers& numbers, ViewOptions options)
      : service_(service),
        past_(past),
        nodes_(nodes),
        reader_(reader),
        answers_(answers),
        numbers_(numbers),
        options_(options) {}

  // Nodes of the past (`is_of_the_past`).
  void look_up(const RequestPtr& request, const Node& parent, const std::string& name);
  void attributes(const RequestPtr& request, const Node& node);
  void link(const RequestPtr& request, const Node& node);
  void attribute(const RequestPtr& request, const Node& node, const std::string& name, size_t size);
  void open(const RequestPtr& request, const Node& node, fuse_file_info info);
  void open_directory(const RequestPtr& request, const Node& node, fuse_file_info info);

  // These are false for a handle that is none of the past.
  bool read(const RequestPtr& request, uint64_t handle, size_t size, off_t offset);
  bool read_directory(const RequestPtr& request, uint64_t handle, size_t size, off_t offset);
  bool close(uint64_t handle) { return files_.take(handle) || listings_.take(handle); }

 private:
  static constexpr int kMaxExports = 4;  // at a time: each holds what it is of
  // A file as it was.
  struct Shown {
    struct stat st = {};
    std::string path;    // of what it is of
    std::string target;  // of a symbolic link
    bool may_read = false;
    bool has_data = true;
    tree::Bytes data;
    std::shared_ptr<const FileVersion> version;  // of kVersion
  };
  using ShownAnswer = std::function<void(int error, const Shown& shown)>;
  struct File {
    std::string text;  // of `@/changes`
    tree::Bytes data;
    std::shared_ptr<const Subtree> subtree = nullptr;  // of `@/at/WHEN.export`
    std::shared_ptr<void> turn = nullptr;              // the same: one of kMaxExports
    std::string_view bytes() const { return data.is_null() ? std::string_view(text) : data.view(); }
  };
  struct Listing {
    std::vector<std::pair<std::string, mode_t>> names;
  };
  using Names = std::vector<std::pair<std::string, mode_t>>;

  template <class Body>
  auto now(const Body& body) const {
    return reader_.read(body);
  }
  void show(const Node& node, const Caller& caller, const ShownAnswer& answer);
  void show_past(const Node& node, const Caller& caller, const ShownAnswer& answer);
  void show_version(const Node& node, const Caller& caller, const ShownAnswer& answer);
  void show_current(const Node& node, const ShownAnswer& answer);
  int fill(const tree::Tree& then, tree::Zxid zxid, const std::string& path, const Caller& caller,
           Shown& shown) const;
  Shown shown_version(const FileVersion& version, const std::string& path) const;
  void look_up_name(const RequestPtr& request, const Node& parent, const std::string& name);
  void look_up_when(const RequestPtr& request, const Node& parent, const std::string& name);
  void reply_entry(const RequestPtr& request, const Node& node, const Shown& shown);
  // Of `@/history/NAME`, those that the caller may know of.
  std::vector<const FileVersion*> seen_versions(const DirectoryPast& past, const Node& name,
                                                const Caller& caller) const;
  void children(const std::string& directory, const std::string& name,
                Past::Answer<Past::DirectoryPtr> answer);
  bool is_fresh(const DirectoryPast& past, const std::string& directory,
                const std::string& name) const;
  void open_export(const RequestPtr& request, const Node& node, fuse_file_info info);
  void open_changes(const RequestPtr& request, const Node& node, fuse_file_info info);
  std::string changes_text(const SubtreePast& past, const std::string& directory,
                           const Caller& caller) const;
  // Of `user.zabfs.why.WHEN` of `@/at`: why that has nothing, or `ok`.
  void reply_why(const RequestPtr& request, const Node& at, const std::string& when, size_t size);
  // The other end of a move, from a directory on; empty if the caller may not know of it.
  std::string end_text(const std::shared_ptr<const Moved>& end, const std::string& directory,
                       const Caller& caller) const;
  void opened(const RequestPtr& request, fuse_file_info info, File file);
  void listed(const RequestPtr& request, fuse_file_info info, Names names);
  // The names of those children of which the caller may know something.
  void add_seen_names(const DirectoryPast& past, const std::string& directory, const Caller& caller,
                      std::set<std::string>& names) const;
  void list_names(const RequestPtr& request, const Node& node, fuse_file_info info);
  void list_versions(const RequestPtr& request, const Node& node, fuse_file_info info);
  void list_past(const RequestPtr& request, const Node& node, fuse_file_info info);
  int missing(const std::string& what, const Status& status);

  consensus::Service& service_;
  Past& past_;
  NodeTable& nodes_;
  const NodeReader& reader_;
  NodeAnswers& answers_;
  HandleNumbers& numbers_;
  const ViewOptions options_;
  const std::shared_ptr<std::atomic<int>> exports_ = std::make_shared<std::atomic<int>>(0);
  HandleTable<File> files_;
  HandleTable<Listing> listings_;
};

}  // namespace zabfs::fsd
