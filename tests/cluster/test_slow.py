#!/usr/bin/env python3
"""What is slow still gets there, and costs the others no memory: a synchronisation that takes longer
than initLimit, a disk that is slower than the network."""
import os
import re
import shutil
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import raw  # noqa: E402
from harness import ZABFSD, Cluster, OwnClusterTest, Node, die_with_parent, sh, wait_for
from netns import NetCluster, ip

MB = 1_000_000
FILE_BYTES = 700_000


def fill(directory, count):
    for i in range(count):
        with open(os.path.join(directory, f"big{i}"), "wb") as f:
            f.write(os.urandom(FILE_BYTES))


class SlowLink(OwnClusterTest):
    """initLimit is 10 s, and what is to be sent takes twice as long."""

    def setUp(self):
        self.cluster = NetCluster(3)
        self.cluster.start()

    def throttle(self, node, bytes_per_s):
        """What travels to that node."""
        ip("netns", "exec", f"{self.cluster.prefix}-sw", "tc", "qdisc", "replace", "dev",
           f"p{node.number}", "root", "tbf", "rate", f"{8 * bytes_per_s}bit", "burst", "64kb",
           "latency", "400ms")

    def check(self, node, count):
        node.barrier()
        for i in range(count):
            self.assertEqual(os.path.getsize(node.path(f"big{i}")), FILE_BYTES)

    def test_a_node_that_comes_empty(self):
        away = self.cluster.followers()[0]
        away.kill()
        fill(self.cluster.leader().mount, 60)
        shutil.rmtree(away.storage())
        self.throttle(away, 2 * MB)
        away.start()
        away.wait_ready(120)
        self.check(away, 60)

    def test_a_leader_whose_quorum_waits_for_it(self):
        away = self.cluster.followers()[0]
        away.kill()
        leader = self.cluster.leader()
        fill(leader.mount, 60)
        for node in self.cluster.nodes:
            node.terminate()
        self.throttle(away, 2 * MB)
        leader.start()
        away.start()
        leader.wait_ready(120)
        away.wait_ready(120)
        self.check(away, 60)

    def test_a_transfer_that_stops_ends(self):
        away = self.cluster.followers()[0]
        away.kill()
        leader = self.cluster.leader()
        fill(leader.mount, 60)
        shutil.rmtree(away.storage())
        self.throttle(away, MB)
        away.start()
        wait_for(lambda: "becomes observer" in away.log_text(), 30, "a learner")
        others = [node for node in self.cluster.nodes if node is not away]
        sh("".join(node.drop_rules([away]) for node in others) + away.drop_rules(others))
        wait_for(lambda: "gives up its role" in away.log_text(), 60, "the end of it")
        self.cluster.heal()
        self.throttle(away, 20 * MB)
        away.wait_ready(120)
        self.check(away, 60)


class SlowSyncNode(Node):
    """Its syncs take as long as it is told."""

    def delay_file(self):
        return os.path.join(self.directory, "delay")

    def set_delay(self, ms):
        with open(self.delay_file(), "r+b" if os.path.exists(self.delay_file()) else "wb") as f:
            f.write(struct.pack("q", ms))

    def start(self):
        self.set_delay(0)
        os.makedirs(self.mount, exist_ok=True)
        shim = os.path.join(os.path.dirname(ZABFSD), "libslowsync.so")
        environment = dict(os.environ, LD_PRELOAD=shim, SLOWSYNC=self.delay_file())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([ZABFSD, self.config], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=die_with_parent,
                                            env=environment)

    def peak_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])


class SlowSyncCluster(Cluster):
    node_class = SlowSyncNode


class SlowDisk(OwnClusterTest):
    def setUp(self):
        self.cluster = SlowSyncCluster(3)
        self.cluster.start()

    def test_what_waits_for_a_slow_disk_is_bounded(self):
        slow = self.cluster.followers()[0]
        leader = self.cluster.leader()
        slow.set_delay(2_000)
        data = os.urandom(FILE_BYTES)
        for i in range(600):  # 420 MB, of which 10 files stay
            with open(leader.path(f"big{i % 10}"), "wb") as f:
                f.write(data)
        peak = slow.peak_bytes()
        print(f"the node with the slow disk took {peak / MB:.0f} MB, "
              f"the leader {leader.peak_bytes() / MB:.0f} MB")
        self.assertLess(peak, 200 * MB)
        slow.set_delay(0)
        slow.wait_ready(120)
        slow.barrier()
        with open(slow.path("big3"), "rb") as f:
            self.assertEqual(f.read(), data)

    def start_alone(self, setting):
        self.cluster.stop()
        self.cluster = SlowSyncCluster(1, extra=f"{setting}\n")
        self.cluster.start()
        return self.cluster.nodes[0]

    def test_a_slow_sync_is_told_of(self):
        node = self.start_alone("fsync.warningthresholdms=100")
        told = re.compile("the log's disk took ([0-9]+) ms for one sync")

        def write_with(delay_ms):
            node.set_delay(delay_ms)
            with open(node.path("f"), "w") as f:
                f.write(f"{delay_ms}")
            return [int(ms) for ms in told.findall(node.log_text())]
        write_with(0)
        before = len(write_with(20))  # a busy machine may make it a slow one
        after = write_with(400)
        self.assertGreater(len(after), before)
        self.assertGreaterEqual(max(after), 400)

    def most_outstanding(self, node):
        """While one client sends a thousand writes without waiting."""
        client = raw.Session(("127.0.0.1", node.client_port))
        os.chmod(node.mount, 0o777)
        client.request(raw.CREATE, raw.create("/f"))
        node.set_delay(300)
        for _ in range(1_000):
            client.post(raw.SET_DATA, raw.buf("/f") + raw.buf("x") + raw.i32(-1))
        most = 0
        for answered in range(1_000):
            self.assertEqual(client.answer()[2], 0)
            if answered % 100 == 0:
                with open(node.path("@/metrics")) as f:
                    now = re.search("^outstanding_requests ([0-9]+)", f.read(), re.MULTILINE)[1]
                most = max(most, int(now))
        client.close()
        return most

    def test_outstanding_requests_are_bounded(self):
        many = self.most_outstanding(self.start_alone("globalOutstandingLimit=1000"))
        few = self.most_outstanding(self.start_alone("globalOutstandingLimit=50"))
        print(f"{many} requests were outstanding with a limit of 1000, {few} with one of 50")
        self.assertGreater(many, 200)
        self.assertLess(few, 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
