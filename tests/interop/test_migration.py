"""From Apache ZooKeeper's data directory to zabfsd's and back, with real servers at both ends: every
znode is compared, with its data, its Stat and its ACL."""
import contextlib
import glob
import os
import random
import signal
import sys
import threading
import time
import types
import unittest

import raw
from raw import buf, i32
from servers import JAVA_CLASSES, Java, Zabfs

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFS, ZABFSD, Cluster, Node, OwnClusterTest, run, sh, wait_for  # noqa: E402
from java import JAVA_STARTS_S, JavaNode  # noqa: E402

SUPER = "super:test"
SETTINGS = ["extendedTypesEnabled=true", "znode.container.checkIntervalMs=3600000",
            "4lw.commands.whitelist=*", "preAllocSize=64", "maxSessionTimeout=600000",
            "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="]
SNAPSHOTS_OFTEN = ["snapCount=120"]
LOGGER = "/usr/share/java/slf4j-simple.jar"  # to standard error
MISMATCH = "Digests are not matching"
CONFIG = "/zookeeper/config"  # what a server makes of its own zoo.cfg
ACLS = [[(31, "world", "anyone")], [(1, "world", "anyone"), (31, "digest", "user:secret=")],
        [(31, "ip", "127.0.0.1/8")], [(3, "ip", "10.0.0.1"), (16, "world", "anyone")],
        [(0, "world", "anyone")]]


PATIENCE_S = 240  # also on a busy machine


class Own(Zabfs):
    patience_s = PATIENCE_S


class LoggingJava(Java):
    patience_s = PATIENCE_S

    def command(self):
        words = super().command()
        words[words.index(JAVA_CLASSES)] = f"{LOGGER}:{JAVA_CLASSES}"
        return words


def stop(server):
    """It stays on the disk."""
    server.process.terminate()
    server.process.wait(30)


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(30)


def super_session(server, **options):
    session = raw.Session(server.address, **options)
    error = session.auth("digest", SUPER)[2]
    assert error == 0, error
    return session


def znodes_of(server):
    """Path to (data, Stat, ACL), but for what each server makes itself."""
    session = super_session(server)
    found = session.znodes()
    del found[CONFIG]
    session.request(raw.CLOSE)
    session.close()
    return found


