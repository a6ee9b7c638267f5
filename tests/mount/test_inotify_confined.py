"""The process that tells inotify has root's rights to the mount, in directories that others write to:
it reaches nothing else, whatever they put in its way, and nobody else is taken for it.

It is stopped (SIGSTOP) while files and directories become symlinks, and then goes on: what a race
would have to be won for happens every time.
"""
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import (  # noqa: E402
    ZABFSD, Cluster, ClusterTest, Node, children_of, die_with_parent, wait_for)
from raw import OPEN_ACL, Session, buf, create, i32  # noqa: E402
from test_inotify import Watcher  # noqa: E402

ALICE = 1001
CLONE_NEWPID, SYS_CLONE3 = 0x20000000, 435
INVALID_ACL = -114
SUPER = "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"  # super:test
_libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def helper_of(node):
    for child in children_of(node.process.pid, "zabfs-inotify"):
        return child
    return None


def state_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def as_alice(script):
    subprocess.run(["bash", "-ec", script], user=ALICE, group=ALICE, extra_groups=[], check=True,
                   timeout=60)


def contents(directory):
    """Every name in it, and all that could be changed of each."""
    found = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        st = os.lstat(path)
        text = None
        if stat.S_ISREG(st.st_mode):
            with open(path) as f:
                text = f.read()
        found[name] = (st.st_ino, st.st_mode, st.st_mtime_ns, text)
    return found


class WithHost(ClusterTest):
    """`host`: a directory of the machine's that is root's alone."""

    def setUp(self):
        super().setUp()
        os.chmod(self.dir(self.n1), 0o777)
        self.cluster.sync_all()
        self.host = tempfile.mkdtemp(prefix="zabfs-test-")
        self.addCleanup(shutil.rmtree, self.host, True)
        for name in ("secret", "doomed", "from", "kept"):
            with open(os.path.join(self.host, name), "w") as f:
                f.write(f"root's own {name}\n" * 10)
            os.chmod(f.name, 0o600)
        self.before = contents(self.host)

    def watch(self, *paths):
        watcher = Watcher(*paths)
        self.addCleanup(watcher.close)
        return watcher

    @contextlib.contextmanager
    def held(self):
        """The process stands still at its next operation; it goes on at the end."""
        helper = helper_of(self.n1)
        os.kill(helper, signal.SIGSTOP)
        try:
            wait_for(lambda: state_of(helper) == "T", 10, "a process that stands still")
            yield
            self.cluster.sync_all()
        finally:
            os.kill(helper, signal.SIGCONT)

    def all_told(self, watcher):
        """All that was done until now is told of, and the machine is as it was."""
        open(self.dir(self.n2, "last"), "w").close()
        wait_for(lambda: "CREATE last" in watcher.events(), 20, "the last event")
        self.assertEqual(contents(self.host), self.before)


