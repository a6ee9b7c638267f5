#include "fsd/fuse/node_reader.h"

#include <cerrno>
#include <utility>

#include "tree/path.h"

namespace zabfs::fsd {

namespace {

// The size of a file of the control room, as that of files in sysfs: programs that copy a file by
// sendfile or splice read as many bytes as it says, at most.
constexpr uint64_t kControlBytes = 4'096;

}  // namespace

std::optional<Node> NodeReader::find(KernelNode id) const {
  std::optional<Node> node = nodes_.find(id);
  bool in_room = node && node->control != Control::kNone;
  if (in_room && !control_view(*node)) node->gone = true;
  return node;
}

std::optional<Node> NodeReader::live(const RequestPtr& request, KernelNode id) const {
  std::optional<Node> node = find(id);
  if (node && !node->gone) return node;
  request->reply(ESTALE);
  return std::nullopt;
}

const tree::ZNode* NodeReader::znode_of(const tree::Tree& tree, KernelNode id, Node& node) const {
  std::optional<Node> found = nodes_.find(id);
  if (!found) return nullptr;
  node = std::move(*found);
  const tree::ZNode* znode = node.gone ? nullptr : tree.find(node.path);
  if (znode != nullptr && stands_for(node, znode->stat.czxid)) return znode;
  node.gone = true;
  return nullptr;
}

std::optional<tree::Bytes> NodeReader::data_of(KernelNode id) const {
  return read([&](const tree::Tree& tree) -> std::optional<tree::Bytes> {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    if (znode == nullptr) return std::nullopt;
    return znode->data;
  });
}

std::optional<View> NodeReader::control_view(const Node& node) const {
  std::optional<View> shown = read([&](const tree::Tree& tree) -> std::optional<View> {
    const tree::ZNode* znode = tree.find(node.path);
    if (znode == nullptr || !stands_for(node, znode->stat.czxid)) return std::nullopt;
    View directory = view(tree, *znode, node.path);
    directory.size = node.control == Control::kData ? znode->data.size() : kControlBytes;
    return directory;
  });
  if (!shown) return std::nullopt;
  shown->kind = is_control_directory(node.control) ? tree::Kind::kDirectory : tree::Kind::kFile;
  if (shown->kind == tree::Kind::kDirectory) shown->size = 0;
  shown->mode = control_mode(node.control, shown->mode);
  shown->ino = tree::inode_number(tree::Zxid{-1 - static_cast<int64_t>(node.control)},
                                  node.path + "/@/" + node.name);
  return shown;
}

std::optional<uint32_t> NodeReader::handed_down_group(const std::string& path) const {
  std::string directory(tree::parent_path(path));
  return read([&](const tree::Tree& tree) -> std::optional<uint32_t> {
    const tree::ZNode* znode = tree.find(directory);
    if (znode == nullptr) return std::nullopt;
    return fsd::handed_down_group(view(tree, *znode, directory));
  });
}

}  // namespace zabfs::fsd
