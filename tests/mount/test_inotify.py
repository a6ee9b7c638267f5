"""inotify on one node sees what the others do."""
import ctypes
import fcntl
import os
import queue
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, children_of, die_with_parent, sh, wait_for  # noqa: E402

NAMES = {0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x40: "MOVED_FROM", 0x80: "MOVED_TO",
         0x100: "CREATE", 0x200: "DELETE", 0x400: "DELETE_SELF", 0x800: "MOVE_SELF"}
FTRUNCATE = "77"  # its number (x86-64)
_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """inotify on some paths; events as "NAME name" in order, opens and reads left out."""

    def __init__(self, *paths):
        self.fd = _libc.inotify_init1(os.O_NONBLOCK)
        self.seen = []
        for path in paths:
            assert _libc.inotify_add_watch(self.fd, path.encode(), sum(NAMES)) > 0, path

    def events(self):
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return self.seen
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16:16 + length].rstrip(b"\0").decode()
            data = data[16 + length:]
            self.seen += [f"{text} {name}".strip() for bit, text in NAMES.items() if mask & bit]
        return self.seen

    def wait(self, *expected):
        """Exactly these come, in this order."""
        wait_for(lambda: len(self.events()) >= len(expected), 10, f"{expected}, came: {self.seen}")
        time.sleep(0.1)
        seen, self.seen = self.events(), []
        assert seen == list(expected), f"{seen} instead of {list(expected)}"

    def close(self):
        os.close(self.fd)


