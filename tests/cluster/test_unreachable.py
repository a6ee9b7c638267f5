"""What a node says of a member to which it has no connection: the log while there is no quorum, and
`zabfs status` at any time."""
import json
import os
import re
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from certificates import Authority  # noqa: E402
from harness import ZABFS, Cluster, OwnClusterTest, free_ports, run, wait_for  # noqa: E402
from netns import NetCluster, ip  # noqa: E402
from test_names import NamedTest  # noqa: E402
from test_strangers import connect, hello  # noqa: E402


def reasons(node, number):
    """Of the log, in order."""
    return re.findall(f"server {number} can't be reached: (.*)", node.log_text())


class UnreachableTest(OwnClusterTest):
    def wait_reason(self, node, number, part):
        wait_for(lambda: any(part in reason for reason in reasons(node, number)), 40,
                 f"`{part}` of server {number} in the log of node {node.number}")

    def status(self, node):
        answer = run(ZABFS, "status", "--json", "--mount", node.mount)
        return json.loads(answer.stdout) if answer.stdout else {}

    def why(self, node, number):
        members = {member["id"]: member for member in self.status(node).get("members", [])}
        return members.get(number, {}).get("unreachable") or ""

    def wait_why(self, node, number, part):
        wait_for(lambda: part in self.why(node, number), 40,
                 f"`{part}` of server {number} in the status of node {node.number}")


class Ports(UnreachableTest):
    def test_nobody_runs_there(self):
        self.cluster = Cluster(3, tick_ms=300)
        n1, n2, n3 = self.cluster.nodes
        for node in (n1, n2):  # they begin without the third
            node.may_begin()
        n1.start()
        for number in (2, 3):
            self.wait_reason(n1, number, "refuses connections")
            self.wait_why(n1, number, "refuses connections")
            self.assertIn("its election port 127.0.0.1:", reasons(n1, number)[0])
        n2.start()
        for node in (n1, n2):
            node.wait_ready()
        lines = len(n1.log_text().splitlines())
        self.wait_why(n1, 3, "refuses connections")
        self.wait_why(n2, 3, "refuses connections")
        self.assertEqual(self.why(n1, 2), "")
        # There is a quorum: the status alone says so, and no line a dial.
        self.assertLess(len(reasons(n1, 3)), 3)
        said = n1.log_text().splitlines()[lines:]
        self.assertEqual([line for line in said if "can't be reached" in line], [])
        n3.start()
        n3.wait_ready()
        for node in (n1, n2):
            wait_for(lambda: not self.why(node, 3), 20, "nothing amiss")

    def test_a_member_that_dies(self):
        self.cluster = Cluster(3, tick_ms=300)
        self.cluster.start()
        n1, n2, n3 = self.cluster.nodes
        n3.kill()
        for node in (n1, n2):
            self.wait_why(node, 3, "refuses connections")
        n3.start()
        n3.wait_ready()
        for node in (n1, n2):
            wait_for(lambda: not self.why(node, 3), 20, "nothing amiss")

    def test_a_member_that_closes_a_connection_and_is_there(self):
        """As a server of Java's does when its members change."""
        self.cluster = Cluster(3, tick_ms=300)
        n1, n2, _ = self.cluster.nodes
        with open(n1.config) as f:
            ports = re.findall(r"server.\d=127.0.0.1:\d+:(\d+)", f.read())
        with socket.create_server(("127.0.0.1", int(ports[2]))) as third:
            for node in (n1, n2):
                node.may_begin()
                node.start()
            for node in (n1, n2):
                node.wait_ready()
            for _ in range(3):
                with connect(int(ports[0])) as connection:
                    connection.sendall(hello(3, f"127.0.0.1:{ports[2]}"))
                    wait_for(lambda: not self.why(n1, 3), 20, "nothing amiss")
                    third.settimeout(0.1)
                    end = time.monotonic() + 5.5  # no younger connection is opened anew at once
                    while time.monotonic() < end:
                        try:
                            third.accept()[0].close()  # from before
                        except TimeoutError:
                            pass
                third.settimeout(2)  # of the 5 s after which any member is dialled
                third.accept()[0].close()

    def test_who_has_stopped_is_not_counted(self):
        self.cluster = Cluster(3, tick_ms=300)
        self.cluster.start()
        n1, n2, n3 = self.cluster.nodes
        n2.kill()
        n3.kill()
        seen = []

        def knows():
            seen.extend(self.status(n1).get("notes", []))
            return any("without some of them there is no quorum" in text for text in seen)
        wait_for(knows, 20, "what is missing")
        self.assertEqual([text for text in seen if "enough for a leader" in text], [])

    def test_a_server_that_is_of_another_ensemble(self):
        self.cluster = Cluster(3, tick_ms=300)
        n1, n2, n3 = self.cluster.nodes
        self.cluster.start()
        for node in self.cluster.nodes:
            node.terminate()
        # Servers 2 and 3 begin anew.
        for node in (n2, n3):
            run("rm", "-rf", os.path.join(node.data, "zabfs"))
            node.may_begin()
            node.start()
        for node in (n2, n3):
            node.wait_ready()
        n1.start()
        self.wait_reason(n1, 2, "another ensemble")
        self.wait_why(n1, 2, "another ensemble")

    def test_a_server_that_others_do_not_have_in_their_configuration(self):
        self.cluster = Cluster(3, tick_ms=300)
        n1, n2, n3 = self.cluster.nodes
        ports = free_ports(2)
        with open(n1.config, "a") as f:
            f.write(f"server.4=127.0.0.1:{ports[0]}:{ports[1]}\n")
        n1.start()
        self.wait_reason(n1, 4, "refuses connections")


