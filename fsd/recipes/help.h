// The text of `@/help`.
#pragma once

#include <string_view>

namespace zabfs::fsd {

inline constexpr std::string_view kHelpText =
    R"(This is the control room of the directory above. It is never listed there.

  data         the directory znode's own data; read and write it
  stat         the znode's Stat, one `name value` a line
  watch        read it: the first line is the zxid it starts from, then one line an event,
               `ZXID TYPE NAME`; TYPE is created, deleted, changed, acl or resync
  lock         flock it: the mutex of this directory, on all nodes. Read it: who holds it, who
               waits, and the fencing token
  next         each read gives the next number of this directory's sequence
  seq/PREFIX   create it: makes the sequential child PREFIX0000000042; the same handle reads the
               name back, and what is written becomes its data
  ephemeral/NAME
               create it: makes the child NAME, which lives as long as the handle is open
  cluster      (mount root only) members, roles, zxids
  handles      (mount root only) what is held on this node: `KIND PATH PID NAME`

From a shell:

  flock @/lock -c 'one at a time in the whole cluster'
  n=$(cat @/next)
  exec 9> @/ephemeral/$(hostname)      # registered until 9 is closed or this shell ends
  while read -r zxid type name; do ...; done < @/watch

`flock` on any regular file of the mount is cluster-wide too; on a directory the kernel keeps it to
this machine, so lock @/lock instead. fcntl locks work on whole files; byte ranges give ENOLCK.

What is held is lost when this node loses the ensemble for longer than its session timeout: reads
and writes of the handle then fail with ESTALE, before anybody else gets it. Not covered: a machine
that is frozen, a holder that is stopped, contenders that others delete. Give the token of
@/lock to what you change, and have it refuse smaller ones.

Who may: reading needs the directory's r; data, next, seq, ephemeral and taking locks its w. To
share a directory with ZooKeeper clients that do not authenticate, chmod o+rwx it.

Where it is kept:
  recipe        path                          names                      data           ACL
  lock          the directory                 _c_UUID-lock-0000000042    NODE PID NAME  world r
  flock FILE    @/lock:FILE (hidden znode)    r- or w-0000000042         NODE PID NAME  world r
  next          @/next (hidden znode)         -                          -              world r
)";

}  // namespace zabfs::fsd
