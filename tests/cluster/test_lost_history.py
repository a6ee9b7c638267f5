"""Nodes whose histories do not belong together: hosts rolled back to an older image, an ensemble begun
anew beside a server of the old one. None of them ever serves what the others do not have.
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import Cluster, wait_for  # noqa: E402


class LostHistory(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.stop)
        self.cluster.start()
        self.a, self.b, self.c = self.cluster.nodes

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print("see the logs of", self.id(), file=sys.stderr)

    def write(self, node, prefix, count):
        for i in range(count):
            with open(node.path(f"{prefix}{i}"), "w") as f:
                f.write(prefix)

    def restart(self, *nodes):
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_ready(60)
            node.barrier()

    def stop(self, *nodes):
        for node in nodes:
            node.terminate()

    def roll_two_back(self, lost, written_since):
        """a and b come back as they were before `lost` files were written, without c."""
        self.write(self.a, "kept", 3)
        self.stop(*self.cluster.nodes)
        for node in (self.a, self.b):
            shutil.copytree(node.storage(), node.data + "/image")
        self.restart(*self.cluster.nodes)
        self.write(self.a, "lost", lost)
        self.cluster.sync_all()
        self.stop(*self.cluster.nodes)
        for node in (self.a, self.b):
            shutil.rmtree(node.storage())
            shutil.move(node.data + "/image", node.storage())
        self.restart(self.a, self.b)
        self.write(self.a, "since", written_since)

    def test_a_node_with_another_history_of_the_same_epoch_takes_over_the_others_data(self):
        self.roll_two_back(lost=3, written_since=40)
        self.c.start()

        def is_one_of_them():
            self.write(self.a, "again", 1)
            return sorted(os.listdir(self.c.mount)) == sorted(os.listdir(self.a.mount))
        wait_for(is_one_of_them, 60, "the same files on all")
        self.assertIn("differs from the leader's", self.c.log_text())
        wait_for(lambda: self.c.cluster_state()["votes"] == "yes", 60, "its vote")
        wait_for(lambda: [n for n in os.listdir(self.c.storage()) if n.startswith("diverged.")], 20,
                 "what it had, kept aside")
        self.assertFalse([n for n in os.listdir(self.c.mount) if n.startswith("lost")])

    def test_a_node_that_knows_more_than_the_quorum_stays_out_and_says_why(self):
        self.roll_two_back(lost=60, written_since=3)
        self.c.start()
        wait_for(lambda: "the others have lost history" in self.c.log_text(), 60, "its word")
        self.write(self.a, "after", 20)  # the two go on
        seen = len(self.c.log_text())
        wait_for(lambda: self.c.log_text().count("the others have lost history") > 3, 60, "more tries")
        self.assertLess(self.c.log_text()[seen:].count("\n"), 200)
        self.assertEqual(self.c.cluster_state()["quorum"], "no")
        # What it has is still there.
        self.assertEqual(len([n for n in os.listdir(self.c.mount) if n.startswith("lost")]), 60)

    def test_a_new_ensemble_does_not_take_in_a_server_of_the_old_one(self):
        self.write(self.a, "old", 5)
        self.stop(*self.cluster.nodes)
        for node in (self.a, self.b):
            shutil.rmtree(node.storage())
            node.may_begin()
        self.restart(self.a, self.b)
        self.write(self.a, "new", 30)
        self.c.start()
        wait_for(lambda: "another ensemble" in self.c.log_text(), 60, "its word")
        self.write(self.a, "more", 5)
        self.assertEqual(self.c.cluster_state()["quorum"], "no")
        held = sorted(n[:3] for n in os.listdir(self.c.mount) if n != "zookeeper")
        self.assertEqual(held, ["old"] * 5)
        self.stop(self.c)
        shutil.rmtree(self.c.storage())  # as the log says
        self.restart(self.c)
        self.assertEqual(sorted(os.listdir(self.c.mount)), sorted(os.listdir(self.a.mount)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
