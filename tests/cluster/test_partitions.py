"""Real partitions, pauses and power failures under load, with the histories checked."""
import errno
import fcntl
import os
import random
import signal
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import ZABFSD, sh, wait_for  # noqa: E402
from load import LoadTest  # noqa: E402
from netns import NetCluster, NetNode  # noqa: E402


class PartitionTest(LoadTest):
    cluster_class = NetCluster
    options = {"tick_ms": 300, "extra": "zabfs.quorumGrace=1000\nzabfs.commitTimeout=8000\n"}

    def tearDown(self):
        self.cluster.heal()
        for node in self.cluster.nodes:
            node.wait_ready()

    def progress(self, writers, what, seconds=20):
        before = [len(w.acknowledged) for w in writers]
        wait_for(lambda: all(len(w.acknowledged) > n + 10 for w, n in zip(writers, before)),
                 seconds, what)

    def cut_off(self, left):
        """A majority goes on without `left`, and `left` does not."""
        writers = self.load(self.cluster.nodes)
        self.cluster.split(left)
        inside = [w for w in writers if w.node in left]
        outside = [w for w in writers if w.node not in left]
        self.progress(outside, "writes of the majority")
        for node in left:
            wait_for(lambda: node.cluster_state()["quorum"] == "no", 20, "the cut-off side's word")
        stuck = [len(w.acknowledged) for w in inside]
        self.progress(outside, "writes of the majority, still")
        self.assertEqual(stuck, [len(w.acknowledged) for w in inside])
        self.cluster.heal()
        self.progress(writers, "writes of all, healed", 40)
        self.finish(writers)

    def lock_is_lost_before_it_is_given(self, separate, rejoin):
        """Node A's holder learns that it lost the lock before B's contender has it."""
        a = self.cluster.followers()[0]
        b = [n for n in self.cluster.followers() if n is not a][0]
        times = {}
        holder = open(self.dir(a, "@/lock"), "r+b", buffering=0)
        fcntl.flock(holder, fcntl.LOCK_EX)

        def hold():
            while True:
                started = time.monotonic()
                try:
                    holder.seek(0)
                    holder.read(4096)
                    times["held"] = started
                except OSError as e:
                    times["error"] = e.errno
                    times["lost"] = time.monotonic()
                    return
                time.sleep(0.005)

        def contend():
            with open(self.dir(b, "@/lock"), "r+b", buffering=0) as contender:
                fcntl.flock(contender, fcntl.LOCK_EX)
                times["granted"] = time.monotonic()

        threads = [threading.Thread(target=f, daemon=True) for f in (hold, contend)]
        for thread in threads:
            thread.start()
        wait_for(lambda: "waiter" in sh(f"cat {self.dir(b, '@/lock')}"), 10, "the contender")
        separate(a)
        wait_for(lambda: "granted" in times, 40, "the lock on the other side")
        rejoin(a)
        wait_for(lambda: "lost" in times, 20, "the holder's word")
        with self.assertRaises(OSError):  # its close says so, too
            holder.close()
        for thread in threads:
            thread.join(10)
        self.assertEqual(times["error"], errno.ESTALE)
        # The last read that said "held" was answered before the grant.
        self.assertLess(times["held"], times["granted"])
        return times


class Locks(PartitionTest):
    # A close that waits for a quorum is to be told of the lock, and not of the time.
    options = {"tick_ms": 300, "extra": "zabfs.quorumGrace=1000\nzabfs.commitTimeout=60000\n"}

    def test_a_holder_cut_off_knows_before_the_lock_is_given(self):
        times = self.lock_is_lost_before_it_is_given(lambda a: self.cluster.split([a]),
                                                     lambda a: self.cluster.heal())
        self.assertLess(times["lost"], times["granted"])
        print(f"lost {times['granted'] - times['lost']:.2f} s before it was given")

    def test_a_holder_whose_daemon_is_stopped_never_reads_held_again(self):
        self.lock_is_lost_before_it_is_given(lambda a: a.signal(signal.SIGSTOP),
                                             lambda a: a.signal(signal.SIGCONT))

    def test_what_is_written_under_a_lost_lock_is_not_committed(self):
        """A close that waits for a quorum over the loss."""
        a, b = self.cluster.followers()
        with open(self.dir(a, "f"), "w") as f:
            f.write("before")
        self.cluster.sync_all()
        holder = open(self.dir(a, "f"), "w")  # whole contents, whatever they replace
        fcntl.flock(holder, fcntl.LOCK_EX)
        self.cluster.split([a])
        os.write(holder.fileno(), b"under the lost lock")
        errors = []

        def close():
            try:
                holder.close()
            except OSError as e:
                errors.append(e.errno)
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        with open(self.dir(b, "f"), "r+") as contender:
            fcntl.flock(contender, fcntl.LOCK_EX)
            contender.truncate(0)
            contender.write("under the next lock")
        self.cluster.heal()
        closing.join(60)
        self.assertEqual(errors, [errno.ESTALE])
        a.wait_ready()
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            with open(self.dir(node, "f")) as f:
                self.assertEqual(f.read(), "under the next lock")


