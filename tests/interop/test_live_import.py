"""`zabfs import-zookeeper --live`: the tree of three running servers of Apache ZooKeeper's, copied
while clients write. Each copy is compared, znode by znode with data, Stat and ACL, with what the
servers' own files say the tree was at the copy's zxid."""
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
import unittest

import raw
from certificates import Authority
from servers import Java, Zabfs
from test_migration import PATIENCE_S, SETTINGS, SUPER, Writer, super_session, znodes_of

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from harness import ZABFS, Cluster, LoggedTest, OwnClusterTest, free_ports, run, wait_for  # noqa: E402
from java import JAVA_STARTS_S, JavaNode  # noqa: E402

assert SUPER  # the settings have its digest
BIG_ZNODES, BIG_BYTES = 40, 900_000  # more than the kernel holds for a reader that waits
BEFORE_THE_PAUSE = 100_000  # bytes of the snapshot
OPTIONS = ["-Dzookeeper.extendedTypesEnabled=true", "-Dzookeeper.preAllocSize=64"]


def at(port):
    return types.SimpleNamespace(address=("127.0.0.1", port))


def java_ensemble(extra=()):
    cluster = Cluster(3, extra="\n".join([*SETTINGS, *extra]))
    javas = [JavaNode(cluster, node.number) for node in cluster.nodes]
    for java, node in zip(javas, cluster.nodes):
        java.client_port = node.client_port
        java.options = OPTIONS
        with open(java.config) as f:
            lines = re.findall(rf"^server\.{java.number}=127\.0\.0\.1:(\d+):", f.read(), re.M)
        java.quorum_port = int(lines[0])
    cluster.nodes = javas
    return cluster


def start(cluster):
    for java in cluster.nodes:
        java.start()
    for java in cluster.nodes:
        java.wait_ready(JAVA_STARTS_S)


def leader_of(cluster):
    return next(java for java in cluster.nodes if java.cluster_state()["role"] == "leader")


def clients_of(cluster):
    return ",".join(f"127.0.0.1:{java.client_port}" for java in cluster.nodes)


def import_live(addresses, to, *options):
    return run(ZABFS, "import-zookeeper", "--live", addresses, to, *options)


def zxid_in(told):
    return int(re.search("last zxid 0x([0-9a-f]+)", told)[1], 16)


def cut_logs(directory, last):
    """A dataDir of Java's as it was when it ended with that zxid."""
    folder = os.path.join(directory, "version-2")
    for name in os.listdir(folder):
        kind, _, number = name.partition(".")
        path = os.path.join(folder, name)
        if kind == "snapshot" and int(number, 16) > last:
            os.unlink(path)
        elif kind == "log":
            with open(path, "r+b") as f:
                end = 16  # behind the file's header
                while True:
                    f.seek(end)
                    head = f.read(12)
                    if len(head) < 12 or struct.unpack(">i", head[8:])[0] == 0:
                        break
                    size = struct.unpack(">i", head[8:])[0]
                    zxid = struct.unpack(">q", f.read(size)[12:20])[0]
                    if zxid > last:
                        break
                    end += 12 + size + 1
                f.truncate(end)
            if end == 16:
                os.unlink(path)


class Load:
    """A client that writes until it is told to end. Everything that it was told is kept."""

    def __init__(self, java, seed):
        self.writer = Writer(at(java.client_port), seed)
        self.told = {}
        self.failure = None
        self.is_ending = False
        self.thread = threading.Thread(target=self.write)

    def write(self):
        try:
            session = self.writer.session
            while not self.is_ending:
                self.writer.write(10)
                path, data = f"/told-{len(self.told)}", os.urandom(20)
                error = session.request(raw.CREATE, raw.create(path, data))[2]
                assert error == 0, error
                self.told[path] = data
        except Exception as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_ending = True
        self.thread.join()


