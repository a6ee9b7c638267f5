"""Real zabfsd processes with real mounts, for tests: started, watched, and always taken away.

Every process is started by us and ended by its pid; every mount and directory lies under one
temporary directory, which goes when the test ends, however it ends.
"""
import atexit
import ctypes
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("ZABFS_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
ZABFSD = os.path.abspath(os.path.join(BUILD, "bin", "zabfsd"))
ZABFS = os.path.abspath(os.path.join(BUILD, "bin", "zabfs"))
# Lines for every zoo.cfg: the same tests hold with these.
SETTINGS = os.environ.get("ZABFS_TEST_SETTINGS", "")
JAVA_LEADS = os.environ.get("ZABFS_TEST_LEADER") == "java"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# Below the range that the kernel gives to outgoing connections: a node finds its port free again.
PORTS = range(20_000, 32_000)
PORTS_OF_A_TEST = 1_000
_claim = None


def ports_of_this_test():
    """A part of the ports that no test running beside this one takes: a node that is down has its
    ports to itself. The name of a socket claims it, and goes with this process."""
    global _claim
    parts = [PORTS[first:first + PORTS_OF_A_TEST] for first in range(0, len(PORTS), PORTS_OF_A_TEST)]
    if _claim is None:
        for part in random.sample(parts, len(parts)):
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0zabfs-test-ports-{part.start}")
            except OSError:
                claim.close()
                continue
            _claim = claim, part
            break
        else:
            raise AssertionError(f"{len(parts)} tests run already")
    return _claim[1]


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("", port))
            return True
        except OSError:
            return False


_order = None


def free_ports(count):
    """None is given again before all others were: within this test, too, a node that is down has its
    ports to itself."""
    global _order
    if _order is None:
        ports = ports_of_this_test()
        _order = itertools.cycle(random.sample(ports, len(ports)))
    return list(itertools.islice(filter(is_free, _order), count))


def free_range(count):
    """The first of so many free ports in a row. Not beside free_ports."""
    for first in random.sample(ports_of_this_test()[:-count], 100):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError(f"no {count} free ports in a row")


def wait_for(condition, seconds=20, what="the condition", every=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = condition()
        except OSError:
            value = None
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"{what} did not come within {seconds} s")


def run(*command, **options):
    options.setdefault("timeout", 120)
    return subprocess.run(command, capture_output=True, text=True, **options)


def sh(script, **options):
    """Runs a shell script that must succeed; gives its output."""
    result = run("bash", "-c", script, **options)
    if result.returncode != 0:
        raise AssertionError(f"{script!r} exited {result.returncode}: {result.stderr}{result.stdout}")
    return result.stdout


def children_of(pid, name):
    """The processes of that name that its main thread has started."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = [int(child) for child in file.read().split()]

    def is_named(child):
        with open(f"/proc/{child}/comm") as file:
            return file.read().strip() == name
    return [child for child in children if is_named(child)]


def unprotect(mount):
    run(ZABFSD, "--unprotect", mount)


class Node:
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.directory = os.path.join(cluster.directory, f"node{number}")
        self.data = os.path.join(self.directory, "data")
        self.mount = os.path.join(self.directory, "mnt")
        self.config = os.path.join(self.directory, "zoo.cfg")
        self.log = os.path.join(self.directory, "log")
        self.process = None

    def start(self, *options):
        os.makedirs(self.data, exist_ok=True)
        if not os.path.ismount(self.mount):
            try:
                os.makedirs(self.mount, exist_ok=True)
            except OSError:
                pass  # a dead mount: zabfsd clears it
        log = open(self.log, "ab")
        self.process = subprocess.Popen([ZABFSD, *options, self.config], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, preexec_fn=die_with_parent)
        log.close()

    def cluster_state(self):
        with open(os.path.join(self.mount, "@", "cluster")) as f:
            return dict(line.split(None, 1) for line in f.read().splitlines()
                        if not line.startswith("member"))

    def has_quorum(self):
        return self.process.poll() is None and self.cluster_state().get("quorum") == "yes"

    def wait_ready(self, seconds=30):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"node {self.number} exited {self.process.returncode}:\n" +
                                     self.log_text())
            return self.has_quorum()
        wait_for(ready, seconds, f"node {self.number} with quorum")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def terminate(self, seconds=20):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def unmount(self):
        """The directory under the mount can be removed then, too."""
        for place in (self.mount, self.data):
            for _ in range(3):
                if subprocess.run(["umount", "-l", place], capture_output=True).returncode != 0:
                    break
        unprotect(self.mount)

    def log_text(self):
        if not os.path.exists(self.log):
            return ""  # it was never started
        with open(self.log, errors="replace") as f:
            return f.read()

    def path(self, *names):
        return os.path.join(self.mount, *names)

    def storage(self, name=""):
        return os.path.join(self.data, "zabfs", name)

    def may_begin(self):
        """A new ensemble, though not all servers have been seen empty."""
        open(os.path.join(self.data, "initialize"), "w").close()

    def barrier(self):
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


# Cleans up after a test that was killed: it waits for the end of its standard input, which is ours.
_JANITOR = """read -r _
for mount in "$1"/node*/mnt "$1"/node*/data; do umount -l "$mount" 2>/dev/null; done
for mount in "$1"/node*/mnt; do "$2" --unprotect "$mount"; done
rm -rf "$1"
if [ -n "$3" ]; then
  for namespace in /run/netns/"$3"-*; do ip netns del "${namespace##*/}" 2>/dev/null; done
