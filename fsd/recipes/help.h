// The text of `@/help`.
#pragma once

#include <string_view>

namespace zabfs::fsd {

inline constexpr std::string_view kHelpText =
    R"(This is the control room of the directory above. It is never listed there.

  data         the directory znode's own data; read and write it
  stat         the znode's Stat, one `name value` a line
  acl          the ACL, one `scheme:id:perms` a line; its owner may write it, >> adds a line.
               Users who may not change it see digests without the secret part
  watch        read it: the first line is the zxid it starts from, then one line an event,
               `ZXID TYPE NAME`; TYPE is created, deleted, changed, acl or resync
  watch-all    the same for all that is below, by relative path. If you may not list a directory
               below, you get only its own line
  lock         flock it: the mutex of this directory, on all nodes. Read it: who holds it, who
               waits, and the fencing token
  holders      who holds or waits for what, here and below, on all nodes; read it, and you join
               nothing. One line each: KIND STATE NODE PID NAME SINCE TOKEN PATH. The file of a
               recipe tells of that recipe alone: @/lock is free while somebody leads by @/leader
  rwlock       flock -s or -x it: readers share, a writer is alone
  semaphore/N  holding it open holds one of N leases; open waits for it
  leader       open it to stand for election; a read returns when elected; close it to resign
  barrier/N    open it to join; a read returns when N are in; close it to leave
  next         each read gives the next number of this directory's sequence
  counter      a 64-bit number; write +n, -n or =n (ERANGE if it does not fit)
  seq/PREFIX   create it: makes the sequential child PREFIX0000000042; the same handle reads the
               name back, and what is written becomes its data
  ephemeral/NAME
               create it: makes the child NAME, which lives as long as the handle is open
  queue        each write is an item; each read takes the oldest one that you may read and remove,
               and waits for one
  work         a queue whose items are not lost with their reader: each write is an item; a read
               takes the oldest one that nobody has. Write `ack` to the same handle when it is done.
               If the handle is closed before that, or its node dies, another reader gets the item
  once/NAME/PERIOD
               open it: that succeeds for one on all nodes, and again when PERIOD (90s, 15m, 12h,
               7d) is over by the leader's clock; EBUSY until then. For a job that cron starts on
               every node, PERIOD is less than the time between two runs, and more than clocks differ
  ring/KEY     the child that KEY belongs to, the same on all nodes. When a child comes, only the
               keys that it takes move; when one goes, only the keys that it had. A child whose data
               is a number has that weight, if all who may list the directory may read it
  pick         the next child in turn on this node, by the same weights. A child of weight 0 is
               never picked
  txn/         mkdir txn/NAME, fill it, and mv txn/NAME txn/NAME.commit: every file in it becomes
               the file of that name here, all in one commit or none. ESTALE if one of them was
               changed since the mkdir; the staged files stay then. Only the user who made NAME may
               commit or remove it
  export       read it: all that you may read here and below, as of the moment of the open, for
               `zabfs export`. Ephemerals are not in it
  import       what `zabfs import` writes to it becomes files here and below, in as few commits as
               they fit in. You need the permissions that copying them by hand would need
  history/NAME/
               the versions of a child, as far as this node's log goes back: a file each, named by
               the zxid of its change; `.gone` where it was removed; `current` is what is there now
  at/WHEN/     this directory as it was. WHEN is a zxid, 2026-11-30T04:15, or -2h
  changes      what was changed here and below, one line each; `zabfs log` shows it
  cluster      (mount root only) members, roles, zxids; `unreachable`: why; `note`: what is amiss
  members      (mount root only) the configuration in force. root edits it, or adds a line by >>:
               a reconfiguration, committed at close. `zabfs members` does it step by step
  health       (mount root only) `state ok`, degraded or no-quorum, and why
  metrics      (mount root only) for Prometheus
  log-level    (mount root only) what this node's log is told; root sets it until the next start
  snapshot     (mount root only) root reads it: the node writes a snapshot of what it has, and says
               of which zxid and where; `zabfs backup` makes a backup of it
  handles      (mount root only) what you hold on this node; root sees what everybody holds:
               `KIND PATH PID NAME`

From a shell:

