"""kazoo's own test suite, through its own cluster harness, with zabfsd in the place of Java's
server (launcher/java).
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFSD, die_with_parent, free_range  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE = "/usr/lib/python3/dist-packages/kazoo/tests"


class Kazoo(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-kazoo-")

    def tearDown(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def test_its_whole_suite(self):
        environment = {
            "PATH": os.path.join(HERE, "launcher") + ":/usr/bin:/bin", "HOME": self.directory,
            "TMPDIR": self.directory, "ZABFSD": ZABFSD, "ZOOKEEPER_VERSION": "3.8.0",
            "ZOOKEEPER_CLASSPATH": "zabfsd needs none",
            "ZOOKEEPER_PORT_OFFSET": str(free_range(40)),
            "PYTHONDONTWRITEBYTECODE": "1"}
        suite = subprocess.run(
            ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--timeout", "120",
             "-W", "ignore", SUITE],
            cwd=self.directory, env=environment, capture_output=True, text=True, timeout=900,
            preexec_fn=die_with_parent)
        tail = suite.stdout[-6000:]
        self.assertEqual(suite.returncode, 0, tail)
        print(tail.splitlines()[-1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
