"""Clusters whose nodes have a network namespace each, joined by a bridge in another, and cut apart
with nftables. Everything is named after this process, and goes when the cluster stops.
"""
import itertools
import os
import subprocess

from harness import ZABFSD, Cluster, Node, die_with_parent, sh

_numbers = itertools.count(1)
QUORUM_PORT, ELECTION_PORT = 2888, 3888


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class NetNode(Node):
    @property
    def namespace(self):
        return f"{self.cluster.prefix}-{self.number}"

    @property
    def address(self):
        return f"10.231.7.{self.number}"

    def prefix(self):
        """What the daemon is started with, in front of it."""
        return []

    def start(self):
        if not os.path.ismount(self.mount):
            try:
                os.makedirs(self.mount, exist_ok=True)
            except OSError:
                pass
        with open(self.log, "ab") as log:
            # Not `ip netns exec`: that would hide the mount in a mount namespace of its own.
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", *self.prefix(), ZABFSD,
                 self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def nft(self, rules):
        return f"nsenter --net=/run/netns/{self.namespace} nft -f - <<< '{rules}'\n"

    def drop_rules(self, others):
        return self.nft("add table inet cut\nflush table inet cut\n"
                        "add chain inet cut in { type filter hook input priority 0; }\n" +
                        "".join(f"add rule inet cut in ip saddr {o.address} drop\n"
                                for o in others))

    def drop_from(self, others):
        """What those send is lost on its way here."""
        sh(self.drop_rules(others))


class NetCluster(Cluster):
    node_class = NetNode

    def __init__(self, nodes=3, **options):
        self.prefix = f"zt{os.getpid()}x{next(_numbers)}"
        super().__init__(nodes, **options)
        try:
            self.make_network()
        except BaseException:
            self.stop()
            raise

    def server_line(self, i, role, ports):
        return f"server.{i + 1}=10.231.7.{i + 1}:{QUORUM_PORT}:{ELECTION_PORT}:{role}\n"

    def make_network(self):
        switch = f"{self.prefix}-sw"
        for name in [switch] + [node.namespace for node in self.nodes]:
            ip("netns", "add", name)
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for node in self.nodes:
            port = f"p{node.number}"
            ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns",
               node.namespace)
            ip("-n", switch, "link", "set", port, "master", "br0", "up")
            ip("-n", node.namespace, "addr", "add", f"{node.address}/24", "dev", "eth0")
            ip("-n", node.namespace, "link", "set", "eth0", "up")
            ip("-n", node.namespace, "link", "set", "lo", "up")

    def split(self, left):
        """Cuts `left` off from all others, both ways."""
        right = [n for n in self.nodes if n not in left]
        sh("".join(node.drop_rules(right if node in left else left) for node in self.nodes))

    def heal(self):
        sh("".join(node.nft("add table inet cut\ndelete table inet cut\n")
                   for node in self.nodes))
