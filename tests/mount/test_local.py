"""What ordinary programs do to files and expect of a local filesystem, on two nodes."""
import fcntl
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, die_with_parent, sh, wait_for  # noqa: E402


class Local(ClusterTest):
    nodes = 2

    def setUp(self):
        super().setUp()
        self.here, self.there = self.n1, self.n2

    def p(self, *names):
        return self.dir(self.here, *names)

    def q(self, *names):
        return self.dir(self.there, *names)

    def write(self, path, text):
        with open(path, "w") as f:
            f.write(text)

    def read(self, path):
        self.cluster.sync_all()
        with open(path) as f:
            return f.read()

    def start(self, *command, **options):
        process = subprocess.Popen(command, preexec_fn=die_with_parent, text=True, **options)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        return process

    # ---- writes

    def test_a_copy_that_does_not_fit_changes_nothing(self):
        with open("/dev/urandom", "rb") as noise:
            data = noise.read(2_000_000)
        large = os.path.join(self.cluster.directory, "large")
        with open(large, "wb") as f:
            f.write(data)
        for name, before in (("old", "old\n"), ("new", "")):
            if before:
                self.write(self.p(name), before)
            self.assertNotEqual(subprocess.run(["cp", large, self.p(name)],
                                               stderr=subprocess.DEVNULL).returncode, 0)
            self.assertEqual(self.read(self.q(name)), before)
            with self.assertRaises(OSError), open(self.p(name), "wb") as f:
                f.write(data)
            self.assertEqual(self.read(self.q(name)), before)

    def test_loggers_that_truncate_when_they_begin(self):
        self.write(self.p("log"), "old\n")
        one = os.open(self.p("log"), os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
        two = os.open(self.q("log"), os.O_WRONLY | os.O_APPEND)
        try:
            self.assertEqual(self.read(self.q("log")), "")
            for number in range(20):
                os.write(one, b"one %d\n" % number)
                os.write(two, b"two %d\n" % number)
                time.sleep(0.05)
            lines = [f"{name} {number}" for name in ("one", "two") for number in range(20)]
            wait_for(lambda: sorted(self.read(self.p("log")).split("\n")[:-1]) == sorted(lines), 2)
            os.ftruncate(one, 0)
            self.assertEqual(self.read(self.q("log")), "")
            os.write(two, b"last\n")
            wait_for(lambda: self.read(self.p("log")) == "last\n", 2)
        finally:
            os.close(one)
            os.close(two)

    def test_a_pidfile_is_there_while_it_is_held(self):
        self.write(self.p("pid"), "999999\n")
        with open(self.p("pid"), "a+") as pidfile:
            fcntl.flock(pidfile, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pidfile.seek(0)
            pidfile.truncate()
            pidfile.write("1234\n")
            pidfile.flush()
            wait_for(lambda: self.read(self.q("pid")) == "1234\n", 2)

    def test_copytruncate_of_a_busy_log(self):
        self.write(self.p("log"), "")
        count = 400
        writers = [self.start("bash", "-c", f"for i in $(seq {count}); do echo {name} $i; "
                              f"[ $((i % 20)) = 0 ] && sleep 0.1; done >> {path}")
                   for name, path in (("one", self.p("log")), ("two", self.q("log")))]
        rotations = 0
        while any(writer.poll() is None for writer in writers):
            # As logrotate does it.
            copy = os.open(self.p("log"), os.O_RDWR)
            with open(self.p(f"log.{rotations}"), "wb") as kept:
                kept.write(os.read(copy, 1 << 20))
            os.ftruncate(copy, 0)
            os.close(copy)
            rotations += 1
            time.sleep(0.3)
        self.assertGreater(rotations, 2)
        names = ["log"] + [f"log.{number}" for number in range(rotations)]
        lines = "".join(self.read(self.q(name)) for name in names).split("\n")[:-1]
        self.assertEqual(len(set(lines)), len(lines), "lines are there twice")
        # What is appended between copy and truncation is lost, as on any filesystem.
        self.assertGreater(len(lines), count)

    def test_progress_of_a_job_shows_in_its_new_output_file(self):
        job = "for i in 1 2 3; do echo $i; read -r _; done"
        for name in ("status", "status.append"):
            redirection = ">>" if name.endswith("append") else ">"
            process = self.start("bash", "-c", f"{{ {job}; }} {redirection} {self.p(name)}",
                                 stdin=subprocess.PIPE)
            for number in (1, 2, 3):
                expected = "".join(f"{i}\n" for i in range(1, number + 1))
                wait_for(lambda: self.read(self.q(name)) == expected, 3, expected)
                process.stdin.write("\n")
                process.stdin.flush()
            self.assertEqual(process.wait(), 0)
        # A replacement shows nothing before it is whole.
        process = self.start("bash", "-c", f"{{ {job}; }} > {self.p('status')}",
                             stdin=subprocess.PIPE)
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(2.5)
        self.assertEqual(self.read(self.q("status")), "1\n2\n3\n")
        process.communicate("\n\n")
        self.assertEqual(self.read(self.q("status")), "1\n2\n3\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
