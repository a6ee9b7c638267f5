"""Members by name, with real resolvers that are slow, silent, late, or of another opinion than before;
and members that write 0.0.0.0 for themselves. A network and a resolv.conf a node."""
import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import OwnClusterTest, die_with_parent, run, wait_for  # noqa: E402
from netns import ELECTION_PORT, QUORUM_PORT, NetCluster, NetNode, ip  # noqa: E402

SILENT, ANSWERING = "10.231.7.253", "10.231.7.254"


class NamedNode(NetNode):
    """Nothing is mounted: the daemon has a mount namespace of its own, for its /etc."""
    moved_to = None
    hosts = ""
    nameservers = ANSWERING

    @property
    def address(self):
        return self.moved_to or f"10.231.7.{self.number}"

    @property
    def host(self):
        return f"zk{self.number}.test"

    def prefix(self):
        for name, text in (("hosts", f"127.0.0.1 localhost\n{self.hosts}\n"),
                           ("resolv.conf", self.resolv_conf())):
            with open(os.path.join(self.directory, name), "w") as f:
                f.write(text)
        return ["unshare", "--mount", "--propagation", "private", "bash", "-c",
                f"mount --bind {self.directory}/hosts /etc/hosts && "
                f"mount --bind {self.directory}/resolv.conf /etc/resolv.conf && exec \"$@\"", "-"]

    def resolv_conf(self):
        return "".join(f"nameserver {address}\n" for address in self.nameservers.split())

    def cluster_state(self):
        answer = run("nsenter", f"--net=/run/netns/{self.namespace}", "bash", "-c",
                     f"exec 3<>/dev/tcp/127.0.0.1/{self.client_port} && echo -n srvr >&3 && cat <&3")
        mode = re.search(r"Mode: (\w+)", answer.stdout)
        return {"role": mode[1], "quorum": "yes"} if mode else {"quorum": "no"}

    def move(self, address):
        ip("-n", self.namespace, "addr", "flush", "dev", "eth0")
        ip("-n", self.namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        self.moved_to = address


class NamedCluster(NetCluster):
    node_class = NamedNode

    def __init__(self, nodes=3, **options):
        super().__init__(nodes, **options)
        self.zone = {}
        self.names = None
        for node in self.nodes:
            open(node.log, "w").close()
            with open(node.config) as f:
                lines = f.readlines()
            with open(node.config, "w") as f:
                f.writelines(line for line in lines if not line.startswith("zabfs.mount="))

    def server_line(self, i, role, ports):
        return f"server.{i + 1}=zk{i + 1}.test:{QUORUM_PORT}:{ELECTION_PORT}:{role}\n"

    def answer(self, **changes):
        """Names are answered with these addresses from now on; None: never."""
        self.zone.update({f"{name}.test": address for name, address in changes.items()})
        path = os.path.join(self.directory, "zone")
        with open(path + ".new", "w") as f:
            json.dump(self.zone, f)
        os.rename(path + ".new", path)

    def start_names(self):
        self.answer(**{f"zk{node.number}": node.address for node in self.nodes})
        switch = f"{self.prefix}-sw"
        for address in (SILENT, ANSWERING):
            ip("-n", switch, "addr", "add", f"{address}/24", "dev", "br0")
        self.names = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{switch}", sys.executable,
             os.path.join(os.path.dirname(os.path.abspath(__file__)), "dns.py"),
             os.path.join(self.directory, "zone"), SILENT, "--", ANSWERING],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.names.stdout.readline()

    def stop(self):
        names, self.names = getattr(self, "names", None), None
        if names:
            names.kill()
            names.wait()
            names.stdout.close()
        super().stop()


class NamedTest(OwnClusterTest):
    def setUp(self):
        self.cluster = NamedCluster(3, tick_ms=500)
        self.cluster.start_names()
        self.n1, self.n2, self.n3 = self.cluster.nodes

    def start(self, *nodes):
        for node in nodes:
            node.start()

    def ready(self, *nodes):
        for node in nodes:
            node.wait_ready(60)