class Relay:
    """In front of a port. What comes from there stops after so many bytes until `go`."""

    def __init__(self, port, pause_after):
        self.port, self.pause_after = port, pause_after
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.paused, self.go = threading.Event(), threading.Event()
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            self.sockets += [near, far]
            threading.Thread(target=self.copy, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self.copy, args=(far, near, self.pause_after), daemon=True).start()

    def copy(self, source, sink, pause_after):
        passed = 0
        try:
            while data := source.recv(65536):
                if pause_after is not None and passed >= pause_after:
                    self.paused.set()
                    self.go.wait()
                sink.sendall(data)
                passed += len(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    def close(self):
        self.go.set()
        for one in self.sockets:
            one.close()


class Directory(LoggedTest):
    def directory(self):
        path = tempfile.mkdtemp(prefix="zabfs-live-")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def serve(self, data):
        """zabfsd, alone, with that dataDir."""
        zabfs = Zabfs(SETTINGS)
        zabfs.patience_s = PATIENCE_S
        self.addCleanup(zabfs.stop)
        with open(zabfs.config) as f:
            lines = f.read().replace(f"dataDir={zabfs.directory}/data", f"dataDir={data}")
        with open(zabfs.config, "w") as f:
            f.write(lines)
        return zabfs.start()


class LiveImport(Directory):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.cluster = java_ensemble()
        cls.addClassCleanup(cls.cluster.stop)
        start(cls.cluster)
        cls.leader = leader_of(cls.cluster)
        session = super_session(at(cls.leader.client_port))
        for i in range(BIG_ZNODES):
            error = session.request(raw.CREATE, raw.create(f"/big-{i}", os.urandom(BIG_BYTES)))[2]
            assert error == 0, error
        session.close()

    def setUp(self):
        self.before = self.standing()

    def standing(self):
        """Who leads, in which epoch, with how many who follow and observe."""
        epoch = int(re.search("^Zxid: 0x([0-9a-f]+)", self.leader.srvr(), re.M)[1], 16) >> 32
        roles = [java.cluster_state()["role"] for java in self.cluster.nodes]
        counts = run("busybox", "nc", "127.0.0.1", str(self.leader.client_port), input="mntr").stdout
        return (epoch, roles, re.findall(r"^zk_(?:learners|synced_\w+)\s.*$", counts, re.M))

    def assert_undisturbed(self, load):
        self.assertIsNone(load.failure)
        wait_for(lambda: self.standing() == self.before, 20, "the ensemble as it was before")
        session = super_session(at(self.leader.client_port))
        for path, data in load.told.items():
            self.assertEqual(session.request(raw.GET_DATA, raw.buf(path) + b"\0")[3].buf(), data)
        session.close()
        for java in self.cluster.nodes:
            self.assertNotIn("Digests are not matching", java.log_text())

    def assert_is_the_tree(self, data, told):
        """As the files of a server say that it was. Gives the znodes, and who serves them."""
        last = zxid_in(told)
        files = os.path.join(self.directory(), "files")
        shutil.copytree(os.path.join(self.leader.data, "version-2"), os.path.join(files, "version-2"))
        cut_logs(files, last)
        result = run(ZABFS, "import-zookeeper", files, os.path.join(files, "own"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(zxid_in(result.stdout), last)
        counts = re.search(r"^\d+ znodes, .*$", result.stdout, re.M)[0]
        counts_of_copy = re.search(r"^\d+ znodes, .*$", told, re.M)[0]
        # The data of /zookeeper/config is in no log.
        self.assertEqual(re.sub(r"\d+ bytes", "", counts), re.sub(r"\d+ bytes", "", counts_of_copy))
        expected = znodes_of(self.serve(os.path.join(files, "own")))
        zabfs = self.serve(data)
        copy = znodes_of(zabfs)
        self.assertEqual(sorted(expected), sorted(copy))
        for path, znode in expected.items():
            self.assertEqual(znode, copy[path], path)
        return copy, zabfs

    def test_by_the_clients_addresses_under_load(self):
        to = os.path.join(self.directory(), "data")
        with Load(self.cluster.nodes[0], 31) as load:
            load.writer.write_quota()
            wait_for(lambda: len(load.told) > 20, 60, "a load")
            result = import_live(clients_of(self.cluster), to)
            count = len(load.told)
            wait_for(lambda: len(load.told) > count or load.failure, 60, "the load goes on")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"copied the tree of server {self.leader.number} at ", result.stdout)
        copy, _ = self.assert_is_the_tree(to, result.stdout)
        kinds = {stat["owner"] for _, stat, _ in copy.values()}
        self.assertIn(load.writer.owner.id, kinds)
        self.assert_undisturbed(load)
        load.writer.close()

    def test_what_is_written_while_the_snapshot_comes(self):
        """And by the quorum ports."""
        followers = [java for java in self.cluster.nodes if java is not self.leader]
        relay = Relay(self.leader.quorum_port, BEFORE_THE_PAUSE)
        self.addCleanup(relay.close)
        addresses = ",".join([f"127.0.0.1:{followers[0].quorum_port}", relay.address,
                              f"127.0.0.1:{followers[1].quorum_port}"])
        to = os.path.join(self.directory(), "data")
        load = Load(followers[0], 32)
        load.writer.write(100)
        copying = subprocess.Popen([ZABFS, "import-zookeeper", "--live", addresses, to],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertTrue(relay.paused.wait(60))
        load.writer.write(300)
        load.writer.leave_a_dead_session()
        relay.go.set()
        told, failed = copying.communicate(timeout=120)
        self.assertEqual(copying.returncode, 0, failed)
        self.assertIn(f"copied the tree of {relay.address}", told)
        behind = int(re.search(r"(\d+) transactions behind the snapshot", told)[1])
        self.assertGreaterEqual(behind, 300)
        self.assertIn("the tree has the server's digest", told)
        copy, zabfs = self.assert_is_the_tree(to, told)
        self.assert_undisturbed(load)

        # The history goes on, for a client that has seen all of it.
        last = max(stat["mzxid"] for _, stat, _ in copy.values())
        session = super_session(zabfs, seen=last)
        stat = session.request(raw.CREATE2, raw.create("/afterwards"))[3]
        stat.text()
        self.assertGreater(stat.stat()["czxid"], last)
        session.close()
        load.writer.close()

    def test_into_a_directory_that_has_data(self):
        to = self.directory()
        os.mkdir(to + "/zabfs")
        result = import_live("127.0.0.1:1", to)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{to}/zabfs is there already", result.stderr)
        self.assertEqual(os.listdir(to + "/zabfs"), [])

    def test_only_a_followers_quorum_port(self):
        to = self.directory()
        follower = next(java for java in self.cluster.nodes if java is not self.leader)
        result = import_live(f"127.0.0.1:{follower.quorum_port}", to)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"127.0.0.1:{follower.quorum_port}: Connection refused", result.stderr)
        self.assertIn("has its quorum port open only while it leads", result.stderr)
        self.assertEqual(os.listdir(to), [])


class TheLeaderDies(Directory, OwnClusterTest):
    def test_in_the_middle_of_the_snapshot(self):
        self.cluster = java_ensemble()
        start(self.cluster)
        leader = leader_of(self.cluster)
        session = super_session(at(leader.client_port))
        for i in range(BIG_ZNODES):
            session.request(raw.CREATE, raw.create(f"/big-{i}", os.urandom(BIG_BYTES)))
        session.close()
        relay = Relay(leader.quorum_port, BEFORE_THE_PAUSE)
        self.addCleanup(relay.close)
        to = self.directory()
        copying = subprocess.Popen([ZABFS, "import-zookeeper", "--live", relay.address, to],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertTrue(relay.paused.wait(60))
        leader.kill()
        relay.go.set()
        failed = copying.communicate(timeout=120)[1]
        self.assertEqual(copying.returncode, 1)
        self.assertIn(f"{relay.address}, which led: ", failed)
        self.assertIn("Nothing was written", failed)
        self.assertEqual(os.listdir(to), [])

        # The others have another leader. The one that is dead is passed over.
        left = [java for java in self.cluster.nodes if java is not leader]
        wait_for(lambda: any(java.cluster_state()["role"] == "leader" for java in left),
                 JAVA_STARTS_S, "a leader")
        result = import_live(clients_of(self.cluster), to, "--server", "7")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{BIG_ZNODES + 4} znodes", result.stdout)
        self.assertIn(", for server 7 of a new ensemble", result.stdout)


class QuorumTls(Directory, OwnClusterTest):
    def test_with_the_stores_of_a_server(self):
        directory = self.directory()
        authority = Authority(directory)
        store = authority.key_store(authority.issue("member"), "secret")
        tls = ["sslQuorum=true",
               f"ssl.quorum.keyStore.location={store}", "ssl.quorum.keyStore.password=secret",
               f"ssl.quorum.trustStore.location={authority.trust_store('changeit')}",
               "ssl.quorum.trustStore.password=changeit"]
        self.cluster = java_ensemble(tls)
        start(self.cluster)
        leader = leader_of(self.cluster)
        session = super_session(at(leader.client_port))
        session.request(raw.CREATE, raw.create("/secret", b"x" * 300_000))
        session.close()
        config = os.path.join(directory, "zoo.cfg")
        with open(config, "w") as f:
            f.write("\n".join([f"dataDir={directory}", "clientPort=0", *tls, ""]))
        to = os.path.join(directory, "data")
        quorum_ports = ",".join(f"127.0.0.1:{java.quorum_port}" for java in self.cluster.nodes)
        for addresses, digest in (
                (clients_of(self.cluster), "the tree has the server's digest"),
                (quorum_ports, "no transaction came behind the snapshot with a digest")):
            result = import_live(addresses, to)
            self.assertEqual(result.returncode, 1)
            self.assertIn("sslQuorum=true", result.stderr)
            self.assertFalse(os.path.exists(to))
            result = import_live(addresses, to, "--tls", config)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("\n5 znodes, ", result.stdout)
            self.assertIn(digest, result.stdout)
            self.assertIn(" 1 sessions, ", result.stdout)  # not the one that read the configuration
            shutil.rmtree(to)


class Refused(Directory):
    """Without an ensemble."""

    def answers(self, answer):
        """A port whose server answers everybody with that, and a client then closes."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    client = listener.accept()[0]
                    client.recv(4)
                    client.sendall(answer)
                    while client.recv(4096):
                        pass
                    client.close() if answer else self.addCleanup(client.close)
                except OSError:
                    return
        threading.Thread(target=serve, daemon=True).start()
        return "127.0.0.1:%d" % listener.getsockname()[1]

    def assert_refused(self, addresses, *why, options=(), code=1):
        to = os.path.join(self.directory(), "data")
        result = import_live(addresses, to, *options)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        for words in why:
            self.assertIn(words, result.stderr)
        self.assertFalse(os.path.exists(to))

    def test_ports_of_nobody(self):
        one, two = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.assert_refused(f"{one},{two}", f"{one}: Connection refused", f"{two}: Connection refused",
                            "zabfs import-zookeeper DATADIR TO")

    def test_ports_of_something_else(self):
        web = self.answers(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2J")
        self.assert_refused(web, f"{web}: no port of ZooKeeper's: it answered \"HTTP/1.1 400")
        secret = self.answers(b"\x15\x03\x03\0\2\2\x50")
        self.assert_refused(secret, f"{secret}: speaks TLS")

    def test_who_says_nothing(self):
        silent = self.answers(b"")
        self.assert_refused(silent, f"{silent}: says nothing for 1 s", options=("--timeout", "1"))

    def test_a_java_server_alone(self):
        with Java() as java:
            port = f"127.0.0.1:{java.port}"
            self.assert_refused(port, f"{port} is a server without an ensemble", "Stop it")

    def test_zabfsd(self):
        with Zabfs() as zabfs:
            port = f"127.0.0.1:{zabfs.port}"
            self.assert_refused(port, f"{port} is zabfsd, and leads", "zabfs backup")

    def test_zabfsds_quorum_ports(self):
        cluster = Cluster(3)
        self.addCleanup(cluster.stop)
        cluster.start()
        with open(cluster.nodes[0].config) as f:
            ports = re.findall(r"^server\.\d=127\.0\.0\.1:(\d+)", f.read(), re.M)
        self.assert_refused(",".join(f"127.0.0.1:{port}" for port in ports), "`zabfs backup`")

    def test_what_is_no_address(self):
        self.assert_refused("a:b", '"a:b": not HOST:PORT')
        self.assert_refused("", '"": not HOST:PORT')
        self.assert_refused("127.0.0.1:2181/app", "give the addresses without a path")

    def test_words_that_do_not_fit(self):
        for words in (["--live", "a:1"], ["--live", "a:1", "from", "to"], ["from"],
                      ["from", "to", "--timeout", "1"], ["--live", "a:1", "--log", "d", "to"]):
            result = run(ZABFS, "import-zookeeper", *words)
            self.assertNotEqual(result.returncode, 0)
            self.assertEqual(result.stdout, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
