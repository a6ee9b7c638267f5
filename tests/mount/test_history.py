"""What files were before, as paths of the mount, on three nodes that answer from their own logs."""
import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import JAVA_LEADS, ZABFS, ClusterTest, OwnClusterTest, Cluster, run, sh, wait_for  # noqa: E402

USER, STRANGER = 12_001, 12_002
SMALL = "snapCount=20\nzabfs.commitAfter=0\n"  # a snapshot after 15 or so changes


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def as_user(uid, *command):
    return run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command)


def zxid_of(path):
    """Of its last change of data."""
    return os.getxattr(path, "user.zabfs.mzxid").decode()


class History(ClusterTest):
    options = {"extra": SMALL}

    def p(self, *names):
        return self.dir(self.n1, *names)

    def versions(self, node, name, *directory):
        """The names, in the order of the changes."""
        names = os.listdir(self.dir(node, *directory, "@", "history", name))
        self.assertEqual(len(names), len(set(names)))
        return sorted((n for n in names if n != "current"), key=lambda n: int(n.split(".")[0], 16))

    def version(self, node, name, which):
        return self.dir(node, "@", "history", name, which)

    def churn(self, changes=120):
        """Enough for several snapshots, and for a purge."""
        for i in range(changes):
            write(self.p("churn"), f"{i} " + "x" * 400)

    def test_versions_of_a_file(self):
        write(self.p("f"), "one\n")
        write(self.p("f"), "two\n")
        os.chmod(self.p("f"), 0o600)
        os.remove(self.p("f"))
        for node in self.cluster.nodes:
            node.barrier()
            names = self.versions(node, "f")
            self.assertTrue(names[-1].endswith(".gone"), names)
            texts = [read(self.version(node, "f", name)) for name in names]
            self.assertEqual([t for t in texts if t], ["one\n", "two\n", "two\n"])
            last = self.version(node, "f", names[-2])
            self.assertEqual(stat.S_IMODE(os.stat(last).st_mode), 0o600)
            self.assertFalse(os.path.lexists(self.version(node, "f", "current")))
            self.assertEqual(os.getxattr(last, "user.zabfs.what"), b"acl")
            who = os.getxattr(last, "user.zabfs.who").decode().split()
            self.assertEqual(who[0], "1")
            self.assertRegex(who[1], "^0x[0-9a-f]+$")
            self.assertEqual(who[2:], ["-", "-", "-"] if JAVA_LEADS else ["0", "-", "python3"])
            self.assertIn("f", os.listdir(self.dir(node, "@", "history")))
        write(self.p("f"), "three\n")
        self.assertEqual(read(self.version(self.n1, "f", "current")), "three\n")
        self.assertEqual(read(self.version(self.n1, "f", self.versions(self.n1, "f")[-1])), "three\n")

    def test_the_time_is_the_commits(self):
        begin = time.time()
        write(self.p("f"), "one\n")
        os.utime(self.p("f"), (1, 1))
        for name in self.versions(self.n1, "f"):
            self.assertLess(abs(os.stat(self.version(self.n1, "f", name)).st_mtime - begin), 60)

    def test_directories_as_they_were(self):
        os.makedirs(self.p("a", "deep"))
        write(self.p("a", "deep", "x"), "before\n")
        os.symlink("deep/x", self.p("a", "link"))
        write(self.p("a", "mark"), "")  # a link has no attributes
        then = zxid_of(self.p("a", "mark"))
        write(self.p("a", "deep", "x"), "after\n")
        write(self.p("a", "new"), "new\n")
        shutil.move(self.p("a", "deep"), self.p("a", "moved"))
        for node in self.cluster.nodes:
            node.barrier()
            past = self.dir(node, "@", "at", then, "a")
            self.assertEqual(sorted(os.listdir(past)), ["deep", "link", "mark"])
            self.assertEqual(read(os.path.join(past, "link")), "before\n")
            self.assertEqual(os.listdir(os.path.join(past, "deep")), ["x"])
            self.assertFalse(os.path.lexists(os.path.join(past, "@")))
            inside = self.dir(node, "a", "@", "at", then)  # the same, from below
            self.assertEqual(read(os.path.join(inside, "deep", "x")), "before\n")
        # What was a directory is one in its history, too.
        name = next(n for n in self.versions(self.n1, "deep", "a") if not n.endswith(".gone"))
        self.assertTrue(os.path.isdir(self.dir(self.n1, "a", "@", "history", "deep", name)))
        self.assertTrue(self.versions(self.n1, "deep", "a")[-1].endswith(".gone"))

    def test_points_of_time(self):
        write(self.p("f"), "one\n")
        time.sleep(1.1)
        point = sh("date -u +%Y-%m-%dT%H:%M:%S.%3NZ").strip()
        local = sh("date +%Y-%m-%dT%H:%M:%S").strip()
        time.sleep(1.1)
        write(self.p("f"), "two\n")
        for name in (point, local, "-1s"):
            wanted = "two\n" if name == "-1s" else "one\n"
            if name == "-1s":
                time.sleep(1.2)
            self.assertEqual(read(self.p("@", "at", name, "f")), wanted, name)
        self.assertEqual(run("date", "-d", point).returncode, 0)
        for name in ("yesterday-ish", "0x", "0xffffffffffff", "1999-01-01", "-9999d"):
            self.assertFalse(os.path.exists(self.p("@", "at", name)), name)
        self.assertEqual(os.listdir(self.p("@", "at")), [])

    def test_ordinary_tools(self):
        write(self.p("f"), "one\nsame\n")
        then = zxid_of(self.p("f"))
        write(self.p("f"), "two\nsame\n")
        now = zxid_of(self.p("f"))
        d = self.p()
        result = run("diff", f"{d}/@/history/f/{then}", f"{d}/f")
        self.assertEqual((result.returncode, result.stdout), (1, "1c1\n< one\n---\n> two\n"))
        self.assertEqual(run("diff", f"{d}/@/history/f/{now}", f"{d}/f").returncode, 0)
        result = run("diff", "-r", f"{d}/@/at/{then}", f"{d}/@/at/{now}")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("> two", result.stdout)
        sh(f"cp {d}/@/history/f/{then} {d}/back && cmp {d}/back {d}/@/at/{then}/f")
        sh(f"cp -a {d}/@/at/{then} {self.cluster.directory}/copy-{now}")
        self.assertEqual(read(f"{self.cluster.directory}/copy-{now}/f"), "one\nsame\n")
        found = sh(f"grep -r one {d}/@/history/f {d}/@/at/{then}").splitlines()
        self.assertEqual(len(found), 2, found)
        listed = sh(f"ls -l {d}/@/history/f/ {d}/@/history/").splitlines()
        self.assertTrue(any(line.startswith("-rw") and line.endswith(then) for line in listed), listed)
        self.assertTrue(any("current -> ../../../f" in line for line in listed), listed)
        self.assertIn("f", sh(f"find {d}/@/at/{then} -type f"))

    def test_nothing_there_can_be_changed(self):
        write(self.p("f"), "one\n")
        then = zxid_of(self.p("f"))
        for path in (self.version(self.n1, "f", then), self.p("@", "at", then, "f")):
            for change in (lambda: open(path, "w"), lambda: os.remove(path), lambda: os.chmod(path, 0o777),
                           lambda: os.truncate(path, 0), lambda: os.mkdir(os.path.dirname(path) + "/new"),
                           lambda: open(os.path.dirname(path) + "/new", "w"),
                           lambda: os.rename(path, path + "x"), lambda: os.link(path, self.p("link"))):
                with self.assertRaises(OSError) as raised:
                    change()
                self.assertIn(raised.exception.errno, (errno.EROFS, errno.EPERM))
        self.assertEqual(read(self.version(self.n1, "f", then)), "one\n")

    def test_a_multi_is_one_change(self):
        write(self.p("a"), "a1\n")
        write(self.p("b"), "b1\n")
        os.mkdir(self.p("@", "txn", "t"))
        write(self.p("@", "txn", "t", "a"), "a2\n")
        write(self.p("@", "txn", "t", "b"), "b2\n")
        os.rename(self.p("@", "txn", "t"), self.p("@", "txn", "t.commit"))
        a, b = self.versions(self.n1, "a")[-1], self.versions(self.n1, "b")[-1]
        self.assertEqual(a, b)
        self.assertEqual(read(self.p("@", "at", a, "b")), "b2\n")
        before = hex(int(a, 16) - 1)
        self.assertEqual(read(self.p("@", "at", before, "a")), "a1\n")
        lines = [line.split() for line in read(self.p("@", "changes")).splitlines()]
        self.assertEqual(sorted(line[-1] for line in lines if line[0] == a), ["a", "b"])

    def test_renames(self):
        write(self.p("f"), "one\n")
        os.rename(self.p("f"), self.p("g"))
        write(self.p("other"), "two\n")
        os.rename(self.p("other"), self.p("g"))
        self.assertTrue(self.versions(self.n1, "f")[-1].endswith(".gone"))
        texts = [read(self.version(self.n1, "g", name)) for name in self.versions(self.n1, "g")]
        self.assertEqual((texts[0], texts[-1]), ("one\n", "two\n"))
        os.mkdir(self.p("d"))
        write(self.p("d", "inner"), "inner\n")
        then = zxid_of(self.p("d", "inner"))
        os.rename(self.p("d"), self.p("e"))
        self.assertEqual(read(self.p("@", "at", then, "d", "inner")), "inner\n")
        self.assertEqual(read(self.version(self.n1, "d", then) + "/inner")
                         if then in self.versions(self.n1, "d") else "inner\n", "inner\n")

    def test_old_versions_outlive_snapshots_and_restarts(self):
        write(self.p("f"), "as it was\n")
        then = zxid_of(self.p("f"))
        write(self.p("f"), "later\n")
        self.churn()
        for node in self.cluster.nodes:
            node.barrier()
            wait_for(lambda: any(n.startswith("history.log.") or n.startswith("history.snapshot.")
                                 for n in os.listdir(node.storage())), what="history")
            self.assertEqual(read(self.version(node, "f", then)), "as it was\n")
        victim = self.n2
        victim.kill()
        victim.start()
        victim.wait_ready()
        self.assertEqual(read(self.version(victim, "f", then)), "as it was\n")
        self.assertEqual(read(self.dir(victim, "@", "at", then, "f")), "as it was\n")
        self.assertEqual(len(self.versions(victim, "churn")), len(self.versions(self.n1, "churn")))
        # A version of each write, in order, whichever snapshot it lies behind.
        texts = [read(self.version(victim, "churn", name)).split(" ")[0]
                 for name in self.versions(victim, "churn")]
        numbers = [int(text) for text in texts if text]
        self.assertEqual(sorted(set(numbers)), list(range(120)))
        self.assertEqual(numbers, sorted(numbers))

    def test_who_may_not(self):
        os.chmod(self.p(), 0o755)
        write(self.p("f"), "public\n")
        os.chmod(self.p("f"), 0o644)
        public = [n for n in self.versions(self.n1, "f") if read(self.version(self.n1, "f", n))][-1]
        path = self.version(self.n1, "f", public)
        past = self.p("@", "at", public, "f")
        for place in (path, past):
            self.assertEqual(as_user(STRANGER, "cat", place).stdout, "public\n", place)
        os.chmod(self.p("f"), 0o600)  # what was public is not to be read any more
        write(self.p("f"), "secret\n")
        secret = self.versions(self.n1, "f")[-1]
        for place in (path, past, self.version(self.n1, "f", secret), self.p("@", "at", secret, "f")):
            result = as_user(STRANGER, "cat", place)
            self.assertNotEqual(result.returncode, 0, place)
            self.assertIn("Permission denied", result.stderr)
        os.chmod(self.p("f"), 0o644)  # what was secret stays so
        self.assertEqual(as_user(STRANGER, "cat", path).stdout, "public\n")
        self.assertNotEqual(as_user(STRANGER, "cat", self.version(self.n1, "f", secret)).returncode, 0)
        self.assertEqual(read(self.version(self.n1, "f", secret)), "secret\n")

    def test_directories_that_were_closed_stay_closed(self):
        os.chmod(self.p(), 0o755)
        os.mkdir(self.p("d"), 0o700)
        write(self.p("d", "f"), "secret\n")
        os.chmod(self.p("d", "f"), 0o644)
        closed = self.versions(self.n1, "f", "d")[-1]
        os.chmod(self.p("d"), 0o755)
        self.assertEqual(as_user(STRANGER, "cat", self.p("d", "f")).stdout, "secret\n")
        self.assertNotEqual(as_user(STRANGER, "cat", self.p("@", "at", closed, "d", "f")).returncode, 0)
        os.chmod(self.p("d"), 0o700)
        for place in (self.p("@", "at", closed, "d", "f"), self.p("d", "@", "history", "f", closed)):
            self.assertNotEqual(as_user(STRANGER, "cat", place).returncode, 0)
        lines = as_user(STRANGER, "cat", self.p("@", "changes")).stdout
        self.assertNotIn("d/f", lines)
        self.assertIn("d/f", read(self.p("@", "changes")))

    def test_what_was_removed_is_as_its_directory(self):
        os.chmod(self.p(), 0o755)
        write(self.p("f"), "text\n")
        os.chmod(self.p("f"), 0o644)
        name = self.versions(self.n1, "f")[-1]
        os.remove(self.p("f"))
        path = self.version(self.n1, "f", name)
        self.assertEqual(as_user(STRANGER, "cat", path).stdout, "text\n")
        os.chmod(self.p(), 0o711)
        self.assertNotEqual(as_user(STRANGER, "cat", path).returncode, 0)
        self.assertNotEqual(as_user(STRANGER, "cat", self.p("@", "at", name, "f")).returncode, 0)
        self.assertEqual(read(path), "text\n")

    def test_names_that_could_not_be_listed_are_not_told(self):
        os.chmod(self.p(), 0o711)  # may be entered, and not listed
        write(self.p("unknown"), "x")
        os.chmod(self.p("unknown"), 0o644)
        closed = zxid_of(self.p("unknown"))
        os.remove(self.p("unknown"))
        os.chmod(self.p(), 0o755)
        write(self.p("known"), "x")
        for place in (("@", "history"), ("@", "at", closed), ("@", "history", "unknown")):
            listed = as_user(STRANGER, "ls", self.p(*place))
            self.assertNotIn("unknown", listed.stdout)
        for place in (("@", "history", "unknown", closed), ("@", "at", closed, "unknown")):
            self.assertNotEqual(as_user(STRANGER, "stat", self.p(*place)).returncode, 0)
        self.assertNotIn("unknown", as_user(STRANGER, "cat", self.p("@", "changes")).stdout)
        self.assertIn("known", as_user(STRANGER, "ls", self.p("@", "history")).stdout)
        self.assertIn("unknown", os.listdir(self.p("@", "history")))

    def test_what_it_costs_is_told(self):
        self.churn(60)
        metrics = read(self.n1.path("@", "metrics"))
        self.assertRegex(metrics, r"(?m)^zabfs_history_bytes \d+")


