"""Connections of whom nobody knows who they are: silent, many, again and again. They are bounded, and
they shut out no member and nobody who is to be one."""
import os
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import Cluster, free_ports, wait_for  # noqa: E402

SILENT = 200
MOST = 100  # a node's connections on one port: 64 that are no member's, and the members'
FOLLOWERINFO, PING = 11, 5


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


def hello(number, address):
    return struct.pack(">qqi", -65536, number, len(address)) + address.encode()


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
