"""A majority is lost for good: the node that is left becomes an ensemble of its own, when asked twice."""
import os
import re
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import ZABFS, Cluster, run, wait_for  # noqa: E402


class NewEnsemble(unittest.TestCase):
    extra = "reconfigEnabled=true\n"

    def setUp(self):
        self.cluster = Cluster(3, tick_ms=300, extra=self.extra).start()
        self.addCleanup(self.cluster.stop)
        self.left = self.cluster.leader()
        self.lost = [node for node in self.cluster.nodes if node is not self.left]
        for number in range(20):
            self.write(self.left, f"before{number}")
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            node.terminate()

    def write(self, node, name):
        with open(node.path(name), "w") as file:
            file.write(name)

    def names(self, node):
        return {name for name in os.listdir(node.mount) if name.startswith(("before", "after"))}

    def refused(self, option):
        self.left.start(option)
        self.assertEqual(self.left.process.wait(30), 1)
        return self.left.log_text()

    def begin_alone(self):
        page = self.refused("--force-new-ensemble")
        [command] = re.findall("run: zabfsd (--force-new-ensemble=0x[0-9a-f]+) ZOO.CFG", page)
        self.left.start(command)
        self.left.wait_ready()
        self.write(self.left, "after")
        self.assertEqual(self.names(self.left), self.expected())

    def expected(self):
        return {f"before{number}" for number in range(20)} | {"after"}

    def restart(self):
        self.left.terminate()
        self.left.start()
        self.left.wait_ready()
        self.assertEqual(self.names(self.left), self.expected())

    def test_it_says_what_may_be_lost_and_does_nothing(self):
        for option in "--force-new-ensemble", "--force-new-ensemble=0x1", "--force-new-ensemble=x":
            text = self.refused(option)
            self.assertIn("would be lost", text)
            self.assertIn("Servers 1 2 3 voted until now", text)
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        self.assertEqual(len(self.names(self.left)), 20)

    def test_an_empty_node_does_not_begin_so(self):
        victim = self.lost[0]
        shutil.rmtree(victim.storage())
        victim.start("--force-new-ensemble")
        self.assertEqual(victim.process.wait(30), 1)
        self.assertIn("this node's data is empty", victim.log_text())

    def test_it_has_all_and_goes_on_after_a_restart(self):
        self.begin_alone()
        self.assertEqual([line.split()[1] for line in self.read("@", "cluster").splitlines()
                          if line.startswith("member")], [str(self.left.number)])
        self.restart()

    def read(self, *names):
        with open(self.left.path(*names)) as file:
            return file.read()

    def test_servers_that_were_not_lost_after_all_are_not_taken_for_members(self):
        self.begin_alone()
        for node in self.lost:
            node.start()
        for node in self.lost:
            node.wait_ready(60)  # they are a majority of what they know
        self.write(self.lost[0], "after-elsewhere")
        self.restart()
        self.write(self.left, "after")
        self.assertEqual(self.names(self.left), self.expected())
        self.assertEqual(self.left.cluster_state()["role"], "leader")

    def test_emptied_servers_are_made_members_again(self):
        self.begin_alone()
        for node in self.lost:
            shutil.rmtree(node.storage())
            node.start()
            line = next(line for line in open(node.config) if line.startswith(f"server.{node.number}="))
            added = run(ZABFS, "members", "--mount", self.left.mount, "add", str(node.number),
                        line.split("=")[1].strip())
            self.assertEqual(added.returncode, 0, added.stderr + node.log_text())
        for node in self.lost:
            node.wait_ready()
            wait_for(lambda: self.names(node) == self.expected(), 20, "its files")
        self.left.terminate()
        for node in self.lost:
            node.wait_ready(60)
        self.write(self.lost[0], "after-that")


class WithoutReconfiguration(NewEnsemble):
    extra = ""

    def test_emptied_servers_are_made_members_again(self):
        self.begin_alone()
        shutil.rmtree(self.lost[0].storage())
        self.lost[0].start()
        added = run(ZABFS, "members", "--mount", self.left.mount, "add", "9", "127.0.0.1:1:2")
        self.assertIn("reconfigEnabled=true", added.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