def who(path):
    """NODE SESSION USER CLIENT PROGRAM of a version."""
    return os.getxattr(path, "user.zabfs.who").decode().split(" ")


@unittest.skipIf(JAVA_LEADS, "a leader of Java's tells nobody")
class WhoMadeIt(OwnClusterTest):
    """Which user on which node, or which client from where, as every node tells it."""

    def begin(self, nodes=3):
        self.cluster = Cluster(nodes, extra=SMALL)
        self.cluster.start()
        self.n1, self.n2, self.n3 = self.cluster.nodes
        os.mkdir(self.n1.path("d"))
        os.chmod(self.n1.path("d"), 0o777)
        self.cluster.sync_all()

    def newest(self, node, name):
        """The newest version of /d/NAME."""
        node.barrier()
        directory = node.path("d", "@", "history", name)
        names = [n for n in os.listdir(directory) if n != "current"]
        return os.path.join(directory, max(names, key=lambda n: int(n.split(".")[0], 16)))

    def told(self, nodes, name):
        """What all of them tell of its newest version, without the session."""
        texts = {node.number: who(self.newest(node, name)) for node in nodes}
        texts = {number: " ".join(fields[:1] + fields[2:]) for number, fields in texts.items()}
        self.assertEqual(len(set(texts.values())), 1, texts)
        return texts[nodes[0].number]

    def write_as(self, uid, path, text):
        result = as_user(uid, "sh", "-c", f"echo {text} | tee {path}")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_users_of_mounts_after_restarts_and_to_who_was_away(self):
        self.begin()
        leader = self.cluster.leader()
        writer = self.cluster.followers()[0]
        other = next(n for n in self.cluster.nodes if n not in (leader, writer))
        for node in self.cluster.nodes:  # through the leader and through those that ask it
            self.write_as(USER, node.path("d", "f"), "one")
            self.assertEqual(self.told(self.cluster.nodes, "f"), f"{node.number} {USER} - tee")
        # The shell opens it, and then becomes the program that writes.
        self.assertEqual(as_user(USER, "sh", "-c", f"exec date > {writer.path('d', 'f')}").returncode, 0)
        self.assertEqual(self.told(self.cluster.nodes, "f"), f"{writer.number} {USER} - date")
        self.assertEqual(as_user(USER, "chmod", "600", writer.path("d", "f")).returncode, 0)
        self.assertEqual(self.told(self.cluster.nodes, "f"), f"{writer.number} {USER} - chmod")
        other.terminate()
        self.write_as(STRANGER, writer.path("d", "away"), "x")
        self.assertEqual(as_user(USER, "rm", writer.path("d", "f")).returncode, 0)
        other.start()
        other.wait_ready()
        self.assertNotIn("received a snapshot", other.log_text())
        self.assertEqual(self.told(self.cluster.nodes, "away"), f"{writer.number} {STRANGER} - tee")
        self.assertEqual(self.told(self.cluster.nodes, "f"), f"{writer.number} {USER} - rm")
        lines = read(other.path("d", "@", "changes")).splitlines()
        self.assertTrue(any(f" {STRANGER} - tee 0" in line and line.endswith(" away") for line in lines), lines)
        for node in self.cluster.nodes:
            node.terminate()
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
        self.assertEqual(self.told(self.cluster.nodes, "away"), f"{writer.number} {STRANGER} - tee")
        self.assertEqual(self.told(self.cluster.nodes, "f"), f"{writer.number} {USER} - rm")

    def test_programs_on_files_of_the_control_room(self):
        self.begin()
        path = self.n2.path("d", "@", "txn", "t")
        self.assertEqual(as_user(USER, "mkdir", path).returncode, 0)
        self.write_as(USER, f"{path}/a", "a")
        self.assertEqual(as_user(USER, "mv", "-T", path, path + ".commit").returncode, 0)
        fields = self.told(self.cluster.nodes, "a").split(" ")
        self.assertEqual(fields[:3], ["2", str(USER), "-"])

    def test_clients(self):
        from kazoo.client import KazooClient
        self.begin()
        for node in self.cluster.nodes:
            client = KazooClient(hosts=f"127.0.0.1:{node.client_port}")
            client.start(timeout=20)
            try:
                client.create("/d/nobody", b"x") if node is self.n1 else client.set("/d/nobody", b"y")
                self.assertEqual(self.told(self.cluster.nodes, "nobody"), f"{node.number} - 127.0.0.1 -")
                client.add_auth("digest", "bob:secret")
                client.set("/d/nobody", b"z")
                self.assertEqual(self.told(self.cluster.nodes, "nobody"),
                                 f"{node.number} digest:bob 127.0.0.1 -")
            finally:
                client.stop()
                client.close()
        text = run(ZABFS, "log", self.n3.path("d", "nobody")).stdout
        self.assertIn("  digest:bob, from 127.0.0.1, node 3, session 0x", text.splitlines()[0])
        self.assertNotIn("secret", text)
        # What a client proves is in the logs, but no part of its password is.
        for node in self.cluster.nodes:
            log = b""
            for name in os.listdir(node.storage()):
                if name.startswith(("log.", "history.log.")):
                    with open(node.storage(name), "rb") as segment:
                        log += segment.read()
            self.assertIn(b"digest:bob", log)
            self.assertNotIn(b"bob:", log)

    def test_a_session_that_moves_is_told_at_its_new_server(self):
        from kazoo.client import KazooClient
        self.begin()
        first, then = self.cluster.followers()
        client = KazooClient(hosts=f"127.0.0.1:{first.client_port}", timeout=20)
        client.start(timeout=20)
        try:
            client.create("/d/f", b"x")
            session = client.client_id[0]
            self.assertEqual(self.told(self.cluster.nodes, "f"), f"{first.number} - 127.0.0.1 -")
            client.set_hosts(f"127.0.0.1:{then.client_port}")
            first.terminate()
            wait_for(lambda: client.connected, what="a connection to the other node")
            client.retry(client.set, "/d/f", b"y")
            self.assertEqual(client.client_id[0], session)
            left = [node for node in self.cluster.nodes if node is not first]
            self.assertEqual(self.told(left, "f"), f"{then.number} - 127.0.0.1 -")
        finally:
            client.stop()
            client.close()

    def test_who_may_know(self):
        """Who may not read a version is told when it was made, and not by whom."""
        self.begin()
        self.write_as(USER, self.n1.path("d", "f"), "secret")
        public = self.newest(self.n1, "f")  # as it was

        def ask(uid, version):
            return as_user(uid, "getfattr", "--only-values", "-n", "user.zabfs.who", version)
        self.assertIn(f" {USER} - tee", ask(STRANGER, public).stdout)
        self.assertEqual(as_user(USER, "chmod", "600", self.n1.path("d", "f")).returncode, 0)
        closed = self.newest(self.n1, "f")
        self.assertIn(f" {USER} - chmod", ask(USER, closed).stdout)
        self.assertIn("Permission denied", ask(STRANGER, closed).stderr)  # says the kernel
        told = ask(STRANGER, public).stdout
        self.assertTrue(told.startswith("1 0x") and told.endswith(" - - -"), told)
        lines = as_user(STRANGER, "cat", self.n1.path("d", "@", "changes")).stdout.splitlines()
        self.assertTrue(all(" - - - " in line for line in lines if line.endswith(" f")), lines)
        self.assertTrue(any(line.endswith(" f") for line in lines))
        self.assertIn(f" {USER} - chmod ", read(self.n1.path("d", "@", "changes")))