  flock @/lock -c 'echo one at a time in the whole cluster'
  n=$(cat @/next)
  exec 9> @/ephemeral/$(hostname)      # registered until 9 is closed or this shell ends
  exec 8< @/leader; read -r _ <&8      # returns when elected; 8 holds the office
  while read -r zxid type name; do ...; done < @/watch
  while item=$(cat @/queue); do ...; done
  while read -r item <&9; do ...; echo ack >&9; done 9<> @/work
  (exec 9> @/once/backup/12h) 2> /dev/null || exit 0    # another node makes the backup

Four things that surprise: bash's `read -t` does not end a read that waits, so write `timeout 5 cat
@/queue`. `while read ...; done < @/queue` takes one item, as an open file of it reads one; cat it
once for each. awk and `tail -f` gather what they read, so read @/watch with `while read`. `sed -i`
wants to make a new file beside the old one: change @/data with `sed ... @/data > f; cat f > @/data`.

`flock` on any regular file of the mount is cluster-wide too; on a directory the kernel keeps it to
this machine, so lock @/lock instead. fcntl locks work on whole files; byte ranges give ENOLCK.
O_NONBLOCK gives EAGAIN instead of waiting, and poll tells when a read would not wait.

A program that appends to a file, or that made it, shows what it wrote within a second while it has
the file open (zabfs.commitAfter). What replaces or edits a file is seen when it is closed.

If this node loses the ensemble for longer than its session timeout, it loses what it holds: reads
and writes of the handle then fail with ESTALE, before anybody else gets it. Not covered: a machine
that is frozen, a holder that is stopped, contenders that others delete. For those, send the token of
@/lock with each change; the receiver refuses a token that is smaller than one it has seen.

Who may: reading needs the directory's r; data, queue, work, once, counter, next, seq, ephemeral,
txn and taking locks, leases, barriers or leadership its w; changing acl its owner. A txn needs the
permissions that you would need to write, make or replace each file yourself. ZooKeeper clients that
do not authenticate are others: to share a directory with them, chmod o+rwx it (the root of a new
tree has mode 0755). Only the mode of the znode itself counts for them: they read all that has o+r,
also below a directory that is closed to others. A directory that Curator locks is good for nothing
else: its mutex counts all children.

Where it is kept:
  recipe        path                          names                        data           ACL
  lock          the directory                 _c_UUID-lock-0000000042      NODE PID NAME  world r
  rwlock        the directory                 _c_UUID-__READ__0000000042   NODE PID NAME  world r
                                              _c_UUID-__WRIT__0000000042   NODE PID NAME  world r
  semaphore/N   locks/ (its mutex)            _c_UUID-lock-0000000042      NODE PID NAME  world r
                leases/                       _c_UUID-lease-0000000042     NODE PID NAME  world r
  leader        the directory                 _c_UUID-latch-0000000042     NODE PID NAME  world r
  barrier/N     the directory                 UUID                         NODE PID NAME  world r
                                              ready                        barrier        world r
  queue         the directory                 qn-0000000042                the item       its writer's
  seq           the directory                 PREFIX0000000042             what you write its maker's
  ephemeral     the directory                 NAME                         what you write its maker's
  work          @/work (hidden znode)         w-0000000042                 the item       its writer's
                @/work/w-0000000042           @ (of who has it)            NODE PID NAME  world r
  once          @/once (hidden znode)         NAME                         NODE PID NAME  world r
  flock FILE    @/lock:FILE (hidden znode)    r- or w-0000000042           NODE PID NAME  world r
  next          @/next (hidden znode)         -                            -              world r
  counter       @/counter (hidden znode)      -                            the number     world r
  txn           @/txn (hidden znode)          NAME/...                     staged files   their makers'
Curator's names for these are InterProcessMutex, InterProcessReadWriteLock, InterProcessSemaphoreV2,
LeaderLatch, DistributedDoubleBarrier and SimpleDistributedQueue.
)";

}  // namespace zabfs::fsd