class Writer:
    """Random changes by a client. `owner` has the ephemerals, and is not closed."""

    def __init__(self, server, seed):
        self.random = random.Random(seed)
        self.session = super_session(server)
        self.owner = raw.Session(server.address, timeout_ms=600_000)
        self.paths = {"/": 0}  # to the kind: 1 is ephemeral
        self.done = 0

    def data(self):
        size = self.random.choice([0, 0, 1, 5, 30, 300, 3000])
        return self.random.choice([None, self.random.randbytes(size), b"text"])

    def parent(self):
        return self.random.choice([path for path, kind in self.paths.items() if kind == 0])

    def new_path(self):
        name = self.random.choice("abcdefgh") + str(self.random.randrange(40)) + \
            self.random.choice(["", "", " with blanks", "-\u00e4\u4e2d", "x" * 40])
        return self.parent().rstrip("/") + "/" + name

    def some_path(self):
        return self.random.choice([path for path in self.paths if path != "/"] or ["/none"])

    def create(self):
        kind, flags, ttl = self.random.choice(
            [(raw.CREATE, 0, None)] * 4 + [(raw.CREATE2, 0, None), (raw.CREATE2, 2, None),
             (raw.CREATE, 1, None), (raw.CREATE2, 3, None), (raw.CREATE_CONTAINER, 4, None),
             (raw.CREATE_TTL, 5, 10**9), (raw.CREATE_TTL, 6, 10**8)])
        acl = self.random.choice(ACLS) if self.random.random() < 0.3 else raw.OPEN_ACL
        path = self.new_path()
        session = self.owner if flags in (1, 3) else self.session
        error, answer = session.request(kind, raw.create(path, self.data(), acl, flags, ttl))[2:]
        if error == 0:
            self.paths[answer.text()] = 1 if flags in (1, 3) else 0

    def change(self):
        r, path = self.random, self.some_path()
        what = r.randrange(4)
        if what == 0:
            self.session.request(raw.SET_ACL, buf(path) + raw.acl_list(r.choice(ACLS)) + i32(-1))
        elif what == 1:
            if self.session.request(raw.DELETE, buf(path) + i32(r.choice([-1, -1, 5])))[2] == 0:
                del self.paths[path]
        else:
            self.session.request(raw.SET_DATA, buf(path) + buf(self.data()) + i32(r.choice([-1, 0])))

    def multi(self):
        path, made = self.some_path(), self.new_path()
        version = self.random.choice([-1, -1, 99])
        operations = [(raw.CREATE, raw.create(made, self.data())),
                      (raw.SET_DATA, buf(path) + buf(self.data()) + i32(version))]
        answer = self.session.request(raw.MULTI, raw.multi(operations))[3]
        if answer.i32() == raw.CREATE:
            self.paths[made] = 0

    def write(self, count):
        for _ in range(count):
            self.random.choice([self.create, self.create, self.change, self.multi])()
        self.done += count

    def write_quota(self):
        base = "/zookeeper/quota/limited"
        self.owner.request(raw.CREATE, raw.create("/owned", b"", None, 1))
        self.session.request(raw.CREATE, raw.create("/limited"))
        self.session.request(raw.CREATE, raw.create(base))
        self.session.request(raw.CREATE, raw.create(base + "/zookeeper_limits", b"count=5,bytes=50"))
        self.session.request(raw.CREATE, raw.create(base + "/zookeeper_stats", b"count=0,bytes=0"))
        self.session.request(raw.CREATE, raw.create("/limited/one", b"data"))

    def leave_a_dead_session(self):
        """One that was closed; its ephemerals went."""
        session = raw.Session(self.session.socket.getpeername())
        session.request(raw.CREATE, raw.create("/gone", b"", None, 1))
        session.request(raw.CLOSE)

    def close(self):
        self.session.request(raw.CLOSE)
        self.session.close()
        self.owner.socket.close()  # the session goes on


