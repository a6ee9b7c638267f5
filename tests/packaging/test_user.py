"""zabfsd of a user who is not root: fusermount3 mounts and unmounts for it.

The device of FUSE is root's on some machines; here it is everybody's, as udev makes it. That is so
in a mount namespace of this test, and with it goes all that was mounted.
"""
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFSD, die_with_parent, run, sh, wait_for  # noqa: E402

CLONE_NEWNS = 0x00020000
USER = 65534
_libc = ctypes.CDLL(None, use_errno=True)


def enter_own_mounts(directory):
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    sh(f"mount --make-rprivate / && mknod {directory}/fuse c 10 229 && chmod 666 {directory}/fuse && "
       f"mount --bind {directory}/fuse /dev/fuse")


class User(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="zabfs-test-")
        cls.addClassCleanup(shutil.rmtree, cls.top, True)
        enter_own_mounts(cls.top)

    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=self.top)
        self.data = os.path.join(self.directory, "data")
        self.mount = os.path.join(self.directory, "mnt")
        self.log = os.path.join(self.directory, "log")
        os.chmod(self.top, 0o755)
        for path in (self.directory, self.data, self.mount):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
            os.chown(path, USER, USER)
        # The root of the tree is the user's, and so is what ZooKeeper's clients make.
        self.config = os.path.join(self.directory, "zoo.cfg")
        with open(self.config, "w") as f:
            f.write(f"tickTime=500\ndataDir={self.data}\nzabfs.mount={self.mount}\nzabfs.uid={USER}\n"
                    f"zabfs.gid={USER}\n")
        self.addCleanup(sh, f"umount -l {self.mount} 2>/dev/null; true")

    def as_user(self, *command):
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]

    def start(self):
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                self.as_user(ZABFSD, self.config),
                preexec_fn=die_with_parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def end():
            if process.poll() is None:
                process.kill()
                process.wait()
        self.addCleanup(end)

        def serves():
            if process.poll() is not None:
                raise AssertionError(self.log_text())
            return "quorum yes" in self.read("@/cluster")
        try:
            wait_for(serves, 60, "the mount")
        except AssertionError as error:
            raise AssertionError(self.log_text()) from error
        return process

    def read(self, name):
        return run(*self.as_user("cat", os.path.join(self.mount, name))).stdout

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def is_mounted(self):
        with open("/proc/self/mountinfo") as f:
            return f" {self.mount} " in f.read()

    def make(self, name, text):
        sh(" ".join(self.as_user("sh", "-c", f"'echo {text} > {self.mount}/{name}'")))

    def test_the_end_unmounts_and_the_next_start_mounts_again(self):
        for turn in range(2):
            process = self.start()
            self.assertTrue(self.is_mounted())
            if turn == 0:
                self.make("kept", "here")
            self.assertEqual(self.read("kept"), "here\n")
            process.terminate()
            self.assertEqual(process.wait(20), 0, self.log_text())
            self.assertFalse(self.is_mounted(), self.log_text())

    def test_a_start_clears_the_mount_of_a_daemon_that_was_killed(self):
        process = self.start()
        self.make("kept", "here")
        process.kill()
        process.wait()
        self.assertTrue(self.is_mounted())
        self.start()
        self.assertEqual(self.read("kept"), "here\n")
        self.assertIn("cleared a dead mount", self.log_text())

    def test_others_are_let_in_where_root_allows_it(self):
        config = os.path.join(self.directory, "fuse.conf")
        for line, others in (("# nothing", False), ("user_allow_other", True)):
            with open(config, "w") as f:
                f.write(line + "\n")
            sh(f"mount --bind {config} /etc/fuse.conf")
            try:
                process = self.start()
                looked = run("setpriv", "--reuid=1234", "--clear-groups", "ls", self.mount)
                self.assertEqual(looked.returncode == 0, others, looked.stderr)
                self.assertEqual("user_allow_other" in self.log_text(), True)
                process.terminate()
                self.assertEqual(process.wait(20), 0)
            finally:
                sh("umount /etc/fuse.conf")


if __name__ == "__main__":
    unittest.main(verbosity=2)