class Tool(ClusterTest):
    nodes = 1
    options = {"extra": SMALL}

    def p(self, *names):
        return self.dir(self.n1, *names)

    def zabfs(self, *arguments, code=0, uid=None):
        words = [ZABFS, *arguments]
        result = as_user(uid, *words) if uid else run(*words)
        self.assertEqual(result.returncode, code, result.stderr + result.stdout)
        return result.stdout if code in (0, 1) and result.stdout else result.stderr

    def test_log_of_a_file(self):
        write(self.p("f"), "one\n")
        write(self.p("f"), "two\n")
        last = zxid_of(self.p("f"))
        os.remove(self.p("f"))
        lines = self.zabfs("log", self.p("f")).splitlines()
        self.assertEqual([line.split()[2] for line in lines], ["removed", "changed", "changed", "created"])
        self.assertEqual(lines[1].split()[0], last)
        if JAVA_LEADS:
            self.assertTrue(all(re.search("  node 1, session 0x[0-9a-f]+, user not known$", line)
                                for line in lines), lines)
        else:
            self.assertTrue(all("  root(0), " in line and ", node 1, session 0x" in line for line in lines), lines)
            self.assertIn("root(0), python3, node 1", lines[1])
        text = self.zabfs("log", "-p", self.p("f"))
        self.assertIn("-one\n+two\n", text)
        self.assertIn("-two\n", text)  # the removal
        self.assertEqual(len(self.zabfs("log", "--since", last, self.p("f")).splitlines()), 2)
        self.assertIn("knows of none", self.zabfs("log", self.p("never"), code=1))
        self.assertIn("neither a zxid nor a time", self.zabfs("log", "--since", "then", self.p(), code=2))
        self.assertIn("is in no zabfs mount", self.zabfs("log", "/tmp", code=2))

    def test_log_of_a_directory(self):
        os.mkdir(self.p("d"))
        write(self.p("d", "x"), "x\n")
        os.mkdir(self.p("@", "txn", "t"))
        for name in "ab":
            write(self.p("@", "txn", "t", name), name)
        os.rename(self.p("@", "txn", "t"), self.p("@", "txn", "t.commit"))
        shutil.rmtree(self.p("d"))
        text = self.zabfs("log", "-p", self.p())
        changes = re.split(r"(?m)^(?=0x)", text)
        both = [change for change in changes if re.search(r"created.* a$", change, re.M)]
        self.assertEqual(len(both), 1)
        self.assertRegex(both[0], r"(?m)created.* b$")
        self.assertIn("+a", both[0])
        self.assertRegex(text, r"(?m)removed +- +d/x$")
        self.assertIn("the log of this node goes back to 0x", text)
        self.assertNotRegex(text, r"(?m)^ +(created|changed|acl|removed) .*@")  # nothing of the room's
        # What is in a directory that is gone.
        text = self.zabfs("log", self.p("d", "x"))
        self.assertRegex(text, r"(?m)removed +- +d/x$")
        self.assertNotRegex(text, r"(?m) a$")

    def test_log_of_what_was_moved(self):
        a, b, c = self.p("a"), self.p("b"), self.p("sub", "c")
        os.mkdir(self.p("sub"))
        write(a, "one\n")
        write(a, "two\n")
        write(b, "another\n")
        os.rename(a, b)  # over a file
        moved = self.versions_of(b)[-1]
        os.rename(b, c)
        write(a, "a new one\n")  # not what was there before
        write(c, "three\n")
        text = self.zabfs("log", c)
        self.assertTrue(text.endswith(f"    moved from {b}; its older versions: zabfs log {b}\n"), text)
        text = self.zabfs("log", b).splitlines()
        self.assertRegex(text[0], "removed")
        self.assertEqual(text[1], f"    moved to {c}")
        self.assertEqual(text[2].split()[0], moved)
        self.assertEqual(text[3], f"    moved from {a}; its older versions: zabfs log {a}")
        self.assertTrue(any(re.search("changed .* 8  ", line) for line in text[4:]), text)
        text = self.zabfs("log", "--follow", "-p", c)
        self.assertEqual(re.findall(r"(?m)^    moved .*", text), [f"    moved from {b}", f"    moved from {a}"])
        self.assertEqual(re.findall(r"(?m)^[+-]\w.*", text)[:3], ["-two", "+three", "+two"])
        self.assertNotIn("a new one", text)
        self.assertNotIn("+another", text)
        self.assertEqual([line.split()[2] for line in text.splitlines() if line.startswith("0x")],
                         ["changed", "created", "changed", "changed", "changed", "created"])
        # With the directory that it is in, and of what is below that.
        os.rename(self.p("sub"), self.p("new"))
        os.mkdir(self.p("new", "deep"))
        os.rename(self.p("new"), self.p("last"))
        text = self.zabfs("log", self.p())
        self.assertRegex(text, r"(?m)^    created .* last  \(moved from new\)$")
        self.assertRegex(text, r"(?m)^    removed .* new  \(moved to last\)$")
        for directory in (self.p("last"), self.p("last", "deep")):
            before = directory.replace("last", "new")
            self.assertIn(f"    moved from {before}; its older versions: zabfs log {before}\n",
                          self.zabfs("log", directory))
        text = self.zabfs("log", "--follow", self.p("last"))
        self.assertIn(f"    moved from {self.p('sub')}\n", text)
        self.assertRegex(text, r"(?m)^    changed .* sub/c$")
        text = self.zabfs("log", "--follow", self.p("last", "c"))
        self.assertEqual(re.findall(r"(?m)^    moved .*", text),
                         [f"    moved from {path}" for path in (self.p("new", "c"), c, b, a)])
        self.assertIn(f"    moved to {self.p('new')}\n", self.zabfs("log", self.p("sub")))

    def versions_of(self, path):
        directory, name = os.path.split(path)
        return sorted((n for n in os.listdir(f"{directory}/@/history/{name}") if n != "current"),
                      key=lambda n: int(n.split(".")[0], 16))

    def test_where_it_went_is_told_to_who_may_know(self):
        os.chmod(self.p(), 0o755)
        os.mkdir(self.p("private"), 0o700)
        f, g = self.p("f"), self.p("private", "g")
        write(f, "text\n")
        os.chmod(f, 0o644)
        os.rename(f, g)
        self.assertIn(f"moved to {g}", self.zabfs("log", f))
        for path in (f, self.p()):
            self.assertNotIn("private/g", self.zabfs("log", path, uid=STRANGER))
        os.rename(g, f)
        self.assertIn(f"moved from {g}", self.zabfs("log", f))
        for path in (f, self.p()):
            self.assertNotIn("private/g", self.zabfs("log", path, uid=STRANGER))

    def test_blame(self):
        versions = []
        for text in ("a\nb\nc\n", "a\nB\nc\nd\n", "new\na\nB\nd\n"):
            write(self.p("f"), text)
            versions.append(zxid_of(self.p("f")))
        os.chmod(self.p("f"), 0o600)
        first, second, third = versions
        lines = [line.split() for line in self.zabfs("blame", self.p("f")).splitlines()]
        self.assertEqual([(fields[0], fields[-1]) for fields in lines],
                         [(third, "new"), (first, "a"), (second, "B"), (second, "d")])
        self.assertEqual(lines[0][2:-1], ["unknown" if JAVA_LEADS else "root(0)", "node", "1"])
        self.assertIn("no file", self.zabfs("blame", self.p("none"), code=1))
        self.assertIn("no file", self.zabfs("blame", self.p(), code=1))

    def test_show_and_diff(self):
        write(self.p("f"), "one\n")
        first = zxid_of(self.p("f"))
        write(self.p("f"), "two\n")
        second = zxid_of(self.p("f"))
        f = self.p("f")
        self.assertEqual(self.zabfs("show", f"{f}@{first}"), "one\n")
        self.assertEqual(self.zabfs("show", f), "two\n")
        self.assertIn("-one\n+two", self.zabfs("diff", f, code=1))
        self.assertIn("-one\n+two", self.zabfs("diff", f"{f}@{first}", code=1))
        self.assertIn("-two\n+one", self.zabfs("diff", f"{f}@{second}", f"{f}@{first}", code=1))
        self.zabfs("diff", f"{f}@{second}", f)
        os.mkdir(self.p("d"))
        write(self.p("d", "x"), "x\n")
        self.assertIn("+x", self.zabfs("diff", f"{self.p()}@{second}", code=1))
        self.assertIn("was a directory: look into", self.zabfs("show", f"{self.p()}@{second}", code=1))
        self.assertRegex(self.zabfs("show", f"{f}@0x1", code=1), "f@0x1: /.* was not there at that time\n$")
        write(self.p("odd@name"), "odd\n")
        self.assertEqual(self.zabfs("show", self.p("odd@name")), "odd\n")

    def test_why_there_is_nothing(self):
        f, d = self.p("f"), self.p()
        write(f, "one\n")
        then = zxid_of(f)
        write(f, "two\n")
        for when, why in (("1999-01-01", r"the log of this node goes back to 0x[0-9a-f]+, which was made 20[-0-9]+T"
                                         ".* zabfs.history .*; another node may have more"),
                          ("0xffffffffffff", "0xffffffffffff is to come: this node is at 0x[0-9a-f]+"),
                          ("0x1", "/.* was not there at that time")):
            for command in ("show", "revert", "diff"):
                self.assertRegex(self.zabfs(command, f"{f}@{when}", code=1), f"^zabfs: {f}@{when}: {why}\n$")
            self.assertRegex(self.zabfs("diff", f, f"{f}@{when}", code=1), f"^zabfs: {f}@{when}: {why}\n$")
            # For who does without the command.
            asked = as_user(STRANGER, "getfattr", "--absolute-names", "--only-values", "-n",
                            f"user.zabfs.why.{when}", f"{d}/@/at")
            self.assertRegex(asked.stdout, f"^{why}$", asked.stderr)
        at = self.p("@", "at")
        self.assertEqual(os.getxattr(at, f"user.zabfs.why.{then}"), b"ok")
        self.assertIn(b"neither a zxid nor a time", os.getxattr(at, "user.zabfs.why.yesterday"))
        self.assertIn("neither a zxid nor a time", self.zabfs("show", f"{f}@yesterday", code=1))
        self.assertIn("there was none. `zabfs log", self.zabfs("show", f"{self.p('never')}@{then}", code=1))
        self.assertEqual(self.zabfs("show", "/tmp/x@0x1", code=1).count("is in no zabfs mount"), 1)

    def test_revert(self):
        f = self.p("f")
        write(f, "one\n")
        os.chmod(f, 0o640)
        first = zxid_of(f)
        write(f, "two\n")
        self.zabfs("revert", f"{f}@{first}")
        self.assertEqual(read(f), "one\n")
        self.assertEqual(stat.S_IMODE(os.stat(f).st_mode), 0o640)
        os.remove(f)
        self.zabfs("revert", f"{f}@{zxid_of_version(f, -2)}")
        self.assertEqual(read(f), "one\n")
        self.assertEqual(stat.S_IMODE(os.stat(f).st_mode), 0o640)
        self.assertEqual(os.listdir(self.p("@", "txn")), [])
        self.assertIn("name the version", self.zabfs("revert", f, code=2))
        self.assertIn("was not there at that time", self.zabfs("revert", f"{f}@0x1", code=1))
        self.assertEqual(read(f), "one\n")

    LISTING = r"find . -printf '%P %y %m %U %G %T@ %l\n' | sort; cat f sub/g sub/@/data; grep -v zabfs-posix sub/@/acl"

    def make_what_is_reverted(self):
        """Gives the directory, and a zxid at which it was as `self.LISTING` then told."""
        sh(f"cd {self.p()} && mkdir -p d/sub && cd d && echo one > f && echo g > sub/g && ln -s f link && "
           "chmod 640 f && chown 12001:12001 f && echo own > sub/@/data && "
           "echo ip:10.0.0.1:r >> sub/@/acl && chmod 710 sub && touch -d '2001-02-03 04:05:06.789' f link")
        write(self.p("mark"), "")
        return self.p("d"), zxid_of(self.p("mark"))

    def test_revert_of_a_directory(self):
        d, then = self.make_what_is_reverted()
        listing = sh(f"cd {d} && {self.LISTING}")
        sh(f"cd {d} && echo two > f && chmod 600 f && rm -r sub link && mkdir new && echo x > new/file")
        now = sh(f"cd {d} && find . -ls | sort")
        self.assertEqual(self.zabfs("revert", f"{d}@{then}", "--dry-run").splitlines(),
                         ["~ f", "+ link", "+ sub", "+ sub/g"])
        self.assertEqual(self.zabfs("revert", f"{d}@{then}", "--dry-run", "--delete").splitlines()[-1], "- new")
        self.assertEqual(sh(f"cd {d} && find . -ls | sort"), now)
        self.assertIn("beside what was added since", self.zabfs("revert", f"{d}@{then}"))
        self.assertEqual(read(os.path.join(d, "f")), "one\n")
        self.assertEqual(read(os.path.join(d, "new", "file")), "x\n")
        self.assertEqual(self.zabfs("revert", f"{d}@{then}", "--delete"), f"{d} is as it was at {then}\n")
        self.assertEqual(re.sub(r"(?m)^ d .*\n", "", sh(f"cd {d} && {self.LISTING}")),
                         re.sub(r"(?m)^ d .*\n", "", listing))
        self.assertIn(" 0 new, 0 changed, 5 the same already, 0 removed",
                      self.zabfs("revert", f"{d}@{then}", "--delete", "--dry-run"))
        self.assertEqual(sh(f"diff -r {self.p()}/@/at/{then}/d {d}"), "")

    def test_revert_of_what_is_gone_with_its_directory(self):
        d, then = self.make_what_is_reverted()
        listing = sh(f"cd {d} && {self.LISTING}")
        shutil.rmtree(d)
        self.zabfs("revert", f"{d}/sub/g@{then}")
        self.assertEqual(sh(f"cd {d} && find . -type f"), "./sub/g\n")
        shutil.rmtree(d)
        self.assertEqual(self.zabfs("revert", f"{d}@{then}", "--dry-run").splitlines(),
                         ["+ d", "+ d/f", "+ d/link", "+ d/sub", "+ d/sub/g"])
        self.zabfs("revert", f"{d}@{then}", "--delete")  # nothing that is beside it
        self.assertEqual(sh(f"cd {d} && {self.LISTING}"), listing)
        self.assertEqual(sorted(os.listdir(self.p())), ["d", "mark"])
        self.assertIn("/none@{then}: there was none. ".format(then=then),
                      self.zabfs("revert", f"{d}/none@{then}", code=1))
        # A file stands where a directory was.
        shutil.rmtree(d)
        write(d, "a file\n")
        self.assertIn("there is a file in the place of a directory",
                      self.zabfs("revert", f"{d}@{then}", code=1))

    def test_revert_of_a_directory_by_who_may(self):
        d, then = self.make_what_is_reverted()
        os.chmod(self.p(), 0o755)
        sh(f"echo secret > {d}/hidden && chown -R {USER}:{USER} {d} && chmod 755 {d} {d}/sub && "
           f"chmod 600 {d}/f {d}/hidden")
        write(self.p("mark"), "again")
        then = zxid_of(self.p("mark"))
        sh(f"cd {d} && echo two > f && echo three > hidden && chmod 644 f hidden")
        self.assertIn("you may not read what it was", self.zabfs("revert", f"{d}@{then}", code=1, uid=STRANGER))
        self.assertEqual(read(os.path.join(d, "f")), "two\n")
        self.zabfs("revert", f"{d}@{then}", uid=USER)
        self.assertEqual((read(os.path.join(d, "f")), read(os.path.join(d, "hidden"))), ("one\n", "secret\n"))

    def test_the_stream_of_a_directory_as_it_was(self):
        d, then = self.make_what_is_reverted()
        stream = self.p("@", "at", then + ".export")
        self.assertTrue(stat.S_ISREG(os.stat(stream).st_mode))
        with open(stream, "rb") as f:
            first = f.read()
        sh(f"rm -r {d}")
        with open(stream, "rb") as f:
            self.assertEqual(f.read(), first)
        self.assertEqual(os.listdir(self.p("@", "at")), [])
        for name in ("0xffffffffffff.export", ".export", "then.export"):
            self.assertFalse(os.path.exists(self.p("@", "at", name)), name)
        held = [open(stream, "rb") for _ in range(4)]  # each of them holds the whole
        with self.assertRaises(OSError) as raised:
            open(stream, "rb")
        self.assertEqual(raised.exception.errno, errno.EAGAIN)
        for file in held:
            file.close()
        wait_for(lambda: open(stream, "rb").close() is None, what="room for another")

    def test_who_may_not_reverts_nothing(self):
        os.chmod(self.p(), 0o755)
        f = self.p("f")
        write(f, "one\n")
        os.chmod(f, 0o644)
        first = self.zabfs("log", f).split()[0]
        write(f, "two\n")
        self.zabfs("revert", f"{f}@{first}", code=1, uid=STRANGER)
        self.assertEqual(read(f), "two\n")
        os.chmod(f, 0o600)
        write(f, "three\n")
        for command in ("show", "revert"):
            self.zabfs(command, f"{f}@{first}", code=1, uid=STRANGER)
        self.assertNotIn("one", self.zabfs("log", "-p", f, uid=STRANGER))


