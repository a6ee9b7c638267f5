"""Ensembles of zabfs and Apache ZooKeeper servers, where each kind leads the other: how they begin,
what a learner is sent that comes back under load, a leader that leaves, and a damaged log."""
import itertools
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, OwnClusterTest, wait_for  # noqa: E402
from java import JAVA_STARTS_S, JavaNode  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402
from kazoo.security import make_acl, make_digest_acl  # noqa: E402
from test_healing import rot_txns  # noqa: E402

SNAPSHOTS = "-Dzookeeper.forceSnapshotSync=true"  # what a Java leader sends every learner
ZNODES = 3_000  # in the tree before the load begins
RETURNS = 3
SUPER = ("DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"  # super:test
         "reconfigEnabled=true\n")


class Load:
    """Writes as fast as the ensemble takes them: znodes with and without data, each with an ACL of
    its own, that are changed and deleted."""

    def __init__(self, connect_string):
        self.client = KazooClient(connect_string, timeout=30)
        self.client.start(JAVA_STARTS_S)
        self.client.ensure_path("/load")
        self.ending = False
        self.done = 0
        self.thread = threading.Thread(target=self.write)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()
        self.client.stop()
        self.client.close()

    def write(self):
        for i in itertools.count():
            if self.ending:
                return
            path, before = f"/load/{i}", f"/load/{i - 40}"
            acl = [make_digest_acl(f"user{i}", "secret", all=True), make_acl("world", "anyone", all=True)]
            waiting = [self.client.create_async(path, None if i % 3 == 0 else b"x" * (i % 200), acl),
                       self.client.set_async(path, b"second"),
                       self.client.set_acls_async(path, acl[1:])]
            if i % 2 and i > 40:
                waiting.append(self.client.delete_async(before))
            for result in waiting:
                try:
                    result.get(30)
                except Exception:  # its connection was lost: the next ones tell
                    continue
                self.done += 1


