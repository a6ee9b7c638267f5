"""Ensembles of zabfs and Apache ZooKeeper servers, where each kind leads the other: how they begin,
what a learner is sent that comes back, a leader that leaves, a damaged log, and groups."""
import fcntl
import itertools
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, OwnClusterTest, run, sh, wait_for  # noqa: E402
from java import JAVA_STARTS_S, JavaNode  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402
from kazoo.exceptions import (ConnectionLoss, NoAuthError, NodeExistsError,  # noqa: E402
                               SessionExpiredError)
from kazoo.security import make_acl, make_digest_acl  # noqa: E402
from test_compositions import COMPLAINTS, EnsembleTest, MixedCluster  # noqa: E402
from test_healing import rot_txns  # noqa: E402

SNAPSHOTS = "-Dzookeeper.forceSnapshotSync=true"  # what a Java leader sends every learner
# Server 2 has no weight; 4 alone outweighs 3.
GROUPS = "group.1=1:2\ngroup.2=3:4\ngroup.3=5\nweight.2=0\nweight.4=2\n"
ZNODES = 3_000  # in the tree before the load begins
RETURNS = 3
NO_FILES = ("-Dzookeeper.snapshotSizeFactor=-1",)  # a DIFF of Java's has only what is in memory
MORE_THAN_JAVA_REMEMBERS = 600  # txns: commitLogCount is 500
MORE_THAN_OURS_REPEATS = 20  # of half a megabyte: a learner that lacks 8 MiB is sent a snapshot
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
    def make(self, *numbers, servers=3, options=(), extra=""):
        """So many servers, of which those are Java's. Gives the last of these."""
        self.cluster = Cluster(servers, tick_ms=500, extra=extra)
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
        self.wait_for_votes()
        os.chmod(self.ours[0].mount, 0o777)  # for clients that are nobody

    def wait_for_votes(self):
        """A node of a new ensemble observes until it has the leader's data: it is no majority yet with
        another one."""
        for node in self.ours:
            wait_for(lambda: node.cluster_state()["votes"] == "yes", 30, f"node {node.number}'s vote")

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

    def write(self, node, name):
        """By a client of that server."""
        def is_made():
            client = self.client(node)
            try:
                client.create(f"/{name}")
            except NodeExistsError:  # an attempt that was not answered
                pass
            except (ConnectionLoss, SessionExpiredError, NoAuthError):
                return False
            return True
        wait_for(is_made, 60, f"a write at server {node.number}")

    def test_both_kinds_agree_on_what_groups_are_a_quorum(self):
        self.make(1, 5, servers=5, extra=GROUPS)
        node = dict(enumerate(self.cluster.nodes, 1))

        def serve(*numbers):
            return [node[number].has_quorum() for number in numbers]
        # The first group and the third, each with one server that has a weight.
        for number in (1, 5):
            node[number].start()
        for number in (1, 5):
            node[number].wait_ready(JAVA_STARTS_S)
        self.assertEqual(node[5].cluster_state()["role"], "leader")
        for ours in self.ours:
            ours.may_begin()
            ours.start()
        for ours in self.ours:
            ours.wait_ready(60)
        os.chmod(node[2].mount, 0o777)
        self.write(node[2], "all")
        # Two servers of five: 1 wins the first group, and 4 outweighs 3.
        for number in (2, 3, 5):
            node[number].kill()
        wait_for(lambda: serve(1, 4) == [True, True], 60, "a quorum of two")
        self.assertEqual(node[4].cluster_state()["role"], "leader")
        self.write(node[1], "two")
        self.write(node[4], "too")
        # Three servers, but one group only.
        for number in (2, 3):
            node[number].start()
        wait_for(lambda: all(serve(1, 2, 3, 4)), 60, "four that serve")
        node[4].kill()
        wait_for(lambda: not any(serve(1, 2, 3)), 30, "no quorum")
        end = time.monotonic() + 4  # several elections
        while time.monotonic() < end:
            self.assertEqual(serve(1, 2, 3), [False] * 3)
        # The third group makes it a quorum again. What server 5 missed, it cannot lead without.
        node[5].start()
        wait_for(lambda: all(serve(1, 2, 3, 5)), JAVA_STARTS_S, "a quorum of four")
        self.write(node[5], "three")
        for number in (1, 2, 3, 5):
            client = self.client(node[number])
            client.sync("/")
            there = set(client.get_children("/"))
            self.assertLessEqual({"all", "two", "too", "three"}, there, number)
        self.assertNotEqual(node[2].cluster_state()["role"], "leader")  # it has no weight


