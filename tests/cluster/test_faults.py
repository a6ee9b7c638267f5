"""Faults under write load: nothing acknowledged is lost, and writes go on."""
import contextlib
import ctypes
import errno
import fcntl
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import Cluster, ClusterTest, ZABFS, children_of, run, sh, wait_for  # noqa: E402
from load import LoadTest, Writer  # noqa: E402


PIDFD_GETFD = 438


def read_text(path):
    with open(path) as file:
        return file.read()


def has_ended(pid):
    try:
        return read_text(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] == "Z"  # nobody's child
    except OSError:
        return True


@contextlib.contextmanager
def holding_device_of(pid):
    """Keeps a copy of that daemon's descriptor of /dev/fuse."""
    [number] = [int(fd) for fd in os.listdir(f"/proc/{pid}/fd")
                if os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/fuse"]
    process = os.pidfd_open(pid)
    held = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, number, 0)
    os.close(process)
    if held < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    try:
        yield
    finally:
        os.close(held)


class Faults(LoadTest):
    options = {"tick_ms": 500}

    def test_kill_the_leader(self):
        leader = self.cluster.leader()
        writers = self.load(self.cluster.nodes)
        killed = time.monotonic()
        leader.kill()
        others = [w for w in writers if w.node is not leader]
        before = [len(w.acknowledged) for w in others]
        wait_for(lambda: all(len(w.acknowledged) > n + 20 for w, n in zip(others, before)), 30,
                 "writes after the leader's death")
        gap = max(w.longest_gap_after(killed) for w in others)
        print(f"longest gap of writes after the leader's death: {gap:.2f} s")
        self.assertLess(gap, 5)
        self.finish(writers)

    def test_kill_a_follower(self):
        follower = self.cluster.followers()[0]
        writers = self.load([n for n in self.cluster.nodes if n is not follower])
        for _ in range(2):
            follower.kill()
            time.sleep(0.5)
            follower.start()
            follower.wait_ready()
        self.finish(writers)

    def test_kill_all_at_once(self):
        writers = self.load(self.cluster.nodes)
        for node in self.cluster.nodes:
            node.process.kill()
        for node in self.cluster.nodes:
            node.process.wait()
        for writer in writers:
            writer.stopping.set()
            writer.join(10)
        for node in self.cluster.nodes:
            node.start()
        self.finish(writers)

    def test_kills_in_turn(self):
        writers = self.load(self.cluster.nodes)
        for _ in range(2):
            for node in list(self.cluster.nodes):
                node.kill()
                self.start_again(node, writers)
        self.finish(writers)

    def start_again(self, node, writers):
        node.start()
        node.wait_ready()
        for writer in list(writers):
            if writer.node is node and not writer.is_alive():
                fresh = Writer(node, self.dir(node))
                fresh.acknowledged = writer.acknowledged
                fresh.gaps = writer.gaps
                writers[writers.index(writer)] = fresh
                fresh.start()

    def test_a_rolling_restart(self):
        """Nodes are stopped and started one by one, the leader as well: no write of the others
        fails."""
        writers = self.load(self.cluster.nodes)
        gap = 0
        for node in list(self.cluster.nodes):
            stopped = time.monotonic()
            node.terminate()
            time.sleep(1)
            self.start_again(node, writers)
            time.sleep(0.5)
            gap = max([gap] + [writer.longest_gap_after(stopped) for writer in writers
                               if writer.node is not node])
        self.assertEqual([error for writer in writers for error in writer.refused], [])
        print(f"longest gap of the others' writes in a rolling restart: {gap:.2f} s")
        self.finish(writers)

    def test_a_holders_node_dies(self):
        victim = self.cluster.followers()[0]
        other = [n for n in self.cluster.nodes if n is not victim][0]
        holder = subprocess.Popen(["flock", self.dir(victim, "@/lock"), "sleep", "100"])
        keeper = subprocess.Popen(["bash", "-c", f"exec 9> {self.dir(victim)}/@/ephemeral/e; sleep 100"])
        wait_for(lambda: os.path.exists(self.dir(other, "e")), 10, "the ephemeral")
        wait_for(lambda: "held" in sh(f"cat {self.dir(other, '@/lock')}"), 10, "the lock")
        victim.kill()
        self.assertEqual(run("flock", "-w", "20", self.dir(other, "@/lock"), "true").returncode, 0)
        wait_for(lambda: not os.path.exists(self.dir(other, "e")), 20, "the end of the ephemeral")
        for process in (holder, keeper):
            sh(f"pkill -KILL -P {process.pid}; true")
            process.kill()
            process.wait()
        victim.start()
        victim.wait_ready()

    def test_programs_go_on_if_a_killed_daemon_can_not_die(self):
        """A thread of it that waits for the kernel would keep the device open, as this test does."""
        victim = self.cluster.followers()[0]
        sh(f"mkdir -p {self.dir(victim, 'q')}")
        with holding_device_of(victim.process.pid):
            reader = subprocess.Popen(["cat", self.dir(victim, "q/@/queue")],
                                      stderr=subprocess.PIPE, text=True)
            wait_for(lambda: "request_wait_answer" in read_text(f"/proc/{reader.pid}/wchan")
                     or read_text(f"/proc/{reader.pid}/syscall").split()[0] == "0", 10, "the read")
            victim.kill()
            try:
                _, error = reader.communicate(timeout=20)
            finally:
                reader.kill()
            self.assertNotEqual(reader.returncode, 0)
            self.assertRegex(error, "not connected|abort")
            self.assertNotEqual(run("ls", victim.mount, timeout=20).returncode, 0)
        victim.start()
        victim.wait_ready()

    def test_no_guard_is_left(self):
        """It ends with its daemon, killed or stopped."""
        victim = self.cluster.followers()[0]
        for end in victim.kill, victim.terminate:
            [guard] = wait_for(lambda: children_of(victim.process.pid, "zabfs-guard"), 10, "a guard")
            end()
            wait_for(lambda: has_ended(guard), 10, "the guard's end")
            victim.start()
            victim.wait_ready()