class Names(NamedTest):
    def test_the_first_name_server_is_dead(self):
        for node in self.cluster.nodes:
            node.nameservers = f"{SILENT} {ANSWERING}"
        self.start(*self.cluster.nodes)
        self.ready(*self.cluster.nodes)

    def test_the_name_of_an_absent_member_is_never_answered(self):
        self.start(*self.cluster.nodes)
        self.ready(*self.cluster.nodes)
        for node in self.cluster.nodes:
            node.terminate()
        self.cluster.answer(zk3=None)
        for node in (self.n1, self.n2):
            node.hosts = f"{self.n1.address} zk1.test\n{self.n2.address} zk2.test\n"
        self.start(self.n1, self.n2)
        self.ready(self.n1, self.n2)
        for node in (self.n1, self.n2):
            wait_for(lambda: "zk3.test, the name of server 3, does not resolve" in node.log_text(),
                     20, "the line about the name")
            # A look-up under way keeps nobody from stopping.
            node.process.terminate()
            self.assertEqual(node.process.wait(10), 0)

    def test_names_that_come_late(self):
        del self.cluster.zone["zk3.test"]
        self.cluster.answer()
        self.n3.hosts = f"{self.n3.address} zk3.test"
        for node in (self.n1, self.n2):  # to begin without the third
            node.may_begin()
        self.start(*self.cluster.nodes)
        self.ready(self.n1, self.n2)
        self.cluster.answer(zk3=self.n3.address)
        self.ready(self.n3)

    def test_a_member_that_moves(self):
        self.start(*self.cluster.nodes)
        self.ready(*self.cluster.nodes)
        # To another address each time, the leader among them; where it was nobody answers.
        for node, address in ((self.cluster.leader(), "10.231.7.11"), (self.n1, "10.231.7.12"),
                              (self.n3, "10.231.7.13")):
            node.terminate()
            node.move(address)
            self.cluster.answer(**{f"zk{node.number}": address})
            self.start(node)
            self.ready(*self.cluster.nodes)

    def test_the_name_servers_die_under_a_running_ensemble(self):
        self.start(*self.cluster.nodes)
        self.ready(*self.cluster.nodes)
        self.cluster.answer(zk1=None, zk2=None, zk3=None)
        leader = self.cluster.leader()
        rest = [node for node in self.cluster.nodes if node is not leader]
        leader.kill()
        wait_for(lambda: self.cluster.leader() in rest, 60, "a leader of the rest")
        self.ready(*rest)
        leader.hosts = "\n".join(f"{n.address} {n.host}" for n in self.cluster.nodes)
        self.start(leader)
        self.ready(leader)


class Wildcards(NamedTest):
    """As images for containers have it: a server's own line says 0.0.0.0."""

    def configure(self, lines, extra="", own="0.0.0.0"):
        """Each node has the lines of these servers, and its own says 0.0.0.0, or `own`."""
        for node in self.cluster.nodes:
            with open(node.config) as f:
                rest = [line for line in f if not line.startswith("server.")]
            for number in sorted({*lines, node.number}):
                host = f"10.231.7.{number}"
                if number == node.number:
                    host = own or host
                rest.append(f"server.{number}={host}:{QUORUM_PORT}:{ELECTION_PORT}\n")
            with open(node.config, "w") as f:
                f.writelines(rest)
                f.write(extra)

    def test_an_ensemble_outlives_its_leader(self):
        self.configure([1, 2, 3])
        self.start(*self.cluster.nodes)
        self.ready(*self.cluster.nodes)
        for _ in range(2):
            leader = self.cluster.leader()
            rest = [node for node in self.cluster.nodes if node is not leader]
            leader.kill()
            wait_for(lambda: self.cluster.leader() in rest, 60, "a leader of the rest")
            self.start(leader)
            self.ready(*self.cluster.nodes)

    def test_one_that_is_no_member_yet_is_found_where_it_comes_from(self):
        self.configure([2, 3], "reconfigEnabled=true\n", own=None)
        self.start(self.n2, self.n3)
        self.ready(self.n2, self.n3)
        self.start(self.n1)  # the smallest: the others open the connections that stay
        self.ready(self.n1)

    def test_it_is_refused_where_it_would_be_told_to_others(self):
        self.configure([1, 2, 3], "reconfigEnabled=true\n")
        self.n1.start()
        self.assertEqual(self.n1.process.wait(20), 2)
        self.assertIn("write the address by which they reach this server", self.n1.log_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
