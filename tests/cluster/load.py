"""Write load on mounts whose history is checked: nothing acknowledged is lost or done twice, and a
read behind a barrier shows all that anybody had been told of before it."""
import errno
import os
import threading
import time

from harness import ClusterTest, sh, wait_for


# Between two writes of one writer: what a test does beside the load has to get its turn, too.
PAUSE_S = 0.005


class History:
    """What all writers together were told is committed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.names = []
        self.violations = []

    def acknowledged(self, name):
        with self.lock:
            self.names.append(name)

    def known(self):
        with self.lock:
            return set(self.names)


class Writer(threading.Thread):
    """Appends numbered lines and makes numbered files on one node; notes what was acknowledged."""

    count = 0

    def __init__(self, node, directory):
        super().__init__(daemon=True)
        Writer.count += 1
        self.number = Writer.count
        self.node = node
        self.directory = directory
        self.acknowledged = []
        self.gaps = []
        self.refused = []  # errors of writes, while its daemon ran
        self.stopping = threading.Event()
        self.history = None

    def run(self):
        i = 0
        last = time.monotonic()
        while not self.stopping.is_set():
            i += 1
            name = f"w{self.number}-{i}"
            try:
                fd = os.open(os.path.join(self.directory, name), os.O_CREAT | os.O_WRONLY)
                try:
                    os.write(fd, name.encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
                fd = os.open(os.path.join(self.directory, "log"), os.O_APPEND | os.O_WRONLY)
                try:
                    os.write(fd, (name + "\n").encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
                self.acknowledged.append(name)
                if self.history is not None:
                    self.history.acknowledged(name)
                now = time.monotonic()
                self.gaps.append((now - last, now))
                last = now
                time.sleep(PAUSE_S)
            except OSError as e:
                if e.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT):
                    return  # this node's daemon was killed
                self.refused.append(errno.errorcode[e.errno])
                time.sleep(0.02)

    def longest_gap_after(self, start):
        return max([gap for gap, end in self.gaps if end >= start] or [0])


class Reader(threading.Thread):
    """Reads the log behind barriers on one node, and compares with what was known before."""

    def __init__(self, node, directory, history):
        super().__init__(daemon=True)
        self.node = node
        self.directory = directory
        self.history = history
        self.reads = 0
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            must = self.history.known()
            try:
                fd = os.open(self.directory, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
                with open(os.path.join(self.directory, "log")) as f:
                    missing = must - set(f.read().splitlines())
            except OSError:
                time.sleep(0.05)  # no quorum, or no daemon: a barrier that is refused tells nothing
                continue
            self.reads += 1
            if missing:
                self.history.violations.append((self.node.number, sorted(missing)[:5]))
            time.sleep(0.02)


class LoadTest(ClusterTest):
    def load(self, nodes):
        with open(self.dir(self.n1, "log"), "w"):
            pass
        self.cluster.sync_all()
        self.history = History()
        writers = [Writer(node, self.dir(node)) for node in nodes]
        self.readers = [Reader(node, self.dir(node), self.history) for node in nodes]
        for writer in writers:
            writer.history = self.history
        for thread in writers + self.readers:
            thread.start()
        wait_for(lambda: all(len(w.acknowledged) > 20 for w in writers), 30, "some writes")
        return writers

    def state(self, node):
        return sh(f"cd {self.dir(node)} && find . -printf '%i %p %s\\n' | sort").splitlines()

    def states_at_one_zxid(self):
        """All nodes' listings with the zxid that all of them were at before and after, else None. A
        write whose fate the writer was not told may still be committed, once, after the load."""
        self.cluster.sync_all()
        before = [node.cluster_state()["zxid"] for node in self.cluster.nodes]
        states = [self.state(node) for node in self.cluster.nodes]
        after = [node.cluster_state()["zxid"] for node in self.cluster.nodes]
        return (before[0], states) if len(set(before + after)) == 1 else None

    def stop_load(self, writers):
        for thread in writers + self.readers:
            thread.stopping.set()
        for thread in writers + self.readers:
            thread.join(40)
            self.assertFalse(thread.is_alive(), f"the load of node {thread.node.number} hangs")

    def finish(self, writers):
        self.stop_load(writers)
        self.assertEqual(self.history.violations, [], "behind a barrier, known lines were missing")
        for node in self.cluster.nodes:
            if node.process.poll() is not None:
                node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        self.cluster.sync_all()
        acknowledged = [name for writer in writers for name in writer.acknowledged]
        for node in self.cluster.nodes:
            names = set(os.listdir(self.dir(node)))
            lost = [name for name in acknowledged if name not in names]
            self.assertEqual(lost, [], f"on node {node.number}")
            with open(self.dir(node, "log")) as f:
                lines = f.read().splitlines()
            self.assertEqual([n for n in acknowledged if n not in set(lines)], [])
            self.assertEqual(len(lines), len(set(lines)), "a line was appended twice")
        zxid, states = wait_for(self.states_at_one_zxid, 20, "nodes at rest")
        for node, state in zip(self.cluster.nodes, states):
            self.assertEqual(sorted(set(states[0]) ^ set(state)), [],
                             f"nodes 1 and {node.number} differ, both at {zxid}")
        reads = sum(reader.reads for reader in self.readers)
        print(f"{len(acknowledged)} acknowledged, all there on every node; {reads} reads behind "
              "barriers")