class WithoutQuorum(ClusterTest):
    options = {"tick_ms": 300, "extra": "zabfs.quorumGrace=1500\nzabfs.sessionTimeout=2000\n"}

    def test_read_only_and_back(self):
        sh(f"echo before > {self.dir(self.n1, 'f')}")
        self.cluster.sync_all()
        lost = subprocess.Popen([ZABFS, "lock", self.dir(self.n1), "--", "sleep", "60"],
                                stderr=subprocess.PIPE, text=True)
        wait_for(lambda: "held" in sh(f"cat {self.dir(self.n1, '@/lock')}"), 10, "the lock")
        for node in (self.n2, self.n3):
            node.kill()
        wait_for(lambda: os.getxattr(self.n1.mount, "user.zabfs.quorum") == b"no", 15, "no quorum")
        self.assertEqual(run(ZABFS, "status", "--mount", self.n1.mount).returncode, 1)
        self.assertEqual(self.n1.cluster_state()["leader"], "-")
        self.assertEqual(sh(f"cat {self.dir(self.n1, 'f')}"), "before\n")
        with self.assertRaises(OSError) as caught:
            os.open(self.dir(self.n1, "f"), os.O_WRONLY)
        self.assertEqual(caught.exception.errno, errno.EROFS)
        with self.assertRaises(OSError) as caught:
            os.mkdir(self.dir(self.n1, "d"))
        self.assertEqual(caught.exception.errno, errno.EROFS)
        self.assertEqual(lost.wait(20), 125)  # the lock was lost, and the command ended with it
        self.assertIn("was lost", lost.stderr.read())
        for node in (self.n2, self.n3):
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        sh(f"echo after > {self.dir(self.n1, 'f')}")
        self.cluster.sync_all()
        self.assertEqual(sh(f"cat {self.dir(self.n3, 'f')}"), "after\n")

    def open_old(self, name, flags=0):
        path = self.dir(self.n1, name)
        with open(path, "w") as f:
            f.write("old\n")
        return os.open(path, os.O_RDWR | flags)

    def refused(self, call, *arguments):
        with self.assertRaises(OSError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.errno, errno.EROFS)

    def test_a_refused_write_leaves_the_file_as_it_was(self):
        old_acl = sh(f"cat {self.dir(self.n2, '@/acl')}")
        later, soon, half, second = (self.open_old(name, os.O_TRUNC)
                                     for name in ("later", "soon", "half", "second"))
        fsynced, only_truncated = (self.open_old(name, os.O_TRUNC) for name in ("fsynced", "only"))
        shortened, unshortened, log = (self.open_old(name) for name in ("short", "unshort", "log"))
        fcntl.fcntl(log, fcntl.F_SETFL, os.O_APPEND)
        # From here on no process is started: it would close what is open here, and so commit it.
        os.write(half, b"the first half and ")
        os.ftruncate(shortened, 0)
        with open(self.dir(self.n1, "second"), "w") as f:
            f.write("another's\n")
        os.write(fsynced, b"committed\n")
        os.fsync(fsynced)
        os.write(log, b"one\n")
        os.fsync(log)
        acl = os.open(self.dir(self.n1, "@/acl"), os.O_WRONLY | os.O_TRUNC)
        os.write(acl, b"world:anyone:cdrwa\n")
        for node in (self.n2, self.n3):
            node.kill()
        wait_for(lambda: os.getxattr(self.n1.mount, "user.zabfs.quorum") == b"no", 15, "no quorum")
        time.sleep(1.5)  # and the grace
        for fd in (later, soon, half, second, fsynced, shortened, log, acl):
            self.refused(os.write, fd, b"the second half\n")
        self.refused(os.ftruncate, unshortened, 0)
        os.close(soon)
        for node in (self.n2, self.n3):
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        for fd in (half, fsynced, unshortened):
            self.refused(os.write, fd, b"the third half\n")
        os.write(log, b"two\n")  # lines stand alone
        for fd in (half, shortened):  # what they took is dropped, and they say so
            self.refused(os.fsync, fd)
            self.refused(os.close, fd)
        self.refused(os.close, acl)
        for fd in (later, second, fsynced, only_truncated, unshortened, log):
            os.close(fd)
        self.cluster.sync_all()
        wanted = {"second": "another's\n", "fsynced": "committed\n", "only": "",
                  "log": "old\none\ntwo\n"}
        for node in self.cluster.nodes:
            for name in ("later", "soon", "half", "second", "fsynced", "only", "short", "unshort",
                         "log"):
                with self.subTest(node=node.number, name=name):
                    with open(self.dir(node, name)) as f:
                        text = f.read()
                    self.assertEqual(text, wanted.get(name, "old\n"))
                    self.assertEqual(os.stat(self.dir(node, name)).st_size, len(text))
            self.assertEqual(sh(f"cat {self.dir(node, '@/acl')}"), old_acl)


