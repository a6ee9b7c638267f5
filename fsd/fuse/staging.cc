#include "fsd/fuse/staging.h"

#include <cerrno>

#include "fsd/fuse/callers.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Outcome;

namespace {

constexpr std::string_view kCommitSuffix = ".commit";

}  // namespace

void Staging::make(const RequestPtr& request, const Node& parent, const std::string& name,
                   mode_t mode) {
  if (name.size() > tree::kMaxNameBytes) return static_cast<void>(request->reply(ENAMETOOLONG));
  if (!tree::is_valid_name(name) || name == kHidden || name.ends_with(kCommitSuffix)) {
    return static_cast<void>(request->reply(EINVAL));
  }
  Asker asker = request->asker();
  tree::AclList acl = acl_for_new(tree::Kind::kDirectory, mode & 07777, asker.uid, asker.gid);
  std::string path = txn_path(parent.path, name);
  auto made_above = [this, request, path, acl](const Outcome& outcome) {
    if (outcome.error != Error::kOk && outcome.error != Error::kNodeExists) {
      return static_cast<void>(request->reply(file_error_of(outcome.error)));
    }
    changes_.make_znode(request, path, "", acl);
  };
  writes_.when_writable(request, [this, directory = parent.path, made_above] {
    room_.create_hidden(directory, std::string(kTxnChild), "", made_above);
  });
}

void Staging::remove(const RequestPtr& request, const Node& parent, const std::string& name,
                     bool is_directory) {
  if (!is_directory) return static_cast<void>(request->reply(EISDIR));
  auto body = [this, request, directory = parent.path, name, caller = caller_of(*request)] {
    FileError error = room_.may_change_staging(directory, name, caller);
    if (error != FileError::kOk) return static_cast<void>(request->reply(error));
    changes_.remove_path(request, txn_path(directory, name), true);
  };
  writes_.when_writable(request, body);
}

void Staging::rename(const RequestPtr& request, const Node& parent, const std::string& name,
                     const std::string& new_name) {
  if (new_name != name + std::string(kCommitSuffix)) {
    return static_cast<void>(request->reply(EPERM));
  }
  auto body = [this, request, directory = parent.path, name, caller = caller_of(*request)] {
    room_.commit_txn(directory, name, caller,
                     [request](FileError error) { request->reply(error); });
  };
  writes_.when_writable(request, body);
}

}  // namespace zabfs::fsd
