#!/usr/bin/env python3
"""Public tools on three mounts: stress-ng, dbench, git, rsync, tar, sqlite and others; random I/O.

    suites.py                             the short form, which is a test
    suites.py --seconds N                 the long form; then random I/O on new seeds for so long
    suites.py [--seed S] [Class.test]     with the random numbers of an earlier run

What a tool does on a mount is compared with what it does in a local directory. Where the two
differ, the reason stands beside the tool, and is what fsd/DESIGN.md says.
"""
import argparse
import errno
import hashlib
import mmap
import os
import random
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from harness import Cluster, ClusterTest, die_with_parent, wait_for  # noqa: E402

HANG_SECONDS = 120
# A change of leaders takes longer than five seconds where the machine is busy. Here the question is
# what tools do with it, not how long it takes.
PATIENT = "zabfs.quorumGrace=90000\nzabfs.commitTimeout=90000\n"
MAX_BYTES = 64 * 1024  # of a file of the random test


class Options:
    seconds = 0  # of the long form
    seed = random.randrange(10**6)


class Failed(Exception):
    """A command that ended with another code than 0."""


class Group:
    """A command and all that it starts: ended together when it takes too long."""

    def __init__(self, command, cwd="/", **variables):
        self.command = command
        self.process = subprocess.Popen(
            command, cwd=cwd, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **variables}, start_new_session=True,
            preexec_fn=die_with_parent, errors="replace")

    def finish(self, seconds=HANG_SECONDS):
        """Its exit code and its output."""
        try:
            output = self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            output = self.process.communicate()[0]
            raise AssertionError(f"{self.command} hangs; it said: {output[-1000:]}") from None
        return self.process.returncode, output


def bash(script, cwd="/", **variables):
    code, output = Group(["bash", "-euo", "pipefail", "-c", script], cwd, **variables).finish()
    if code != 0:
        raise Failed(f"{script!r} exited {code}: {output[-1500:]}")
    return output


def describe(path):
    """What all nodes must show alike."""
    info = os.lstat(path)
    facts = [oct(info.st_mode), info.st_uid, info.st_gid, info.st_ino, info.st_mtime_ns]
    if stat.S_ISLNK(info.st_mode):
        facts.append(os.readlink(path))
    elif stat.S_ISREG(info.st_mode):
        with open(path, "rb") as f:
            contents = f.read()
        facts += [info.st_size, len(contents), hashlib.sha1(contents).hexdigest()]
    return tuple(facts)


def tree(top):
    found = {".": describe(top)}
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = describe(path)
    return found


