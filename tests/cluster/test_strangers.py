"""Connections of whom nobody knows who they are: silent, many, again and again. They are bounded, and
they shut out no member and nobody who is to be one."""
import os
import re
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import Cluster, free_ports, wait_for  # noqa: E402

SILENT = 200
MOST = 100  # a node's connections on one port: 64 that are no member's, and the members'
REQUEST, PROPOSAL, ACK, PING, NEWLEADER, FOLLOWERINFO, UPTODATE = 1, 2, 3, 5, 10, 11, 12
OBSERVERINFO, LEADERINFO, ACKEPOCH, FETCHTXNS = 16, 17, 18, 20
CREATE_SESSION = -10
SUPER = [("super", "")]


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def is_open(s):
    s.setblocking(False)
    try:
        return s.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def open_ones(connections):
    return sum(is_open(s) for s in connections)


def hello(number, address, version=-65536):
    return struct.pack(">qqi", version, number, len(address)) + address.encode()


class Peer:
    """What says at a quorum port that it is a server."""

    def __init__(self, port):
        self.socket = connect(port)
        self.data = b""

    def send(self, kind, zxid=0, data=None, identities=()):
        ids = raw.i32(-1)
        if identities:
            ids = raw.vector(identities, lambda one: raw.buf(one[0]) + raw.buf(one[1]))
        self.socket.sendall(raw.i32(kind) + raw.i64(zxid) + raw.buf(data) + ids)

    def packet(self):
        """(kind, zxid, data) of the next; raises if there is none any more."""
        kind, zxid, size = struct.unpack(">iqi", raw.exactly(self.socket, 16))
        data = raw.exactly(self.socket, size) if size > 0 else b""
        raw.exactly(self.socket, 4)  # no identities
        return kind, zxid, data

    def wait(self, *wanted):
        while True:
            packet = self.packet()
            if packet[0] in wanted:
                return packet

    def is_refused(self):
        try:
            self.wait(LEADERINFO, PROPOSAL)
            return False
        except (raw.Closed, OSError):
            return True

    @staticmethod
    def info(number):  # as zabfs has it
        return struct.pack(">qiqiiq", number, 0x10000, 0, 0x5A414246, 3, 0)

    def join(self, number, epoch=0):
        self.send(OBSERVERINFO, epoch << 32, self.info(number))
        _, zxid, _ = self.wait(LEADERINFO)
        self.send(ACKEPOCH, 0, raw.i32(0))
        self.wait(NEWLEADER)
        self.send(ACK, zxid)
        self.wait(UPTODATE)
        self.send(ACK, zxid)

    def request(self, session, kind, body=b"", identities=SUPER, attachment=0, cxid=1):
        data = raw.i64(session) + raw.i32(cxid) + raw.i32(kind) + body
        self.send(REQUEST, attachment, data, identities)


