// A proposal's txn from a leader: decoded, and applied to a tree that has something in it.
#include <cstdlib>

#include "tree/origin.h"
#include "tree/prepare.h"
#include "tree/request.h"
#include "tree/tree.h"

using namespace zabfs::tree;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::optional<Txn> txn = decode_txn(bytes);
  if (!txn) return 0;
  std::string again;
  encode_txn(*txn, again);
  Origin origin = read_origin(txn->origin);
  for (const std::string& user : origin.users) {
    if (user.size() > kMaxOriginUserBytes) abort();
  }
  Tree tree;
  std::vector<Change> changes;
  tree.apply(*txn, &changes);
  tree.apply(*txn, &changes);
  return 0;
}