def table(title, head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.stdout.flush()


_shared = None


def shared_cluster():
    """One for all classes: to start three nodes takes longer than many of the tests."""
    global _shared
    if _shared is None:
        # In every other run, files are read through the kernel's page cache almost at once.
        cache = "zabfs.cacheAfter=100\n" if Options.seed % 2 else ""
        print(f"suites: seed {Options.seed} {cache.strip()}", flush=True)
        _shared = Cluster(3, extra=PATIENT + cache)
        try:
            _shared.start()
        except BaseException:
            _shared.print_logs()
            _shared.stop()
            raise
    return _shared


def tearDownModule():
    if _shared is not None:
        _shared.stop()


class Suite(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared_cluster()

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        # Beside the mounts, where it is removed even if this process is killed.
        self.local = tempfile.TemporaryDirectory(prefix="local-", dir=self.cluster.directory)
        self.addCleanup(self.local.cleanup)

    def tearDown(self):
        for node in self.cluster.nodes:
            self.assertIsNone(node.process.poll(), f"node {node.number} ended")

    def sync(self, node):
        """A barrier, under a watchdog."""
        Group(["sync", node.mount]).finish()

    def check_same_tree(self, *names):
        for node in self.cluster.nodes:
            self.sync(node)
        trees = [tree(self.dir(node, *names)) for node in self.cluster.nodes]
        for node, other in zip(self.cluster.nodes[1:], trees[1:]):
            different = {name: (trees[0].get(name), other.get(name))
                         for name in trees[0].keys() | other.keys()
                         if trees[0].get(name) != other.get(name)}
            self.assertEqual(different, {}, f"nodes 1 and {node.number} differ")

    def check_health(self):
        """All nodes run, answer, take writes, see each other's, and show the same tree."""
        for node in self.cluster.nodes:
            self.assertIsNone(node.process.poll(), f"node {node.number} ended")
            with open(self.dir(node, f"mark{node.number}"), "w") as f:
                f.write(f"{time.monotonic()}\n")
            self.assertEqual(node.cluster_state()["quorum"], "yes")
            bad = [line for line in node.log_text().splitlines()
                   if re.match(r"\S+ \S+ (error|critical) ", line)]
            self.assertEqual(bad, [], f"the log of node {node.number}")
        self.check_same_tree()


# ---- stress-ng

# Each stressor with its options, and what comes of it on a mount:
#   PASSES      as in a local directory
#   SKIPS       it finds out that the filesystem does not have what it is about
#   FAILS       it takes what DESIGN.md says for an error
# For SKIPS and FAILS: what it says, and why.
PASSES, SKIPS, FAILS = "passes", "skips", "fails"
TOO_LARGE = "a znode has at most 1,032,191 bytes (section 3, Limits)"
LOCKS = "locks of byte ranges are refused with ENOLCK (section 1, Reads and writes)"
ATTRIBUTES = "other attributes can't be set: EOPNOTSUPP (section 1, Znodes as files)"
STRESSORS = [
    *((name, [], PASSES, "", "") for name in (
        "access", "chattr", "chdir", "chmod", "chown", "dentry", "dir", "dirdeep", "dirmany",
        "dnotify", "dup", "fallocate", "fanotify", "flock", "fpunch", "fsize", "fstat", "getdent",
        "handle", "inotify", "io", "lease", "mknod", "open", "rename", "sendfile", "symlink",
        "touch", "utime")),
    # It tries names with each byte there is; those that ZooKeeper does not have give EINVAL.
    ("filename", [], PASSES, "", ""),
    ("fcntl", [], FAILS, "No locks available", LOCKS),
    # It tries again without end.
    ("lockf", [], SKIPS, "", LOCKS),
    # These write a file of 1 MiB first, which is the least that their options allow.
    ("locka", [], FAILS, "File too large", TOO_LARGE + "; and " + LOCKS),
    ("lockofd", [], FAILS, "File too large", TOO_LARGE + "; and " + LOCKS),
    ("hdd", ["--hdd-bytes", "1M"], FAILS, "File too large", TOO_LARGE),
    ("iomix", ["--iomix-bytes", "1M"], FAILS, "File too large", TOO_LARGE),
    ("seek", ["--seek-size", "1M"], FAILS, "File too large", TOO_LARGE),
    ("readahead", ["--readahead-bytes", "1M"], FAILS, "File too large", TOO_LARGE),
    ("msync", [], FAILS, "File too large", TOO_LARGE),
    # It makes a file of 128 MiB, and tells of another error than that which it got.
    ("copy-file", ["--copy-file-bytes", "128M"], FAILS, "ftruncated failed", TOO_LARGE),
    # It asks for the size of a file of 1 MiB, which it could not make.
    ("file-ioctl", [], FAILS, "FIOQSIZE failed", TOO_LARGE),
    ("sync-file", ["--sync-file-bytes", "1M"], SKIPS, "File too large", TOO_LARGE),
    ("link", [], SKIPS, "link calls not allowed", "hard links are refused: a znode has one path"),
    ("xattr", [], SKIPS, "does not support xattr", ATTRIBUTES),
    ("fiemap", [], SKIPS, "not supported", "a znode has no place on a disk"),
    # ext4 has it on demand only.
    ("verity", [], SKIPS, "not supported", "as in the local directory"),
    # It counts what it did with all flags there are, and does not get that far in two seconds.
    ("inode-flags", [], SKIPS, "", "as in the local directory"),
    ("mmap", ["--mmap-file", "--mmap-bytes", "64K"], SKIPS, "",
     "shared mappings are refused: ENODEV (section 1, Reads and writes)"),
]
# What changes names, modes, times and locks: the metadata that all nodes share.
SHORT_STRESSORS = {"access", "chmod", "chown", "dentry", "dir", "dirdeep", "dup", "flock", "fstat",
                   "getdent", "link", "mknod", "open", "rename", "touch", "utime", "xattr"}


class Stressors(Suite):
    """One stressor after the other on a mount; each leaves the nodes healthy and nothing behind."""

    def stress(self, name, options, top, ops):
        command = ["stress-ng", f"--{name}", "1", f"--{name}-ops", str(ops), "--timeout", "2",
                   "--temp-path", top, "--metrics", "--no-rand-seed", *options]
        started = time.monotonic()
        code, output = Group(command).finish()
        count = re.search(rf"metrc:.* {name} +(\d+) ", output)
        return code, int(count[1]) if count else 0, output, time.monotonic() - started

    def outcome(self, code, count, output):
        if code == 0 and count > 0:
            return PASSES
        return FAILS if code == 2 else SKIPS

    def check_stressor(self, name, options, expected, says, ops):
        os.makedirs(self.dir(self.n1, name), exist_ok=True)
        code, count, output, seconds = self.stress(name, options, self.dir(self.n1, name), ops)
        self.assertIn(code, (0, 2, 3, 4), output)
        here = self.outcome(code, count, output)
        there = self.outcome(*self.stress(name, options, self.local.name, ops)[:3])
        with self.subTest(name):
            self.assertEqual(here, expected, output)
            self.assertIn(says, output)
            self.assertEqual(os.listdir(self.dir(self.n1, name)), [])
            self.check_health()
        return here, there, count, f"{seconds:.1f} s"

    def check_stressors(self, stressors, ops):
        rows = []
        for name, options, expected, says, why in stressors:
            rows.append((name, *self.check_stressor(name, options, expected, says, ops), why))
        table("stress-ng", ("stressor", "mount", "local", "ops", "took", "why"), rows)

    def test_stressors(self):
        if Options.seconds:
            self.check_stressors(STRESSORS, 50)
        else:
            self.check_stressors([s for s in STRESSORS if s[0] in SHORT_STRESSORS], 5)

    def test_several_at_once_on_all_nodes(self):
        names = ["dentry", "rename", "symlink", "open", "flock", "touch"]
        os.mkdir(self.dir(self.n1, "all"))
        groups = []
        for node in self.cluster.nodes:
            self.sync(node)
            wanted = [word for name in names for word in (f"--{name}", "1", f"--{name}-ops", "30")]
            groups.append(Group(["stress-ng", *wanted, "--timeout", "3",
                                 "--temp-path", self.dir(node, "all")]))
        for group in groups:
            code, output = group.finish()
            self.assertEqual(code, 0, output)
        self.check_health()
        self.assertEqual(os.listdir(self.dir(self.n1, "all")), [])


# ---- random I/O

class File:
    """A file's contents: what was committed last, and what an open handle may have committed since.
    """

    def __init__(self):
        self.committed = b""
        self.version = 0
        self.possible = []

    def commit(self, contents):
        self.committed = contents
        self.version += 1
        self.possible = []


class Writer:
    """A handle that writes, and what it must see of its file.

    kind: `edit` an open without O_TRUNC, `replace` with it, `append`, or `make` of a new file."""
    FLAGS = {"edit": os.O_RDWR, "replace": os.O_RDWR | os.O_TRUNC,
             "append": os.O_RDWR | os.O_APPEND, "make": os.O_RDWR | os.O_CREAT | os.O_EXCL}

    def __init__(self, test, file, path, kind):
        self.test, self.file, self.kind = test, file, kind
        self.fd = os.open(path, self.FLAGS[kind], 0o644)
        self.version = file.version
        self.view = b"" if kind in ("replace", "make") else file.committed
        # O_TRUNC is to be committed. Alone, without a write, it is committed by the second close of
        # the process that opened the file (section 1, "Reads and writes").
        self.dirty = self.is_only_truncated = kind == "replace"
        self.closes = 0

    def changed(self, view):
        self.view = view
        self.dirty = True
        self.is_only_truncated = False
        # What is appended, or written to a file that the open made, is committed within a second.
        if self.kind in ("append", "make"):
            self.file.possible.append(view)

    def write(self, offset, data):
        if self.kind == "append":
            self.test.assertEqual(os.write(self.fd, data), len(data))
            offset = len(self.view)
        else:
            self.test.assertEqual(os.pwrite(self.fd, data, offset), len(data))
        padded = self.view.ljust(offset, b"\0")
        self.changed(padded[:offset] + data + padded[offset + len(data):])

    def truncate(self, size):
        os.ftruncate(self.fd, size)
        self.changed(self.view[:size].ljust(size, b"\0"))
        if self.kind == "append":  # a commit of its own
            self.committed()

    def committed(self):
        if self.dirty:
            self.file.commit(self.view)
            self.version = self.file.version
            self.dirty = self.is_only_truncated = False

    def read(self, offset, size):
        self.test.check_contents(os.pread(self.fd, size, offset),
                                 [self.view[offset:offset + size]], "the writer's view")

    def check_size(self):
        """stat shows the committed size, to the writer too."""
        sizes = {len(self.file.committed), *map(len, self.file.possible)}
        self.test.assertIn(os.fstat(self.fd).st_size, sizes)

    def sync(self):
        os.fsync(self.fd)
        self.committed()

    def close_a_copy(self):
        os.close(os.dup(self.fd))
        self.closes += 1
        if not self.is_only_truncated or self.closes == 2:
            self.committed()

    def close(self):
        os.close(self.fd)
        self.committed()


class Reader:
    """A handle that reads one version from offset 0 to the end, and then the newest."""

    def __init__(self, test, file, path, random_numbers):
        self.test, self.file, self.random = test, file, random_numbers
        self.fd = os.open(path, os.O_RDONLY)
        self.version = None

    def begin(self):
        """Behind a barrier."""
        start = os.pread(self.fd, self.random.randrange(1, 20_000), 0)
        known = [self.file.committed, *self.file.possible]
        fitting = [v for v in known if v.startswith(start)]
        self.test.assertTrue(fitting, f"{start[:50]!r} is none of {[v[:50] for v in known]}")
        # Which of them it is, is known only if there is one.
        self.version = fitting[0] if len(known) == 1 and start else None

    def go_on(self):
        if not self.version:
            return
        offset = self.random.randrange(1, len(self.version) + 1) - 1
        if offset > 0:
            size = self.random.randrange(1, 20_000)
            self.test.check_contents(os.pread(self.fd, size, offset),
                                     [self.version[offset:offset + size]], "a later part of a pass")

    def close(self):
        os.close(self.fd)


class RandomFiles(Suite):
    """Two mounts take turns with the same files; a model in memory says what each must see."""

    def new_data(self):
        size = min(int(self.random.expovariate(1 / 3000)) + 1, 30_000)
        return self.random.randbytes(size)

    def place(self):
        return self.random.randrange(MAX_BYTES - 30_000)

    def path(self, node, number):
        return self.dir(node, f"file{number}")

    def read_all(self, node, number):
        with open(self.path(node, number), "rb") as f:
            return f.read()

    def check_committed(self, node, number):
        """Close-to-open: behind a barrier a new handle shows what is committed."""
        node.barrier()
        file = self.files[number]
        expected = [file.committed, *file.possible]
        self.check_contents(self.read_all(node, number), expected,
                            f"file{number} on node {node.number}")
        # Beside a reader that was there before the change a mapping may be of the older version, or
        # end this process (fsd/fuse/FUSE.md, "Contents and the page cache").
        may_map = file.committed and not file.possible and not self.has_reader
        if may_map and self.random.random() < 0.3:
            with open(self.path(node, number), "rb") as f:
                with mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
                    self.check_contents(mapped[:], [file.committed], "a mapping")

    def check_contents(self, contents, expected, what):
        if contents not in expected:
            differ = [next((i for i, (a, b) in enumerate(zip(contents, e)) if a != b), None)
                      for e in expected]
            self.fail(f"{what} has {len(contents)} bytes; expected are {list(map(len, expected))}; "
                      f"they differ first at {differ}")

    def one_operation(self, writer, other, number):
        pick = self.random.random()
        if pick < 0.35:
            self.log("write")
            offset = self.place()
            if writer.kind != "append" or len(writer.view) < MAX_BYTES - 30_000:
                writer.write(offset, self.new_data())
        elif pick < 0.5:
            self.log("truncate")
            size = self.random.choice((0, self.place(), len(writer.view) + 1))
            if size != len(writer.view):
                writer.truncate(size)
        elif pick < 0.75:
            writer.read(self.random.randrange(MAX_BYTES), self.random.randrange(1, 20_000))
        elif pick < 0.8:
            writer.check_size()
        elif pick < 0.87:
            self.log("fsync")
            writer.sync()
        elif pick < 0.9:
            self.log("close of a copy")
            writer.close_a_copy()
        elif pick < 0.903 and Options.seconds:
            self.log("pause")  # what was appended, or written to a new file, is committed meanwhile
            time.sleep(1.1)
        else:
            self.log("look")
            self.check_committed(other, number)

    def log(self, what):
        self.trace.append(what)

    def turn(self):
        here, other = self.random.sample([self.n1, self.n2], 2)
        number = self.random.randrange(len(self.files))
        file = self.files[number]
        here.barrier()
        other.barrier()
        kind = "make"
        if file.version:
            kind = self.random.choice(("edit", "edit", "replace", "append"))
        self.log(f"node {here.number} {kind} file{number}")
        reader = rival = None
        if file.version and self.random.random() < 0.5:
            self.log("reader")
            reader = Reader(self, file, self.path(other, number), self.random)
            reader.begin()
        self.has_reader = reader is not None
        if file.version and self.random.random() < 0.3:
            self.log("rival")
            rival = Writer(self, file, self.path(other, number), "edit")
            rival_wrote = self.random.random() < 0.5
            if rival_wrote:
                os.pwrite(rival.fd, b"rival", 0)
        writer = Writer(self, file, self.path(here, number), kind)
        if kind == "make":
            file.commit(b"")  # it is there, empty, from its open on
        for _ in range(self.random.randrange(1, 12)):
            self.one_operation(writer, other, number)
            if reader:
                reader.go_on()
        self.log("close")
        writer.close()
        here.barrier()  # an O_TRUNC alone is committed behind the close
        if reader:
            reader.go_on()
            other.barrier()
            reader.begin()
            reader.go_on()
            reader.close()
            self.has_reader = False
        if rival:
            self.end_rival(rival, other, number, rival_wrote)
        self.check_committed(other, number)
        self.check_committed(here, number)

    def end_rival(self, rival, node, number, wrote):
        """An edit in place succeeds only if nobody else changed the file since its open."""
        self.log("end of the rival")
        file = self.files[number]
        node.barrier()
        if rival.version == file.version:
            if not wrote:
                os.pwrite(rival.fd, b"rival", 0)
            os.close(rival.fd)
            file.commit(b"rival" + file.committed[5:])
            return
        try:
            os.pwrite(rival.fd, b"rival", 0)
        except OSError as error:
            self.assertEqual(error.errno, errno.ESTALE)
        for call in (os.fsync, os.fsync, os.close):  # it fails for good
            with self.assertRaises(OSError) as caught:
                call(rival.fd)
            self.assertEqual(errno.errorcode[caught.exception.errno], "ESTALE", call.__name__)

    def play(self, seed, turns=None, seconds=None):
        print(f"random I/O: seed {seed}", flush=True)
        self.random = random.Random(seed)
        self.files = [File() for _ in range(3)]
        self.trace = []
        end = time.monotonic() + (seconds or 1e9)
        played = 0
        try:
            while played != turns and time.monotonic() < end:
                self.turn()
                played += 1
        except BaseException:
            print(f"seed {seed}, turn {played}; at the end: {self.trace[-25:]}", flush=True)
            raise
        for number, file in enumerate(self.files):
            if file.version:
                for node in self.cluster.nodes:
                    self.check_committed(node, number)
                os.unlink(self.path(self.n1, number))
        return played

    def test_random_files(self):
        if not Options.seconds:
            self.play(Options.seed, turns=40)
            return
        end = time.monotonic() + Options.seconds
        seed = Options.seed
        while time.monotonic() < end:
            self.play(seed, turns=200, seconds=end - time.monotonic() + 1)
            seed += 1


# ---- tools

def make_sources(top):
    """Two versions of a small tree: `a` and `b`."""
    numbers = random.Random(1)
    for version in "ab":
        base = os.path.join(top, version)
        for i in range(8):
            folder = os.path.join(base, f"dir {i % 3}", "sub")
            os.makedirs(folder, exist_ok=True)
            if (version, i % 4) == ("b", 1):
                continue
            path = os.path.join(folder, f"file-{i}")
            with open(path, "wb") as f:
                f.write(numbers.randbytes(i * 700) if i % 4 == 2 else b"line\n" * i * 100)
            os.chmod(path, (0o644, 0o600, 0o755, 0o444)[i % 4])
            # rsync takes what has the same size and time for the same.
            os.utime(path, ns=(0, (1_500_000_000 + i + 100 * ord(version)) * 10**9))
        os.symlink("dir 0/sub", os.path.join(base, "link"))
        os.symlink("nowhere", os.path.join(base, "dangling"))
        open(os.path.join(base, f"only-{version}"), "w").close()
        os.mkdir(os.path.join(base, "empty"))
        for folder, _, _ in os.walk(base, topdown=False):
            os.utime(folder, (1_400_000_000, 1_400_000_000))


def make_dbench_load(path):
    """dbench's own, without what lies beyond the largest size of a file (DESIGN.md section 3)."""
    with open("/usr/share/dbench/client.txt") as load, open(path, "w") as f:
        for line in load:
            words = line.split()
            if words[0] not in ("WriteX", "ReadX") or int(words[2]) + int(words[3]) <= 1_032_191:
                f.write(line)


class Tool:
    """Scripts of bash; `step` is run again and again, on one node or on several, in one directory.

    They know: D the directory on this mount, S the sources, T a local directory, N the number of
    the node, I the number of the step, STEPS a sorted file of all `N-I`. `check` runs on each node
    when all is done. `refused`: what the tool says where zabfs has not what it wants."""

    def __init__(self, name, step, check="", prepare="", refused=None, long_only=False):
        self.name, self.step, self.check, self.prepare = name, step, check, prepare
        self.refused, self.long_only = refused, long_only


SQLITE = """import os, sqlite3, sys
def work():
    db = sqlite3.connect("file:" + os.environ["D"] + "/db?vfs=" + os.environ["VFS"], uri=True,
                         timeout=float(os.environ["PATIENCE"]))
    db.execute("pragma journal_mode=delete")
    for row in db.execute(sys.argv[1]):
        print(row[0])
    db.commit()
for attempt in range(200):
    try:
        work()
        break
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 255 != sqlite3.SQLITE_IOERR or not os.environ.get("AGAIN"):
            raise
"""


def sqlite(statement, setting, patience=60):
    return (f"{{ export VFS={setting}; PATIENCE={patience} /usr/bin/python3 -c '{SQLITE}' "
            f'"{statement}"; }}')


DOTFILE = "unix-dotfile"
DOTFILE_AGAIN = "unix-dotfile AGAIN=1"
WHOLE = "unix-none; exec 9> $D/lock; flock 9"
GIT = ("export HOME=$T GIT_CONFIG_NOSYSTEM=1; git config --global user.name zabfs; "
       "git config --global user.email zabfs@localhost; ")
# Who finds `index.lock` or a ref's lock there is told to try again, as in a local directory.
COMMIT = GIT + """
cd $D/repo; echo $N-$I > $N-$I
for try in $(seq 200); do
  if git add $N-$I && git commit -qm $N-$I -- $N-$I; then exit 0; fi
  sleep 0.1
done
exit 1"""
# Only with optional locks would `git status` write to the repository, and so meet a commit's lock.
# A commit that is made beside `git fsck` is missing for it, as in a local directory.
LOOK = GIT + """
cd $D
git --no-optional-locks status --porcelain > $T/status
git fsck --strict > $T/fsck 2>&1 ||
  ! grep -v 'invalid reflog entry\\|^missing\\|^dangling\\|pointer\\|^broken link\\|^ *to ' $T/fsck
git log --format=%s | wc -l"""
NOTHING_LEFT = 'test -z "$(ls -A $D)"'
TOOLS = [
    Tool("echo >>", "echo $N-$I >> $D/log", "sort $D/log | diff - $STEPS"),
    Tool("sed -i, in flock", "flock $D/lock sed -i \"\\$a $N-$I\" $D/f",
         "sed 1d $D/f | sort | diff - $STEPS; ls $D | diff - <(printf 'f\\nlock\\n')",
         "echo first > $D/f"),
    Tool("vim -es, in flock",
         "flock $D/lock vim.tiny -es -u NONE -c \"normal Go$N-$I\" -c x $D/f < /dev/null",
         "sed 1d $D/f | sort | diff - $STEPS; test \"$(ls -A $D)\" = $'f\\nlock'",
         "echo first > $D/f"),
    Tool("git commit", COMMIT,
         GIT + "cd $D/repo; git fsck --strict; git log --format=%s | sort | diff - $STEPS; "
               "git --no-optional-locks status --porcelain | diff /dev/null -",
         GIT + "git init -q $D/repo"),
    # A clone from the mount to the mount, and a push back into a branch of its own.
    Tool("git clone, push",
         GIT + "cd $D; git clone -q repo $N-$I; cd $N-$I; git fsck --strict; "
               "git commit -q --allow-empty -m $N-$I; git push -q origin HEAD:$N-$I",
         GIT + "cd $D/repo; git fsck --strict; "
               "git for-each-ref --format='%(refname:short)' refs/heads/[0-9]* | sort "
               "| diff - $STEPS",
         GIT + "git init -q $D/repo; cd $D/repo; cp -r $S/a/. .; git add .; git commit -qm first"),
    # -i tells of each difference in contents, mode, owner and time.
    Tool("rsync -a --delete", "test $((I % 2)) = 0 && v=a || v=b; rsync -a --delete $S/$v/ $D/$N/; "
                              "rsync -anic --delete $S/$v/ $D/$N/ | diff /dev/null -; "
                              "echo $v > $D/version-$N",
         "for n in $(cut -d- -f1 $STEPS | sort -u); do "
         "rsync -anic --delete $S/$(cat $D/version-$n)/ $D/$n/ | diff /dev/null -; done"),
    Tool("tar x, d, c", "mkdir $D/$N-$I; tar c -C $S/a . | tar xp -C $D/$N-$I; "
                        "tar c -C $S/a . | tar d -C $D/$N-$I; "
                        "tar cf $D/$N-$I.tar -C $D/$N-$I .",
         "for step in $(cat $STEPS); do mkdir $T/$step; tar xpf $D/$step.tar -C $T/$step; "
         "rsync -anic --delete $S/a/ $T/$step/ | diff /dev/null -; done"),
    Tool("cp -a, mv, rm -r", "cp -a $S/a $D/new-$N-$I; mv $D/new-$N-$I $D/$N-$I; "
                             "cp -a $D/$N-$I $T/back-$N-$I; "
                             "rsync -anic --delete $S/a/ $T/back-$N-$I/ | diff /dev/null -; "
                             "cp -r $D/$N-$I $D/gone-$N-$I; rm -r $D/gone-$N-$I",
         "ls $D | sort | diff - $STEPS; for step in $(cat $STEPS); do "
         "rsync -anic --delete $S/a/ $D/$step/ | diff /dev/null -; done"),
    # Up to date is what other nodes say, too. Times on ext4 go on every 4 ms only.
    Tool("make", "mkdir -p $D/$N; cd $D/$N; "
                 "printf 'all: $(patsubst %%.in,%%.out,$(wildcard *.in))\\n"
                 "%%.out: %%.in\\n\\ttr a-z A-Z < $< > $@\\n' > Makefile; "
                 "echo step$I > $I.in; make -s; test $(cat $I.out) = STEP$I; make -q; sleep 0.02; "
                 "echo again$I > $I.in; make -s; test $(cat $I.out) = AGAIN$I; make -q",
         "for n in $(cut -d- -f1 $STEPS | sort -u); do make -q -C $D/$n; done"),
    # Locks of byte ranges are refused (section 1, "Reads and writes"): `busy`, says SQLite.
    Tool("sqlite, its own locks", sqlite("insert into t values ('$N-$I')", "unix", 0.5),
         prepare=sqlite("create table t (x)", DOTFILE), refused="database is locked"),
    # SQLite opens the database before it makes the directory that is its lock. If somebody wrote in
    # between, its edit in place fails with ESTALE, and it says "disk I/O error": begin again.
    Tool("sqlite, unix-dotfile", sqlite("insert into t values ('$N-$I')", DOTFILE_AGAIN),
         sqlite("select x from t", DOTFILE_AGAIN) + " | sort | diff - $STEPS; " +
         sqlite("pragma integrity_check", DOTFILE_AGAIN) + " | grep -qx ok",
         sqlite("create table t (x)", DOTFILE)),
    Tool("sqlite, in flock", sqlite("insert into t values ('$N-$I')", WHOLE),
         sqlite("select x from t", WHOLE) + " | sort | diff - $STEPS; " +
         sqlite("pragma integrity_check", WHOLE) + " | grep -qx ok",
         sqlite("create table t (x)", WHOLE)),
    Tool("dbench", "mkdir -p $D/$N; dbench -D $D/$N -c $S/load.txt -t 1 2",
         "test -d $D", long_only=True),
    Tool("stress-ng", "stress-ng --dentry 1 --dentry-ops 10 --rename 1 --rename-ops 10 --utime 1 "
                      "--utime-ops 10 --timeout 5 --temp-path $D", NOTHING_LEFT),
]


class Work(threading.Thread):
    """The steps of a tool on one node, until there were enough; a failure is kept."""

    def __init__(self, tool, number, top, places, steps=None):
        super().__init__(daemon=True)
        self.tool, self.number, self.top, self.places, self.steps = tool, number, top, places, steps
        self.stopping = threading.Event()
        self.done = []
        self.failure = None

    def run(self):
        try:
            while len(self.done) != self.steps and not self.stopping.is_set():
                step = f"{self.number}-{len(self.done)}"
                bash(self.tool.step, D=self.top, N=str(self.number), I=str(len(self.done)),
                     **self.places)
                self.done.append(step)
        except (Failed, AssertionError) as error:
            self.failure = str(error)


class Tools(Suite):
    """A table: each tool on one node, on two nodes in the same directory, and on a node whose
    leader is killed in the middle and started again. In a local directory first, where each works.
    """
    COLUMNS = ("local", "one node", "two nodes", "leader killed")

    def setUp(self):
        super().setUp()
        self.sources = os.path.join(self.local.name, "sources")
        make_sources(self.sources)
        make_dbench_load(os.path.join(self.sources, "load.txt"))
        self.tools = [tool for tool in TOOLS if Options.seconds or not tool.long_only]
        self.results = {}
        self.failures = []

    def places(self, tool, column, number):
        scratch = os.path.join(self.local.name, f"{self.slug(tool, column)}-{number}")
        os.makedirs(scratch, exist_ok=True)
        return {"S": self.sources, "T": scratch}

    def slug(self, tool, column):
        return re.sub(r"\W+", "-", f"{tool.name}-{column}")

    def begin(self, tool, column, nodes, steps=None):
        """Threads that are not started; None stands for a local directory."""
        slug = self.slug(tool, column)
        tops = [os.path.join(self.local.name, slug) if node is None else self.dir(node, slug)
                for node in nodes]
        os.mkdir(tops[0])
        bash(tool.prepare or "true", D=tops[0], N="0", I="0", **self.places(tool, column, "first"))
        for node in nodes:
            if node is not None:
                self.sync(node)
        numbers = [node.number if node else 0 for node in nodes]
        return [Work(tool, number, top, self.places(tool, column, number), steps)
                for number, top in zip(numbers, tops)]

    def end(self, tool, column, works, everywhere):
        """What comes into the table."""
        failures = [work.failure for work in works if work.failure]
        if tool.refused and column != "local":
            expected = len(failures) == len(works) and all(tool.refused in f for f in failures)
            result = "refused" if expected else "not refused"
            if not expected:
                self.failures.append(f"{tool.name}, {column}: it is not refused: {failures}")
        else:
            if not failures:
                failures = self.check(tool, column, works, everywhere)
            result = "fails" if failures else "works"
            self.failures += [f"{tool.name}, {column}: {failure}" for failure in failures]
        self.results[tool.name, column] = result

    def check(self, tool, column, works, everywhere):
        path = os.path.join(self.local.name, "steps")
        with open(path, "w") as f:
            f.write("".join(f"{step}\n" for step in sorted(s for w in works for s in w.done)))
        slug = self.slug(tool, column)
        tops = [(0, works[0].top)]
        if everywhere:
            self.check_same_tree(slug)
            tops = [(node.number, self.dir(node, slug)) for node in self.cluster.nodes]
        failures = []
        for number, top in tops:
            try:
                bash(tool.check or "true", D=top, STEPS=path, N=str(number),
                     **self.places(tool, column, f"check-{number}"))
            except Failed as error:
                failures.append(f"the check on node {number}: {error}")
        return failures

    def test_table(self):
        steps = 6 if Options.seconds else 2
        for tool in self.tools:
            for column, nodes in (("local", [None]), ("one node", [self.n1]),
                                  ("two nodes", [self.n2, self.n3])):
                works = self.begin(tool, column, nodes, steps)
                for work in works:
                    work.start()
                for work in works:
                    work.join()
                self.end(tool, column, works, nodes != [None])
        self.kill_the_leader_under(self.tools)
        if Options.seconds:
            for tool in self.tools:
                self.kill_the_leader_under([tool], "alone")
        rows = [(tool.name, *(self.results[tool.name, column] for column in self.COLUMNS),
                 "byte-range locks are refused: ENOLCK" if tool.refused else "")
                for tool in self.tools]
        table("tools", ("tool", *self.COLUMNS, ""), rows)
        self.assertEqual(self.failures, [], "\n\n".join(self.failures))

    def kill_the_leader_under(self, tools, suffix=""):
        """All the tools work at once while it happens."""
        column = "leader killed"
        leader = self.cluster.leader()
        follower = self.cluster.followers()[0]
        works = {tool: self.begin(tool, column + suffix, [follower])[0] for tool in tools}
        for work in works.values():
            work.start()

        def wait_for_steps(wanted):
            wait_for(lambda: all(work.failure or len(work.done) >= wanted[work.tool]
                                 for work in works.values()), 2 * HANG_SECONDS,
                     "steps of all the tools")
        try:
            wait_for_steps({tool: 1 for tool in tools})
            leader.kill()
            try:
                wait_for(self.cluster.leader, 60, "a new leader")
            finally:
                leader.start()
            leader.wait_ready(60)
            wait_for_steps({tool: len(work.done) + 2 for tool, work in works.items()})
        finally:
            for work in works.values():
                work.stopping.set()
            for work in works.values():
                work.join()
        for tool, work in works.items():
            before = self.results.get((tool.name, column))
            self.end(tool, column + suffix, [work], True)
            result = self.results[tool.name, column + suffix]
            self.results[tool.name, column] = before if before == "fails" else result

    def test_git_is_read_on_other_nodes_while_commits_are_made(self):
        commits = 30 if Options.seconds else 8
        top = [self.dir(node, "repo") for node in self.cluster.nodes]
        scratch = {"T": self.local.name, "S": self.sources}
        bash(GIT + "git init -q $D; cd $D; cp -r $S/a/. .; git add .; git commit -qm 0", D=top[0],
             **scratch)
        self.cluster.sync_all()
        stopping = threading.Event()
        failures, looks = [], [0, 0]

        def look(reader):
            last = 0
            try:
                while not stopping.is_set():
                    out = bash(LOOK, D=top[reader + 1], T=self.scratch_of(reader))
                    if int(out) < last:
                        raise Failed(f"{last} commits, and then {out}")
                    last = int(out)
                    looks[reader] += 1
            except (Failed, AssertionError) as error:
                failures.append(f"node {reader + 2}: {error}")
        threads = [threading.Thread(target=look, args=(reader,)) for reader in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            for number in range(1, commits + 1):
                bash(GIT + "cd $D; echo $I > \"dir 0/sub/file-0\"; echo $I > new-$I; git add .; "
                           "git commit -qam $I", D=top[0], I=str(number), **scratch)
            wait_for(lambda: failures or min(looks) >= 2, HANG_SECONDS, "looks on both nodes")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.cluster.sync_all()
        for number, path in enumerate(top):
            out = bash(GIT + "cd $D; git gc -q; git fsck --strict 2>&1; git status --porcelain; "
                             "git log --format=%s | wc -l", D=path, **scratch)
            self.assertEqual(out.split(), [str(commits + 1)], f"node {number + 1}")
            self.cluster.sync_all()
        bash(GIT + "git clone -q $D $T/clone; git -C $T/clone fsck --strict", D=top[1], **scratch)

    def scratch_of(self, reader):
        path = os.path.join(self.local.name, f"reader{reader}")
        os.makedirs(path, exist_ok=True)
        return path


class Dbench(Suite):
    def test_clients_on_two_nodes(self):
        """Each node has a directory of its own: dbench's clients do not share files."""
        load = os.path.join(self.local.name, "load.txt")
        make_dbench_load(load)
        seconds = "20" if Options.seconds else "3"
        groups = []
        for node in (self.n1, self.n2):
            os.mkdir(self.dir(node, str(node.number)))
            groups.append(Group(["dbench", "-D", self.dir(node, str(node.number)), "-c", load,
                                 "-t", seconds, "2"]))
        for group in groups:
            code, output = group.finish(300)
            self.assertEqual(code, 0, output[-2000:])
            print(output.strip().splitlines()[-1], flush=True)
        self.check_health()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=Options.seed)
    options, rest = parser.parse_known_args()
    Options.seconds, Options.seed = options.seconds, options.seed
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
