"""What a node logs: the form of its lines, its level, and how many lines others can make it write."""
import os
import re
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import Cluster, ClusterTest, OwnClusterTest, ZABFS, run, wait_for  # noqa: E402

STORM = 200
TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "
                   r"(debug|info|warning|error|critical) \S.*")
NOBODY = 65534


def at_once(count, call):
    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Logs(ClusterTest):
    nodes = 1
    options = {"extra": "maxClientCnxns=0\n"}

    def setUp(self):
        super().setUp()
        self.address = ("127.0.0.1", self.n1.client_port)
        time.sleep(3)  # what the log tells of another test's lines is over
        self.begin = len(self.n1.log_text())

    def come_and_go(self):
        session = raw.Session(self.address)
        session.request(raw.CLOSE)
        session.close()

    def lines(self, *words):
        lines = self.n1.log_text()[self.begin:].splitlines()
        return [line for line in lines if all(word in line for word in words)]

    def wait_for_number(self, *words):
        """The numbers that a storm's lines end with, once all of the storm was told."""
        def told():
            numbers = [re.search(r", and (\d+) more like it in the last \d+ s$", line)
                       for line in self.lines(*words)]
            count = sum(int(found[1]) + 1 if found else 1 for found in numbers)
            return count if count >= STORM else None
        return wait_for(told, 10, f"the log's word of {STORM} of {words}")

    def test_lines_have_their_time_with_the_offset(self):
        for line in self.n1.log_text().splitlines():
            self.assertRegex(line, TIMED)

    def test_a_storm_of_sessions_that_close_is_a_few_lines(self):
        at_once(STORM, self.come_and_go)
        self.assertEqual(self.wait_for_number("session 0x", "closed"), STORM)
        self.assertLess(len(self.lines("session 0x")), 8)

    def test_a_storm_of_refused_clients_is_a_few_lines(self):
        def refused():
            self.assertEqual(raw.Session(self.address, 0x1234567, b"x" * 16).id, 0)
        at_once(STORM, refused)
        self.assertEqual(self.wait_for_number("which is over"), STORM)
        self.assertLess(len(self.lines("which is over")), 8)

    def test_a_storm_of_garbage_is_a_few_lines_and_hides_no_other(self):
        def garbage():
            with socket.create_connection(self.address, timeout=10) as s:
                s.sendall(b"\0\0\0\4abcd")
                s.recv(100)
        at_once(STORM, garbage)
        session = raw.Session(self.address, timeout_ms=1)  # the shortest that there is
        session.auth("nonsense", b"x")
        wait_for(lambda: self.lines("failed to authenticate", "nonsense"), 10, "the line of another kind")
        self.assertEqual(self.wait_for_number("not a connect request"), STORM)
        self.assertLess(len(self.lines("not a connect request")), 8)
        wait_for(lambda: self.lines("session 0x", "closed"), 20, "the end of its session")

    def test_the_level_is_set_until_the_next_start(self):
        self.assertEqual(run(ZABFS, "log-level", "--mount", self.n1.mount).stdout, "info\n")
        result = run(ZABFS, "log-level", "debug", "--mount", self.n1.mount)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("until it is started again", result.stdout)
        try:
            with open(self.n1.path("@", "log-level")) as file:
                self.assertEqual(file.read(), "debug\n")
            at_once(20, self.come_and_go)
            wait_for(lambda: len(self.lines(" debug ", "has session 0x")) == 20, 10, "each session")
            wait_for(lambda: len(self.lines(" info ", "closed")) == 20, 10, "each end of a session")
            self.assertEqual(run(ZABFS, "log-level", "error", "--mount", self.n1.mount).returncode, 0)
            wait_for(lambda: self.lines("the log's level is error from now on; it was debug"), 20, "it")
            before = len(self.n1.log_text())
            self.come_and_go()
            self.assertEqual(raw.Session(self.address, 77, b"x" * 16).id, 0)
            self.assertEqual(len(self.n1.log_text()), before)
        finally:
            run(ZABFS, "log-level", "info", "--mount", self.n1.mount)

    def test_a_level_that_is_none_is_refused(self):
        result = run(ZABFS, "log-level", "loud", "--mount", self.n1.mount)
        self.assertEqual(result.returncode, 2)
        self.assertIn("loud is no level: debug, info, warning, error", result.stderr)
        with self.assertRaises(OSError) as refused, open(self.n1.path("@", "log-level"), "w") as file:
            file.write("loud\n")
        self.assertEqual(refused.exception.errno, 22)

    def test_only_root_sets_the_level(self):
        result = run(ZABFS, "log-level", "debug", "--mount", self.n1.mount, user=NOBODY, group=NOBODY)
        self.assertEqual(result.returncode, 1)
        self.assertIn("root sets the level", result.stderr)
        self.assertEqual(run(ZABFS, "log-level", "--mount", self.n1.mount).stdout, "info\n")


class Journal(OwnClusterTest):
    def test_the_journal_gets_priorities_and_no_times(self):
        self.cluster = Cluster(1, extra="unknownKey=1\n")
        node = self.cluster.nodes[0]
        open(node.log, "a").close()
        st = os.stat(node.log)
        os.environ["JOURNAL_STREAM"] = f"{st.st_dev}:{st.st_ino}"
        try:
            self.cluster.start()
        finally:
            del os.environ["JOURNAL_STREAM"]
        wait_for(lambda: "\n<6>mounted at " in node.log_text(), 10, "the line of the mount")
        lines = node.log_text().splitlines()
        for line in lines:
            self.assertRegex(line, r"^<[2-7]>[^<0-9]")
        self.assertTrue([line for line in lines if line.startswith("<4>") and "unknownKey" in line])

    def test_the_level_of_the_configuration(self):
        self.cluster = Cluster(1, extra="zabfs.log.level=error\n")
        self.cluster.start()
        self.assertEqual(self.cluster.nodes[0].log_text(), "")


if __name__ == "__main__":
    unittest.main()
