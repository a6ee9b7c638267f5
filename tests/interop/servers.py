"""Servers to compare: Apache ZooKeeper's and ours, each alone, on a free port."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFSD, die_with_parent, free_ports, wait_for  # noqa: E402

JAVA_CLASSES = "/usr/share/java/zookeeper.jar"


class Server:
    """One server, with its own directory. `settings` are lines of zoo.cfg."""
    patience_s = 30  # until it answers

    def __init__(self, settings=()):
        self.directory = tempfile.mkdtemp(prefix="zabfs-interop-")
        self.port = free_ports(1)[0]
        self.address = ("127.0.0.1", self.port)
        os.mkdir(os.path.join(self.directory, "data"))
        self.config = os.path.join(self.directory, "zoo.cfg")
        with open(self.config, "w") as f:
            f.write(f"tickTime=2000\ndataDir={self.directory}/data\nclientPort={self.port}\n"
                    "maxClientCnxns=0\nadmin.enableServer=false\n" +
                    "".join(line + "\n" for line in settings))
        self.log = os.path.join(self.directory, "log")
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=die_with_parent)
        wait_for(self.answers, self.patience_s, f"{type(self).__name__} on port {self.port}")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"exited {self.process.returncode}: {self.log_text()}")
        return b"Mode:" in self.word("srvr")

    def word(self, word):
        with socket.create_connection(self.address, 5) as s:
            s.sendall(word.encode())
            text = b""
            while True:
                more = s.recv(65536)
                if not more:
                    return text
                text += more

    def whole_log(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def log_text(self):
        return self.whole_log()[-4000:]

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        reports = "Sanitizer" in self.whole_log()
        last = self.log_text() if reports else ""
        shutil.rmtree(self.directory, ignore_errors=True)
        if reports:
            raise AssertionError("a sanitizer's report: " + last)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


class Zabfs(Server):
    def command(self):
        return [ZABFSD, self.config]


class Java(Server):
    def command(self):
        # The reaper's interval is a property of the process alone: in zoo.cfg Java ignores it.
        return ["java", "-Xmx400m", "-cp", JAVA_CLASSES, "-Dzookeeper.admin.enableServer=false",
                "-Dznode.container.checkIntervalMs=3600000",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config]
