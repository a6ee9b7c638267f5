#include "fsd/fuse/xattrs.h"

#include <cerrno>
#include <string>

namespace zabfs::fsd {

namespace {

constexpr std::string_view kPrefix = "user.zabfs.";

}  // namespace

void reply_value(const RequestPtr& request, const std::string& value, size_t size) {
  if (size == 0) {
    request->reply_xattr_size(value.size());
  } else if (size < value.size()) {
    request->reply(ERANGE);
  } else {
    request->reply_bytes(value);
  }
}

void Xattrs::get(const RequestPtr& request, KernelNode id, std::string_view name,
                 size_t size) const {
  std::optional<Node> node = reader_.live(request, id);
  if (!node) return;
  // ls -l asks each file for its POSIX ACL and its security label, unless it hears that there are
  // no such things here.
  if (!name.starts_with("user.")) return static_cast<void>(request->reply(EOPNOTSUPP));
  if (!name.starts_with(kPrefix)) return static_cast<void>(request->reply(ENODATA));
  name.remove_prefix(kPrefix.size());
  if (name == "quorum") {
    return reply_value(request, writer_.has_leader() ? "yes" : "no", size);
  }
  if (name == "deadline" && has_deadline(node->control)) {
    return reply_value(request, std::to_string(session_.deadline_ms()), size);
  }
  if (node->control != Control::kNone) return static_cast<void>(request->reply(ENODATA));
  std::optional<tree::Stat> stat =
      reader_.read([&](const tree::Tree& tree) -> std::optional<tree::Stat> {
        Node now;
        const tree::ZNode* znode = reader_.znode_of(tree, id, now);
        if (znode == nullptr) return std::nullopt;
        return tree.stat_of(*znode);
      });
  if (!stat) return static_cast<void>(request->reply(ESTALE));
  for (const auto& [key, value] : stat_lines(*stat)) {
    if (key == name) return reply_value(request, value, size);
  }
  request->reply(ENODATA);
}

void Xattrs::list(const RequestPtr& request, size_t size) { reply_value(request, "", size); }

}  // namespace zabfs::fsd
