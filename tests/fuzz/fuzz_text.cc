// Text from people: ACL lines, member addresses, configurations, and the posix entry of an ACL.
#include "consensus/ensemble.h"
#include "tree/acl.h"
#include "tree/path.h"
#include "tree/posix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (std::optional<zabfs::tree::AclList> acl = zabfs::tree::parse_acl_text(text)) {
    std::optional<zabfs::tree::PosixEntry> posix = zabfs::tree::find_posix(*acl);
    if (posix && !zabfs::tree::is_valid(*posix)) __builtin_trap();
    if (posix && find_posix(with_posix(*acl, *posix)) != posix) __builtin_trap();
  }
  static_cast<void>(zabfs::consensus::parse_member(text));
  if (auto ensemble = zabfs::consensus::parse_ensemble(text)) {
    auto again = zabfs::consensus::parse_ensemble(ensemble->text());
    if (!again || again->text() != ensemble->text()) __builtin_trap();
  }
  return 0;
}
