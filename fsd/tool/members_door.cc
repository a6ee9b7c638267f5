#include "fsd/tool/members_door.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <sstream>
#include <utility>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace {

class MountDoor : public MembersDoor {
 public:
  explicit MountDoor(std::string mount)
      : mount_(std::move(mount)), file_(join(mount_, "@/members")) {}

  StatusOr<std::string> configuration() override {
    std::optional<std::string> text = read_file(file_);
    if (!text) return Status::failed(error_of(file_));
    return *text;
  }
  int reconfigure(const std::string& text) override {
    int fd = ::open(file_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = write_all(fd, text) ? 0 : errno;
    if (::close(fd) != 0 && error == 0) error = errno;
    return error;
  }
  StatusOr<Cluster> cluster() override {
    std::string file = join(mount_, "@/cluster");
    std::optional<std::string> text = read_file(file);
    if (!text) return Status::failed(error_of(file));
    return parse_cluster(*text);
  }
  std::string permission_hint() const override { return "only root may change the members"; }

 private:
  const std::string mount_, file_;
};

class ServerDoor : public MembersDoor {
 public:
  ServerDoor(ServerOptions options, std::unique_ptr<ServerSession> session)
      : options_(std::move(options)), session_(std::move(session)) {}

  StatusOr<std::string> configuration() override { return session_->configuration(); }
  int reconfigure(const std::string& text) override {
    std::string members;
    int64_t version = -1;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      size_t equals = line.find('=');
      if (line.starts_with("server.")) members += (members.empty() ? "" : ",") + line;
      if (!line.starts_with("version=") || equals == std::string::npos) continue;
      std::from_chars(line.data() + equals + 1, line.data() + line.size(), version, 16);
    }
    return session_->reconfigure(members, version);
  }
  StatusOr<Cluster> cluster() override { return cluster_of_server(options_, session_.get()); }
  std::string permission_hint() const override {
    return "the ACL of /zookeeper/config lets only some write: name one of them, or the superuser, "
           "by --auth-file or $ZABFS_AUTH";
  }

 private:
  const ServerOptions options_;
  const std::unique_ptr<ServerSession> session_;
};

}  // namespace

StatusOr<std::unique_ptr<MembersDoor>> open_members(const std::string& mount,
                                                    const ServerOptions& server) {
  if (!server.address.empty()) {
    ServerOptions options = server;
    if (Status taken = options.take_credentials(); !taken.ok()) return taken;
    auto session = ServerSession::open(options);
    if (!session.ok()) return session.status();
    return std::unique_ptr<MembersDoor>(new ServerDoor(options, std::move(*session)));
  }
  std::string found = mount.empty() ? find_mount() : mount;
  if (found.empty()) {
    return Status::failed(
        "no zabfs mount on this machine; name one by --mount, or a server by --server HOST:PORT");
  }
  return std::unique_ptr<MembersDoor>(new MountDoor(std::move(found)));
}

}  // namespace zabfs::tool
