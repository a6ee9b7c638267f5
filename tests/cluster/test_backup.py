"""zabfs backup, backup inspect and restore: all of an ensemble's tree in one file, and a new ensemble
out of it. The two trees are compared znode by znode, with data, Stat and ACL."""
import base64
import hashlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from raw import buf, i32  # noqa: E402
from harness import ZABFS, Cluster, LoggedTest, free_ports, run, wait_for  # noqa: E402

EXTRA = ("maxSessionTimeout=600000\nextendedTypesEnabled=true\nznode.container.checkIntervalMs=3600000\n"
         "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n")
SECRET = [(1, "world", "anyone"), (31, "digest", "user:secret=")]
CONFIG, LIMITS = "/zookeeper/config", "/zookeeper/quota/quota/zookeeper_limits"
NOBODY = 65534
EPHEMERAL, CONTAINER, TTL = 1, 4, 5
DONE = re.compile(r"backed up (\d+) znodes, (\d+) bytes of data, as of zxid (0x[0-9a-f]+) \([\d.]+ s ago\), "
                  r"in (\d+) bytes; left out: (\d+) sessions, (\d+) ephemerals\n")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path) as file:
        return file.read()


def address(node):
    return "127.0.0.1", node.client_port


def super_session(node):
    session = raw.Session(address(node), timeout_ms=600_000)
    assert session.auth("digest", "super:test")[2] == 0
    return session


def znodes(node):
    session = super_session(node)
    found = session.znodes()
    session.request(raw.CLOSE)
    session.close()
    return found


def is_ephemeral(znode):
    return znode[1]["owner"] > 0 and znode[1]["owner"] >> 56 != 0xFF


def without_ephemerals(tree):
    """As they are once each ephemeral has been removed, but for mzxid and pzxid of their parents."""
    lasting = {path: (data, dict(stats), acl) for path, (data, stats, acl) in tree.items()
               if not is_ephemeral((data, stats, acl))}
    for path in set(tree) - set(lasting):
        stats = lasting[path.rpartition("/")[0] or "/"][1]
        stats["children"] -= 1
        stats["cversion"] += 1
    return lasting