def helpers_of(node):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if node.mount.encode() in f.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Lines:
    """What a process prints, with a limit to the wait for it."""

    def __init__(self, stream):
        self.queue = queue.Queue()
        threading.Thread(target=self.read, args=(stream,), daemon=True).start()

    def read(self, stream):
        try:
            for line in stream:
                self.queue.put(line)
        except ValueError:
            pass  # closed

    def wait(self, is_it, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                if is_it(self.queue.get(timeout=left)):
                    return True
            except queue.Empty:
                pass
        return False


class Inotify(ClusterTest):
    def watch(self, *paths):
        watcher = Watcher(*paths)
        self.addCleanup(watcher.close)
        return watcher

    def remote(self, script):
        sh(f"cd {self.dir(self.n2)} && {script}")

    def test_changes_of_a_directory(self):
        watcher = self.watch(self.dir(self.n1))
        self.remote("echo one > f")
        watcher.wait("CREATE f", "MODIFY f", "CLOSE_WRITE f")
        self.remote("echo two >> f")
        watcher.wait("MODIFY f", "CLOSE_WRITE f")
        self.remote("chmod 600 f")
        watcher.wait("ATTRIB f")
        self.remote("mv f g")
        watcher.wait("MOVED_FROM f", "MOVED_TO g")
        self.remote("mkdir d; ln -s g link")
        watcher.wait("CREATE d", "CREATE link")
        self.remote("rm g link; rmdir d")
        watcher.wait("DELETE g", "DELETE link", "DELETE d")
        self.remote("echo again > f")
        watcher.wait("CREATE f", "MODIFY f", "CLOSE_WRITE f")
        with open(self.dir(self.n1, "f")) as f:
            self.assertEqual(f.read(), "again\n")
        self.assertEqual(os.listdir(self.dir(self.n1)), ["f"])

    def test_locks_are_not_told_of(self):
        watcher = self.watch(self.dir(self.n1))
        self.remote("flock @/lock true; flock @/rwlock true; touch f; flock f true")
        with open(self.dir(self.n1, "@", "lock")) as f:
            fcntl.flock(f, fcntl.LOCK_EX)
        self.remote("touch g")
        watcher.wait("CREATE f", "ATTRIB f", "CREATE g", "ATTRIB g")

    def test_names_that_were_looked_up_before(self):
        for name in ("f", "gone"):
            for _ in range(3):
                self.assertFalse(os.path.exists(self.dir(self.n1, name)))
        self.remote("echo x > gone")
        self.cluster.sync_all()
        os.stat(self.dir(self.n1, "gone"))
        time.sleep(1.2)  # a change is told of within a second, to whoever watches by then
        watcher = self.watch(self.dir(self.n1))
        self.remote("echo x > f; rm gone")
        watcher.wait("CREATE f", "MODIFY f", "CLOSE_WRITE f", "DELETE gone")
        self.assertTrue(os.path.exists(self.dir(self.n1, "f")))
        self.assertFalse(os.path.exists(self.dir(self.n1, "gone")))

    def test_changes_of_a_file(self):
        self.remote("echo x > f; echo y > g")
        self.cluster.sync_all()
        watcher = self.watch(self.dir(self.n1, "f"))
        self.remote("echo z > g; echo y > f")
        watcher.wait("MODIFY", "CLOSE_WRITE")
        self.remote("rm f")
        wait_for(lambda: "DELETE_SELF" in watcher.events(), 10, "its end")

    def test_moves_between_directories_and_over_files(self):
        self.remote("mkdir a b; echo x > a/f; echo y > b/g")
        self.cluster.sync_all()
        watcher = self.watch(self.dir(self.n1, "a"), self.dir(self.n1, "b"))
        self.remote("mv a/f b/f")
        watcher.wait("MOVED_FROM f", "MOVED_TO f")
        self.remote("mv b/f b/g")
        watcher.wait("ATTRIB g", "MOVED_FROM f", "MOVED_TO g")  # the source's attributes come first
        with open(self.dir(self.n1, "b", "g")) as f:
            self.assertEqual(f.read(), "x\n")
        self.remote("mv a b/")
        self.cluster.sync_all()
        wait_for(lambda: "MOVED_TO a" in watcher.events(), 10, "the directory")
        self.assertEqual(sorted(os.listdir(self.dir(self.n1, "b"))), ["a", "g"])

    def test_local_changes_are_told_once(self):
        watcher = self.watch(self.dir(self.n1))
        sh(f"cd {self.dir(self.n1)} && echo x > f && mv f g && chmod 600 g && rm g")
        wait_for(lambda: "DELETE g" in watcher.events(), 10, "all")
        # MODIFY may come again, when the write is committed: only then there is something to see.
        seen = [e for e in watcher.seen if not e.startswith("MODIFY")]
        self.assertEqual(seen, ["CREATE f", "CLOSE_WRITE f", "MOVED_FROM f", "MOVED_TO g", "ATTRIB g",
                                "DELETE g"])

    def test_who_looks_when_told_of_a_local_write_sees_it(self):
        path = self.dir(self.n1, "f")
        sh(f"echo 0 > {path}")
        watcher = self.watch(path)
        for i in range(1, 20):
            sh(f"echo {i} > {path}")

            def looked():
                told = "MODIFY" in watcher.events()
                watcher.seen = []
                if not told:
                    return False
                with open(path) as f:
                    return f.read() == f"{i}\n"
            wait_for(looked, 20, "a MODIFY that shows it", every=0.001)

    def test_what_the_room_makes_is_told(self):
        watcher = self.watch(self.dir(self.n1))
        fd = os.open(self.dir(self.n1, "@", "ephemeral", "me"), os.O_CREAT | os.O_RDWR)
        watcher.wait("CREATE me")
        os.close(fd)
        watcher.wait("DELETE me")

    def test_readers_see_the_committed_state_throughout(self):
        watcher = self.watch(self.dir(self.n1))
        stop, wrong = threading.Event(), []

        def look():
            path = self.dir(self.n1, "f")
            last = -1
            while not stop.is_set():
                try:
                    with open(path) as f:
                        text = f.read()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    wrong.append(error)
                    continue
                if text and int(text) < last:
                    wrong.append((text, last))
                last = max(last, int(text or -1))
        thread = threading.Thread(target=look)
        thread.start()
        for i in range(60):
            self.remote(f"echo {i} > tmp; mv tmp f")
            if i % 7 == 6:
                self.remote("rm f")
        stop.set()
        thread.join()
        self.assertEqual(wrong, [])
        wait_for(lambda: watcher.events().count("MOVED_TO f") == 60, 20, "all of them")
        self.assertEqual(watcher.seen.count("DELETE f"), 8)

    def test_what_was_removed_is_not_changed_by_telling_of_it(self):
        """Node 2 removes a file while the helper has it open, to tell node 1 that it was written."""
        path, here = self.dir(self.n2, "f"), self.dir(self.n1, "f")
        self.remote("echo old > f")
        self.cluster.sync_all()
        self.watch(self.dir(self.n1))
        reader = os.open(here, os.O_RDONLY)
        self.addCleanup(os.close, reader)
        wait_for(lambda: helpers_of(self.n1), 10, "the helper")
        helper = helpers_of(self.n1)[0]
        self.addCleanup(os.kill, helper, signal.SIGCONT)

        def is_stopped():
            with open(f"/proc/{helper}/stat") as f:
                return f.read().rpartition(") ")[2].startswith("T")

        def is_in_it():
            os.kill(helper, signal.SIGSTOP)
            wait_for(is_stopped, 20, "the helper's stop", every=0.0005)
            with open(f"/proc/{helper}/syscall") as f:
                call = f.read().split()[0]
            if call == FTRUNCATE:  # it was done
                return False
            links = [os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd")]
            return any(link.endswith("/f") for link in links)
        stop = time.time() + 60
        writer = subprocess.Popen(["bash", "-c", 'while :; do printf %05000d 0 > "$1"; done', "-", path])
        try:
            while not is_in_it():
                os.kill(helper, signal.SIGCONT)
                self.assertLess(time.time(), stop, "the helper never had the file open")
                time.sleep(random.random() / 1000)
        finally:
            writer.kill()
            writer.wait()
        self.remote("echo short > f; rm f")
        self.cluster.sync_all()
        os.kill(helper, signal.SIGCONT)
        with open(self.dir(self.n2, "later"), "w") as f:
            f.write("later")
        self.cluster.sync_all()
        time.sleep(0.5)  # all of it is told by then
        self.assertEqual(os.pread(reader, 10_000, 0), b"short\n")
        self.assertEqual(os.fstat(reader).st_size, len("short\n"))

    def test_what_comes_at_once_is_told_as_it_was_done(self):
        """Renames of what the same batch of commits has made or written."""
        here = next(node for node in self.cluster.followers() if node is not self.n2)
        self.remote("echo old > kept; echo old > f")
        self.cluster.sync_all()
        watcher = self.watch(self.dir(here))
        reader = os.open(self.dir(here, "kept"), os.O_RDONLY)
        self.addCleanup(os.close, reader)
        here.signal(signal.SIGSTOP)
        try:
            self.remote("echo one > tmp; mv tmp f; echo new > kept; mv kept g")
        finally:
            here.signal(signal.SIGCONT)
        wait_for(lambda: "MOVED_TO g" in watcher.events(), 10, "the last rename")
        self.assertEqual([event for event in watcher.seen if "MOVED" in event or "DELETE" in event],
                         ["MOVED_FROM tmp", "MOVED_TO f", "MOVED_FROM kept", "MOVED_TO g"])
        self.assertEqual(os.pread(reader, 100, 0), b"new\n")

    def test_a_storm_is_told_in_whole(self):
        watcher = self.watch(self.dir(self.n1))
        self.remote("for i in $(seq 300); do echo $i > f$i; done; rm f*")
        wait_for(lambda: sum(e.startswith("DELETE ") for e in watcher.events()) == 300, 30,
                 "300 deletions")
        self.assertEqual(sum(e.startswith("CREATE ") for e in watcher.seen), 300)
        self.assertEqual(os.listdir(self.dir(self.n1)), [])

    def start(self, *command, **options):
        process = subprocess.Popen(command, text=True, preexec_fn=die_with_parent, **options)

        def end():
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        self.addCleanup(end)
        return process

    def test_inotifywait(self):
        monitor = self.start("inotifywait", "-m", "-r", "--format", "%e %f", self.dir(self.n1),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while "established" not in monitor.stderr.readline():
            pass
        self.remote("mkdir sub")
        self.assertEqual(monitor.stdout.readline(), "CREATE,ISDIR sub\n")
        lines = Lines(monitor.stdout)
        for i in range(50):  # until it has begun to watch the new directory, too
            self.remote(f"echo x > sub/f{i}")
            if lines.wait(lambda line: line.startswith("CREATE f"), 0.5):
                return
        self.fail("nothing was told of the new directory")

    def test_tail(self):
        self.remote("echo before >> log")
        self.cluster.sync_all()
        tail = self.start("tail", "-n", "1", "-F", self.dir(self.n1, "log"), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
        self.assertEqual(tail.stdout.readline(), "before\n")
        self.remote("echo hello >> log")
        self.assertEqual(tail.stdout.readline(), "hello\n")
        self.remote("mv log log.1; echo new > log")
        self.assertEqual(tail.stdout.readline(), "new\n")

    def test_entr_runs_when_another_node_writes(self):
        self.remote("echo 0 > conf")
        self.cluster.sync_all()
        entr = self.start("entr", "-n", "cat", self.dir(self.n1, "conf"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
        entr.stdin.write(self.dir(self.n1, "conf") + "\n")
        entr.stdin.close()
        lines = Lines(entr.stdout)
        self.assertTrue(lines.wait(lambda line: line == "0\n", 20))
        for i in range(1, 4):
            time.sleep(0.3)  # it begins to watch after its command has run
            self.remote(f"echo {i} > conf")
            self.assertTrue(lines.wait(lambda line: line == f"{i}\n", 20))

    def test_the_helper_ends_with_its_daemon(self):
        def helpers():
            return helpers_of(self.n3)
        wait_for(lambda: len(helpers()) == 1, 10, "its helper")
        self.n3.kill()
        wait_for(lambda: not helpers(), 10, "the end of its helper")
        self.n3.start()
        self.n3.wait_ready()
        wait_for(lambda: len(helpers()) == 1, 10, "a helper of the new daemon's")


class SwitchedOff(ClusterTest):
    nodes = 1
    options = {"extra": "zabfs.inotify=false\n"}

    def test_there_is_no_helper(self):
        self.assertEqual(children_of(self.n1.process.pid, "zabfs-inotify"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
