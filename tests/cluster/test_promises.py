"""What a client can do to the promises of an ensemble: nothing acknowledged is lost, a session's
writes take effect in order, and no request costs the others their service.
"""
import ctypes
import errno
import os
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import ClusterTest, wait_for  # noqa: E402
from netns import NetCluster  # noqa: E402

BAD_ARGUMENTS = -8
AUTH_ACL = [(31, "auth", "")]
_libc = ctypes.CDLL(None, use_errno=True)


def connect_inside(node, **options):
    """A session with a node that has a network namespace of its own: the socket is made in there."""
    with open("/proc/self/ns/net") as ours, open(f"/run/netns/{node.namespace}") as theirs:
        def enter(namespace):
            if _libc.setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        enter(theirs)
        try:
            connection = socket.create_connection(("127.0.0.1", node.client_port), 10)
        finally:
            enter(ours)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw.Session(connection, **options)


def get(session, path):
    _, _, error, body = session.request(raw.GET_DATA, raw.buf(path) + b"\0")
    if error != 0:
        raise AssertionError(f"{path}: error {error}")
    return body.buf()


class PromiseTest(ClusterTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.dir(self.n1), 0o777)  # for clients without a name, too
        self.cluster.sync_all()

    def session(self, node):
        return raw.Session(("127.0.0.1", node.client_port))


class LargeTxns(PromiseTest):
    """An `auth` entry of an ACL stands for every identity of its client: a request of some kilobytes
    may ask for a txn of many megabytes."""

    def identify(self, session, count):
        for i in range(count):
            try:
                if session.auth("digest", f"user{i}-{'x' * 100}:secret")[2] != 0:
                    return
            except raw.Closed:
                return

    def test_a_request_that_would_become_too_large_is_refused_and_nothing_is_lost(self):
        follower = self.cluster.followers()[0]
        attacker = self.session(follower)
        self.identify(attacker, 50)
        creates = raw.multi([(raw.CREATE, raw.create(f"/{self.name}/m{i}", acl=AUTH_ACL))
                             for i in range(2_000)])
        self.assertEqual(attacker.request(raw.MULTI, creates)[2], BAD_ARGUMENTS)
        with open(self.dir(follower, "after"), "w") as f:
            f.write("acknowledged")
        for node in self.cluster.nodes:
            node.kill()
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
            node.barrier()
            with open(self.dir(node, "after")) as f:
                self.assertEqual(f.read(), "acknowledged")
            self.assertEqual(os.listdir(self.dir(node)), ["after"])
            self.assertNotIn("DAMAGE", node.log_text())

    def test_a_client_with_many_identities_does_not_cost_its_server_the_leader(self):
        leader, follower = self.cluster.leader(), self.cluster.followers()[0]
        before = len(leader.log_text())
        attacker = self.session(follower)
        self.identify(attacker, 1_100)
        try:
            attacker.post(raw.CREATE, raw.create(f"/{self.name}/x", acl=AUTH_ACL))
        except OSError:
            pass
        honest = self.session(follower)
        self.assertEqual(honest.request(raw.CREATE, raw.create(f"/{self.name}/y"))[2], 0)
        self.assertNotIn("lost server", leader.log_text()[before:])


MIB = 1 << 20


class LargestZnodes(PromiseTest):
    """jute.maxbuffer at its most: for clients, members, logs, snapshots and mounts alike."""
    options = {"extra": f"jute.maxbuffer={64 * MIB}\nsnapCount=5\n"}

    def test_a_znode_of_60_mib_is_on_every_node_and_survives_restarts(self):
        contents = os.urandom(MIB) * 60
        follower = self.cluster.followers()[0]
        client = self.session(follower)
        path = f"/{self.name}/from-client"
        self.assertEqual(client.request(raw.CREATE, raw.create(path, contents))[2], 0)
        for node in self.cluster.nodes:
            node.barrier()
            with open(self.dir(node, "from-client"), "rb") as f:
                self.assertEqual(f.read(), contents)
        with open(self.dir(self.n2, "from-mount"), "wb") as f:
            f.write(contents[::-1])
        self.assertEqual(get(client, f"/{self.name}/from-mount"), contents[::-1])
        for i in range(10):  # past a snapshot
            os.mkdir(self.dir(self.n1, f"d{i}"))
        for node in self.cluster.nodes:
            node.kill()
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready(60)
            node.barrier()
            with open(self.dir(node, "from-mount"), "rb") as f:
                self.assertEqual(f.read(), contents[::-1])
            self.assertNotIn("DAMAGE", node.log_text())

    def test_what_is_larger_is_refused(self):
        with open(self.dir(self.n1, "f"), "wb") as f:
            f.write(b"x")
            f.flush()
            os.fsync(f.fileno())
            with self.assertRaises(OSError) as refused:
                os.truncate(f.name, 64 * MIB)
            self.assertEqual(refused.exception.errno, errno.EFBIG)
        with self.assertRaises((raw.Closed, OSError)):
            self.session(self.n1).request(raw.CREATE, raw.create(f"/{self.name}/x",
                                                                 b"x" * (64 * MIB)))


class OrderOfASession(PromiseTest):
    cluster_class = NetCluster
    options = {"tick_ms": 300}

    def test_a_write_that_was_given_up_never_overtakes_a_later_one(self):
        leader, (cut, other) = self.cluster.leader(), self.cluster.followers()
        path = f"/{self.name}/value"
        before = connect_inside(cut)
        self.assertEqual(before.request(raw.CREATE, raw.create(path, b"first"))[2], 0)
        self.cluster.split([cut])
        before.post(raw.SET_DATA, raw.buf(path) + raw.buf(b"given up") + raw.i32(-1))
        after = connect_inside(other, session=before.id, password=before.password)
        self.assertEqual(after.id, before.id)
        self.assertEqual(get(after, path), b"first")
        change = raw.buf(path) + raw.buf(b"later") + raw.i32(-1)
        self.assertEqual(after.request(raw.SET_DATA, change)[2], 0)
        wait_for(lambda: cut.cluster_state()["quorum"] == "no", 30, "the word of the one cut off")
        leader.kill()
        self.cluster.heal()
        for node in (cut, other):
            node.wait_ready(60)
            node.barrier()  # behind all that the node had kept for its next leader
        for node in (cut, other):
            self.assertEqual(get(connect_inside(node), path), b"later")
        leader.start()
        leader.wait_ready()

    def test_a_session_goes_on_where_its_client_is(self):
        a, b = self.cluster.followers()
        path = f"/{self.name}/value"
        sessions = [connect_inside(a)]
        self.assertEqual(sessions[0].request(raw.CREATE, raw.create(path))[2], 0)
        for i in range(6):
            sessions.append(connect_inside((b, a)[i % 2], session=sessions[0].id,
                                           password=sessions[0].password))
            change = raw.buf(path) + raw.buf(str(i)) + raw.i32(-1)
            self.assertEqual(sessions[-1].request(raw.SET_DATA, change)[2], 0)
        for late in sessions[:-1]:  # a connection that its client has left
            try:
                late.post(raw.SET_DATA, raw.buf(path) + raw.buf(b"late") + raw.i32(-1))
                self.assertNotEqual(late.answer()[2], 0)
            except (raw.Closed, OSError, struct.error):
                pass
        self.assertEqual(get(sessions[-1], path), b"5")


if __name__ == "__main__":
    unittest.main(verbosity=2)
