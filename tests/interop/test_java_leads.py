#!/usr/bin/env python3
"""What a mount does under a leader of Apache ZooKeeper, beside what all mounts do: that is tested by
their own tests with $ZABFS_TEST_LEADER=java."""
import os
import shutil
import signal
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
os.environ["ZABFS_TEST_LEADER"] = "java"
from certificates import Authority  # noqa: E402
from harness import ZABFS, Cluster, OwnClusterTest, run, wait_for  # noqa: E402
from java import JAVA_STARTS_S  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402


class JavaLeads(OwnClusterTest):
    def setUp(self):
        self.cluster = Cluster(3)
        self.cluster.start()
        self.assertEqual(self.cluster.java.cluster_state()["role"], "leader")

    def test_a_barrier_needs_a_quorum(self):
        """Java answers `sync` as long as it believes that it leads."""
        one, *others = self.cluster.nodes
        done = threading.Event()

        def barrier():
            one.barrier()
            done.set()
        barrier()
        done.clear()
        for node in others:
            node.signal(signal.SIGSTOP)
        thread = threading.Thread(target=barrier)
        thread.start()
        try:
            self.assertFalse(done.wait(1), "no quorum has proved that the leader leads")
        finally:
            for node in others:
                node.signal(signal.SIGCONT)
            thread.join()
        self.assertTrue(done.is_set())

    def test_all_append_and_count_at_once(self):
        nodes, lines = self.cluster.nodes, 60
        failures = []

        def work(node):
            try:
                for i in range(lines):
                    with open(node.path("log"), "a") as f:
                        f.write(f"{node.number} {i}\n")
                    with open(node.path("@", "counter"), "w") as f:
                        f.write("+1")
            except OSError as error:
                failures.append(error)
        threads = [threading.Thread(target=work, args=(node,)) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        for node in nodes:
            node.barrier()
            with open(node.path("log")) as f:
                self.assertEqual(sorted(f.read().splitlines()),
                                 sorted(f"{one.number} {i}" for one in nodes for i in range(lines)))
            with open(node.path("@", "counter")) as f:
                self.assertEqual(int(f.read()), lines * len(nodes))

    def test_the_leader_changes_its_kind(self):
        one = self.cluster.nodes[0]
        with open(one.path("f"), "w") as f:
            f.write("by Java")
        self.cluster.java.kill()
        wait_for(lambda: self.cluster.leader() is not None, 30, "a zabfs leader")
        one.wait_ready()
        with open(one.path("f"), "a") as f:
            f.write(" and zabfs")
        os.rename(one.path("f"), one.path("g"))
        for node in self.cluster.nodes:
            node.barrier()
            with open(node.path("g")) as f:
                self.assertEqual(f.read(), "by Java and zabfs")


class Past(OwnClusterTest):
    """Old versions, beside what tests/mount/test_history.py tries under Java's leader, too."""
    MORE_THAN_IT_KEEPS = 520  # of txns, for learners that come back

    def setUp(self):
        self.cluster = Cluster(3)
        # It sends a snapshot to who lacks more than it has in memory, and not its log.
        self.cluster.java.options = ["-Dzookeeper.snapshotSizeFactor=-1"]
        self.cluster.start()
        self.one, self.two, self.away = self.cluster.nodes
        os.mkdir(self.one.path("d"))
        os.chmod(self.one.path("d"), 0o777)
        self.write("one")
        os.chmod(self.one.path("d", "f"), 0o666)

    def write(self, text):
        with open(self.one.path("d", "f"), "w") as f:
            f.write(text)

    def client(self, node, **options):
        client = KazooClient(self.cluster.connect_string([node]), **options)
        client.start(JAVA_STARTS_S)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        return client

    def log(self, node):
        """Newest first."""
        result = run(ZABFS, "log", node.path("d", "f"))
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.splitlines()

    def test_breaks_and_other_leaders(self):
        first = os.getxattr(self.one.path("d", "f"), "user.zabfs.mzxid").decode()
        self.cluster.sync_all()
        self.away.terminate()
        client = self.client(self.one)
        session = client.client_id[0]
        for _ in range(self.MORE_THAN_IT_KEEPS // 20):
            for change in [client.set_async("/d/f", b"client's") for _ in range(20)]:
                change.get(20)
        self.client(self.two, client_id=client.client_id).set("/d/f", b"moved")
        # Java's leader does not tell where a session was.
        told = f"  session 0x{session:x} (begun at node 1), user not known"
        for node in (self.one, self.two):
            node.barrier()
            self.assertTrue(self.log(node)[0].endswith(told), self.log(node)[0])
            self.assertRegex(self.log(node)[-1], "  node 1, session 0x[0-9a-f]+, user not known$")
        # Who was away has a gap, and tells it.
        self.away.start()
        self.away.wait_ready(60)
        self.away.barrier()
        result = run(ZABFS, "log", self.away.path("d")).stdout
        self.assertIn("something is missing here: a leader's snapshot took the place", result)
        with open(self.away.path("d", "@", "history", "f", first)) as f:
            self.assertEqual(f.read(), "one")
        # What a leader of zabfs makes has names again, behind what has none.
        self.cluster.java.kill()
        wait_for(lambda: self.cluster.leader() is not None, 30, "a zabfs leader")
        self.one.wait_ready()
        self.write("by zabfs")
        for node in self.cluster.nodes:
            node.barrier()
            lines = self.log(node)
            self.assertRegex(lines[0], r"  root\(0\), python3, node 1, session 0x[0-9a-f]+$")
            self.assertTrue(any(line.endswith("user not known") for line in lines[1:]), lines)
        self.assertEqual(run(ZABFS, "revert", f"{self.away.path('d', 'f')}@{first}").returncode, 0)
        with open(self.away.path("d", "f")) as f:
            self.assertEqual(f.read(), "one")


class Observer(OwnClusterTest):
    """A mount that is added to an ensemble without a voice in it."""

    def test_an_observers_mount(self):
        self.cluster = Cluster(2, observers=1)
        self.cluster.start()
        voter, _, observer = self.cluster.nodes
        self.assertEqual(observer.cluster_state()["role"], "observer")
        os.mkdir(observer.path("d"))
        for i in range(20):
            with open(observer.path("d", str(i)), "w") as f:
                f.write(f"{i}\n" * 1_000)
            os.rename(observer.path("d", str(i)), observer.path("d", "last"))
            voter.barrier()
            with open(voter.path("d", "last")) as f:
                self.assertEqual(f.read(), f"{i}\n" * 1_000)
        with open(voter.path("d", "last"), "a") as f:
            f.write("a line\n")
        observer.barrier()
        with open(observer.path("d", "last")) as f:
            self.assertTrue(f.read().endswith("a line\n"))
        os.rename(observer.path("d"), observer.path("e"))
        voter.barrier()
        self.assertEqual(os.listdir(voter.path("e")), ["last"])


class QuorumTls(OwnClusterTest):
    def test_the_stores_that_java_has(self):
        directory = tempfile.mkdtemp(prefix="zabfs-tls-")
        self.addCleanup(shutil.rmtree, directory, True)
        authority = Authority(directory)
        store = authority.key_store(authority.issue("member"), "secret")
        self.cluster = Cluster(2, extra=(
            "sslQuorum=true\n"
            f"ssl.quorum.keyStore.location={store}\nssl.quorum.keyStore.password=secret\n"
            f"ssl.quorum.trustStore.location={authority.trust_store('changeit')}\n"
            "ssl.quorum.trustStore.password=changeit\n"))
        self.cluster.start()
        one, two = self.cluster.nodes
        self.assertEqual(self.cluster.java.cluster_state()["role"], "leader")
        with open(one.path("f"), "w") as f:
            f.write("x" * 500_000)
        two.barrier()
        self.assertEqual(os.path.getsize(two.path("f")), 500_000)
        self.cluster.java.kill()
        wait_for(lambda: self.cluster.leader() is not None, 30, "a zabfs leader")
        self.cluster.java.start()
        self.cluster.java.wait_ready(JAVA_STARTS_S)
        self.assertEqual(self.cluster.java.cluster_state()["role"], "follower")


if __name__ == "__main__":
    unittest.main(verbosity=2)
