"""What systemd is told of zabfsd: by the socket that it names, without a systemd."""
import os
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, OwnClusterTest, wait_for  # noqa: E402


class ServiceSocket:
    """The messages that came, in their order."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.lines = []

    def read(self):
        while True:
            try:
                self.lines += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.lines

    def statuses(self):
        return [line for line in self.read() if line.startswith("STATUS=")]


class Service(OwnClusterTest):
    def start(self, node, watchdog_us=None):
        service = ServiceSocket(node.directory)
        self.addCleanup(service.socket.close)
        os.environ["NOTIFY_SOCKET"] = service.path
        if watchdog_us:
            os.environ["WATCHDOG_USEC"] = str(watchdog_us)
        try:
            node.start()
        finally:
            os.environ.pop("NOTIFY_SOCKET")
            os.environ.pop("WATCHDOG_USEC", None)
        return service

    def test_ready_is_said_once_there_is_a_quorum_and_a_mount(self):
        self.cluster = Cluster(3)
        first, *others = self.cluster.nodes
        service = self.start(first)
        wait_for(service.statuses, 60, "a status")
        wait_for(lambda: "missing: server 2" in service.statuses()[-1], 60,
                 "a status that names who is missing")
        self.assertIn("quorum no", service.statuses()[-1])
        self.assertNotIn("READY=1", service.read())
        for node in others:
            node.start()
        wait_for(lambda: "READY=1" in service.read(), 90, "READY=1")
        self.assertTrue(os.path.ismount(first.mount))
        self.assertEqual(first.cluster_state()["quorum"], "yes")
        wait_for(lambda: "quorum yes" in service.statuses()[-1], 60, "a status with the quorum")
        for node in others:
            node.kill()
        wait_for(lambda: "quorum no" in service.statuses()[-1], 60, "a status without the quorum")
        first.process.terminate()
        self.assertEqual(first.process.wait(20), 0)
        self.assertIn("STOPPING=1", service.read())
        self.assertEqual(service.read().count("READY=1"), 1)

    def test_the_watchdog_hears_of_a_daemon_that_works_and_of_no_other(self):
        self.cluster = Cluster(1)
        node = self.cluster.nodes[0]
        service = self.start(node, watchdog_us=400_000)

        def count():
            return service.read().count("WATCHDOG=1")
        wait_for(lambda: count() > 5, 60, "signs of life")
        node.process.send_signal(signal.SIGSTOP)
        before = count()
        time.sleep(1)
        self.assertLessEqual(count(), before + 1)  # one may have been on its way
        node.process.send_signal(signal.SIGCONT)
        wait_for(lambda: count() > before + 5, 60, "signs of life again")

if __name__ == "__main__":
    unittest.main(verbosity=2)