fi"""


class Cluster:
    """With $ZABFS_TEST_LEADER=java one more server is Apache ZooKeeper's. It is not in `nodes`, and
    leads: it has the largest number, and data before the others do."""
    node_class = Node
    prefix = ""  # its network namespaces are named so; none: it has none

    def __init__(self, nodes=3, tick_ms=500, observers=0, extra=""):
        self.directory = tempfile.mkdtemp(prefix="zabfs-test-")
        os.chmod(self.directory, 0o755)  # tests act as other users, too
        self.janitor = subprocess.Popen(
            ["bash", "-c", _JANITOR, "janitor", self.directory, ZABFSD, self.prefix],
            stdin=subprocess.PIPE, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.nodes = [self.node_class(self, i + 1) for i in range(nodes + observers)]
        self.java = None
        if JAVA_LEADS:
            from java import JavaNode
            self.java = JavaNode(self, nodes + observers + 1)
        self.voters = nodes + (1 if self.java else 0)
        atexit.register(self.stop)
        total = len(self.all())
        ports = free_ports(3 * total)
        servers = ""
        if total > 1:
            for i in range(total):
                role = "observer" if nodes <= i < nodes + observers else "participant"
                servers += self.server_line(i, role, ports)
        for node in self.all():
            node.client_port = ports[2 * total + node.number - 1]
            os.makedirs(node.data)
            with open(os.path.join(node.data, "myid"), "w") as f:
                f.write(f"{node.number}\n")
            with open(node.config, "w") as f:
                f.write(f"tickTime={tick_ms}\ninitLimit=20\nsyncLimit=5\ndataDir={node.data}\n"
                        f"clientPort={node.client_port}\n4lw.commands.whitelist=*\n"
                        f"zabfs.mount={node.mount}\n{servers}{extra}\n{SETTINGS}\n")

    def server_line(self, i, role, ports):
        return f"server.{i + 1}=127.0.0.1:{ports[2 * i]}:{ports[2 * i + 1]}:{role}\n"

    def all(self):
        return self.nodes + ([self.java] if self.java else [])

    def start(self):
        needed = self.start_java() if self.java else len(self.nodes)
        for some in (self.nodes[:needed], self.nodes[needed:]):
            for node in some:
                node.start()
            for node in some:
                node.wait_ready(60 if self.java else 30)
        return self

    def start_java(self):
        """Gives how many of the other voters are enough for a quorum with it, but not without."""
        self.java.start()
        self.java.wait_listens()
        for node in self.nodes:  # a new ensemble begins although one of it is not zabfs's
            node.may_begin()
        return self.voters // 2

    def connect_string(self, nodes=None):
        """For ZooKeeper clients."""
        return ",".join(f"127.0.0.1:{node.client_port}" for node in nodes or self.nodes)

    def leader(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                try:
                    if node.cluster_state().get("role") == "leader":
                        return node
                except OSError:
                    pass
        return None

    def followers(self):
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def sync_all(self):
        for node in self.nodes:
            node.barrier()

    def stop(self):
        if self.directory is None:
            return
        for node in self.all():
            if node.process and node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
                node.process.terminate()
        for node in self.all():
            node.terminate()
            node.unmount()
        atexit.unregister(self.stop)
        reports = [line for node in self.all() if os.path.exists(node.log)
                   for line in node.log_text().splitlines() if "Sanitizer" in line]
        shutil.rmtree(self.directory, ignore_errors=True)
        self.janitor.stdin.close()
        self.janitor.wait(20)
        self.directory = None
        if reports:
            raise AssertionError("a sanitizer's report: " + "; ".join(reports))

    def children_on_the_wire(self, path):
        """As ZooKeeper's clients see them; of a znode that is not there: none."""
        from kazoo.client import KazooClient
        from kazoo.exceptions import NoNodeError
        client = KazooClient(self.connect_string([self.nodes[0]]))
        client.start()
        try:
            client.sync(path)
            return client.get_children(path)
        except NoNodeError:
            return []
        finally:
            client.stop()
            client.close()

    def print_logs(self):
        for node in self.all():
            print(f"--- log of node {node.number}", file=sys.stderr)
            print(node.log_text()[-4000:], file=sys.stderr)


class LoggedTest(unittest.TestCase):
    """A test that fails shows why, and then what the nodes of its cluster logged."""
    cluster = None

    def run(self, result=None):
        failures, errors = len(result.failures), len(result.errors)
        super().run(result)
        whys = [why for _, why in result.failures[failures:] + result.errors[errors:]]
        if whys and self.cluster and self.cluster.directory:
            print("\n".join(whys), file=sys.stderr)
            self.cluster.print_logs()


class OwnClusterTest(LoggedTest):
    """A test that makes its own `cluster`, which ends with it."""

    def run(self, result=None):
        self.cluster = None
        try:
            super().run(result)
        finally:
            if self.cluster:
                self.cluster.stop()


class ClusterTest(LoggedTest):
    """One cluster for the tests of a class; its logs are shown when one fails."""
    nodes = 3
    options = {}
    cluster_class = Cluster

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.cluster_class(cls.nodes, **cls.options)
        try:
            cls.cluster.start()
        except BaseException:
            cls.cluster.print_logs()
            cls.cluster.stop()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()

    def setUp(self):
        self.n1 = self.cluster.nodes[0]
        self.n2 = self.cluster.nodes[1 % len(self.cluster.nodes)]
        self.n3 = self.cluster.nodes[2 % len(self.cluster.nodes)]
        self.name = f"{self._testMethodName}-{random.randrange(10**6)}"
        os.mkdir(self.n1.path(self.name))
        self.cluster.sync_all()

    def dir(self, node, *names):
        return node.path(self.name, *names)


def _on_signal(number, frame):
    raise KeyboardInterrupt  # unittest goes on with the next test after any other


signal.signal(signal.SIGTERM, _on_signal)