# An observer is configured, and somebody else comes in its stead.
class Impostors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, tick_ms=500, observers=1)
        cls.addClassCleanup(cls.cluster.stop)
        nodes = cls.cluster.nodes[:3]
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_ready()
        cls.cluster.nodes.pop()
        cls.leader = cls.cluster.leader()
        with open(cls.leader.config) as f:
            lines = [line.split("=")[1].split(":") for line in f if line.startswith("server.")]
        cls.port, cls.election_port = map(int, lines[cls.leader.number - 1][1:3])

    def peer(self):
        peer = Peer(self.port)
        self.addCleanup(peer.socket.close)
        return peer

    def test_who_is_in_no_configuration_learns_nothing(self):
        for kind in (OBSERVERINFO, FOLLOWERINFO):
            peer = self.peer()
            peer.send(kind, 0, peer.info(1000))
            self.assertTrue(peer.is_refused())
        self.assertIn("server 1000 is in no configuration", self.leader.log_text())

    def test_the_log_is_for_members(self):
        everything = raw.i32(1) + raw.i64(0) + raw.i64(2**62)
        for who in (b"", Peer.info(1000)):
            peer = self.peer()
            peer.send(FETCHTXNS, 0, everything + who)
            self.assertTrue(peer.wait(FETCHTXNS, PROPOSAL)[0] == FETCHTXNS)
        peer = self.peer()
        peer.send(FETCHTXNS, 0, everything + Peer.info(4))
        peer.wait(PROPOSAL)

    def test_an_epoch_near_its_end_is_refused(self):
        peer = self.peer()
        peer.send(OBSERVERINFO, 0x7ffffffe << 32, peer.info(4))
        self.assertTrue(peer.is_refused())

    def test_a_member_speaks_for_its_own_sessions_and_not_as_the_superuser(self):
        node = next(node for node in self.cluster.nodes if node is not self.leader)
        secret = node.path("secret")
        with open(secret, "w") as f:
            f.write("kept")
        os.chmod(secret, 0o600)
        handle = os.open(node.path("@", "ephemeral", "mine"), os.O_CREAT | os.O_WRONLY)
        self.addCleanup(os.close, handle)
        client = raw.Session(("127.0.0.1", node.client_port))
        self.addCleanup(client.close)
        mounts = client.request(raw.EXISTS, raw.buf("/mine") + b"\0")[3].stat()["owner"]
        peer = self.peer()
        peer.join(4)
        own = (4 << 56) | 12345
        peer.request(own, CREATE_SESSION, raw.i32(5000), [], cxid=0)
        # Of another's making.
        peer.request((1 << 56) | 12345, CREATE_SESSION, raw.i32(5000), [], cxid=0)
        write = raw.buf("/secret") + raw.buf("taken") + raw.i32(-1)
        attempt = 0
        for session in (client.id, mounts, own, 0, (1 << 56) | 12345):
            for identities in (SUPER, SUPER + [("digest", "")], SUPER + [("ip", "127.0.0.1")]):
                for attachment in (0, -1) if session == own else (0, 2**62):
                    attempt += 1
                    peer.request(session, raw.SET_DATA, write, identities, attachment, attempt)
        for session in (client.id, mounts):
            peer.request(session, raw.CLOSE, b"", SUPER, 2**62, attempt + 1)
        peer.request(own, 20, b"/secret", SUPER)  # deleteContainer, the leader's own
        # What its clients may it may: behind this all of the above is done, or refused.
        os.mkdir(node.path("open"))
        os.chmod(node.path("open"), 0o777)
        peer.request(own, raw.CREATE, raw.create("/open/here", b""), [("ip", "127.0.0.1")], cxid=500)
        wait_for(lambda: os.path.exists(node.path("open", "here")), 20, "what it may make")
        with open(secret) as f:
            self.assertEqual(f.read(), "kept")
        self.assertEqual(client.request(raw.EXISTS, raw.buf("/mine") + b"\0")[2], 0)

    def logs(self, words, send):
        """Sent until it is in the log, which takes a few lines in a while from who is no member."""
        def is_there():
            send()
            return words in self.leader.log_text()
        wait_for(is_there, 30, words, every=1)

    def election_connection(self, begin):
        s = connect(self.election_port)
        self.addCleanup(s.close)
        s.sendall(begin)
        return s

    def test_members_of_old_releases_are_refused_with_the_reason(self):
        old = "server 4 runs ZooKeeper 3.4 or older"
        self.logs(f"{old} (its hello is a bare number)",
                  lambda: self.election_connection(struct.pack(">q", 4)))

        def vote():
            # As 3.4.6 has it.
            vote = struct.pack(">iqqqqi", 0, 4, 0, 1, 0, 1)
            s = self.election_connection(hello(4, "127.0.0.1:1"))
            s.sendall(struct.pack(">i", len(vote)) + vote)
        self.logs(f"{old} (its vote names no configuration)", vote)

        def follow():
            peer = self.peer()
            peer.send(FOLLOWERINFO, 0, struct.pack(">qi", 4, 0x10000))
            self.assertTrue(peer.is_refused())
        self.logs(f"{old} (it names no version of its configuration)", follow)
        self.assertRegex(self.leader.log_text(), r"closed 127\.0\.0\.1:\d+: " + re.escape(old))

    def test_a_server_with_several_addresses_is_one(self):
        """As 3.6 and later say hello with multiAddress.enabled."""
        config = b"server.4=127.0.0.1:1:3|127.0.0.2:1:3:observer\nversion=0"
        for _ in range(6):
            s = self.election_connection(
                hello(4, "127.0.0.2:3|127.0.0.1:3", version=-65535))
            vote = struct.pack(">iqqqqii", 0, 4, 0, 1, 0, 2, len(config)) + config
            s.sendall(struct.pack(">i", len(vote)) + vote)
            # The leader answers who is looking.
            size = struct.unpack(">i", raw.exactly(s, 4))[0]
            answer = raw.exactly(s, size)
            self.assertEqual(struct.unpack(">i", answer[:4])[0], 2, "LEADING")
        self.assertNotIn("two servers say that they are", self.leader.log_text())

    def test_the_log_says_that_the_ports_are_open(self):
        said = [line for line in self.leader.log_text().splitlines()
                if "set sslQuorum=true" in line]
        self.assertEqual(len(said), 1)


