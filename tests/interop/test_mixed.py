"""Ensembles of zabfs and Apache ZooKeeper servers: one of three is Java's. It leads or follows, and
gets nothing that only zabfs servers understand."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFS, Cluster, OwnClusterTest, run, sh, wait_for  # noqa: E402
from java import JAVA_STARTS_S, JavaNode  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402

BIG_ZNODES = 60


class Mixed(OwnClusterTest):
    def make(self, number):
        """Three servers, of which that one is Java's."""
        self.cluster = Cluster(3, tick_ms=500)
        port = self.cluster.nodes[number - 1].client_port
        self.cluster.nodes[number - 1] = java = JavaNode(self.cluster, number)
        java.client_port = port
        self.ours = [node for node in self.cluster.nodes if node is not java]
        return java

    def make_open_directory(self, node):
        sh(f"umask 0; mkdir {node.path('open')}")

    def member(self, node, number):
        members = json.loads(run(ZABFS, "status", "--json", "--mount", node.mount).stdout)["members"]
        return next(member for member in members if member["id"] == number)

    def fill_disk_of(self, node):
        """Its data moves to a small filesystem with no room. Gives what fills it."""
        node.terminate()
        saved = os.path.join(node.directory, "saved")
        os.rename(node.data, saved)
        os.mkdir(node.data)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", node.data], check=True)
        sh(f"cp -a {saved}/. {node.data}")
        node.start()
        node.wait_ready()
        ballast = os.path.join(node.data, "ballast")
        run("dd", "if=/dev/zero", f"of={ballast}", "bs=64k")
        return ballast

    def steps_aside_and_comes_back(self, node):
        """A client of the other node writes, for a mount writes only where the leader is ours."""
        ballast = self.fill_disk_of(node)
        other, = [one for one in self.ours if one is not node]
        client = KazooClient(self.cluster.connect_string([other]))
        client.start(JAVA_STARTS_S)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        for i in range(BIG_ZNODES):
            client.create(f"/open/{i}", os.urandom(900_000))
        wait_for(lambda: node.cluster_state()["disk"] == "full", 60, "a full disk")
        os.unlink(ballast)
        for i in range(BIG_ZNODES):
            client.delete(f"/open/{i}")
        wait_for(lambda: node.cluster_state()["disk"] == "ok" and node.has_quorum(), 60, "room again")

    def assert_java_understood(self, java):
        log = java.log_text()
        self.assertIn(" INFO org.apache.zookeeper.server.quorum.", log)
        # Follower.processPacket, Learner.syncWithLeader, LearnerHandler.run
        for words in ("Unknown packet type", "unexpected packet", "unexpected quorum packet"):
            self.assertNotIn(words, log)

    def start_with_a_java_follower(self):
        java = self.make(1)
        for node in self.ours:
            node.may_begin()
            node.start()
        for node in self.ours:
            node.wait_ready()
        java.start()
        java.wait_ready(JAVA_STARTS_S)
        return java

    def test_java_follows(self):
        java = self.start_with_a_java_follower()
        self.assertEqual(java.cluster_state()["role"], "follower")
        for node in self.ours:
            wait_for(lambda: self.member(node, 1)["version"] == "ZooKeeper", 20, "what Java's is")
            self.assertEqual(self.member(node, 1)["disk"], None)
            wait_for(lambda: self.member(node, 1)["state"] == "up", 20, "Java's server is up")
        follower, = [node for node in self.ours if node is not self.cluster.leader()]
        self.make_open_directory(follower)
        self.steps_aside_and_comes_back(follower)
        self.assertEqual(java.cluster_state()["role"], "follower")
        self.assert_java_understood(java)
        java.kill()
        for node in self.ours:
            wait_for(lambda: self.member(node, 1)["state"] == "lost", 30, "its loss")
            wait_for(lambda: "refuses" in (self.member(node, 1)["unreachable"] or ""), 30, "why")

    def told(self, node, path):
        """Who made the newest version: NODE USER CLIENT PROGRAM."""
        node.barrier()
        directory, name = os.path.split(path)
        versions = node.path(directory, "@", "history", name)
        names = [n for n in os.listdir(versions) if n != "current"]
        newest = os.path.join(versions, max(names, key=lambda n: int(n.split(".")[0], 16)))
        node_number, _, *rest = os.getxattr(newest, "user.zabfs.who").decode().split(" ")
        return " ".join([node_number, *rest])

    def test_a_client_of_a_java_follower_is_told(self):
        java = self.start_with_a_java_follower()
        self.make_open_directory(self.ours[0])
        client = KazooClient(self.cluster.connect_string([java]))
        client.start(JAVA_STARTS_S)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        client.add_auth("digest", "bob:secret")
        client.retry(client.sync, "/open")
        client.create("/open/f", b"x")
        # Java's server takes part in what our mounts say of themselves.
        sh(f"echo y > {self.ours[1].path('open', 'g')}")
        self.assertEqual(client.retry(client.sync, "/open/g"), "/open/g")
        self.assertEqual(client.get("/open/g")[0], b"y\n")
        self.assertEqual(java.cluster_state()["role"], "follower")
        for node in self.ours:
            self.assertEqual(self.told(node, "open/f"), "1 digest:bob 127.0.0.1 -")
            fields = self.told(node, "open/g").split(" ")
            self.assertEqual(fields[:3], [str(self.ours[1].number), "0", "-"])
        self.assert_java_understood(java)

    def test_java_leads(self):
        java = self.make(3)
        java.start()
        wait_for(java.listens, JAVA_STARTS_S, "Java's server")
        n1, n2 = self.ours
        n2.may_begin()
        n2.start()
        n2.wait_ready(JAVA_STARTS_S)
        n1.start()
        n1.wait_ready(JAVA_STARTS_S)
        self.assertEqual(java.cluster_state()["role"], "leader")
        for node in self.ours:
            # Who comes without data observes first, and leaves the leader once more for its vote.
            wait_for(lambda: self.member(node, 3)["role"] == "leader", 30, "Java's server as the leader")
        self.make_open_directory(n1)
        self.steps_aside_and_comes_back(n1)
        self.assertEqual(java.cluster_state()["role"], "leader")
        self.assert_java_understood(java)


if __name__ == "__main__":
    unittest.main(verbosity=2)