class Restart(ClusterTest):
    def test_own_writes_are_read_once_there_is_a_leader(self):
        def leave_unsettled():
            with open(self.dir(self.n1, "f"), "w") as f:
                f.write("kept")
            for node in self.cluster.nodes:
                node.kill()
            self.n1.unmount()
        leave_unsettled()
        self.n1.start()
        time.sleep(1)  # without the others it can't know that this was committed
        self.n2.start()
        wait_for(lambda: os.path.ismount(self.n1.mount), 10, "the mount")
        with open(self.dir(self.n1, "f")) as f:
            self.assertEqual(f.read(), "kept")
        self.n3.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        leave_unsettled()
        self.n1.start()  # alone it serves all the same, what it knows of
        wait_for(lambda: os.path.ismount(self.n1.mount), 10, "the mount")
        began = time.monotonic()
        self.assertEqual(self.n1.cluster_state()["quorum"], "no")
        self.assertLess(time.monotonic() - began, 10)
        self.assertTrue(os.path.exists(self.dir(self.n1)))
        self.n2.start()
        self.n3.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        with open(self.dir(self.n1, "f")) as f:
            self.assertEqual(f.read(), "kept")


class CommitUnderWay(ClusterTest):
    options = {"tick_ms": 300, "extra": "zabfs.quorumGrace=20000\nzabfs.commitTimeout=2000\n"}

    def test_unknown_is_eio_and_the_next_fsync_retries_it_once(self):
        with open(self.dir(self.n1, "f"), "w") as f:
            f.write("base\n")
        self.cluster.sync_all()
        append = os.open(self.dir(self.n1, "f"), os.O_WRONLY | os.O_APPEND)
        others = [n for n in self.cluster.nodes if n is not self.n1]
        os.write(append, b"once\n")
        for node in others:
            node.kill()
        start = time.monotonic()
        with self.assertRaises(OSError) as caught:
            os.fsync(append)
        self.assertEqual(caught.exception.errno, errno.EIO)
        self.assertLess(time.monotonic() - start, 10)
        for node in others:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        os.fsync(append)
        os.close(append)
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            self.assertEqual(sh(f"cat {self.dir(node, 'f')}"), "base\nonce\n")


class Observers(unittest.TestCase):
    def test_an_observer_reads_and_writes(self):
        cluster = Cluster(3, tick_ms=500, observers=1)
        try:
            cluster.start()
            observer = cluster.nodes[3]
            self.assertEqual(observer.cluster_state()["role"], "observer")
            sh(f"echo x > {observer.path('f')}; echo y >> {observer.path('f')}")
            cluster.sync_all()
            self.assertEqual(sh(f"cat {cluster.nodes[0].path('f')}"), "x\ny\n")
        except BaseException:
            cluster.print_logs()
            raise
        finally:
            cluster.stop()


class Snapshots(unittest.TestCase):
    def test_a_node_that_was_away_long_catches_up_by_snapshot(self):
        cluster = Cluster(3, tick_ms=500, extra="snapCount=200\n")
        try:
            cluster.start()
            away = cluster.followers()[0]
            away.kill()
            leader = cluster.leader()
            sh(f"cd {leader.mount}; for i in $(seq 1200); do echo $i > f$i; done", timeout=200)
            away.start()
            away.wait_ready()
            away.barrier()
            self.assertEqual(len([n for n in os.listdir(away.mount) if n.startswith("f")]), 1200)
            self.assertEqual(sh(f"cat {away.path('f1200')}"), "1200\n")
            for node in cluster.nodes:  # and everything is there after a restart of all
                node.terminate()
            for node in cluster.nodes:
                node.start()
            for node in cluster.nodes:
                node.wait_ready()
            self.assertEqual(sh(f"cat {away.path('f77')}"), "77\n")
        except BaseException:
            cluster.print_logs()
            raise
        finally:
            cluster.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
