"""Power failures under real daemons: what they did not sync is gone, and what they acknowledged is
not. The data directories lie on lazyfs (lazyfs.cc), which forgets what a disk may forget."""
import os
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import BUILD, Cluster, Node, die_with_parent, wait_for  # noqa: E402
from load import LoadTest  # noqa: E402

LAZYFS = os.path.abspath(os.path.join(BUILD, "bin", "lazyfs"))


def sync_name(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class LazyDisk:
    def __init__(self, mount, *options):
        self.mount = mount
        self.process = subprocess.Popen([LAZYFS, mount, *options], preexec_fn=die_with_parent)
        wait_for(lambda: os.path.ismount(mount), 10, "the mount of lazyfs")

    def power_fails(self):
        os.unlink(os.path.join(self.mount, ".power-fails"))

    def stop(self):
        subprocess.run(["umount", "-l", self.mount], capture_output=True)
        self.process.terminate()
        self.process.wait(10)


class TheLayerItself(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-test-")
        self.disk = LazyDisk(self.directory)

    def tearDown(self):
        self.disk.stop()
        os.rmdir(self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def test_it_forgets_what_was_not_synced_and_nothing_else(self):
        with open(self.path("a"), "w") as a:
            a.write("kept")
            a.flush()
            os.fsync(a.fileno())
            sync_name(self.directory)
            a.write(" not kept")
        with open(self.path("b"), "w") as b:
            b.write("no name")
            b.flush()
            os.fsync(b.fileno())
        os.rename(self.path("b"), self.path("c"))
        self.disk.power_fails()
        with open(self.path("a")) as a:
            self.assertEqual(a.read(), "kept")
        self.assertFalse(os.path.exists(self.path("b")))
        self.assertFalse(os.path.exists(self.path("c")))


class LazyNode(Node):
    disk = None

    def start(self):
        if self.disk is None:
            self.disk = LazyDisk(self.data, "--seed", str(self.number), *self.cluster.disk_options)
            with open(os.path.join(self.data, "myid"), "w") as f:
                f.write(f"{self.number}\n")
                f.flush()
                os.fsync(f.fileno())
            sync_name(self.data)
        super().start()

    def power_fails(self):
        self.kill()
        self.disk.power_fails()

    def unmount(self):
        super().unmount()
        if self.disk is not None:
            self.disk.stop()
            self.disk = None


class LazyCluster(Cluster):
    node_class = LazyNode
    disk_options = ("--lose", "some")


class StrictCluster(LazyCluster):
    disk_options = ("--lose", "all")


class LyingCluster(LazyCluster):
    disk_options = ("--lose", "all", "--ignore-sync")


class PowerFailures(LoadTest):
    cluster_class = LazyCluster
    options = {"tick_ms": 300, "extra": "zabfs.quorumGrace=1000\nzabfs.commitTimeout=8000\n"}

    def fail(self, nodes):
        for node in nodes:
            node.process.kill()
        for node in nodes:
            node.power_fails()
        for node in nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()

    def test_of_any_node_and_of_all(self):
        chosen = random.Random(1)
        for _ in range(6):
            writers = self.load(self.cluster.nodes)
            self.fail(chosen.sample(self.cluster.nodes, chosen.randint(1, 3)))
            self.finish(writers)

    def test_of_a_fresh_ensemble(self):
        writers = self.load(self.cluster.nodes)
        self.fail(self.cluster.nodes)
        self.fail(self.cluster.nodes)
        self.finish(writers)


class AllThatIsUnsyncedIsLost(PowerFailures):
    cluster_class = StrictCluster


class ADiskThatLies(LoadTest):
    """The check can fail: with a disk that only says it synced, acknowledged writes are lost."""
    cluster_class = LyingCluster

    def test_loses_what_was_acknowledged(self):
        self.stop_load(self.load(self.cluster.nodes))
        for node in self.cluster.nodes:
            node.power_fails()
        for node in self.cluster.nodes:
            self.assertEqual([n for n in os.listdir(node.data) if n == "zabfs"], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
