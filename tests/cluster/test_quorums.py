"""Hierarchical quorums (group.N, weight.N) on real processes: which servers suffice, and who leads."""
import errno
import os
import time
import unittest

from harness import ClusterTest, wait_for

# Server 2 has no weight; 4 alone outweighs 3.
GROUPS = """group.1=1:2
group.2=3:4
group.3=5
weight.2=0
weight.4=2
zabfs.commitTimeout=3000
zabfs.quorumGrace=500"""


class Groups(ClusterTest):
    nodes = 5
    options = {"tick_ms": 300, "extra": GROUPS}

    def setUp(self):
        super().setUp()
        self.node = {node.number: node for node in self.cluster.nodes}

    def kill(self, *numbers):
        for number in numbers:
            self.node[number].kill()

    def restart(self, *numbers):
        for number in numbers:
            self.node[number].start()

    def write(self, number, name):
        path = self.dir(self.node[number], name)

        def written():
            with open(path, "w") as f:
                f.write(name)
            return True
        wait_for(written, 30, f"a write on node {number}")

    def leader(self):
        leader = self.cluster.leader()
        return leader.number if leader else None

    def test_two_of_five_can_be_a_quorum_and_three_of_five_none(self):
        self.write(2, "all")
        self.assertIn(self.leader(), (1, 3, 4, 5))
        # 1 wins the first group, 4 the second: two of three groups.
        self.kill(5, 3, 2)
        self.write(1, "two")
        self.write(4, "too")
        # A majority of the servers, and of one group only.
        self.restart(2, 3)
        for number in (2, 3):
            wait_for(self.node[number].has_quorum, 30, f"node {number} with quorum")
        self.kill(4)
        wait_for(lambda: not any(self.node[n].has_quorum() for n in (1, 2, 3)), 30, "no quorum")
        end = time.monotonic() + 4  # several elections
        while time.monotonic() < end:
            for number in (1, 2, 3):
                self.assertFalse(self.node[number].has_quorum(), f"node {number}")
            time.sleep(0.1)
        with self.assertRaises(OSError):
            with open(self.dir(self.node[1], "none"), "w") as f:
                f.write("lost")
        # A barrier fails as a write does.
        with self.assertRaises(OSError) as refused:
            self.node[1].barrier()
        self.assertEqual(refused.exception.errno, errno.EROFS)
        # The third group makes it a quorum again.
        self.restart(5)
        self.write(5, "three")
        for number in (1, 2, 3, 5):
            wait_for(self.node[number].has_quorum, 30, f"node {number} with quorum")
            self.node[number].barrier()
            names = set(os.listdir(self.dir(self.node[number])))
            self.assertTrue({"all", "two", "too", "three"} <= names, (number, names))
        self.assertNotEqual(self.leader(), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