class Migration(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def start(self, kind, *settings):
        return self.stack.enter_context(kind([*SETTINGS, *settings]))

    def prepared(self, kind, *settings):
        """With directories of its own, and not started."""
        server = kind([*SETTINGS, *settings])
        self.stack.callback(server.stop)
        return server

    def migrate(self, command, source, target, *options):
        result = run(ZABFS, command, os.path.join(source.directory, "data"),
                     os.path.join(target.directory, "data"), *options)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def assert_same(self, before, after):
        self.assertEqual(sorted(before), sorted(after))
        for path, znode in before.items():
            self.assertEqual(znode, after[path], path)

    def populated_java(self, seed, *settings, end=stop, changes=500):
        java = self.start(LoggingJava, *settings)
        writer = Writer(java, seed)
        writer.write(changes)
        writer.write_quota()
        writer.leave_a_dead_session()
        writer.close()
        znodes = znodes_of(java)
        end(java)
        self.assertGreater(len(znodes), changes // 4)
        owners = {stat["owner"] for _, stat, _ in znodes.values()}
        self.assertIn(writer.owner.id, owners)
        return java, znodes, writer

    def assert_digest_was_taken(self, java):
        log = java.whole_log()
        self.assertIn("The digest in the snapshot has digest version of 2", log)
        self.assertNotIn(MISMATCH, log)

    # ---- there

    def test_a_server_that_was_stopped(self):
        java, znodes, _ = self.populated_java(1)
        zabfs = self.prepared(Own)
        told = self.migrate("import-zookeeper", java, zabfs)
        self.assertIn("the tree has the server's digest", told)
        zabfs.start()
        self.assert_same(znodes, znodes_of(zabfs))

    def test_a_server_that_was_killed_while_it_wrote_snapshots(self):
        java, znodes, _ = self.populated_java(2, *SNAPSHOTS_OFTEN, end=kill, changes=900)
        self.assertGreater(len(glob.glob(java.directory + "/data/version-2/snapshot.*")), 3)
        zabfs = self.prepared(Own)
        self.assertIn("the tree has the server's digest", self.migrate("import-zookeeper", java, zabfs))
        zabfs.start()
        self.assert_same(znodes, znodes_of(zabfs))

    def test_snapshots_that_are_packed(self):
        for method in ("gz", "snappy"):
            with self.subTest(method):
                java, znodes, _ = self.populated_java(
                    3, f"snapshot.compression.method={method}", *SNAPSHOTS_OFTEN, changes=300)
                self.assertTrue(glob.glob(f"{java.directory}/data/version-2/snapshot.*.{method}"))
                zabfs = self.prepared(Own)
                self.assertIn(f".{method}: ", self.migrate("import-zookeeper", java, zabfs))
                zabfs.start()
                self.assert_same(znodes, znodes_of(zabfs))

    def test_a_history_goes_on(self):
        java, znodes, _ = self.populated_java(4)
        last = max(stat["mzxid"] for _, stat, _ in znodes.values())
        zabfs = self.prepared(Own)
        self.migrate("import-zookeeper", java, zabfs)
        zabfs.start()
        # A client that has seen the last of the old server's zxids.
        session = super_session(zabfs, seen=last)
        stat = session.request(raw.CREATE2, raw.create("/afterwards"))[3]
        stat.text()
        self.assertGreater(stat.stat()["czxid"], last)
        # A sequence goes on where it was.
        path = session.request(raw.CREATE, raw.create("/s-", b"", None, 2))[3].text()
        root = znodes["/"][1]
        children_made = (root["cversion"] + root["children"]) // 2
        self.assertEqual(int(path[3:]), children_made + 1)
        session.close()

    def test_a_client_keeps_its_session(self):
        java, znodes, writer = self.populated_java(14, changes=100)
        zabfs = self.prepared(Own)
        self.migrate("import-zookeeper", java, zabfs)
        zabfs.start()
        session, password = writer.owner.id, writer.owner.password
        self.assertEqual(password, raw.public_password(session))
        self.assertEqual(raw.Session(zabfs.address, session, b"x" * 16).id, 0)
        client = raw.Session(zabfs.address, session, password)
        self.assertEqual(client.id, session)
        # From here on it has a password that nobody can compute. It may not have heard of it, so the
        # other one holds until it shows this one.
        self.assertNotEqual(client.password, password)
        client.socket.close()
        client = raw.Session(zabfs.address, session, password)
        self.assertEqual(client.id, session)
        client.socket.close()
        client = raw.Session(zabfs.address, session, client.password)
        self.assertEqual(client.id, session)
        client.socket.close()
        self.assertEqual(raw.Session(zabfs.address, session, password).id, 0)
        client = raw.Session(zabfs.address, session, client.password)
        self.assertEqual(client.id, session)
        self.assertEqual(client.request(raw.CLOSE)[2], 0)
        kept = [path for path, (_, stat, _) in znodes.items() if stat["owner"] != session]
        self.assertEqual(sorted(znodes_of(zabfs)), sorted(kept))

    def test_the_newest_snapshot_is_broken(self):
        java, znodes, _ = self.populated_java(5, *SNAPSHOTS_OFTEN, changes=400)
        newest = max(glob.glob(java.directory + "/data/version-2/snapshot.*"),
                     key=lambda name: int(name.rpartition(".")[2], 16))
        os.truncate(newest, os.path.getsize(newest) // 2)
        zabfs = self.prepared(Own)
        told = self.migrate("import-zookeeper", java, zabfs)
        self.assertIn(f"passed over {newest}", told)
        zabfs.start()
        self.assert_same(znodes, znodes_of(zabfs))

    def test_separate_log_directories(self):
        directory = self.prepared(Own).directory
        java_logs, own_logs = directory + "/java-logs", directory + "/own-logs"
        os.mkdir(java_logs)
        java, _, _ = self.populated_java(6, f"dataLogDir={java_logs}", changes=100)
        data = java.directory + "/data"
        config = directory + "/own.cfg"
        with open(config, "w") as f:
            f.write(f"dataDir={data}\ndataLogDir={own_logs}\nclientPort=0\n")
        os.mkdir(own_logs)
        told = run(ZABFSD, "--check-config", config)
        self.assertEqual(told.returncode, 2)
        result = run(ZABFS, "import-zookeeper", data, "--log", java_logs, data, "--to-log", own_logs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(os.path.exists(own_logs + "/zabfs/log.0000000000000001"))
        self.assertEqual(run(ZABFSD, "--check-config", config).returncode, 0)
        self.assertEqual(run(ZABFS, "check", data, "--log-dir", own_logs).returncode, 0)

    # ---- what is refused

    def test_zabfsd_does_not_serve_an_empty_tree_beside_the_old_one(self):
        java, znodes, _ = self.populated_java(7, changes=100)
        data = os.path.join(java.directory, "data")
        command = f"zabfs import-zookeeper {data} {data} --server 1"
        for options in ((java.config,), ("--check-config", java.config)):
            result = run(ZABFSD, *options)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(command, result.stderr)
        self.assertFalse(os.path.exists(data + "/zabfs"))
        told = run(*command.replace("zabfs ", ZABFS + " ", 1).split())
        self.assertEqual(told.returncode, 0, told.stderr)
        zabfs = self.prepared(Own)
        zabfs.config, zabfs.address = java.config, java.address
        zabfs.start()
        self.assert_same(znodes, znodes_of(zabfs))

    def test_damage_is_named_with_file_and_remedy(self):
        java, _, _ = self.populated_java(8, changes=60)
        zabfs = self.prepared(Own)
        data, to = java.directory + "/data", zabfs.directory + "/data"
        log, = glob.glob(data + "/version-2/log.*")
        with open(log, "r+b") as f:
            content = f.read()
            at = content.index(b"/limited")
            f.seek(at)
            f.write(b"/Limited")
        result = run(ZABFS, "import-zookeeper", data, to)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, rf"{log}: offset \d+: an entry with a wrong checksum")
        self.assertIn("truncate -s", result.stderr)
        self.assertEqual(os.listdir(to), [])
        offset = int(result.stderr.split("offset ")[1].split(":")[0])
        os.truncate(log, offset + 5)
        result = run(ZABFS, "import-zookeeper", data, to)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("a write that a crash cut off", result.stdout)

    def test_a_gap_in_the_log_needs_force(self):
        java, _, _ = self.populated_java(9, *SNAPSHOTS_OFTEN, changes=400)
        folder = java.directory + "/data/version-2/"

        def zxid(name):
            return int(name.split(".")[1], 16)
        snapshots = sorted((n for n in os.listdir(folder) if n.startswith("snapshot.")), key=zxid)
        for name in snapshots[1:]:
            os.unlink(folder + name)
        logs = sorted((n for n in os.listdir(folder) if n.startswith("log.")), key=zxid)
        os.unlink(folder + logs[1])
        zabfs = self.prepared(Own)
        words = (ZABFS, "import-zookeeper", java.directory + "/data", zabfs.directory + "/data")
        result = run(*words)
        self.assertEqual(result.returncode, 1)
        self.assertIn("what was between is lost", result.stderr)
        self.assertIn("another digest than the server's had", result.stderr)
        self.assertEqual(run(*words, "--force").returncode, 0)
        self.assertEqual(run(*words, "--force").returncode, 1)  # it is there already

    def test_what_is_no_data_of_zookeepers(self):
        zabfs = self.prepared(Own)
        data = zabfs.directory + "/data"
        for source, why in ((data, "holds no data of ZooKeeper's"), ("/nowhere", "No such file")):
            result = run(ZABFS, "import-zookeeper", source, data)
            self.assertEqual(result.returncode, 1)
            self.assertIn(why, result.stderr)
        result = run(ZABFS, "export-zookeeper", data, data)
        self.assertEqual(result.returncode, 1)
        self.assertIn("holds no data of zabfsd's", result.stderr)

    # ---- and back

    def test_there_and_back(self):
        java, znodes, _ = self.populated_java(10)
        zabfs = self.prepared(Own)
        self.migrate("import-zookeeper", java, zabfs)
        zabfs.start()
        writer = Writer(zabfs, 11)
        writer.write(300)
        writer.close()
        znodes = znodes_of(zabfs)
        result = run(ZABFS, "export-zookeeper", zabfs.directory + "/data", zabfs.directory + "/out")
        self.assertEqual(result.returncode, 1)
        self.assertIn("a zabfsd runs on", result.stderr)
        kill(zabfs)

        back = self.prepared(LoggingJava)
        told = self.migrate("export-zookeeper", zabfs, back)
        self.assertIn("znodes have a TTL", told)
        back.start()
        self.assert_same(znodes, znodes_of(back))
        self.assert_digest_was_taken(back)
        writer = Writer(back, 12)
        writer.write(200)
        writer.close()
        znodes = znodes_of(back)
        kill(back)

        again = self.prepared(Own)
        self.assertIn("the tree has the server's digest", self.migrate("import-zookeeper", back, again))
        again.start()
        self.assert_same(znodes, znodes_of(again))

    def test_an_export_at_once(self):
        """Of what no zabfsd has ever run on."""
        java, znodes, _ = self.populated_java(13, changes=150)
        zabfs, back = self.prepared(Own), self.prepared(LoggingJava)
        self.migrate("import-zookeeper", java, zabfs)
        self.migrate("export-zookeeper", zabfs, back)
        back.start()
        self.assert_same(znodes, znodes_of(back))
        self.assert_digest_was_taken(back)


class FromAMount(OwnClusterTest):
    """What programs did on a mount is replayed by ZooKeeper out of the exported log."""

    def test_all_kinds_of_changes(self):
        self.cluster = Cluster(1, extra="\n".join(SETTINGS)).start()
        node = self.cluster.nodes[0]
        sh(f"""set -e
               cd {node.mount}
               mkdir -p d/e many
               echo one > d/f
               echo two >> d/f
               chmod 640 d/f
               chown 1234:1234 d/f
               touch -d 2001-02-03 d/f
               chmod 1777 d/e
               ln -s f d/link
               mkdir from
               cp d/f from/g
               mv from d/to
               mv d/f d/e/h
               echo x > d/x
               mv d/x d/e/h
               rm d/link
               flock d/@/lock true
               echo job > d/@/queue
               cat d/@/queue > /dev/null
               seq 500 | sed s,^,d/n, | xargs touch
               rm d/n1*
               mkdir d/@/txn/new
               echo A > d/@/txn/new/n2
               echo B > d/@/txn/new/n3
               mv d/@/txn/new d/@/txn/new.commit
               for i in 1 2 3; do head -c 330000 /dev/urandom > many/$i; done
               mv many d/moved
               tar -cf {node.directory}/t.tar d
               mkdir copy
               {ZABFS} import {node.directory}/t.tar copy
               rm -r copy/d/e""")
        java = LoggingJava(SETTINGS)
        self.addCleanup(java.stop)
        session = types.SimpleNamespace(address=("127.0.0.1", node.client_port))
        before = znodes_of(session)
        node.kill()
        result = run(ZABFS, "export-zookeeper", node.data, java.directory + "/data")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("/version-2/snapshot.0, and log.0 ", result.stdout)
        java.start()
        after = znodes_of(java)
        self.assertEqual(sorted(before), sorted(after))
        for path, (data, stat, _) in before.items():
            self.assertEqual((data, stat), after[path][:2], path)
        self.assertNotIn(MISMATCH, java.whole_log())


class Ensemble(OwnClusterTest):
    """Each server's own data is taken over, and given back. They were killed while they wrote, so
    their logs do not end at the same zxid."""

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(3, extra="\n".join(SETTINGS))
        self.ours = self.cluster.nodes
        self.javas = [JavaNode(self.cluster, node.number) for node in self.ours]
        for java, node in zip(self.javas, self.ours):
            java.client_port = node.client_port

    def start(self, servers):
        self.cluster.nodes = servers
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready(JAVA_STARTS_S)

    def start_exported(self):
        """What the last leader alone had is cut off: the others agree without it."""
        self.cluster.nodes = self.javas
        ahead = self.javas[self.ours.index(self.last_leader)]
        others = [java for java in self.javas if java is not ahead]
        for java in others:
            java.start()
        for java in others:
            java.wait_ready(JAVA_STARTS_S)
        ahead.start()
        ahead.wait_ready(JAVA_STARTS_S)
        self.assertIn("Truncating log to get in sync with the leader", ahead.log_text())

    def give_the_leader_a_tail(self):
        """A write that the others don't have, and nobody is told of."""
        self.last_leader = leader = self.cluster.leader()
        session = super_session(types.SimpleNamespace(address=("127.0.0.1", leader.client_port)))
        for server in self.cluster.nodes:
            if server is not leader:
                server.signal(signal.SIGSTOP)
        session.post(raw.CREATE, raw.create("/tail", b"x"))
        time.sleep(0.5)  # for its log; nothing tells of it from outside
        session.close()

    def end_under_load(self, seed):
        """Gives what the writer was told, and its number of znodes."""
        addresses = [("127.0.0.1", server.client_port) for server in self.cluster.nodes]
        first = Writer(types.SimpleNamespace(address=addresses[0]), seed)
        first.write(200)
        told = {}

        def write():
            session = super_session(types.SimpleNamespace(address=addresses[1]))
            try:
                for i in range(100_000):
                    path, data = f"/told-{seed}-{i}", os.urandom(20)
                    if session.request(raw.CREATE, raw.create(path, data))[2] != 0:
                        return
                    told[path] = data
            except (OSError, raw.Closed):
                return  # its server is dead
            finally:
                session.socket.close()
        thread = threading.Thread(target=write)
        thread.start()
        first.write(150)
        first.session.request(raw.SYNC, buf("/"))
        znodes = znodes_of(types.SimpleNamespace(address=addresses[0]))
        first.close()
        if self.cluster.nodes is self.ours:
            self.give_the_leader_a_tail()
        for server in self.cluster.nodes:
            server.kill()
            Node.unmount(server)
        thread.join()
        self.assertGreater(len(told), 0)
        return told, {path: znode for path, znode in znodes.items() if "/told-" not in path}

    def assert_all_have(self, told, znodes):
        trees = []
        for server in self.cluster.nodes:
            at = types.SimpleNamespace(address=("127.0.0.1", server.client_port))
            session = super_session(at)
            session.request(raw.SYNC, buf("/"))
            session.close()
            trees.append(znodes_of(at))
        self.assertEqual(trees[0], trees[1])
        self.assertEqual(trees[0], trees[2])
        for path, data in told.items():
            self.assertEqual(trees[0][path][0], data, path)
        for path, znode in znodes.items():
            if path != "/":  # its Stat tells of the children that came behind
                self.assertEqual(trees[0][path], znode, path)

    def test_there_and_back(self):
        self.start(self.javas)
        told, znodes = self.end_under_load(20)
        for node in self.ours:
            result = run(ZABFS, "import-zookeeper", node.data, node.data)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.start(self.ours)
        self.assert_all_have(told, znodes)

        more, znodes = self.end_under_load(21)
        told.update(more)
        for node, java in zip(self.ours, self.javas):
            out = java.data + "-out"
            result = run(ZABFS, "export-zookeeper", node.data, out)
            self.assertEqual(result.returncode, 0, result.stderr)
            with open(java.config) as f:
                lines = f.read().replace(f"dataDir={node.data}", f"dataDir={out}")
            with open(java.config, "w") as f:
                f.write(lines)
        self.start_exported()
        self.assert_all_have(told, znodes)
        for java in self.javas:
            self.assertNotIn(MISMATCH, java.log_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
