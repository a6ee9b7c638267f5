"""Curator's recipes on three nodes, with the leader killed; and locks that its services, kazoo's and
shell scripts on the mounts take from each other."""
import fcntl
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, die_with_parent, sh, wait_for  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in (
    "curator-recipes", "curator-framework", "curator-client", "zookeeper", "zookeeper-jute", "guava",
    "failureaccess", "slf4j-api", "slf4j-nop"))
KAZOO_COUNT = """
import sys
from kazoo.client import KazooClient
client = KazooClient(sys.argv[1])
client.start(20)
lock = client.Lock(sys.argv[2], extra_lock_patterns=["-lock-"])
for _ in range(int(sys.argv[4])):
    with lock:
        with open(sys.argv[3]) as f:
            value = int(f.read())
        with open(sys.argv[3], "w") as f:
            f.write(f"{value + 1}\\n")
client.stop()
"""


def java(*arguments, **options):
    return subprocess.Popen(["java", "-cp", JARS, os.path.join(HERE, "CuratorRecipes.java"),
                             *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent,
                            **options)


def must_end_well(case, process, seconds=200):
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # Java tells what its threads do
        time.sleep(2)
        process.kill()
        case.fail(f"hangs after {seconds} s: {process.communicate()[0]}")
    case.assertEqual(process.returncode, 0, out[-4000:])
    return out


class Curator(ClusterTest):
    options = {"extra": "extendedTypesEnabled=true\nznode.container.checkIntervalMs=500\n"
                        "maxClientCnxns=0\nzabfs.rootMode=0777\n"}

    def test_recipes(self):
        out = must_end_well(self, java("recipes", self.cluster.connect_string()))
        self.assertEqual(out.count("ok "), 13, out)

    def test_a_mutex_survives_leaders_killed(self):
        process = java("survive", self.cluster.connect_string())
        self.assertTrue(process.stdout.readline().startswith("count"))
        for _ in range(2):
            leader = wait_for(self.cluster.leader, 20, "a leader")
            leader.kill()
            for _ in range(4):  # it goes on
                self.assertNotEqual(process.stdout.readline(), "")
            leader.start()
            leader.wait_ready()
        out, _ = process.communicate("stop\n", timeout=120)
        self.assertEqual(process.returncode, 0, out[-4000:])
        self.assertIn("ok survive", out)

    def count_together(self, others):
        """Scripts on three mounts and `others(path, file, times)` count under one lock."""
        times, path = 40, f"/{self.name}"
        os.chmod(self.dir(self.n1), 0o777)  # its clients do not authenticate
        file = os.path.join(self.cluster.directory, "count")
        with open(file, "w") as f:
            f.write("0\n")
        script = (f'for i in $(seq {times}); do flock "$0/@/lock" sh -c '
                  f'\'read n < {file}; echo $((n + 1)) > {file}\' || exit 1; done')
        processes = [subprocess.Popen(["bash", "-c", script, self.dir(node)],
                                      preexec_fn=die_with_parent) for node in self.cluster.nodes]
        foreign = [others(path, file, times) for _ in range(2)]
        for process in processes:
            self.assertEqual(process.wait(200), 0)
        for process in foreign:
            must_end_well(self, process)
        with open(file) as f:
            self.assertEqual(int(f.read()), 5 * times)

    def test_scripts_and_curator_share_a_lock(self):
        self.count_together(lambda path, file, times: java(
            "count", self.cluster.connect_string(), path, file, str(times)))

    def test_scripts_and_curator_share_every_recipe(self):
        os.chmod(self.dir(self.n1), 0o777)
        room, path = self.dir(self.n1, "@"), f"/{self.name}"
        service = java("obey", self.cluster.connect_string())

        def order(text):
            verb, *rest = text.split(" ", 1)
            service.stdin.write(" ".join([verb, path, *rest]) + "\n")
            service.stdin.flush()
            return service.stdout.readline().strip()

        def opened(name, flags=os.O_RDWR | os.O_NONBLOCK):
            return os.open(os.path.join(room, name), flags)

        def refused(call, *arguments):
            with self.assertRaises(BlockingIOError):
                call(*arguments)

        lock = opened("rwlock")
        fcntl.flock(lock, fcntl.LOCK_SH)
        self.assertEqual([order("read"), order("unread"), order("write?")], ["true", "ok", "false"])
        fcntl.flock(lock, fcntl.LOCK_UN)
        self.assertEqual(order("write"), "true")
        refused(fcntl.flock, lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with open(os.path.join(room, "rwlock")) as f:
            self.assertTrue(f.read().startswith("state held\n"))
        self.assertEqual(order("unwrite"), "ok")
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.assertEqual(order("read?"), "false")
        os.close(lock)

        leader = opened("leader")
        os.set_blocking(leader, True)
        self.assertTrue(os.read(leader, 100).startswith(b"leader 1 "))
        self.assertEqual([order("stand"), order("leads?")], ["ok", "false"])
        os.close(leader)
        self.assertEqual(order("leads"), "true")
        leader = opened("leader")
        refused(os.read, leader, 100)
        self.assertEqual(order("resign"), "ok")
        os.set_blocking(leader, True)
        self.assertTrue(os.read(leader, 100).startswith(b"leader 1 "))
        os.close(leader)

        one = opened("semaphore/2")
        self.assertEqual(order("lease 2"), "true")
        refused(opened, "semaphore/2")
        self.assertEqual(order("unlease"), "ok")
        two = opened("semaphore/2", os.O_RDWR)
        self.assertEqual(order("lease? 2"), "false")
        os.close(one)
        self.assertEqual(order("lease 2"), "true")
        self.assertEqual(order("unlease"), "ok")
        os.close(two)
        wait_for(lambda: not self.cluster.children_on_the_wire(f"{path}/leases"), 10,
                 "the leases to be back")

        self.assertEqual(order("offer an item"), "true")
        queue = opened("queue", os.O_RDWR)
        self.assertEqual(os.read(queue, 100), b"an item")
        os.write(queue, b"from a script")
        self.assertEqual(order("poll"), "from a script")
        os.close(queue)
        must_end_well(self, service)

    def test_scripts_and_curator_meet_at_a_barrier(self):
        os.chmod(self.dir(self.n1), 0o777)
        service = java("obey", self.cluster.connect_string())
        service.stdin.write(f"enter /{self.name} 2\n")
        service.stdin.flush()
        fd = os.open(self.dir(self.n2, "@", "barrier", "2"), os.O_RDWR)
        self.assertEqual(os.read(fd, 100), b"in 2\n")
        self.assertEqual(service.stdout.readline(), "true\n")
        service.stdin.write(f"leave /{self.name}\n")
        service.stdin.flush()
        os.close(fd)
        self.assertEqual(service.stdout.readline(), "true\n")
        must_end_well(self, service)
        wait_for(lambda: not os.listdir(self.dir(self.n1)), 10, "an empty barrier")

    def test_scripts_and_kazoo_share_a_lock(self):
        self.count_together(lambda path, file, times: subprocess.Popen(
            ["/usr/bin/python3", "-c", KAZOO_COUNT, self.cluster.connect_string(), path, file,
             str(times)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent))


if __name__ == "__main__":
    unittest.main(verbosity=2)
