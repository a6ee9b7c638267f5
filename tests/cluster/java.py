"""A server of Apache ZooKeeper in an ensemble of zabfs servers."""
import os
import re
import subprocess
import sys

from harness import Node, die_with_parent, run, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from servers import JAVA_CLASSES  # noqa: E402

JAVA_STARTS_S = 240  # also on a busy machine
LOGGER = "/usr/share/java/slf4j-simple.jar"  # to standard error
# TLS needs Netty.
CLASSES = ":".join([LOGGER, JAVA_CLASSES] + [
    f"/usr/share/java/netty-{part}.jar"
    for part in ("buffer", "codec", "common", "handler", "resolver", "transport")])


class JavaNode(Node):
    """It has no mount. `options` are Java's."""
    options = ()
    heap_mb = 400

    def launcher(self):
        """What Java is started with, in front of it; so is who asks the server how it is."""
        return []

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.launcher(), "java", f"-Xmx{self.heap_mb}m", "-cp", CLASSES,
                 "-Dzookeeper.admin.enableServer=false", *self.options,
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def srvr(self):
        return run(*self.launcher(), "timeout", "10", "busybox", "nc", "127.0.0.1",
                   str(self.client_port), input="srvr").stdout

    def cluster_state(self):
        mode = re.search("^Mode: (.*)$", self.srvr(), re.M)
        return {"quorum": "yes" if mode else "no", "role": mode[1] if mode else "looking"}

    def listens(self):
        return "ZooKeeper" in self.srvr()

    def wait_listens(self):
        wait_for(self.listens, JAVA_STARTS_S, "Java's server")
