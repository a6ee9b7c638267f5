"""Whoever saw the second of two changes sees the first, through every cache of the kernel: with
schedules that are forced, for they are rare.
"""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import ClusterTest, die_with_parent, wait_for  # noqa: E402

AT_FDCWD, RENAME_EXCHANGE = -100, 2
_libc = ctypes.CDLL(None, use_errno=True)
CPUS = os.sched_getaffinity(0)
CPU = max(CPUS)
# On one CPU, when they are told: the reader does something, and hogs let nobody else run. The kernel
# keeps moments free of real-time threads, for which the second one is there.
READER = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
sys.stdin.readline()
exec(sys.argv[2])
"""
HOG = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(-20)
if sys.argv[2] == "first": os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
print(flush=True)
sys.stdin.readline()
while True: pass
"""


def state(pid, place="stat"):
    with open(f"/proc/{pid}/{place}") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def is_stopped(pid):
    return all(state(pid, f"task/{thread}/stat") == "T" for thread in os.listdir(f"/proc/{pid}/task"))


def waits_for_daemon(pid):
    with open(f"/proc/{pid}/wchan") as f:
        return "request_wait" in f.read()


class Order(ClusterTest):
    options = {"extra": "zabfs.inotify=false\n"}

    @classmethod
    def setUpClass(cls):
        os.sched_setaffinity(0, CPUS - {CPU} or CPUS)  # of the nodes, too
        cls.addClassCleanup(os.sched_setaffinity, 0, CPUS)
        # A disk's kernel threads may need the CPU that nobody gets.
        with mock.patch("tempfile.tempdir", "/dev/shm"):
            super().setUpClass()

    def setUp(self):
        super().setUp()
        self.here = self.cluster.followers()[0]
        self.there = self.cluster.leader()

    def start(self, *command):
        process = subprocess.Popen([sys.executable, "-c", *command], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def overtaken(self, code, change):
        """Runs `code`, whose one request to the daemon is answered before `change` is made, but the
        kernel gets to the answer after it. Gives what the code prints."""
        reader = self.start(READER, str(CPU), code)
        hogs = [self.start(HOG, str(CPU), place) for place in ("second", "first")]
        for hog in hogs:
            hog.stdout.readline()
        self.here.signal(signal.SIGSTOP)
        try:
            wait_for(lambda: is_stopped(self.here.process.pid), what="a stop")
            self.tell(reader)
            wait_for(lambda: waits_for_daemon(reader.pid), what="a request")
            for hog in hogs:
                self.tell(hog)
            wait_for(lambda: state(hogs[1].pid) == "R", what="a busy CPU", every=0.001)
        finally:
            self.here.signal(signal.SIGCONT)
        wait_for(lambda: state(reader.pid) != "D" and not (
            state(reader.pid) == "S" and waits_for_daemon(reader.pid)), what="an answer", every=0.001)
        change()
        self.here.barrier()
        for hog in hogs:
            hog.kill()
        return reader.communicate(timeout=60)[0].strip()

    def tell(self, process):
        process.stdin.write("\n")
        process.stdin.flush()

    def fresh(self, number, maker=None):
        """A directory that the kernel here has looked into, and the path of a file in it, of which
        it knows nothing if it did not make them. It keeps names only where others make none."""
        name = f"d{number}"
        os.mkdir(self.dir(maker or self.there, name))
        with open(self.dir(maker or self.there, name, "f"), "w") as f:
            f.write("1")
        self.cluster.sync_all()
        self.assertFalse(os.path.exists(self.dir(self.here, name, "none")))
        return self.dir(self.here, name, "f"), self.dir(self.there, name, "f")

    def test_what_a_commit_overtakes_is_not_kept(self):
        for number in range(3):
            here, there = self.fresh(number)

            def change():
                with open(there, "w") as f:
                    f.write("22")
            self.assertIn(self.overtaken(f"print(os.stat({here!r}).st_size)", change), ("1", "2"))
            self.assertEqual(os.stat(here).st_size, 2)
        # Absence is cached from the second time on that it is asked for.
        here, there = self.dir(self.here, "d0", "g"), self.dir(self.there, "d0", "g")
        self.assertFalse(os.path.exists(here))
        self.overtaken(f"print(os.path.exists({here!r}))", lambda: os.mkdir(there))
        self.assertTrue(os.path.exists(here))

    def test_attributes_of_a_place_that_is_held_without_a_request(self):
        """By a handle that only names it: nothing asks the daemon before fstat. A thread that got
        no CPU may have the old ones for a moment (FUSE.md)."""
        here, there = self.fresh(0)

        def change():
            os.chmod(there, 0o600)
        code = (f"import time; fd = os.open({here!r}, os.O_PATH); time.sleep(0.5);"
                "print(oct(os.fstat(fd).st_mode & 0o777))")
        self.assertEqual(self.overtaken(code, change), "0o600")

    def test_what_another_node_saw_go_is_gone_here(self):
        """Before the process that removed it here has heard that it succeeded."""
        here, there = self.fresh(0, self.here)
        self.assertTrue(os.path.exists(here))
        seen = []

        def change():
            self.there.barrier()
            self.assertFalse(os.path.exists(there))
            os.mkdir(self.dir(self.there, "it-is-gone"))
            self.here.barrier()
            seen.append(os.path.exists(self.dir(self.here, "it-is-gone")))
            seen.append(os.path.exists(here))
        self.overtaken(f"os.unlink({here!r})", change)
        self.assertEqual(seen, [True, False])

    def test_what_another_node_saw_come_is_here(self):
        """The same of a file that is made here, where the kernel had kept that there is none."""
        here, there = (os.path.join(os.path.dirname(path), "new")
                       for path in self.fresh(0, self.here))
        for _ in range(3):
            self.assertFalse(os.path.exists(here))
        seen = []

        def change():
            self.there.barrier()
            self.assertTrue(os.path.exists(there))
            os.mkdir(self.dir(self.there, "it-is-there"))
            self.here.barrier()
            seen.append(os.path.exists(self.dir(self.here, "it-is-there")))
            seen.append(os.path.exists(here))
        self.overtaken(f"os.open({here!r}, os.O_CREAT)", change)
        self.assertEqual(seen, [True, True])


class Kinds(ClusterTest):
    """A znode of any kind is a directory while it has children."""
    nodes = 2
    options = {"extra": "zabfs.inotify=false\n" +
               "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"}

    def session(self):
        session = raw.Session(("127.0.0.1", self.n1.client_port))
        session.auth("digest", "super:test")
        return session

    def test_a_symlink_with_children_is_a_directory_for_path_walks(self):
        os.mkdir(self.dir(self.n1, "target"))
        os.mkdir(self.dir(self.n1, "target", "in-target"))
        os.symlink("target", self.dir(self.n1, "link"))
        self.cluster.sync_all()
        here = self.dir(self.n2, "link")
        session = self.session()
        for _ in range(2):
            self.assertEqual(os.listdir(here), ["in-target"])
            path = f"/{self.name}/link/child"
            self.assertEqual(session.request(raw.CREATE, raw.create(path))[2], 0)
            self.n2.barrier()
            self.assertEqual(os.listdir(here), ["child"])
            self.assertFalse(os.path.exists(os.path.join(here, "in-target")))
            self.assertEqual(session.request(raw.DELETE, raw.buf(path) + b"\xff\xff\xff\xff")[2], 0)
            self.n2.barrier()

    def test_listings_show_the_kinds_of_now(self):
        with open(self.dir(self.n1, "f"), "w") as f:
            f.write("x")
        self.cluster.sync_all()
        time.sleep(1.2)  # so that listings are cached

        def listed():
            with os.scandir(self.dir(self.n2)) as entries:
                return [entry.is_dir(follow_symlinks=False) for entry in entries]
        for _ in range(3):
            self.assertEqual(listed(), [False])
        session = self.session()
        self.assertEqual(session.request(raw.CREATE, raw.create(f"/{self.name}/f/child"))[2], 0)
        self.n2.barrier()
        self.assertEqual(listed(), [True])


class Renames(ClusterTest):
    nodes = 2

    def exchange(self, node, one, other):
        one, other = (self.dir(node, name).encode() for name in (one, other))
        if _libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    def test_what_is_open_follows_an_exchange_of_directories(self):
        for name, content in (("a", "of a"), ("b", "of b, longer")):
            os.mkdir(self.dir(self.n1, name))
            with open(self.dir(self.n1, name, f"in-{name}"), "w") as f:
                f.write(content)
        self.cluster.sync_all()
        for node in (self.n1, self.n2):  # here and elsewhere
            with (open(self.dir(node, "a", "in-a"), "r+") as file,
                  open(self.dir(node, "b", "in-b")) as other):
                directory = os.open(self.dir(node, "a"), os.O_RDONLY | os.O_DIRECTORY)
                self.addCleanup(os.close, directory)
                self.exchange(self.n1, "a", "b")
                self.cluster.sync_all()
                self.assertEqual(os.listdir(directory), ["in-a"])
                self.assertEqual(os.stat("in-a", dir_fd=directory).st_size, 4)
                self.assertEqual(os.fstat(file.fileno()).st_size, 4)
                self.assertEqual(os.fstat(other.fileno()).st_size, 12)
                file.write("OF A")
            with open(self.dir(self.n2, "b", "in-a")) as f:
                self.assertEqual(f.read(), "OF A")
            self.assertEqual(os.listdir(self.dir(self.n2, "a")), ["in-b"])
            self.exchange(self.n1, "b", "a")
            self.cluster.sync_all()
            self.assertEqual(os.listdir(directory), ["in-a"])

    def test_a_path_to_a_directory_that_is_renamed_gives_it_or_nothing(self):
        os.mkdir(self.dir(self.n1, "a"))
        names = {f"f{i}" for i in range(3)}
        for name in names:
            os.mkdir(self.dir(self.n1, "a", name))
        self.cluster.sync_all()
        code = ("import os, sys\nd = sys.argv[1]\nwhile True:\n"
                "    for x, y in ('ab', 'ba'): os.rename(f'{d}/{x}', f'{d}/{y}')")
        renamer = subprocess.Popen([sys.executable, "-c", code, self.dir(self.n1)],
                                   preexec_fn=die_with_parent)
        wrong, listed, end = [], 0, time.monotonic() + 4
        try:
            while time.monotonic() < end:
                for call in (os.listdir, os.stat, lambda p: os.stat(p + "/f1"),
                             lambda p: os.path.exists(os.readlink(p))):
                    try:
                        found = call(self.dir(self.n2, "a"))
                        listed += 1
                        if call is os.listdir and set(found) != names:
                            wrong.append(found)
                    except OSError as error:
                        if error.errno not in (errno.ENOENT, errno.EINVAL):
                            wrong.append(error)
        finally:
            renamer.kill()
            renamer.wait()
        self.assertEqual(wrong, [])
        self.assertGreater(listed, 0)

    def rename_on(self, node, name, count):
        """Renames <name>0 to <name>1, that to <name>2 and so on, as fast as that node can."""
        paths = [self.dir(node, f"{name}{i}") for i in range(count + 1)]
        code = ("import os, sys\npaths = sys.argv[1:]\n"
                "for one, other in zip(paths, paths[1:]): os.rename(one, other)")
        return subprocess.Popen([sys.executable, "-c", code, *paths], preexec_fn=die_with_parent)

    def test_commits_under_way_follow_renames(self):
        """By the member that leads, whose renames overtake them, and by one that follows."""
        for renamer, writer in ((self.n1, self.n2), (self.n2, self.n1)):
            for flags in (os.O_RDWR, os.O_RDWR | os.O_APPEND):
                with self.subTest(renamer=renamer.number, flags=flags):
                    name = f"f{renamer.number}{flags}-"
                    with open(self.dir(writer, name + "0"), "w"):
                        pass
                    self.cluster.sync_all()
                    fd = os.open(self.dir(writer, name + "0"), flags)
                    mover = self.rename_on(renamer, name, 200)
                    count = 0
                    while mover.poll() is None:
                        count += 1
                        os.write(fd, b"line\n")
                        os.fsync(fd)
                    os.close(fd)
                    self.assertEqual(mover.returncode, 0)
                    self.cluster.sync_all()
                    with open(self.dir(renamer, name + "200")) as f:
                        self.assertEqual(f.read(), "line\n" * count)


if __name__ == "__main__":
    unittest.main()