class SkewedNode(NetNode):
    """Its wall clock is another's, and can be set while it runs; since when it counts time is its
    own matter, too."""

    def clock_file(self):
        return os.path.join(self.directory, "clock")

    def set_clock(self, hours):
        with open(self.clock_file(), "r+b" if os.path.exists(self.clock_file()) else "wb") as f:
            f.write(struct.pack("q", hours * 3600))

    def hours(self):
        return 3 * (self.number - 2)

    def prefix(self):
        self.set_clock(self.hours())
        return ["unshare", "-T", "--boottime", str(1_000_000 * self.number), "env",
                f"LD_PRELOAD={os.path.join(os.path.dirname(ZABFSD), 'libskewclock.so')}",
                f"SKEWCLOCK={self.clock_file()}"]


class SkewedCluster(NetCluster):
    node_class = SkewedNode


class SkewedClocks(PartitionTest):
    cluster_class = SkewedCluster

    def jump(self, hours):
        for node, sign in zip(self.cluster.nodes, (1, -1, 1)):
            node.set_clock(sign * hours)

    def test_clocks_are_skewed_indeed(self):
        for node in self.cluster.nodes:
            node.set_clock(node.hours())
            with open(f"/proc/{node.process.pid}/comm") as comm:
                self.assertEqual(comm.read(), "zabfsd\n")
        with open(self.dir(self.n3, "f"), "w"):
            pass
        apart = os.stat(self.dir(self.n3, "f")).st_mtime - time.time()
        # The leader's clock is the one that counts.
        self.assertAlmostEqual(apart, 3600 * self.cluster.leader().hours(), delta=60)

    def test_a_holder_cut_off_knows_before_the_lock_is_given(self):
        def separate(a):
            self.cluster.split([a])
            self.jump(24)

        times = self.lock_is_lost_before_it_is_given(separate, lambda a: self.cluster.heal())
        self.assertLess(times["lost"], times["granted"])

    def test_a_holder_whose_daemon_is_stopped_never_reads_held_again(self):
        def separate(a):
            a.signal(signal.SIGSTOP)
            self.jump(-24)

        self.lock_is_lost_before_it_is_given(separate, lambda a: a.signal(signal.SIGCONT))


class ThreeNodes(PartitionTest):
    def test_the_leader_alone(self):
        self.cut_off([self.cluster.leader()])

    def test_what_the_leader_sends_is_lost(self):
        writers = self.load(self.cluster.nodes)
        leader = self.cluster.leader()
        others = [n for n in self.cluster.nodes if n is not leader]
        for node in others:
            node.drop_from([leader])
        self.progress([w for w in writers if w.node is not leader], "writes without the leader")
        self.cluster.heal()
        self.progress(writers, "writes of all, healed", 40)
        self.finish(writers)

    def test_a_link_that_comes_and_goes(self):
        writers = self.load(self.cluster.nodes)
        a, b = self.cluster.leader(), self.cluster.followers()[0]
        for i in range(8):
            a.drop_from([b])
            if i % 2:
                b.drop_from([a])
            time.sleep(0.4)
            self.cluster.heal()
            time.sleep(0.3)
        self.progress(writers, "writes of all, healed", 40)
        self.finish(writers)

    def test_a_leader_that_is_stopped_and_goes_on(self):
        writers = self.load(self.cluster.nodes)
        for _ in range(3):
            leader = wait_for(self.cluster.leader, 20, "a leader")
            leader.signal(signal.SIGSTOP)
            others = [w for w in writers if w.node is not leader]
            self.progress(others, "writes without the stopped leader")
            leader.signal(signal.SIGCONT)
            self.progress(writers, "writes of all again", 40)
        self.finish(writers)

    def test_power_fails_everywhere(self):
        writers = self.load(self.cluster.nodes)
        for node in self.cluster.nodes:
            node.process.kill()
        for node in self.cluster.nodes:
            node.process.wait()
            node.start()
        self.finish(writers)


class FiveNodes(PartitionTest):
    nodes = 5

    def test_a_minority_with_the_leader(self):
        leader = self.cluster.leader()
        self.cut_off([leader, self.cluster.followers()[0]])

    def test_kills_while_cut(self):
        writers = self.load(self.cluster.nodes)
        leader = self.cluster.leader()
        followers = self.cluster.followers()
        self.cluster.split([followers[0]])
        leader.kill()
        rest = [w for w in writers if w.node in followers[1:]]
        self.progress(rest, "writes of three of five")
        self.cluster.heal()
        leader.start()
        leader.wait_ready()
        self.finish(writers)

    def test_a_storm_of_kills_and_cuts(self):
        chosen = random.Random(7)
        writers = self.load(self.cluster.nodes)
        down = []
        for _ in range(15):
            what = chosen.randrange(4)
            if what == 0:
                self.cluster.split(chosen.sample(self.cluster.nodes, chosen.randint(1, 2)))
            elif what == 1:
                self.cluster.heal()
            elif len(down) < 3:
                victim = chosen.choice([n for n in self.cluster.nodes if n not in down])
                victim.kill()
                down.append(victim)
            time.sleep(chosen.random() * 0.7)
            if down and chosen.random() < 0.6:
                down.pop(0).start()
        self.cluster.heal()
        for node in down:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        self.finish(writers)


if __name__ == "__main__":
    unittest.main(verbosity=2)