def zxid_of_version(path, which):
    """The name of one of its versions, in the order of the changes."""
    directory, name = os.path.split(path)
    names = [n for n in os.listdir(f"{directory}/@/history/{name}") if n != "current"]
    return sorted(names, key=lambda n: int(n.split(".")[0], 16))[which]


@unittest.skipIf(JAVA_LEADS, "what a node keeps on its disks is its own, whoever leads")
class Storage(OwnClusterTest):
    LARGE = 900_000

    def kept(self, node):
        return [n for n in os.listdir(node.storage()) if n.startswith("history.")]

    def write_large(self, node, count):
        for i in range(count):
            write(node.path("large"), f"{i} ".ljust(self.LARGE, "x"))

    def test_the_nodes_own_writes_come_before_history(self):
        self.cluster = Cluster(1, extra=SMALL)
        node = self.cluster.nodes[0]
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=140m", "tmpfs", node.data], check=True)
        write(os.path.join(node.data, "myid"), "1\n")
        self.cluster.start()
        self.write_large(node, 250)  # each of them succeeds, or raises
        self.assertEqual(node.cluster_state()["disk"], "ok")
        self.assertNotIn("disk full", node.log_text())
        self.assertTrue(self.kept(node))
        write(node.path("f"), "one\n")
        then = zxid_of(node.path("f"))
        write(node.path("f"), "two\n")
        self.assertEqual(read(node.path("@", "history", "f", then)), "one\n")
        wait_for(lambda: "bytes of history are gone: a disk was full" in node.log_text(),
                 what="word of it")

    def test_the_log_may_lie_elsewhere(self):
        self.cluster = Cluster(1, extra=SMALL)
        node = self.cluster.nodes[0]
        logs = os.path.join(node.directory, "logs")
        os.makedirs(logs)
        write(node.config, read(node.config) + f"dataLogDir={logs}\n")
        self.cluster.start()
        write(node.path("f"), "one\n")
        then = zxid_of(node.path("f"))
        write(node.path("f"), "two\n")
        self.write_large(node, 100)
        wait_for(lambda: any(n.startswith("history.log.") for n in os.listdir(logs + "/zabfs")), what="its log")
        self.assertTrue(all(n.startswith("history.snapshot.") for n in self.kept(node)), self.kept(node))
        self.assertTrue(self.kept(node))
        self.assertEqual(read(node.path("@", "history", "f", then)), "one\n")
        self.assertEqual(read(node.path("@", "at", then, "f")), "one\n")

    def test_so_much_and_no_more(self):
        self.cluster = Cluster(1, extra=SMALL + "zabfs.history=40MiB")
        self.cluster.start()
        node = self.cluster.nodes[0]
        write(node.path("f"), "old\n")
        then = zxid_of(node.path("f"))
        self.write_large(node, 150)

        def bytes_kept():
            return sum(os.path.getsize(node.storage(n)) for n in self.kept(node))
        wait_for(lambda: 0 < bytes_kept() <= 40 << 20, what="a history within its limit")
        wait_for(lambda: int(node.cluster_state()["history"]) == bytes_kept(), what="the same in @/cluster")
        self.assertRegex(run(ZABFS, "status", "--mount", node.mount).stdout,
                         r"free on this node; old versions take [0-9.]+ MiB")
        found = run(ZABFS, "check", node.data)
        self.assertIn("history: ", found.stdout)
        said = run(ZABFS, "show", f"{node.path('large')}@{then}").stderr
        since = int(re.search("the log of this node goes back to 0x([0-9a-f]+), which was made ", said)[1], 16)
        self.assertGreater(since, int(then, 16))
        self.assertEqual(os.getxattr(node.path("@", "at"), f"user.zabfs.why.{since:#x}"), b"ok")

    def test_it_can_be_turned_off(self):
        self.cluster = Cluster(1, extra=SMALL)
        self.cluster.start()
        node = self.cluster.nodes[0]
        self.write_large(node, 100)
        wait_for(lambda: self.kept(node), what="history")
        node.terminate()
        with open(node.config, "a") as config:
            config.write("zabfs.history=off\n")
        node.start()
        node.wait_ready()
        wait_for(lambda: not self.kept(node), what="the end of it")
        self.write_large(node, 60)
        self.assertFalse(self.kept(node))

    def test_a_break_is_told(self):
        self.cluster = Cluster(3, extra=SMALL)
        self.cluster.start()
        first, victim = self.cluster.nodes[0], self.cluster.followers()[0]
        write(first.path("f"), "one\n")
        then = zxid_of(first.path("f"))
        victim.terminate()
        victim_files = [n for n in os.listdir(victim.storage()) if n.startswith("log.")]
        self.assertTrue(victim_files)
        writer = next(node for node in self.cluster.nodes if node is not victim)
        for i in range(60):
            write(writer.path("churn"), f"{i} ".ljust(self.LARGE, "x"))
        write(writer.path("f"), "two\n")
        victim.start()
        victim.wait_ready()
        victim.barrier()
        changes = read(victim.path("@", "changes"))
        self.assertIn("a leader's snapshot took the place of what this node lacked", changes)
        self.assertEqual(read(victim.path("@", "history", "f", then)), "one\n")
        texts = [read(victim.path("@", "history", "f", n)) for n in os.listdir(victim.path("@", "history", "f"))]
        self.assertIn("two\n", texts)
        why = os.getxattr(victim.path("@", "at"), f"user.zabfs.why.{hex(int(then, 16) + 30)}")
        self.assertIn(b"a leader's snapshot took the place", why)
        # Others have no break.
        self.assertNotIn(" gap ", read(writer.path("@", "changes")))


if __name__ == "__main__":
    unittest.main()