class Synchronisation(EnsembleTest):
    """DIFF, TRUNC and SNAP, each on purpose, each kind of server as the leader and as the learner.
    Both sides' logs say which of them it was."""

    def setUp(self):
        self.cluster = MixedCluster("JZJ")
        third, self.ours, self.java = self.cluster.nodes
        self.java.options = NO_FILES
        self.java.start()
        self.java.wait_listens()
        self.ours.may_begin()
        for node in (self.ours, third):  # the first is no quorum without it
            node.start()
            node.wait_ready(JAVA_STARTS_S)
        self.assertEqual(self.java.cluster_state()["role"], "leader")
        os.chmod(self.ours.mount, 0o777)
        self.as_client(self.prepare, [self.java])

    def write(self, node, count=3, size=0):
        """By a client of that server. Those with a size change one znode."""
        def by(client):
            if size:
                client.ensure_path("/made/big")
            waiting = [client.set_async("/made/big", bytes([i % 256]) * size) if size else
                       client.create_async("/made/n-", b"x", sequence=True) for i in range(count)]
            for result in waiting:
                result.get(60)
        self.as_client(by, [node])

    def is_lost_with(self, leader, name):
        """That leader alone has a txn in its log, when it is cut off and killed."""
        def logs(client):
            self.cluster.split([leader])
            client.create_async(f"/made/{name}")
            wait_for(lambda: run("grep", "-rqaF", name, leader.data).returncode == 0, 20,
                     f"{name} in the log of server {leader.number}")
            leader.kill()
        self.as_client(logs, [leader])

    def comes_back(self, learner, by_java, by_ours):
        """`by_java` and `by_ours` are in their logs from now on, whichever of them leads."""
        before = {node: len(node.log_text()) for node in (self.java, self.ours)}
        learner.start()
        learner.wait_ready(JAVA_STARTS_S)
        for node, words in ((self.java, by_java), (self.ours, by_ours)):
            self.assertRegex(node.log_text()[before[node]:], words)

    def wait_leads(self, node):
        wait_for(lambda: node.has_quorum() and node.cluster_state()["role"] == "leader", 60,
                 f"server {node.number} as the leader")

    def test_a_mount_goes_on_after_its_connection_was_reset(self):
        """The same leader has it again, and knows its session by another connection."""
        ours = self.ours
        file, lock = os.path.join(ours.mount, "made", "file"), os.path.join(ours.mount, "made/@/lock")
        with open(file, "w") as f:
            f.write("before")
        before = ours.cluster_state()
        for _ in range(2):
            with open(lock) as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                told = ours.log_text().count("looking for a leader")
                sh(ours.nft("add table inet cut\n"
                            "add chain inet cut out { type filter hook output priority 0; }\n"
                            "add rule inet cut out tcp dport 2888 reject with tcp reset"))
                wait_for(lambda: ours.log_text().count("looking for a leader") > told, 20, "the loss")
                self.cluster.heal()
                ours.wait_ready()
                with open(file, "w") as f:
                    f.write("behind")
            # The holder's release was a write, too.
            wait_for(lambda: run("flock", "-n", lock, "true").returncode == 0, 20, "a free lock")
        now = ours.cluster_state()
        self.assertEqual((now["epoch"], now["role"]), (before["epoch"], before["role"]))

    def test_each_kind_both_ways(self):
        java, ours = self.java, self.ours
        # Java leads, ours learns.
        ours.kill()
        self.write(java)
        self.comes_back(ours, "Sending DIFF zxid=0x[0-9a-f]+ +for peer sid: 2",
                        "the leader, server 3, sends DIFF")
        ours.kill()
        self.write(java, MORE_THAN_JAVA_REMEMBERS)
        self.comes_back(ours, "Sending snapshot last zxid of peer",
                        "the leader, server 3, sends SNAP")
        # Ours leads, Java learns.
        self.is_lost_with(java, "lost-by-java")
        self.wait_leads(ours)
        self.write(ours)
        self.cluster.heal()
        self.comes_back(java, "Truncating log to get in sync with the leader",
                        "sends server 3, .*, TRUNC")
        java.kill()
        self.write(ours)
        self.comes_back(java, "Getting a diff from the leader", "sends server 3, .*, DIFF")
        java.kill()
        self.write(ours, MORE_THAN_OURS_REPEATS, 500_000)
        self.comes_back(java, "Getting a snapshot from leader", "sends server 3, .*, SNAP")
        # Java leads again. It sends TRUNC as long as it has no txn of its own epoch: a zabfs
        # follower would make one, and no client may come.
        self.write(java)
        self.is_lost_with(ours, "lost-by-zabfs")
        self.wait_leads(java)
        self.cluster.heal()
        self.comes_back(ours, "Synchronizing with Learner sid: 2 ",
                        "the leader, server 3, sends TRUNC")
        self.write(ours)
        wait_for(self.is_at_rest, 60, "servers at rest")
        trees = self.as_client(self.tree_of)
        self.assert_equal(trees)
        self.assertGreater(len(trees[0]), MORE_THAN_JAVA_REMEMBERS)
        self.assertNotIn("lost-by", " ".join(trees[0]))
        for node in self.cluster.nodes:
            for words in COMPLAINTS:
                self.assertNotIn(words, node.log_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