class JavaEnsemble(OwnClusterTest):
    def make(self, *numbers, options=(), extra=""):
        """Three servers, of which those are Java's. Gives the last of these."""
        self.cluster = Cluster(3, tick_ms=500, extra=extra)
        nodes = self.cluster.nodes
        for number in numbers:
            port = nodes[number - 1].client_port
            nodes[number - 1] = java = JavaNode(self.cluster, number)
            java.client_port = port
            java.options = options
        self.ours = [node for node in nodes if not isinstance(node, JavaNode)]
        return java

    def start(self):
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready(JAVA_STARTS_S)
        os.chmod(self.ours[0].mount, 0o777)  # for clients that are nobody

    def start_behind(self, java):
        """So that it leads: it is needed for the first quorum."""
        java.start()
        java.wait_listens()
        for node in self.ours:
            node.may_begin()
            node.start()
            node.wait_ready(JAVA_STARTS_S)
        self.assertEqual(java.cluster_state()["role"], "leader")
        os.chmod(self.ours[0].mount, 0o777)

    def client(self, *nodes, auth=None):
        client = KazooClient(self.cluster.connect_string(nodes or None), timeout=30,
                             auth_data=[("digest", auth)] if auth else None)
        client.start(JAVA_STARTS_S)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        return client

    def fill(self, client):
        client.create("/before", b"")
        waiting = [client.create_async(f"/before/{i}", b"x" * 100) for i in range(ZNODES)]
        for result in waiting:
            result.get(60)

    def tree_at(self, node):
        """What clients of that server see, behind a sync."""
        client = self.client(node)
        client.sync("/")
        names = sorted(client.get_children("/load"))
        waiting = [(client.get_async(f"/load/{name}"), client.get_acls_async(f"/load/{name}"))
                   for name in names]
        return {name: (data.get(30), acls.get(30)) for name, (data, acls) in zip(names, waiting)}

    def assert_all_have_the_same(self):
        trees = [self.tree_at(node) for node in self.cluster.nodes]
        self.assertGreater(len(trees[0]), 0)
        for tree in trees[1:]:
            self.assertEqual(tree, trees[0])
        for node in self.ours:
            self.assertNotIn("differs from the leader's", node.log_text())
        for node in set(self.cluster.nodes) - set(self.ours):
            self.assertNotIn("Digests are not matching", node.log_text())

    def comes_back_under_load(self, node):
        with Load(self.cluster.connect_string([n for n in self.cluster.nodes if n is not node])) as load:
            for _ in range(RETURNS):
                node.kill()
                done = load.done
                wait_for(lambda: load.done > done + 50, 60, "writes without it")
                node.start()
                node.wait_ready(JAVA_STARTS_S)
            done = load.done
            wait_for(lambda: load.done > done + 50, 60, "writes with it")
        self.assert_all_have_the_same()

    def test_begins_with_an_empty_java_server_of_the_lowest_number(self):
        self.make(1)
        self.start()
        self.client(self.cluster.nodes[0]).create("/made")

    def test_begins_with_an_empty_java_server_of_the_highest_number(self):
        self.make(3)
        self.start()
        self.client(self.cluster.nodes[0]).create("/made")

    def test_a_java_follower_comes_back_under_load(self):
        java = self.make(1)
        self.start()
        self.assertIsNotNone(self.cluster.leader())
        self.fill(self.client(*self.ours))
        self.comes_back_under_load(java)
        log = java.log_text()
        for words in ("NullPointerException", "Unknown packet type", "without seeing txn"):
            self.assertNotIn(words, log)

    def test_a_follower_of_a_java_leader_is_sent_snapshots_under_load(self):
        java = self.make(3, options=[SNAPSHOTS])
        self.start_behind(java)
        self.fill(self.client(java))
        node = self.ours[0]
        self.comes_back_under_load(node)
        log = node.log_text()
        self.assertGreaterEqual(log.count("received a snapshot of"), RETURNS)
        for words in ("malformed snapshot", "has no ACL for", "a gap in the leader's proposals"):
            self.assertNotIn(words, log)
        # What it has on its disk is what it was sent, and can be gone on from.
        node.kill()
        node.start()
        node.wait_ready(JAVA_STARTS_S)
        self.assert_all_have_the_same()

    def test_a_java_leader_that_leaves_the_ensemble(self):
        java = self.make(3, extra=SUPER)
        self.start_behind(java)
        client = self.client(*self.ours, auth="super:test")
        # The version that a Java leader gives the configuration of zoo.cfg.
        for node in self.cluster.nodes:
            config = self.client(node).get("/zookeeper/config")[0].decode()
            self.assertEqual(config.split("version=")[1], "100000000")
        # Of the other servers it says nothing.
        with open(self.ours[0].path("@", "cluster")) as file:
            roles = {line.split()[1]: line.split()[3] for line in file if line.startswith("member")}
        self.assertEqual(roles, {"1": "follower", "2": "-", "3": "leader"})
        client.reconfig(joining=None, leaving="3", new_members=None)
        for node in self.ours:
            wait_for(lambda: node.has_quorum() and self.cluster.leader() in self.ours, 60,
                     "a leader of those that stayed")
        self.assertTrue(any("hands over to server" in node.log_text() for node in self.ours))
        self.client(*self.ours).create("/after")

    def test_a_damaged_log_among_java_servers(self):
        java = self.make(2, 3)
        victim, = self.ours
        victim.may_begin()  # it has a vote from the start on
        self.start()
        client = self.client(java)
        client.create("/load", b"")
        for i in range(60):
            client.create(f"/load/{i}", b"x" * 100)
        self.tree_at(victim)
        victim.terminate()
        rot_txns(victim, 0.3, 0.6)
        victim.start()
        victim.wait_ready(60)
        self.assertIn("this node has no vote until the others have brought it up to date",
                      victim.log_text())
        self.assert_all_have_the_same()


if __name__ == "__main__":
    unittest.main(verbosity=2)
