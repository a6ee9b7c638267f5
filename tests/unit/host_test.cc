#include "consensus/host.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "tree/request.h"

namespace zabfs::consensus {
namespace {

// What asks may be a connection, whose server is gone before the host is.
TEST(Host, NothingOfThoseWhoWaitIsHeldOnceItHasStopped) {
  char name[] = "/tmp/zabfs-host-XXXXXX";
  const std::string path = ::mkdtemp(name);
  {
    HostConfig config;
    config.data_dir = path;
    config.replica.zab.me = ServerId{1};
    config.replica.zab.ensemble =
        Ensemble(std::map<ServerId, Member>{{ServerId{1}, Member{"127.0.0.1", 0, 0, false, ""}}});
    Host host(config);
    ASSERT_EQ(host.open().what, "");
    auto asker = std::make_shared<int>();
    auto done = [asker](const tree::Outcome&) { FAIL(); };
    // It was not started, so nobody leads.
    host.replica().submit(tree::superuser_request({}, 1, tree::OpCode::kCreate,
                                                  tree::create_body("/a", "", tree::open_acl(), 0)),
                          done);
    host.replica().sync(SessionId{}, done);
    EXPECT_EQ(asker.use_count(), 4);
    host.stop();
    EXPECT_EQ(asker.use_count(), 2);  // the test's own
  }
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace zabfs::consensus
