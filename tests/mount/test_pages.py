"""Contents through the kernel's page cache, while others change them."""
import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, die_with_parent, sh, wait_for  # noqa: E402

CALM = 0.05
# Reads a file in one way until a time comes, and says what was no version or went back.
READER = """
import os, sys, time
path, way, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
held = os.open(path, os.O_RDONLY) if way == "held" else None
last, reads, end = 0, 0, time.monotonic() + seconds
while time.monotonic() < end:
    reads += 1
    if way == "stat":
        os.stat(path)
        continue
    if held is not None:
        text = os.pread(held, 8192, 0)
    else:
        with open(path, "rb") as f:
            text = f.read()
    number, lines = (int(n) for n in text.split(b"\\n", 1)[0].split())
    if text != b"%d %d\\n" % (number, lines) * lines:
        sys.exit(f"{way}: no version: {text!r}")
    if number < last:
        sys.exit(f"{way}: {number} after {last}")
    last = number
print(reads)
"""


def content(number):
    lines = number * 13 % 700 + 1
    return f"{number} {lines}\n" * lines


class Pages(ClusterTest):
    nodes = 2
    options = {"extra": f"zabfs.cacheAfter={int(CALM * 1000)}\n"}

    def make(self, text):
        """A file that is calm on both nodes: its path on each."""
        with open(self.dir(self.n2, "f"), "w") as f:
            f.write(text)
        self.calm()
        return self.dir(self.n1, "f"), self.dir(self.n2, "f")

    def calm(self):
        self.cluster.sync_all()
        time.sleep(3 * CALM)

    def change(self, path, text):
        with open(path, "w") as f:
            f.write(text)
        self.cluster.sync_all()

    def open(self, path, warm=True):
        """A handle that reads through the page cache."""
        if warm:
            with open(path) as f:
                f.read()
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        return fd

    def test_pages_are_read_without_the_daemon(self):
        here, _ = self.make("x" * 5000)
        fd = self.open(here)
        self.assertEqual(len(os.pread(fd, 8192, 0)), 5000)
        reader = subprocess.Popen(
            [sys.executable, "-c", f"import os; os.read(0, 1); print(len(os.pread({fd}, 8192, 0)))"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(fd,), text=True,
            preexec_fn=die_with_parent)
        time.sleep(0.5)  # it has begun, and needs nothing else from the mount
        self.n1.process.send_signal(signal.SIGSTOP)
        try:
            self.assertEqual(reader.communicate("x", timeout=20)[0], "5000\n")
        finally:
            self.n1.process.send_signal(signal.SIGCONT)
            reader.kill()
            reader.wait()

    def test_a_held_handle_sees_what_is_committed(self):
        for there_is_local in (False, True):
            here, there = self.make("first\n")
            fd = self.open(here)
            self.assertEqual(os.pread(fd, 100_000, 0), b"first\n")
            for text in ("second, longer\n", "3\n", "", "y" * 20_000, "z" * 4096, "s" * 4095):
                self.change(here if there_is_local else there, text)
                self.assertEqual(os.stat(here).st_size, len(text))
                self.assertEqual(os.fstat(fd).st_size, len(text))
                self.assertEqual(os.pread(fd, 100_000, 0), text.encode())
                with open(here) as f:
                    self.assertEqual(f.read(), text)

    def test_a_pass_goes_on_in_its_version(self):
        here, there = self.make("abcdefgh" * 1000)
        fd = self.open(here)
        self.assertEqual(os.read(fd, 5), b"abcde")
        self.change(there, "NEW" * 4000)
        self.assertEqual(os.stat(here).st_size, 12_000)  # that takes nothing from the reader
        rest = b""
        while part := os.read(fd, 999):
            rest += part
        self.assertEqual(b"abcde" + rest, b"abcdefgh" * 1000)
        os.lseek(fd, 0, os.SEEK_SET)
        self.assertEqual(os.read(fd, 100_000), b"NEW" * 4000)

    def test_a_pass_goes_on_in_its_version_while_others_start_over(self):
        versions = [(f"{n} {'x' * (n * 2_000 % 7_000)}" * 2).encode() for n in range(1, 8)]
        here, there = self.make(versions[0].decode())
        sleepers = []
        for earlier, later in zip(versions, versions[1:]):
            sleepers.append((self.open(here), earlier, [b""]))
            sleepers[-1][2].append(os.read(sleepers[-1][0], 700))
            other = self.open(here)
            self.change(there, later.decode())
            self.assertEqual(os.pread(other, 100_000, 0), later)
            for fd, version, parts in sleepers:  # each in the middle of another version
                parts.append(os.read(fd, 50))
                self.assertEqual(os.pread(other, 100_000, 0), later)
                self.assertEqual(os.stat(here).st_size, len(later))
                time.sleep(0.01)  # by then the kernel may keep what it is told
                self.assertEqual(os.stat(here).st_size, len(later))
            self.calm()
        for fd, version, parts in sleepers:
            while part := os.read(fd, 400):
                parts.append(part)
            self.assertEqual(b"".join(parts), version)

    def test_what_is_appended_is_followed(self):
        here, there = self.make("one\n")
        fd = self.open(here)
        self.assertEqual(os.read(fd, 100), b"one\n")
        self.assertEqual(os.read(fd, 100), b"")
        for line, path in ((b"two\n", there), (b"three\n", here), (b"four\n", there)):
            with open(path, "ab") as f:
                f.write(line)
            self.cluster.sync_all()
            wait_for(lambda: os.read(fd, 100) == line, 20, line)

    def test_removed_and_replaced_files(self):
        here, there = self.make("old " * 10)
        fd = self.open(here)
        self.assertEqual(os.read(fd, 4), b"old ")
        sh(f"echo new > {there}.tmp; mv {there}.tmp {there}")
        self.cluster.sync_all()
        with open(here) as f:
            self.assertEqual(f.read(), "new\n")
        self.assertEqual(os.pread(fd, 100, 0), b"old " * 10)  # it has the file that it opened
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.calm()
        other = self.open(here)
        os.unlink(there)
        self.cluster.sync_all()
        self.assertEqual(os.pread(other, 100, 0), b"new\n")
        self.assertEqual(os.fstat(other).st_nlink, 0)

    def test_a_writer_here_shows_nothing_before_its_commit(self):
        here, there = self.make("committed\n")
        fd = self.open(here)
        self.assertEqual(os.pread(fd, 100, 0), b"committed\n")
        writer = os.open(here, os.O_WRONLY)
        os.pwrite(writer, b"z" * 3000, 0)
        for _ in range(3):
            self.assertEqual(os.pread(fd, 100_000, 0), b"committed\n")
            self.assertEqual(os.fstat(fd).st_size, 10)
        os.close(writer)
        self.assertEqual(os.pread(fd, 100_000, 0), b"z" * 3000)
        os.truncate(here, 7)
        self.assertEqual(os.pread(fd, 100_000, 0), b"z" * 7)
        writer = os.open(here, os.O_WRONLY | os.O_TRUNC)
        os.write(writer, b"q")
        self.assertEqual(os.pread(fd, 100_000, 0), b"z" * 7)
        os.close(writer)
        self.assertEqual(os.pread(fd, 100_000, 0), b"q")

    def start_reader(self, path, way, seconds):
        return subprocess.Popen([sys.executable, "-c", READER, path, way, str(seconds)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=die_with_parent)

    def end_readers(self, readers):
        for reader in readers:
            out, errors = reader.communicate(timeout=60)
            self.assertEqual(reader.returncode, 0, errors)
            self.assertGreater(int(out), 100)

    def test_only_versions_are_seen_and_none_before_an_earlier_one(self):
        for pause, seconds in ((0, 4), (0.03, 4), (2 * CALM, 6)):
            here, there = self.make(content(1))
            readers = [self.start_reader(here, way, seconds)
                       for way in ("open", "held", "stat", "open")]
            number, end = 1, time.monotonic() + seconds
            while time.monotonic() < end:
                number += 1
                fd = os.open(there, os.O_WRONLY | os.O_TRUNC)
                os.write(fd, content(number).encode())
                os.close(fd)
                time.sleep(pause)
            self.end_readers(readers)
            self.assertGreater(number, 10)

    def test_readers_that_wait_long_for_a_cpu_see_whole_versions(self):
        here, there = self.make(content(1))
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                 preexec_fn=die_with_parent) for _ in range(8 * os.cpu_count())]
        try:
            readers = [self.start_reader(here, "open", 20) for _ in range(6 * os.cpu_count())]
            number, end = 1, time.monotonic() + 20
            while time.monotonic() < end:
                number += 1
                with open((there, there, here)[number % 3], "w") as f:
                    f.write(content(number))
                time.sleep(0.3 * random.random())
            self.end_readers(readers)
        finally:
            for process in busy:
                process.kill()
                process.wait()


if __name__ == "__main__":
    unittest.main(verbosity=2)