class Backups(LoggedTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, extra=EXTRA).start()
        cls.addClassCleanup(cls.cluster.stop)
        cls.n1, cls.n2, cls.n3 = cls.cluster.nodes
        cls.client = super_session(cls.n2)
        cls.made = 0
        cls.fill()

    @classmethod
    def fill(cls):
        def create(*arguments, kind=raw.CREATE, **options):
            error = cls.client.request(kind, raw.create(*arguments, **options))[2]
            assert error == 0, (arguments, error)
        for path in "/plain", "/plain/child", "/empty":
            create(path, b"data of " + path.encode())
        create("/null", None)
        create("/secret", b"x", SECRET)
        create("/container", b"c", kind=raw.CREATE_CONTAINER, flags=CONTAINER)
        create("/container/in", b"c")
        create("/ttl", b"t", kind=raw.CREATE_TTL, flags=TTL, ttl=10**9)
        create("/ephemeral", b"e", flags=EPHEMERAL)
        create("/plain/ephemeral", b"e", flags=EPHEMERAL)
        create("/quota", b"12345")
        for path in "/zookeeper/quota/quota", LIMITS, LIMITS.replace("limits", "stats"):
            create(path, b"count=9,bytes=900" if path == LIMITS else b"count=0,bytes=0")
        create("/quota/ephemeral", b"123", flags=EPHEMERAL)
        mount = cls.n1.mount
        os.makedirs(mount + "/dir/deep")
        write(mount + "/dir/file", "of root\n")
        os.chown(mount + "/dir/file", NOBODY, NOBODY)
        os.chmod(mount + "/dir/file", 0o750)
        os.chmod(mount + "/dir/deep", 0o3775)
        os.utime(mount + "/dir/file", ns=(10**18, 10**18 + 7))
        os.symlink("file", mount + "/dir/link")
        write(mount + "/dir/@/counter", "+41")
        cls.numbers = [read(mount + "/dir/@/next") for _ in range(3)]
        cls.held = open(mount + "/dir/@/ephemeral/member", "w")
        cls.addClassCleanup(cls.held.close)
        fd = os.open(mount + "/dir/@/seq/item", os.O_CREAT | os.O_RDWR)
        os.close(fd)
        cls.cluster.sync_all()

    def new_file(self):
        type(self).made += 1
        return os.path.join(self.cluster.directory, f"backup{self.made}")

    def backup(self, node=None, *options):
        file = self.new_file()
        result = run(ZABFS, "backup", file, "--mount", (node or self.n3).mount, *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        self.assertRegex(result.stdout, DONE)
        return file, DONE.fullmatch(result.stdout).groups()

    def restored(self, file, nodes=3, mounts=True):
        """Another ensemble: one node with the backup, and empty ones."""
        other = Cluster(nodes, extra=EXTRA)
        self.addCleanup(other.stop)
        first = other.nodes[0]
        result = run(ZABFS, "restore", file, first.data)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("for server 1 of a new ensemble", result.stdout)
        for node in other.nodes[1:1 + nodes // 2]:  # with one more they could begin without the first
            node.may_begin()
        if not mounts:
            for node in other.nodes:
                text = read(node.config)
                write(node.config, re.sub("zabfs.mount=.*\n", "", text))
        for node in other.nodes:
            node.start()
        if mounts:
            try:
                for node in other.nodes:
                    node.wait_ready(20)
            except AssertionError:
                other.print_logs()
                raise
        return other

    # ---- all of it

    def test_a_restored_ensemble_has_all_but_sessions_and_ephemerals(self):
        before = znodes(self.n2)
        file, (count, size, zxid, file_bytes, sessions, ephemerals) = self.backup()
        self.assertEqual(znodes(self.n2).keys(), before.keys())
        expected = without_ephemerals(before)
        self.assertEqual(int(count), len(expected))
        self.assertEqual(int(size), sum(len(data or b"") for data, _, _ in expected.values()))
        self.assertEqual(int(ephemerals), len(before) - len(expected))
        self.assertGreaterEqual(int(ephemerals), 4)
        self.assertGreaterEqual(int(sessions), 4)  # three mounts and a client
        self.assertEqual(int(file_bytes), os.path.getsize(file))
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        self.later = self.client.request(raw.SET_DATA, buf("/empty") + buf("later") + i32(-1))[1]
        self.client.request(raw.SET_DATA, buf("/empty") + buf("data of /empty") + i32(-1))

        other = self.restored(file)
        first = other.nodes[0]
        for node in other.nodes:
            node.barrier()
            found = znodes(node)
            # What each ensemble has of its own: the members, and the state of the mounts' sessions.
            for tree in expected, found:
                tree.pop(CONFIG, None)
            stats = LIMITS.replace("limits", "stats")
            self.assertEqual(found[stats][0], b"count=1,bytes=5")  # the ephemeral counts no more
            found[stats] = expected[stats]
            self.assertEqual(found.keys(), expected.keys())
            for path in expected:
                self.assertEqual(found[path], expected[path], path)
        self.check_mount(first.mount)
        self.assertEqual(len(read(first.path("@", "members")).split("server.")), 4)

    def check_mount(self, mount):
        status = os.stat(mount + "/dir/file")
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns),
                         (0o750, NOBODY, NOBODY, 10**18 + 7))
        self.assertEqual(os.readlink(mount + "/dir/link"), "file")
        self.assertEqual(read(mount + "/dir/@/counter"), "41\n")
        self.assertNotIn(read(mount + "/dir/@/next"), self.numbers)
        names = set(os.listdir(self.n1.path("dir")))
        self.assertEqual(names - set(os.listdir(mount + "/dir")), {"member"})
        fd = os.open(mount + "/dir/@/seq/item", os.O_CREAT | os.O_RDWR)
        self.assertGreater(os.read(fd, 100).decode(), max(n for n in names if n.startswith("item")))
        os.close(fd)
        write(mount + "/dir/new", "it takes writes")

    def test_times_that_no_stat_has_come_back(self):
        file = self.backup()[0]
        other = self.restored(file, 1)
        for name in "dir", "dir/deep", "plain":
            old, new = os.stat(self.n1.path(name)), os.stat(other.nodes[0].path(name))
            self.assertEqual((old.st_mtime_ns, old.st_ctime_ns), (new.st_mtime_ns, new.st_ctime_ns), name)

    # ---- clients of the old ensemble

    def test_a_client_with_a_later_zxid_finds_its_session_expired(self):
        for mounts in True, False:
            with self.subTest(mounts=mounts):
                self.check_old_client(mounts)

    def check_old_client(self, mounts):
        client = raw.Session(address(self.n2), timeout_ms=60_000)
        file = self.backup()[0]
        for _ in range(20):
            later = client.request(raw.SET_DATA, buf("/empty") + buf("data of /empty") + i32(-1))[1]
        other = self.restored(file, 1, mounts)

        def connected(session):
            try:
                return raw.Session(address(other.nodes[0]), session, client.password, seen=later)
            except raw.Closed:
                return None  # it does not serve yet, or refuses the zxid
        again = wait_for(lambda: connected(client.id), 30, "an answer")
        self.assertEqual((again.id, again.timeout_ms), (0, 0))
        again.close()
        anew = connected(0)
        self.assertNotEqual(anew.id, 0)
        self.assertGreater(anew.request(raw.GET_DATA, buf("/empty") + b"\0")[1], later)
        anew.close()
        client.close()

    def test_a_client_of_kazoos_comes_over_by_itself(self):
        from kazoo.client import KazooClient, KazooState
        file = self.backup()[0]
        other = self.restored(file, 1)
        states = []
        client = KazooClient(self.cluster.connect_string([self.n1]), timeout=20)
        client.add_listener(states.append)
        client.start()
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        changed = []
        client.DataWatch("/plain", lambda data, _: changed.append(data))
        for _ in range(20):
            client.set("/empty", b"data of /empty")
        client.set_hosts(other.connect_string())
        client._connection._socket.shutdown(2)
        wait_for(lambda: KazooState.LOST in states and states[-1] == KazooState.CONNECTED, 40,
                 "a new session")
        client.set("/plain", b"after")
        wait_for(lambda: changed[-1] == b"after", 20, "the watch")

    def test_a_restored_ensemble_has_a_number_of_its_own(self):
        file = self.backup()[0]
        other = self.restored(file, 1)
        number = dict(line.split(None, 1) for line in read(other.nodes[0].path("@", "cluster")).splitlines()
                      if not line.startswith("member"))["ensemble"]
        self.assertNotEqual(number, self.n1.cluster_state()["ensemble"])

    # ---- while all goes on

    def test_it_does_not_fail_while_others_write(self):
        stop, failures, acknowledged = threading.Event(), [], [0]

        def load():
            session = super_session(self.n1)
            while not stop.is_set():
                _, zxid, error, _ = session.request(raw.SET_DATA, buf("/plain/child") + buf("x" * 100) + i32(-1))
                acknowledged[0] = zxid
                if error != 0:
                    failures.append(error)
            session.close()
        thread = threading.Thread(target=load)
        thread.start()
        try:
            last = 0
            for _ in range(5):
                last = wait_for(lambda: acknowledged[0] > last and acknowledged[0], 20, "a write")
                self.n3.barrier()
                self.assertGreaterEqual(int(self.backup()[1][2], 16), last)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failures, [])
        self.client.request(raw.SET_DATA, buf("/plain/child") + buf("data") + i32(-1))

    def test_several_at_once(self):
        files = [self.new_file() for _ in range(4)]
        running = [subprocess.Popen([ZABFS, "backup", file, "--mount", self.n3.mount],
                                    stdout=subprocess.PIPE, text=True) for file in files]
        for process in running:
            output = process.communicate()[0]
            self.assertEqual(process.returncode, 0, output)
        for file in files:
            self.assertEqual(run(ZABFS, "backup", "inspect", file).returncode, 0)

    # ---- a directory of it

    def directory_to_restore(self):
        """A directory of another user's, and what is in it as a tar has it."""
        top = self.n1.path(f"part{type(self).made}")
        os.mkdir(top)
        for name, text in (("same", "1"), ("changed", "before"), ("gone", "x" * 900_000)):
            write(os.path.join(top, name), text)
        os.mkdir(os.path.join(top, "below"))
        write(os.path.join(top, "below", "deep"), "deep")
        os.symlink("same", os.path.join(top, "link"))
        os.chmod(os.path.join(top, "same"), 0o640)
        os.chown(os.path.join(top, "below"), NOBODY, NOBODY)
        return top

    def as_tar(self, top):
        tar = self.new_file() + ".tar"
        result = run(ZABFS, "export", top, tar)
        self.assertEqual(result.returncode, 0, result.stderr)
        listed = run("tar", "--xattrs", "--xattrs-include=*", "-tvvf", tar).stdout
        return sorted(line for line in listed.splitlines() if not line.endswith(" ./"))

    def restore_part(self, file, top, *options):
        result = run(ZABFS, "restore", file, top, "--subtree", "/" + os.path.basename(top), *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def test_a_directory_of_a_running_ensemble_comes_back(self):
        top = self.directory_to_restore()
        self.cluster.sync_all()
        before = self.as_tar(top)
        file, _ = self.backup()
        written = os.stat(os.path.join(top, "same")).st_ctime_ns
        write(os.path.join(top, "changed"), "after")
        os.unlink(os.path.join(top, "gone"))
        write(os.path.join(top, "new"), "new")
        os.unlink(os.path.join(top, "below", "deep"))
        os.rmdir(os.path.join(top, "below"))
        after = self.as_tar(top)
        diff = self.restore_part(file, top, "--delete", "--dry-run").stdout.splitlines()
        self.assertEqual(sorted(line for line in diff if not line.endswith(" .")),
                         ["+ below", "+ below/deep", "+ gone", "- new", "~ changed"])
        self.assertEqual(self.as_tar(top), after)
        self.restore_part(file, top)
        self.assertEqual(read(os.path.join(top, "new")), "new")
        self.restore_part(file, top, "--delete")
        self.assertEqual(self.as_tar(top), before)
        self.assertEqual(os.stat(os.path.join(top, "same")).st_ctime_ns, written)
        self.assertIn("0 new, 0 changed", self.restore_part(file, top, "--delete").stderr)

    def test_into_another_directory(self):
        top = self.directory_to_restore()
        self.cluster.sync_all()
        file, _ = self.backup()
        other = self.n2.path(f"other{type(self).made}")
        os.mkdir(other)
        result = run(ZABFS, "restore", file, other, "--subtree", "/" + os.path.basename(top))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.n1.barrier()
        self.assertEqual(self.as_tar(self.n1.path(os.path.basename(other))), self.as_tar(top))

    def test_what_is_not_in_the_backup_is_told(self):
        file, _ = self.backup()
        for path, words in (("/no", "has no /no"), ("no", "has no no"), (CONFIG, "is no directory")):
            result = run(ZABFS, "restore", file, self.n1.mount, "--subtree", path)
            self.assertEqual(result.returncode, 1)
            self.assertIn(words, result.stderr)
        result = run(ZABFS, "restore", file, self.n1.mount)
        self.assertEqual(result.returncode, 2)
        self.assertIn("--subtree", result.stderr)
        directory = self.new_file()
        os.mkdir(directory)
        result = run(ZABFS, "restore", file, directory, "--subtree", "/")
        self.assertIn("is no directory of a zabfs mount", result.stderr)

    def test_to_standard_output_and_from_standard_input(self):
        file = self.new_file()
        with open(file, "wb") as out:
            result = subprocess.run([ZABFS, "backup", "-", "--mount", self.n3.mount], stdout=out,
                                    stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, DONE)
        with open(file, "rb") as backup:
            result = subprocess.run([ZABFS, "backup", "inspect", "-"], stdin=backup, capture_output=True,
                                    text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("all is well\n", result.stdout)

    def test_to_where_a_file_needs_a_name_from_the_start(self):
        file = self.n1.path("backup")  # a mount knows no O_TMPFILE
        result = run(ZABFS, "backup", file, "--mount", self.n3.mount)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(run(ZABFS, "backup", "inspect", file).returncode, 0)
        self.assertEqual([name for name in os.listdir(self.n1.mount) if "backup" in name], ["backup"])
        os.unlink(file)

    # ---- what is refused

    def test_only_root_makes_one(self):
        result = run("setpriv", "--reuid=65534", "--clear-groups", ZABFS, "backup", "/tmp/none",
                     "--mount", self.n3.mount)
        self.assertEqual(result.returncode, 1)
        self.assertIn("root makes backups", result.stderr)
        self.assertFalse(os.path.exists("/tmp/none"))
        status = os.stat(self.n3.path("@", "snapshot"))
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o400)

    def test_another_file_stays(self):
        file = self.new_file()
        write(file, "mine")
        result = run(ZABFS, "backup", file, "--mount", self.n3.mount)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is there already", result.stderr)
        self.assertEqual(read(file), "mine")
        backup = self.backup()[0]
        result = run(ZABFS, "restore", backup, self.n3.data)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is there already", result.stderr)

    def test_damage_is_told(self):
        file = self.backup()[0]
        with open(file, "rb") as whole:
            data = whole.read()
        for damaged in data[:len(data) // 2], data + b"x", data[:100] + b"y" + data[101:]:
            other = self.new_file()
            with open(other, "wb") as out:
                out.write(damaged)
            result = run(ZABFS, "backup", "inspect", other)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, rf"^zabfs: {other}: .*byte \d+")
            result = run(ZABFS, "restore", other, self.cluster.directory + "/none")
            self.assertEqual(result.returncode, 1)
            self.assertFalse(os.path.exists(self.cluster.directory + "/none/zabfs"))

    def test_inspect_lists(self):
        file = self.backup()[0]
        text = run(ZABFS, "backup", "inspect", file).stdout
        self.assertRegex(text, r"^zxid 0x[0-9a-f]+\nmade 20.*\nnode 3\nepoch \d+\nserving yes\nversion ")
        self.assertEqual(text.count("\nmember server."), 3)
        lines = run(ZABFS, "backup", "inspect", "--list", file).stdout.splitlines()
        self.assertTrue(any(re.fullmatch(r"-rwxr-x--- +65534 +65534 +8 \S+ /dir/file", line) for line in lines))
        self.assertTrue(any(re.fullmatch("drwxrwsr-t .* /dir/deep", line) for line in lines))
        self.assertTrue(any(line.startswith("lrwx") and line.endswith(" /dir/link") for line in lines))
        self.assertTrue(any(line.endswith(" /ttl (TTL 1000000000 ms)") for line in lines))
        self.assertTrue(any(line.endswith(" /container (container)") for line in lines))
        self.assertFalse(any("ephemeral" in line for line in lines))


class AdminTest(LoggedTest):
    """`number` is the node that has an admin port."""

    def start(self, nodes, number):
        self.port = free_ports(1)[0]
        self.cluster = Cluster(nodes, extra=EXTRA)
        self.addCleanup(self.cluster.stop)
        self.node = self.cluster.nodes[number - 1]
        with open(self.node.config, "a") as config:
            config.write(f"admin.serverPort={self.port}\n")
        self.cluster.start()

    def ask(self, name, authorization=None, data=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/commands/{name}", data=data)
        if authorization:
            request.add_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


class AdminPort(AdminTest):
    """The admin port's `snapshot`, as ZooKeeper 3.9 has it."""

    def setUp(self):
        self.start(1, 1)
        for number in range(50):
            write(self.node.path(f"f{number}"), "x" * 10_000)

    def test_the_superuser_gets_one_that_import_zookeeper_takes(self):
        before = znodes(self.node)
        status, fields, body = self.ask("snapshot?streaming=true", "digest super:test")
        self.assertEqual((status, fields["Content-Type"]), (200, "application/octet-stream"), body[:300])
        self.assertEqual(body[:4], b"ZKSN")
        other = Cluster(1, extra=EXTRA)
        self.addCleanup(other.stop)
        target = other.nodes[0]
        version_2 = os.path.join(target.data, "version-2")
        os.makedirs(version_2)
        with open(os.path.join(version_2, "snapshot." + fields["last_zxid"][2:]), "wb") as file:
            file.write(body)
        result = run(ZABFS, "import-zookeeper", target.data, target.data)
        self.assertEqual(result.returncode, 0, result.stderr)
        target.start()
        target.wait_ready()
        found = znodes(target)
        for tree in before, found:
            del tree[CONFIG]
        before, found = without_ephemerals(before), without_ephemerals(found)
        self.assertEqual(found, before)
        status, _, body = self.ask("snap", "digest super:test")
        self.assertEqual(status, 429, body)

    def test_without_streaming_it_stays_where_it_is(self):
        status, fields, body = self.ask("snapshot?streaming=false", "digest super:test")
        self.assertEqual((status, json.loads(body)), (200, {"command": "snapshot", "error": None}))
        name = f"snapshot.{int(fields['last_zxid'], 16):016x}"
        self.assertTrue(os.path.exists(self.node.storage(name)))

    def test_others_get_none(self):
        self.assertEqual(self.ask("snapshot")[0], 401)
        self.assertEqual(self.ask("snapshot", "digest")[0], 401)
        self.assertEqual(self.ask("snapshot", "x509 CN=a")[0], 401)
        self.assertEqual(self.ask("snapshot", "ip 127.0.0.1")[0], 403)
        self.assertEqual(self.ask("snapshot", "digest user:secret")[0], 403)
        client = super_session(self.node)
        digest = "user:" + base64.b64encode(hashlib.sha1(b"user:secret").digest()).decode()

        def set_root(*acl):
            self.assertEqual(client.request(raw.SET_ACL, buf("/") + raw.acl_list(acl) + i32(-1))[2], 0)
        set_root((31, "world", "anyone"))  # as ZooKeeper's own trees have it
        self.assertEqual(self.ask("snapshot", "digest user:secret")[0], 403)
        set_root((15, "digest", digest), (31, "world", "anyone"))  # one permission is missing
        self.assertEqual(self.ask("snapshot", "digest user:secret")[0], 403)
        self.assertEqual(self.ask("restore", "digest user:secret", b"x")[0], 403)
        set_root((31, "digest", digest), (1, "world", "anyone"))
        self.assertEqual(self.ask("snapshot", "digest user:other")[0], 403)
        self.assertEqual(self.ask("restore", "digest user:other", b"x")[0], 403)
        self.assertEqual(self.ask("restore", "digest user:secret")[0], 405)
        self.assertEqual(self.ask("snapshot", "digest user:secret", b"x")[0], 405)
        self.assertEqual(self.ask("snapshot?streaming=false", "digest user:secret")[0], 200)
        client.close()


class LiveRestore(AdminTest):
    """The admin port's `restore`: the tree of a running ensemble becomes that of a snapshot."""
    SUPER = "digest super:test"

    def setUp(self):
        self.start(3, 2)
        self.client = super_session(self.cluster.nodes[0])
        self.addCleanup(self.client.close)
        for path in "/a", "/a/b", "/a/b/c", "/changed", "/kind":
            self.create(path, path.encode() * 1000)
        self.create("/null", None)
        self.create("/secret", b"x", SECRET)
        self.create("/container", b"c", kind=raw.CREATE_CONTAINER, flags=CONTAINER)
        self.create("/container/in", b"c")
        self.create("/ttl", b"t", kind=raw.CREATE_TTL, flags=TTL, ttl=10**9)
        self.create("/gone", b"e", flags=EPHEMERAL)
        for path in "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits":
            self.create(path, b"count=900,bytes=-1")
        mount = self.node.mount
        os.mkdir(mount + "/dir")
        os.chmod(mount + "/dir", 0o2750)
        for number in range(200):
            write(f"{mount}/dir/f{number}", "x" * 5_000)
        os.symlink("f1", mount + "/dir/link")
        self.cluster.sync_all()
        self.before = self.lasting()
        status, _, self.snapshot = self.ask("snapshot", self.SUPER)
        self.assertEqual(status, 200)

    def create(self, *arguments, kind=raw.CREATE, **options):
        self.assertEqual(self.client.request(kind, raw.create(*arguments, **options))[2], 0, arguments)

    def change(self, kind, body):
        self.assertEqual(self.client.request(kind, body)[2], 0)

    def lasting(self, node=None):
        """What a restore brings back."""
        return {path: (data, stats["owner"], acl)
                for path, (data, stats, acl) in znodes(node or self.node).items()
                if path != CONFIG and not is_ephemeral((data, stats, acl))}

    def spoil(self):
        for path in "/a/b/c", "/a/b", "/a", "/container/in", "/container", "/ttl", "/gone", "/kind":
            self.change(raw.DELETE, buf(path) + i32(-1))
        self.create("/kind", b"e", flags=EPHEMERAL)
        self.create("/new")
        self.create("/new/below")
        self.create("/a", b"another", kind=raw.CREATE_CONTAINER, flags=CONTAINER)
        self.create("/dir/member", b"e", flags=EPHEMERAL)
        self.change(raw.SET_DATA, buf("/changed") + buf("new") + i32(-1))
        self.change(raw.SET_DATA, buf("/null") + buf("") + i32(-1))
        self.change(raw.SET_ACL, buf("/secret") + raw.acl_list([(31, "world", "anyone")]) + i32(-1))
        self.change(raw.SET_DATA, buf("/zookeeper/quota/a/zookeeper_limits") + buf("count=9,bytes=-1") +
                    i32(-1))
        os.chmod(self.node.path("dir"), 0o700)
        for number in range(100):
            os.unlink(self.node.path("dir", f"f{number}"))

    def test_all_members_get_the_snapshots_tree(self):
        self.spoil()
        status, _, body = self.ask("restore", self.SUPER, self.snapshot)
        self.assertEqual(status, 200, body)
        self.assertIsNone(json.loads(body)["error"])
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            self.assertEqual(self.lasting(node), self.before)
            self.assertEqual(read(node.path("dir", "f7")), "x" * 5_000)
            self.assertEqual(stat.S_IMODE(os.stat(node.path("dir")).st_mode), 0o2750)
        self.create("/dir/member2", b"e", flags=EPHEMERAL)  # in the session that there was
        self.assertIn("/dir/member", znodes(self.node))
        status, _, body = self.ask("restore", self.SUPER, self.snapshot)
        self.assertEqual((status, json.loads(body)["changes"]), (200, 0))

    def test_it_wins_over_clients_that_write_meanwhile(self):
        self.spoil()
        over = threading.Event()

        def write_all_the_time():
            number = 0
            while not over.is_set():
                number += 1
                for path in "/a", "/a/b", f"/dir/f{number % 200}":
                    other.request(raw.DELETE, buf(path) + i32(-1))
                other.request(raw.CREATE, raw.create(f"/dir/other{number}", b"x"))
        other = super_session(self.cluster.nodes[2])
        writer = threading.Thread(target=write_all_the_time)
        writer.start()
        try:
            status, _, body = self.ask("restore", self.SUPER, self.snapshot)
        finally:
            over.set()
            writer.join()
            other.close()
        self.assertIn(status, (200, 503), body)
        status, _, body = self.ask("restore", self.SUPER, self.snapshot)
        self.assertEqual(status, 200, body)
        self.assertEqual(self.lasting(), self.before)

    def test_what_is_no_snapshot_changes_nothing(self):
        for body in (b"", b"x" * 300_000, self.snapshot[:-1], self.snapshot[:100_000],
                     self.snapshot[:5_000] + b"?" + self.snapshot[5_001:], self.snapshot * 2):
            status, _, answer = self.ask("restore", self.SUPER, body)
            self.assertEqual(status, 400, answer)
            self.assertIn("snapshot", json.loads(answer)["error"])
        self.assertEqual(self.lasting(), self.before)

    def test_a_client_that_waits_to_be_told_and_one_that_breaks_off(self):
        os.unlink(self.node.path("dir", "f7"))
        head = (f"POST /commands/restore HTTP/1.1\r\nHost: x\r\nAuthorization: {self.SUPER}\r\n"
                f"Content-Length: {len(self.snapshot)}\r\nExpect: 100-continue\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as half:
            half.sendall(head)
            self.assertTrue(half.recv(1000).startswith(b"HTTP/1.1 100"))
            half.sendall(self.snapshot[:200_000])
            busy = self.ask("restore", self.SUPER, self.snapshot)
            self.assertEqual(busy[0], 429, busy)
        self.assertFalse(os.path.exists(self.node.path("dir", "f7")))
        wait_for(lambda: self.ask("restore", self.SUPER, b"x")[0] == 400, 20, "its turn")
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as whole:
            whole.sendall(head)
            self.assertTrue(whole.recv(1000).startswith(b"HTTP/1.1 100"))
            whole.sendall(self.snapshot)
            answer = b""
            while piece := whole.recv(10_000):
                answer += piece
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertEqual(self.lasting(), self.before)

    def test_without_a_leader_it_waits_for_one(self):
        others = [node for node in self.cluster.nodes if node is not self.node]
        self.client.close()
        for node in others:
            node.kill()
        wait_for(lambda: not self.node.has_quorum(), 30, "no quorum")
        answers = []
        asks = threading.Thread(target=lambda: answers.append(
            self.ask("restore", self.SUPER, self.snapshot)))
        asks.start()
        for node in others:
            node.start()
        asks.join()
        self.assertEqual(answers[0][0], 200, answers)


class WithoutQuorum(LoggedTest):
    def test_one_node_alone_is_enough_and_so_are_its_files(self):
        cluster = Cluster(3, extra=EXTRA).start()
        self.addCleanup(cluster.stop)
        node = cluster.nodes[0]
        for number in range(10):
            write(node.path(f"f{number}"), "x" * number)
        cluster.sync_all()
        before = znodes(node)
        for other in cluster.nodes[1:]:
            other.kill()
        wait_for(lambda: not node.has_quorum(), 30, "no quorum")
        files = [os.path.join(cluster.directory, name) for name in ("running", "stopped")]
        result = run(ZABFS, "backup", files[0], "--mount", node.mount)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no quorum with it", result.stderr)
        result = run(ZABFS, "backup", files[1], "--data", node.data)
        self.assertEqual(result.returncode, 1)
        self.assertIn("stop it first", result.stderr)
        node.terminate()
        result = run(ZABFS, "backup", files[1], "--data", node.data)
        self.assertEqual(result.returncode, 0, result.stderr)
        listed = [run(ZABFS, "backup", "inspect", "--list", file).stdout for file in files]
        self.assertEqual(listed[0], listed[1])
        paths = [line.split()[5] for line in listed[0].splitlines()]
        self.assertEqual(sorted(paths), sorted(without_ephemerals(before)))


if __name__ == "__main__":
    unittest.main()