class Strangers(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(3, tick_ms=500, extra="reconfigEnabled=true\n")
        self.addCleanup(self.cluster.stop)
        self.connections = []
        self.addCleanup(lambda: [s.close() for s in self.connections])
        self.cluster.start()
        with open(self.cluster.nodes[0].config) as f:
            lines = [line.split("=")[1].split(":") for line in f if line.startswith("server.")]
        self.quorum_ports = [int(line[1]) for line in lines]
        self.election_ports = [int(line[2]) for line in lines]

    def hold(self, port, count=SILENT, bytes=b""):
        ours = [connect(port) for _ in range(count)]
        self.connections += ours
        for s in ours:
            try:
                s.sendall(bytes)
            except OSError:
                pass  # closed meanwhile
        return ours

    def restart(self, node):
        node.kill()
        node.start()
        node.wait_ready()

    def test_silent_ones_on_the_quorum_port(self):
        leader = self.cluster.leader()
        for node in (self.cluster.followers()[0], leader):
            silent = self.hold(self.quorum_ports[node.number - 1])
            wait_for(lambda: open_ones(silent) <= MOST, 20, "a bound")
            if node is leader:  # a member comes while they hold the port
                self.restart(self.cluster.followers()[1])
            wait_for(lambda: open_ones(silent) == 0, 40, "an end")
            self.assertIn("too many connections are from no member", node.log_text())
            # Who says something else is closed at once, whoever leads.
            talkers = self.hold(self.quorum_ports[node.number - 1], 3,
                                struct.pack(">iqii", PING, 0, -1, 0))
            wait_for(lambda: open_ones(talkers) == 0, 20, "the end of those that began with PING")

    def test_ones_that_say_they_are_learners(self):
        leader = self.cluster.leader()
        port = self.quorum_ports[leader.number - 1]
        learners = []
        for number in range(SILENT):
            info = struct.pack(">qiq", 1000 + number, 0x10000, 0)
            learners += self.hold(port, 1, struct.pack(">iqi", FOLLOWERINFO, 0, len(info)) + info +
                                  struct.pack(">i", 0))
        wait_for(lambda: open_ones(learners) <= MOST, 20, "a bound")
        self.restart(self.cluster.followers()[0])
        self.assertIs(self.cluster.leader(), leader)

    def test_silent_ones_on_the_election_port(self):
        leader = self.cluster.leader()
        for node in self.cluster.followers():
            silent = self.hold(self.election_ports[node.number - 1])
            wait_for(lambda: open_ones(silent) <= MOST, 20, "a bound")
            self.hold(self.election_ports[node.number - 1])  # and again
        leader.kill()
        wait_for(self.cluster.leader, 30, "a leader of the rest")
        leader.start()
        leader.wait_ready()
        wait_for(lambda: open_ones(self.connections) == 0, 40, "an end")

    def test_a_crowd_of_strangers_and_one_who_joins(self):
        dead, = free_ports(1)
        for port in self.election_ports:
            for number in range(100, 200):
                self.hold(port, 1, hello(number, f"127.0.0.1:{dead}"))
        joiner = self.cluster.node_class(self.cluster, 4)
        quorum, election, joiner.client_port = free_ports(3)
        first = self.cluster.nodes[0]
        with open(first.config) as f:
            base = f.read()
        base = base.replace(first.data, joiner.data).replace(first.mount, joiner.mount)
        base = base.replace(f"clientPort={first.client_port}", f"clientPort={joiner.client_port}")
        os.makedirs(joiner.data)
        with open(os.path.join(joiner.data, "myid"), "w") as f:
            f.write("4\n")
        with open(joiner.config, "w") as f:
            f.write(f"{base}server.4=127.0.0.1:{quorum}:{election}\n")
        self.cluster.nodes.append(joiner)
        joiner.start()
        joiner.wait_ready()


if __name__ == "__main__":
    unittest.main(verbosity=2)
