"""zabfs debug: the bundle for support has all parts, names what it lacks, and has no secret in it."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, OwnClusterTest, ZABFS, run, wait_for  # noqa: E402

NOBODY = 65534
SECRETS = {
    "DigestAuthenticationProvider.superDigest": "super:SECRETdigest=",
    "zabfs.sasl.user.bob": "SECRETsasl",
    "ssl.keyStore.password": "SECRETstore",
    "ssl.quorum.trustStore.password": "SECRETtrust",
    "someKeyOfAPlugin": "SECRETunknown",
}
PARTS = {"cluster.txt", "data.txt", "health.txt", "index.txt", "limits.txt", "log-level.txt", "log.txt",
         "machine.txt", "members.txt", "metrics.txt", "mounts.txt", "process.txt", "status.json",
         "status.txt", "versions.txt", "zoo.cfg"}


class Debug(OwnClusterTest):
    def start(self):
        extra = "".join(f"{key}={value}\n" for key, value in SECRETS.items())
        self.cluster = Cluster(1, extra="# password SECRETcomment\nautopurge.snapRetainCount=5\n" + extra)
        self.cluster.start()
        self.node = self.cluster.nodes[0]
        self.scratch = tempfile.mkdtemp(dir=self.cluster.directory)
        os.chmod(self.scratch, 0o777)
        return self.node

    def bundle(self, *options, **how):
        how.setdefault("cwd", self.scratch)
        return run(ZABFS, "debug", "--mount", self.node.mount, "--config", self.node.config, *options, **how)

    def parts(self, file):
        with tarfile.open(file) as tar:
            members = tar.getmembers()
            tops = {member.name.split("/")[0] for member in members}
            self.assertEqual(len(tops), 1)
            return {os.path.basename(member.name): tar.extractfile(member).read().decode()
                    for member in members if member.isfile()}

    def test_a_bundle_has_everything_but_secrets(self):
        node = self.start()
        with open(node.path("file"), "w") as file:
            file.write("SECRETdata")
        result = self.bundle()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        names = os.listdir(self.scratch)
        self.assertEqual(len(names), 1)
        self.assertRegex(names[0], r"^zabfs-debug-.+-\d{8}T\d{6}Z\.tar$")
        path = os.path.join(self.scratch, names[0])
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        parts = self.parts(path)
        self.assertEqual(set(parts), PARTS)
        with open(path, "rb") as file:
            self.assertNotIn(b"SECRET", file.read())
        for name in SECRETS:
            self.assertIn(f"{name}=(left out: ", parts["zoo.cfg"])
        self.assertIn("autopurge.snapRetainCount=5\n", parts["zoo.cfg"])
        self.assertTrue(json.loads(parts["status.json"])["quorum"])
        self.assertIn("node 1, leader", parts["status.txt"])
        self.assertIn("quorum: 1 of 1 voters, may lose 0", parts["status.txt"])
        self.assertRegex(parts["status.txt"], "(?m)^disk ok: ")
        self.assertIn("mounted at " + node.mount, parts["log.txt"])
        self.assertIn("zabfs_", parts["metrics.txt"])
        self.assertIn("zabfs/identity", parts["data.txt"])
        self.assertRegex(parts["data.txt"], r"\d+ of \d+ bytes free")
        self.assertIn("Max open files", parts["limits.txt"])
        self.assertIn(node.mount, parts["mounts.txt"])
        for word in ("zabfs 0", "Linux", "fusermount3", "PRETTY_NAME"):
            self.assertIn(word, parts["versions.txt"])
        for name in PARTS - {"index.txt"}:
            self.assertRegex(parts["index.txt"], rf"(?m)^{re.escape(name)} +\d+ bytes  ")
        self.assertNotIn("missing", parts["index.txt"])
        for line in parts["index.txt"].splitlines():
            self.assertIn(line, result.stdout)

    def test_a_bundle_says_why_a_member_cannot_be_reached(self):
        self.cluster = Cluster(3, tick_ms=300)
        self.node = self.cluster.nodes[0]
        self.scratch = tempfile.mkdtemp(dir=self.cluster.directory)
        self.node.start()
        wait_for(lambda: "refuses connections" in run(ZABFS, "status", "--mount", self.node.mount).stdout,
                 40, "why the others are not there")
        wait_for(lambda: "refuses connections" in self.node.log_text(), 40, "the same in the log")
        target = os.path.join(self.scratch, "alone.tar")
        self.assertEqual(self.bundle("-o", target).returncode, 0)
        parts = self.parts(target)
        for name in ("status.txt", "cluster.txt", "health.txt", "log.txt", "status.json"):
            self.assertIn("refuses connections", parts.get(name, ""), name)
        self.assertFalse(json.loads(parts["status.json"])["quorum"])

    def test_a_node_without_a_mount_is_asked_at_its_client_port(self):
        self.cluster = Cluster(1)
        self.node = self.cluster.nodes[0]
        self.scratch = tempfile.mkdtemp(dir=self.cluster.directory)
        with open(self.node.config) as file:
            lines = [line for line in file if not line.startswith("zabfs.mount=")]
        with open(self.node.config, "w") as file:
            file.writelines(lines)
        self.node.start()
        address = f"127.0.0.1:{self.node.client_port}"
        wait_for(lambda: run(ZABFS, "status", "--server", address).returncode == 0, 20, "the server")
        target = os.path.join(self.scratch, "server.tar")
        result = run(ZABFS, "debug", "-o", target, "--config", self.node.config,
                     env={**os.environ, "ZABFS_MOUNT": ""})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        parts = self.parts(target)
        self.assertIn(f"{address}: node 1, leader", parts["status.txt"])
        self.assertTrue(json.loads(parts["status.json"])["quorum"])
        self.assertRegex(parts["index.txt"], r"(?m)^metrics.txt +missing: nothing of zabfs is mounted here")

    def test_nothing_is_written_over(self):
        self.start()
        target = os.path.join(self.scratch, "mine.tar")
        self.assertEqual(self.bundle("-o", target).returncode, 0)
        before = os.stat(target)
        result = self.bundle("-o", target)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{target}: File exists", result.stderr)
        self.assertEqual(os.stat(target).st_mtime_ns, before.st_mtime_ns)
        link = os.path.join(self.scratch, "link")
        os.symlink(os.path.join(self.scratch, "victim"), link)
        self.assertEqual(self.bundle("-o", link).returncode, 1)
        self.assertFalse(os.path.exists(os.path.join(self.scratch, "victim")))

    def test_a_node_that_hangs_is_described_all_the_same(self):
        node = self.start()
        target = os.path.join(self.scratch, "hung.tar")
        node.signal(signal.SIGSTOP)
        try:
            result = self.bundle("-o", target, timeout=200)
        finally:
            node.signal(signal.SIGCONT)
        self.assertEqual(result.returncode, 0)
        parts = self.parts(target)
        self.assertRegex(parts["index.txt"], r"(?m)^status.txt +missing: .* did not end within 10 s")
        self.assertRegex(parts["index.txt"], r"(?m)^metrics.txt +missing: not asked for")
        self.assertIn("data.txt", parts)
        self.assertIn("log.txt", parts)
        wait_for(node.has_quorum, 30, "the node again")

    def test_another_user_gets_what_he_may_read(self):
        node = self.start()
        os.chmod(node.config, 0o600)
        target = os.path.join(self.scratch, "theirs.tar")
        result = self.bundle("-o", target, user=NOBODY, group=NOBODY)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        parts = self.parts(target)
        self.assertRegex(parts["index.txt"], r"(?m)^zoo.cfg +missing: .*Permission denied")
        self.assertNotIn("zoo.cfg", parts)
        self.assertIn("status.txt", parts)
        self.assertEqual(os.stat(target).st_uid, NOBODY)

    def test_root_is_led_to_no_file_by_another_users_process(self):
        self.start()
        with open(os.path.join(self.scratch, "60"), "w") as file:
            file.write("zabfs.mount=/nowhere\n")
        fake = shutil.copy("/bin/sleep", os.path.join(self.scratch, "zabfsd"))
        for user, shows in ((0, True), (NOBODY, False)):
            process = subprocess.Popen([fake, "60"], user=user, group=user, extra_groups=[], cwd=self.scratch)
            try:
                target = os.path.join(self.scratch, f"of-{user}.tar")
                self.assertEqual(run(ZABFS, "debug", "-o", target, "--mount", "/nowhere").returncode, 0)
            finally:
                process.kill()
                process.wait()
            self.assertEqual("zabfs.mount=/nowhere\n" in self.parts(target).get("zoo.cfg", ""), shows)

    def test_without_a_node_the_reasons_are_told(self):
        self.start()
        self.node.terminate()
        target = os.path.join(self.scratch, "none.tar")
        result = run(ZABFS, "debug", "-o", target, "--config", self.node.config, cwd=self.scratch,
                     env={**os.environ, "ZABFS_MOUNT": self.node.mount})
        self.assertEqual(result.returncode, 0)
        index = self.parts(target)["index.txt"]
        self.assertRegex(index, r"(?m)^status.txt +missing: ")
        self.assertRegex(index, r"(?m)^zoo.cfg +\d+ bytes  ")
        self.assertEqual(os.listdir(self.scratch), ["none.tar"])


if __name__ == "__main__":
    unittest.main()
