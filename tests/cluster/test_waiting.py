"""Ensembles that wait: the log and `zabfs status` say for whom, what contradicts what, and the
remedy; and an ensemble that moves as a whole gets its new addresses."""
import json
import os
import unittest

from harness import ZABFS, Cluster, OwnClusterTest, free_ports, run, wait_for

SETTINGS = "reconfigEnabled=true\nzabfs.quorumGrace=500\nzabfs.commitTimeout=8000"


class Waiting(OwnClusterTest):
    def make(self, nodes=3):
        self.cluster = Cluster(nodes, tick_ms=300, extra=SETTINGS)
        return self.cluster.nodes

    def notes(self, node):
        answer = run(ZABFS, "status", "--json", "--mount", node.mount)
        return " ".join(json.loads(answer.stdout).get("notes", [])) if answer.stdout else ""

    def wait_note(self, node, part):
        wait_for(lambda: part in self.notes(node), 40, f"`{part}` in the status")
        wait_for(lambda: part in node.log_text(), 40, f"`{part}` in the log")
        # Not a flood.
        self.assertLess(node.log_text().count(part), 30)

    def write(self, node, name):
        def written():
            if not os.path.ismount(node.mount):
                return False
            with open(node.path(name), "w") as f:
                f.write(name)
            return True
        wait_for(written, 40, f"a write on node {node.number}")

    def test_a_new_ensemble_says_whom_it_has_not_seen(self):
        n1, n2, n3 = self.make()
        n1.start()
        n2.start()
        self.wait_note(n1, "a new ensemble begins once all its voters have been seen empty; "
                           "missing: server 3 (")
        with open(n1.path("@", "health")) as f:
            self.assertIn("note a new ensemble begins", f.read())
        n3.start()
        for node in (n1, n2, n3):
            node.wait_ready()
        self.assertEqual(self.notes(n1), "")
        n3.kill()
        n2.kill()
        self.wait_note(n1, "no word from server 2 (")

    def test_two_servers_with_one_number(self):
        nodes = self.make()
        self.cluster.start()
        self.write(nodes[0], "before")
        # A copy of server 2's zoo.cfg and myid on another machine: here, on other ports.
        double = self.cluster.node_class(self.cluster, 4)
        ports = free_ports(3)
        with open(nodes[1].config) as f:
            lines = f.read().replace(nodes[1].data, double.data)
        lines = lines.replace(nodes[1].mount, double.mount).splitlines()
        lines = [f"server.2=127.0.0.1:{ports[0]}:{ports[1]}:participant"
                 if line.startswith("server.2=") else
                 f"clientPort={ports[2]}" if line.startswith("clientPort=") else line
                 for line in lines]
        os.makedirs(double.data)
        with open(double.config, "w") as f:
            f.write("\n".join(lines) + "\n")
        with open(os.path.join(double.data, "myid"), "w") as f:
            f.write("2\n")
        self.cluster.nodes.append(double)
        double.start()

        def told():
            return [node for node in nodes if "two servers say that they are server 2" in
                    node.log_text() and "myid" in self.notes(node)]
        wait_for(told, 60, "word of two servers with one number")
        double.kill()
        self.write(nodes[0], "after")

    def move(self, nodes):
        """Other ports for all, in all zoo.cfg."""
        ports = free_ports(2 * len(nodes))
        for node in nodes:
            with open(node.config) as f:
                lines = [line for line in f.read().splitlines() if not line.startswith("server.")]
            lines += [self.cluster.server_line(i, "participant", ports).strip()
                      for i in range(len(nodes))]
            with open(node.config, "w") as f:
                f.write("\n".join(lines) + "\n")
        return ports

    def test_an_ensemble_that_moves_as_a_whole(self):
        nodes = self.make()
        self.cluster.start()
        for node in nodes:
            self.write(node, f"before{node.number}")
        for node in nodes:
            wait_for(lambda: "version=0" not in open(node.path("zookeeper", "config")).read(), 20,
                     "a committed configuration")
            node.terminate()
        ports = self.move(nodes)
        # What is committed counts: they look for each other where nobody is any more.
        for node in nodes:
            node.start()
        self.wait_note(nodes[0], f"and zoo.cfg at 127.0.0.1:{ports[0]}")
        self.assertIn("--readdress", self.notes(nodes[0]))
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.start("--readdress")
        for node in nodes:
            node.wait_ready(60)
            self.write(node, f"moved{node.number}")
        for node in nodes:
            wait_for(lambda: f":{ports[0]}:" in open(node.path("zookeeper", "config")).read(), 30,
                     "the new addresses")
            node.terminate()
        # It is committed: from now on they start as ever, one of them that wasn't told, too.
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_ready(60)
            names = os.listdir(node.mount)
            for number in (1, 2, 3):
                self.assertIn(f"before{number}", names)
                self.assertIn(f"moved{number}", names)

    def test_nothing_but_addresses_may_differ(self):
        nodes = self.make()
        self.cluster.start()
        self.write(nodes[0], "before")
        wait_for(lambda: "version=0" not in open(nodes[0].path("zookeeper", "config")).read(), 20,
                 "a committed configuration")
        for node in nodes:
            node.terminate()
        with open(nodes[0].config) as f:
            text = f.read()
        for wrong in (text.replace("server.3=", "server.4="),
                      text + "group.1=1:2:3\n",
                      "\n".join(line.replace(":participant", ":observer")
                                if line.startswith("server.3") else line
                                for line in text.splitlines()) + "\n"):
            with open(nodes[0].config, "w") as f:
                f.write(wrong)
            nodes[0].start("--readdress")
            nodes[0].process.wait(30)
            self.assertEqual(nodes[0].process.returncode, 1)
            self.assertIn("--readdress", nodes[0].log_text().splitlines()[-1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