class Confined(WithHost):
    nodes = 2
    options = {"extra": SUPER}

    def test_a_file_that_became_a_symlink(self):
        here = self.dir(self.n1)
        as_alice(f"echo one > {here}/f; ln -s {self.host}/secret {here}/link")
        watcher = self.watch(here)
        with self.held():
            as_alice(f"cd {here}; echo two > f; mv link f")
        self.all_told(watcher)

    def test_a_directory_that_became_a_symlink(self):
        there = self.dir(self.n2)
        as_alice(f"cd {there}; mkdir d; cd d; for f in doomed from kept; do echo $f > $f; done")
        self.cluster.sync_all()
        watcher = self.watch(self.dir(self.n1), self.dir(self.n1, "d"))
        with self.held():
            as_alice(f"cd {there}; echo x > first; cd d; rm doomed; mv from to; echo x > made;"
                     f"mkdir dir; ln -s x link; echo long > kept; chmod 777 kept; cd ..; mv d e;"
                     f"ln -s {self.host} d")
        self.all_told(watcher)

    def test_a_directory_that_the_network_made_a_symlink(self):
        """By a client of the client port, while root watches everything."""
        client = Session(("127.0.0.1", self.n2.client_port))
        self.addCleanup(client.close)

        def request(kind, body):
            error = client.request(kind, body)[2]
            if error != INVALID_ACL:
                return self.assertEqual(error, 0)
            # Nobody may make a symlink that is root's from there, but for the superuser.
            client.auth("digest", "super:test")
            self.assertEqual(client.request(kind, body)[2], 0)
        top = f"/{self.name}"
        request(raw.CREATE, create(f"{top}/d"))
        request(raw.CREATE, create(f"{top}/d/doomed", b"x"))
        self.cluster.sync_all()
        os.stat(self.dir(self.n1, "d", "doomed"))
        watcher = self.watch(self.dir(self.n1), self.dir(self.n1, "d"))
        link = OPEN_ACL + [(0, "digest", "zabfs-posix,l,777,0,0:x")]
        with self.held():
            request(raw.CREATE, create(f"{top}/first"))
            request(raw.CREATE, create(f"{top}/d/made", b"x"))
            for path in (f"{top}/d/made", f"{top}/d/doomed", f"{top}/d"):
                request(raw.DELETE, buf(path) + i32(-1))
            request(raw.CREATE, create(f"{top}/d", self.host.encode(), link))
        self.assertEqual(os.readlink(self.dir(self.n1, "d")), self.host)
        self.all_told(watcher)

    def test_what_is_mounted_on_top_is_not_its_own(self):
        os.mkdir(self.dir(self.n1, "d"))
        watcher = self.watch(self.dir(self.n1, "d"))
        top = self.dir(self.n1, "d")
        subprocess.run(["mount", "-t", "tmpfs", "zabfs-test", top], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", top])
        self.cluster.sync_all()
        with open(self.dir(self.n2, "d", "f"), "w"):
            pass
        wait_for(lambda: "CREATE f" in watcher.events(), 20, "the event, below")
        self.assertEqual(os.listdir(top), [])

    def test_what_it_has(self):
        helper = helper_of(self.n1)
        with open(f"/proc/{helper}/status") as f:
            status = dict(line.split(":", 1) for line in f)
        for what in ("CapPrm", "CapEff"):
            self.assertEqual(int(status[what], 16), 1 << 1 | 1 << 3)  # DAC_OVERRIDE, FOWNER
        for what in ("CapInh", "CapAmb"):
            self.assertEqual(int(status[what], 16), 0)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertEqual(status["Seccomp"].strip(), "2")
        self.assertEqual(status["Groups"].strip(), "")
        for who in ("Uid", "Gid"):
            self.assertEqual([int(n) >> 31 for n in status[who].split()], [1] * 4)
        root, mount = os.stat(f"/proc/{helper}/root"), os.stat(self.n1.mount)
        self.assertEqual((root.st_dev, root.st_ino), (mount.st_dev, mount.st_ino))

    def test_it_names_nothing_else_whatever_it_is_told(self):
        os.symlink(self.host, self.dir(self.n1, "link"))
        os.symlink(os.path.join(self.host, "secret"), self.dir(self.n1, "file"))
        with open(self.dir(self.n1, "f"), "w") as f:
            f.write("x")
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen([ZABFSD, "--replay-changes", self.n1.mount], pass_fds=(3,),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   preexec_fn=lambda: (os.dup2(its.fileno(), 3), die_with_parent()))
        its.close()
        self.addCleanup(lambda: (ours.close(), process.kill(), process.wait()))
        ours.settimeout(30)
        made, gone, modify, commit, attributes, rename = range(6)

        def do(kind, path, to="", what=0):
            ours.send(b"".join(str(field).encode() + b"\0" for field in (kind, what, 3, path, to)))
        top = f"/{self.name}"
        up = "/.." * 20
        for way in (f"{top}/link", f"{top}/..{up}{self.host}", f"{up}{self.host}", f"/{self.host}",
                    f"{top}/link/../{os.path.basename(self.host)}"):
            for what in range(3):
                do(made, f"{way}/made{what}", what=what)
            do(gone, f"{way}/doomed")
            do(gone, way, what=1)
            for kind in (modify, commit, attributes):
                do(kind, f"{way}/kept")
            do(rename, f"{way}/from", f"{way}/to")
            do(rename, f"{top}/f", f"{way}/f")
            do(rename, f"{way}/from", f"{top}/from")
        for kind in (modify, commit):
            do(kind, f"{top}/file")
        do(made, f"{top}/inside")
        wait_for(lambda: os.path.exists(self.dir(self.n1, "inside")), 20, "the last operation")
        self.assertEqual(contents(self.host), self.before)
        self.assertEqual(sorted(os.listdir(self.dir(self.n1))), ["f", "file", "inside", "link"])


class LeftToIgnoreChildren(Node):
    """As started by whoever ignores the end of children, which goes on in a program that it runs."""

    def start(self, *options):
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            super().start(*options)
        finally:
            signal.signal(signal.SIGCHLD, before)


def fork_as(pid):
    """fork(2) whose child has that number; OSError if it is somebody's."""
    number = (ctypes.c_int32 * 1)(pid)
    arguments = struct.pack("<11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(number), 1,
                            0)
    return check(_libc.syscall(SYS_CLONE3, arguments, len(arguments)))


class NumberOfTheDead(ClusterTest):
    nodes = 1

    class cluster_class(Cluster):
        node_class = LeftToIgnoreChildren

    def test_nobody_gets_it(self):
        path = self.dir(self.n1, "f")
        os.chmod(self.dir(self.n1), 0o777)
        with open(path, "w"):
            pass
        helper = wait_for(lambda: helper_of(self.n1), 10, "the helper")
        os.kill(helper, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{helper}") or state_of(helper) == "Z", 10, "its end")
        try:
            child = fork_as(helper)
        except OSError as error:
            self.assertEqual(error.errno, errno.EEXIST)
            return
        if child == 0:
            try:
                os.setuid(ALICE)
                os.unlink(path)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        self.assertFalse(os.path.exists(path), "its rm was taken for a replay")


class InAnotherPidNamespace(Node):
    """As in a container: processes outside have no number there."""

    def start(self, *options):
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        check(_libc.unshare(CLONE_NEWPID))
        try:
            super().start(*options)
        finally:
            check(_libc.setns(own, CLONE_NEWPID))
            os.close(own)


class SwitchedOffInAContainer(ClusterTest):
    nodes = 1
    options = {"extra": "zabfs.inotify=false\n"}

    class cluster_class(Cluster):
        node_class = InAnotherPidNamespace

    def test_who_is_outside_changes_files(self):
        here = self.dir(self.n1)
        os.chmod(here, 0o777)
        self.assertEqual(stat.S_IMODE(os.stat(here).st_mode), 0o777)
        as_alice(f"cd {here}; mkdir d; echo x > f; echo y > g; ln -s f l; chmod 600 f; mv g h;"
                 "echo z > gone; rm gone; mkdir e; rmdir e; truncate -s 1 h")
        self.assertEqual(sorted(os.listdir(here)), ["d", "f", "h", "l"])
        self.assertEqual(stat.S_IMODE(os.stat(self.dir(self.n1, "f")).st_mode), 0o600)
        self.assertEqual(os.path.getsize(self.dir(self.n1, "h")), 1)


class InAContainer(SwitchedOffInAContainer):
    options = {"extra": "zabfs.inotify=true\n"}

    def test_inotify_works(self):
        client = Session(("127.0.0.1", self.n1.client_port))
        self.addCleanup(client.close)
        os.chmod(self.dir(self.n1), 0o777)
        watcher = Watcher(self.dir(self.n1))
        self.addCleanup(watcher.close)
        self.assertEqual(client.request(raw.CREATE, create(f"/{self.name}/f"))[2], 0)
        wait_for(lambda: "CREATE f" in watcher.events(), 10, "the event")


if __name__ == "__main__":
    unittest.main(verbosity=2)