class Tls(UnreachableTest):
    def make(self, **options):
        self.cluster = Cluster(3, tick_ms=300, **options)
        self.authority = Authority(self.cluster.directory)
        for node in self.cluster.nodes:
            store = self.authority.issue(f"member{node.number}")
            self.use(node, store, self.authority)
        return self.cluster.nodes

    def use(self, node, store, authority):
        with open(node.config) as f:
            lines = [line for line in f if "uorum" not in line]
        with open(node.config, "w") as f:
            f.writelines(lines)
            f.write("sslQuorum=true\n"
                    f"ssl.quorum.keyStore.location={store}\n"
                    f"ssl.quorum.trustStore.location={authority.certificate}\n")

    def test_a_certificate_that_the_others_do_not_trust(self):
        n1, n2, n3 = self.make()
        os.mkdir(os.path.join(self.cluster.directory, "other"))
        stranger = Authority(os.path.join(self.cluster.directory, "other"), "stranger")
        self.use(n3, stranger.issue("mallory"), self.authority)
        n1.start()
        n3.start()
        self.wait_reason(n1, 3, "TLS: the peer's certificate: ")
        self.wait_why(n1, 3, "TLS: ")

    def test_the_smallest_comes_back(self):
        """The larger ones serve, and dial nobody: it has to be heard through TLS."""
        n1, n2, n3 = self.make()
        self.cluster.start()
        n1.kill()
        n1.start()
        n1.wait_ready()


class Networks(UnreachableTest):
    def test_no_answer_and_no_route(self):
        self.cluster = NetCluster(3, tick_ms=300, extra="cnxTimeout=700\n")
        n1, n2, n3 = self.cluster.nodes
        ip("-n", n1.namespace, "route", "add", "unreachable", f"{n3.address}/32")
        n2.drop_from([n1])
        for node in self.cluster.nodes:
            node.start()
        self.wait_reason(n1, 3, "there is no route to its election port 10.231.7.3:3888")
        self.wait_reason(n1, 2, "does not answer within 700 ms")
        self.wait_why(n1, 3, "there is no route")
        ip("-n", n1.namespace, "route", "del", "unreachable", f"{n3.address}/32")
        self.cluster.heal()
        for node in self.cluster.nodes:
            node.wait_ready(60)
            for number in (1, 2, 3):
                wait_for(lambda: not self.why(node, number), 30, "nothing amiss")


class Names(NamedTest):
    def test_a_name_that_does_not_resolve_until_later(self):
        """The larger server makes the connection that stays."""
        del self.cluster.zone["zk1.test"]
        self.cluster.answer()
        self.n1.hosts = f"{self.n1.address} zk1.test"
        self.start(self.n1, self.n3)
        for node, number, why in ((self.n3, 1, "its name zk1.test does not resolve: "),
                                  (self.n1, 3, "it does not connect back to this server")):
            wait_for(lambda: any(why in reason for reason in reasons(node, number)), 30,
                     f"`{why}` in the log of node {node.number}")
        self.cluster.answer(zk1=self.n1.address)
        self.start(self.n2)
        self.ready(*self.cluster.nodes)


if __name__ == "__main__":
    unittest.main(verbosity=2)
