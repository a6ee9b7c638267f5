"""Members that come and go while the ensemble runs, through kazoo's reconfig: real processes, a real
client, and what a restart with the old zoo.cfg makes of it."""
import errno
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFS, Cluster, free_ports, run, wait_for  # noqa: E402

from kazoo.client import KazooClient  # noqa: E402
from kazoo.exceptions import (BadArgumentsError, BadVersionError,  # noqa: E402
                              NewConfigNoQuorumError, NoAuthError)

SUPER = ("DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"  # super:test
         "reconfigEnabled=true\nzabfs.commitTimeout=8000\n")


def read_file(path):
    with open(path) as file:
        return file.read()


class Reconfig(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(3, tick_ms=300, extra=SUPER).start()
        self.addCleanup(self.cluster.stop)
        self.clients = []
        self.addCleanup(lambda: [(c.stop(), c.close()) for c in self.clients])

    def client(self, nodes=None, auth="super:test"):
        client = KazooClient(self.cluster.connect_string(nodes), timeout=6,
                             auth_data=[("digest", auth)] if auth else None)
        self.clients.append(client)
        client.start(20)
        return client

    def add_node(self, role="participant"):
        """A node whose zoo.cfg lists the first three and itself; not a member yet."""
        cluster = self.cluster
        node = cluster.node_class(cluster, len(cluster.nodes) + 1)
        ports = free_ports(3)
        node.client_port = ports[2]
        node.server = (f"server.{node.number}=127.0.0.1:{ports[0]}:{ports[1]}:{role};"
                       f"127.0.0.1:{ports[2]}")
        with open(cluster.nodes[0].config) as f:
            base = f.read()
        first = cluster.nodes[0]
        base = base.replace(first.data, node.data).replace(first.mount, node.mount)
        base = base.replace(f"clientPort={first.client_port}\n", "") + node.server + "\n"
        os.makedirs(node.data)
        with open(os.path.join(node.data, "myid"), "w") as f:
            f.write(f"{node.number}\n")
        with open(node.config, "w") as f:
            f.write(base)
        cluster.nodes.append(node)
        node.start()
        node.wait_ready()
        return node

    def members_shown(self, node):
        with open(node.path("@", "cluster")) as f:
            return {int(line.split()[1]): line.split()[3] for line in f if line.startswith("member")}

    def write(self, node, name):
        with open(node.path(name), "w") as f:
            f.write(name)

    def test_a_server_joins_votes_and_outlives_the_first_ones(self):
        client = self.client()
        client.create("/before", b"x")
        first_config = client.get("/zookeeper/config")[0].decode()
        self.assertNotIn("server.4", first_config)
        self.assertNotEqual(first_config.split("version=")[1], "0")
        joiner = self.add_node()
        self.write(joiner, "by-a-guest")  # it follows already, and isn't counted
        events = []
        client.get("/zookeeper/config", watch=events.append)
        config, stat = client.reconfig(joining=joiner.server, leaving=None, new_members=None)
        self.assertIn(joiner.server, config.decode())
        self.assertEqual(config, client.get("/zookeeper/config")[0])
        self.assertEqual(int(config.decode().split("version=")[1], 16), stat.mzxid)
        self.assertEqual(stat.version, -1)
        wait_for(lambda: events and events[0].type == "CHANGED", 10, "the watch of the config")
        wait_for(lambda: self.members_shown(joiner).get(4) == "follower", 20, "its vote")
        # Of four two may not be missing, and with it as one of three they may.
        config, _ = client.reconfig(joining=None, leaving="1", new_members=None)
        self.assertNotIn("server.1=", config.decode())
        second = self.cluster.nodes[1]
        self.cluster.nodes[0].kill()
        wait_for(second.has_quorum, 20, "a leader of the rest")
        self.write(second, "without-the-first")
        second.kill()
        wait_for(joiner.has_quorum, 20, "a leader of 3 and 4")
        self.write(joiner, "two-of-three")
        # The zoo.cfg of each still has the first three: what was committed counts.
        for node in self.cluster.nodes[1:]:
            if node.process.poll() is None:
                node.kill()
        for node in self.cluster.nodes[2:]:
            node.start()
        for node in self.cluster.nodes[2:]:
            node.wait_ready()
            self.assertEqual(sorted(self.members_shown(node)), [2, 3, 4])
            for name in ("two-of-three", "by-a-guest"):
                with open(node.path(name)) as f:
                    self.assertEqual(f.read(), name)

    def test_the_leader_leaves(self):
        leader = self.cluster.leader()
        rest = self.cluster.followers()
        client = self.client(rest)
        client.create("/a")
        config, _ = client.reconfig(joining=None, leaving=str(leader.number), new_members=None)
        self.assertNotIn(f"server.{leader.number}=", config.decode())
        wait_for(lambda: self.cluster.leader() in rest, 20, "a leader that is a member")
        client.retry(client.create, "/b")
        leader.wait_ready()  # it follows on, without a vote
        wait_for(lambda: os.path.exists(leader.path("b")), 10, "the commit at the one that left")
        leader.kill()
        client.retry(client.create, "/c")

    def test_a_participant_observes_and_comes_back(self):
        client = self.client(self.cluster.nodes[:1])
        lines = client.get("/zookeeper/config")[0].decode().split("\n")
        third = self.cluster.nodes[2]
        line = [line for line in lines if line.startswith("server.3=")][0].split(";")[0]
        observer = line.replace(":participant", ":observer") + f";127.0.0.1:{third.client_port}"
        client.reconfig(joining=observer, leaving=None, new_members=None)
        wait_for(lambda: self.members_shown(self.cluster.nodes[0]).get(3) == "observer", 20,
                 "the observer")
        client.reconfig(joining=observer.replace(":observer", ":participant"), leaving=None,
                        new_members=None)
        wait_for(lambda: self.members_shown(self.cluster.nodes[0]).get(3) == "follower", 20,
                 "the follower")
        self.write(third, "back")

    def test_what_is_refused(self):
        client = self.client()
        config = client.get("/zookeeper/config")[0].decode()
        version = int(config.split("version=")[1], 16)
        joining = "server.9=127.0.0.1:31000:31001:participant;127.0.0.1:31002"
        with self.assertRaises(NoAuthError):
            self.client(auth=None).reconfig(joining, None, None)
        with self.assertRaises(BadVersionError):
            client.reconfig(joining, None, None, from_config=version + 1)
        for bad in ("some thing", "server.9=127.0.0.1:31000:31001", "server.x=a:1:2;3",
                    "server.9=127.0.0.1:31000:31000;3"):
            with self.assertRaises(BadArgumentsError, msg=bad):
                client.reconfig(bad, None, None)
        with self.assertRaises(BadArgumentsError):  # one voter is no ensemble
            client.reconfig(None, "1,2", None)
        with self.assertRaises(NewConfigNoQuorumError):  # nobody is there
            client.reconfig(None, None, f"{joining},{joining.replace('9=', '8=').replace('310', '311')}")
        self.assertEqual(client.get("/zookeeper/config")[0].decode(), config)
        client.create("/still-works")



class ByTheMount(Reconfig):
    """The same without a ZooKeeper client: by `zabfs members`, and by the file it uses."""

    def zabfs(self, *arguments, node=0, **options):
        mount = ["--mount", self.cluster.nodes[node].mount]
        return run(ZABFS, "members", *mount, *arguments, **options)

    def succeeds(self, *arguments, **options):
        result = self.zabfs(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def address(self, node):
        return node.server.split("=")[1]

    def test_a_server_joins_votes_and_outlives_the_first_ones(self):
        added = self.add_node()
        self.assertEqual(self.succeeds("add", "4", self.address(added)),
                         "member 4 observes\nmember 4 votes\n")
        self.assertEqual(set(self.members_shown(self.cluster.nodes[1])), {1, 2, 3, 4})
        self.assertIn("server.4=" + self.address(added), read_file(added.path("@", "members")))
        # Its own zoo.cfg has it; the others' have not.
        self.assertNotIn("zoo.cfg differs", read_file(added.path("@", "cluster")))
        self.assertRegex(read_file(self.cluster.nodes[0].path("@", "cluster")),
                         "note zoo.cfg differs from .*: server 4 is missing")
        self.write(added, "by-the-new-one")
        for number in 1, 2:
            self.succeeds("remove", str(number), node=3)
            removed = self.cluster.nodes[number - 1]
            wait_for(lambda: "this node is no member" in read_file(removed.path("@", "cluster")), 10,
                     "a note")
            self.assertEqual(removed.cluster_state()["votes"], "no")
            wait_for(lambda: "this node is no member" in removed.log_text(), 20, "a line of the log")
            removed.terminate()
        wait_for(lambda: set(self.members_shown(added)) == {3, 4}, 20, "two members")
        added.wait_ready()
        self.write(added, "with-two-of-four")

    def test_the_leader_leaves(self):
        leader = self.cluster.leader()
        others = [node for node in self.cluster.nodes if node is not leader]
        self.succeeds("remove", str(leader.number))
        wait_for(lambda: set(self.members_shown(others[0])) == {n.number for n in others}, 20,
                 "two members")
        others[0].wait_ready()
        self.write(others[0], "after-the-leader")

    def test_a_participant_observes_and_comes_back(self):
        follower = self.cluster.followers()[0]
        number = str(follower.number)
        self.assertEqual(self.succeeds("demote", number), f"member {number} observes\n")
        wait_for(lambda: self.members_shown(follower)[follower.number] == "observer", 20, "its role")
        self.assertEqual(self.succeeds("promote", number), f"member {number} votes\n")
        wait_for(lambda: self.members_shown(follower)[follower.number] == "follower", 20, "its role")

    def test_what_is_refused(self):
        follower = self.cluster.followers()[0]
        shown = read_file(follower.path("@", "members"))
        for arguments, why in ((("add", "2", "127.0.0.1:1:2"), "is a member already"),
                               (("add", "4", "nonsense"), "ADDRESS is HOST"),
                               (("remove", "4"), "no member is 4"),
                               (("promote", "2"), "votes already")):
            result = self.zabfs(*arguments)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertIn(why, result.stderr)
        result = run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", ZABFS,
                     "members", "--mount", follower.mount, "demote", "2")
        self.assertIn("only root", result.stderr)
        # Two of three in sync are needed, also of those that are left.
        follower.kill()
        other = [n for n in self.cluster.followers() if n is not follower][0]
        result = self.zabfs("demote", str(other.number), node=other.number - 1)
        self.assertIn("too few of the new members are in sync", result.stderr)
        self.assertEqual(read_file(other.path("@", "members")), shown)
        follower.start()
        follower.wait_ready()

    def test_one_that_is_not_there_observes_until_it_is(self):
        result = self.zabfs("add", "4", "127.0.0.1:1:2;3", "--timeout", "1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("does not follow yet", result.stderr)
        self.assertIn("`zabfs members promote 4`", result.stderr)
        self.assertIn("server.4=127.0.0.1:1:2:observer;",
                      read_file(self.cluster.nodes[0].path("@", "members")))
        self.succeeds("remove", "4")

    def test_the_file_is_edited_as_of_what_was_read(self):
        path = self.cluster.nodes[0].path("@", "members")
        before = read_file(path)
        with open(path, "a") as file:
            file.write("server.4=127.0.0.1:1:2:observer;127.0.0.1:3\n")
        self.assertIn("server.4=127.0.0.1:1:2:observer", read_file(path))
        wait_for(lambda: set(self.members_shown(self.cluster.nodes[0])) == {1, 2, 3, 4}, 10, "four")
        with self.assertRaises(OSError) as raised, open(path, "w") as file:
            file.write(before)  # it names the version before
        self.assertEqual(raised.exception.errno, errno.ESTALE)
        with open(path, "w") as file:
            file.write(before[:before.index("version=")])
        wait_for(lambda: set(self.members_shown(self.cluster.nodes[0])) == {1, 2, 3}, 10, "three")


class NotEnabled(unittest.TestCase):
    def test_the_tool_says_what_to_set(self):
        cluster = Cluster(3, tick_ms=300).start()
        self.addCleanup(cluster.stop)
        result = run(ZABFS, "members", "--mount", cluster.nodes[0].mount, "remove", "3")
        self.assertEqual(result.returncode, 1)
        self.assertIn("reconfigEnabled=true", result.stderr)
        self.assertIn("reconfigEnabled=true", cluster.nodes[0].log_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
