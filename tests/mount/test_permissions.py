"""Whose a new tree's root is, and what its mode says to clients that do not authenticate."""
import errno
import fcntl
import os
import socket
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import Cluster, sh, wait_for  # noqa: E402
from raw import buf, create, i32  # noqa: E402

NO_AUTH = -102


def mode_of(path):
    st = os.stat(path)
    return stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid


class RootTest(unittest.TestCase):
    nodes, extra = 1, ""

    def setUp(self):
        self.cluster = Cluster(self.nodes, extra=self.extra)
        self.addCleanup(self.cluster.stop)
        self.node = self.cluster.nodes[0]

    def client(self, node=None):
        session = raw.Session(("127.0.0.1", (node or self.node).client_port))
        self.addCleanup(session.close)
        return session

    def create(self, path, node=None):
        return self.client(node).request(raw.CREATE, create(path))[2]

    @staticmethod
    def word(node):
        with socket.create_connection(("127.0.0.1", node.client_port), 5) as s:
            s.sendall(b"srvr")
            return s.recv(65536)

    def restart(self):
        self.node.terminate()
        self.node.start()
        self.node.wait_ready()


class NewTree(RootTest):
    def test_its_root_is_roots_and_strangers_get_what_they_are_given(self):
        self.cluster.start()
        self.assertEqual(mode_of(self.node.mount), (0o755, 0, 0))
        client = self.client()
        self.assertEqual(client.request(raw.CREATE, create("/a"))[2], NO_AUTH)
        acl = raw.acl_list(raw.OPEN_ACL)
        self.assertEqual(client.request(raw.SET_ACL, buf("/") + acl + i32(-1))[2], NO_AUTH)
        self.assertEqual(client.request(raw.GET_CHILDREN, buf("/") + b"\0")[2], 0)
        sh(f"mkdir {self.node.path('space')}; chmod o+rwx {self.node.path('space')}")
        self.assertEqual(client.request(raw.CREATE, create("/space/a"))[2], 0)
        self.restart()
        self.assertEqual(mode_of(self.node.mount), (0o755, 0, 0))

    def test_what_an_administrator_set_stays(self):
        self.cluster.start()
        os.chown(self.node.mount, 1001, 1001)
        os.chmod(self.node.mount, 0o1777)
        self.assertEqual(self.create("/a"), 0)
        self.restart()
        self.assertEqual(mode_of(self.node.mount), (0o1777, 1001, 1001))

    def test_a_tree_that_was_used_before_keeps_its_root(self):
        with open(self.node.config) as f:
            config = f.read()
        with open(self.node.config, "w") as f:  # for clients alone, at first
            f.write("".join(line for line in config.splitlines(True) if "zabfs.mount" not in line))
        self.node.start()
        wait_for(lambda: b"Mode: " in self.word(self.node), 20, "the server without a mount")
        self.assertEqual(self.create("/a"), 0)
        acl = self.client().request(raw.GET_ACL, buf("/"))[3].acl()
        self.assertEqual(acl, raw.OPEN_ACL)
        self.node.terminate()
        with open(self.node.config, "w") as f:
            f.write(config)
        self.node.start()
        self.node.wait_ready()
        self.assertEqual(mode_of(self.node.mount), (0o777, 0, 0))
        self.assertEqual(self.create("/b"), 0)


class RootModeOf777(RootTest):
    extra = "zabfs.rootMode=0777\n"

    def test_clients_make_their_znodes_there(self):
        self.cluster.start()
        self.assertEqual(mode_of(self.node.mount), (0o777, 0, 0))
        self.assertEqual(self.create("/a"), 0)


class NotEveryNodeHasAMount(RootTest):
    nodes = 3

    def test_the_first_mount_gives_the_root_its_mode_for_all(self):
        bare = self.cluster.nodes[2]  # of the highest number: it is elected
        with open(bare.config) as f:
            config = f.read()
        with open(bare.config, "w") as f:
            f.write("".join(line for line in config.splitlines(True) if "zabfs.mount" not in line))
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes[:2]:
            node.wait_ready()
            wait_for(lambda: mode_of(node.mount) == (0o755, 0, 0), 10, "the root's mode")
        wait_for(lambda: b"Mode: " in self.word(bare), 20, "the third")
        client = self.client(bare)
        client.request(raw.SYNC, buf("/"))
        self.assertEqual(client.request(raw.CREATE, create("/a"))[2], NO_AUTH)
        names = [entry[1] for entry in client.request(raw.GET_ACL, buf("/"))[3].acl()]
        self.assertEqual(sorted(names), ["digest", "world"])


class Groups(RootTest):
    def locked(self, directory, *groups):
        """Whether a process with these supplementary groups gets the directory's lock."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setgroups(groups)
                os.setgid(1001)
                os.setuid(1001)
                fd = os.open(self.node.path(directory, "@", "lock"), os.O_RDONLY)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                code = 0
            except OSError as error:
                code = error.errno
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_all_of_them_count_for_a_lock(self):
        self.cluster.start()
        many = range(3000, 3400)
        for name, mode in (("ours", 0o775), ("theirs", 0o757)):
            os.mkdir(self.node.path(name))
            os.chown(self.node.path(name), 0, 77)
            os.chmod(self.node.path(name), mode)
        self.assertEqual(self.locked("ours", 77), 0)
        self.assertEqual(self.locked("ours", *many, 77), 0)
        self.assertEqual(self.locked("ours", *many), errno.EACCES)
        self.assertEqual(self.locked("theirs", 77), errno.EACCES)
        self.assertEqual(self.locked("theirs", *many, 77), errno.EACCES)
        self.assertEqual(self.locked("theirs"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
