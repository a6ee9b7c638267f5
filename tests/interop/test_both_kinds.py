"""What ZooKeeper's clients can make, in one ensemble of zabfs and Apache ZooKeeper servers: each kind
takes the requests, each kind leads, and all servers have the same."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
os.environ["ZABFS_TEST_LEADER"] = "java"
import raw  # noqa: E402
from harness import Cluster, OwnClusterTest, wait_for  # noqa: E402
from java import JAVA_STARTS_S  # noqa: E402
from raw import buf, i32  # noqa: E402

EPHEMERAL, SEQUENTIAL, CONTAINER, TTL = 1, 2, 4, 5
TTL_MS = 500
OK, NO_NODE, NO_AUTH, BAD_VERSION, NODE_EXISTS, QUOTA_EXCEEDED = 0, -101, -102, -103, -110, -125
CREATED, DELETED, CHANGED, CHILD = 1, 2, 3, 4
CONFIG = "/zookeeper/config"


class Client:
    def __init__(self, node, timeout_ms=60_000, **session):
        self.session = raw.Session(("127.0.0.1", node.client_port), timeout_ms=timeout_ms, **session)

    def ask(self, kind, body, error=OK):
        answer = self.session.request(kind, body)
        assert answer[2] == error, (kind, body, answer[2])
        return answer[3]

    def create(self, path, data=b"x", kind=raw.CREATE, **options):
        return self.ask(kind, raw.create(path, data, **options)).text()

    def set(self, path, data):
        self.ask(raw.SET_DATA, buf(path) + buf(data) + i32(-1))

    def delete(self, path):
        self.ask(raw.DELETE, buf(path) + i32(-1))

    def sync(self):
        self.ask(raw.SYNC, buf("/"))

    def get(self, path, watch=False):
        """None: it is not there."""
        error, body = self.session.request(raw.GET_DATA, buf(path) + raw.boolean(watch))[2:]
        return None if error == NO_NODE else body.buf()

    def event(self):
        """The next one, without waiting longer than the socket does."""
        while not self.session.events:
            reader = raw.Reader(self.session.receive())
            assert reader.i32() == -1
            reader.i64(), reader.i32()
            self.session.events.append((reader.i32(), reader.i32(), reader.text()))
        kind, _, path = self.session.events.pop(0)
        return kind, path

    def close(self):
        self.session.request(raw.CLOSE)
        self.session.close()


class BothKinds(OwnClusterTest):
    def setUp(self):
        self.cluster = Cluster(2, extra="extendedTypesEnabled=true\nenforceQuota=true\n"
                               "znode.container.checkIntervalMs=200\nzabfs.rootMode=0777\n"
                               "maxSessionTimeout=60000\n")
        self.cluster.java.options = ("-Dznode.container.checkIntervalMs=200",)
        self.cluster.start()
        self.java = self.cluster.java
        self.assertEqual(self.java.cluster_state()["role"], "leader")

    def gone(self, client, path):
        def is_gone():
            client.sync()
            return client.get(path) is None
        wait_for(is_gone, 30, f"{path} is gone")

    def seen(self, client, path, data):
        client.sync()
        self.assertEqual(client.get(path), data)

    def all_have_the_same(self):
        trees = []
        for node in self.cluster.all():
            if node.process is None or node.process.poll() is not None:
                continue
            client = Client(node)
            client.sync()
            tree = client.session.znodes()
            tree.pop(CONFIG)
            trees.append(tree)
            client.close()
        self.assertGreater(len(trees), 1)
        for tree in trees[1:]:
            self.assertEqual(tree, trees[0])

    def matrix(self, top, one, other):
        """Two servers take each of the requests, in turn."""
        first, second = Client(one), Client(other)
        first.create(top)
        self.sequentials(top, first, second)
        for here, there, of in (first, second, one), (second, first, other):
            name = f"{top}/{'a' if here is first else 'b'}"
            here.create(name)
            self.watches(name, here, there)
            self.ephemerals(name, there, of)
            self.lasting(name, here, there)
            self.multis(name, here, there)
            self.quotas(name, here, there)
            self.acls(name, here, there)
        self.moves(top, one, other)
        self.moves(top, other, one)
        first.close()
        second.close()
        self.all_have_the_same()

    def sequentials(self, top, first, second):
        made = []
        for i in range(6):
            made.append((first, second)[i % 2].create(f"{top}/q-", flags=SEQUENTIAL))
        numbers = [int(re.fullmatch(f"{top}/q-([0-9]{{10}})", path)[1]) for path in made]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 6)))

    def watches(self, name, here, there):
        here.create(f"{name}/w")
        there.sync()
        there.get(f"{name}/w", watch=True)
        there.ask(raw.GET_CHILDREN, buf(name) + raw.boolean(True))
        there.ask(raw.EXISTS, buf(f"{name}/later") + raw.boolean(True), NO_NODE)
        here.set(f"{name}/w", b"new")
        self.assertEqual(there.event(), (CHANGED, f"{name}/w"))
        here.create(f"{name}/later")
        self.assertEqual({there.event(), there.event()}, {(CREATED, f"{name}/later"), (CHILD, name)})
        there.get(f"{name}/w", watch=True)
        here.delete(f"{name}/w")
        self.assertEqual(there.event(), (DELETED, f"{name}/w"))

    def ephemerals(self, name, there, of):
        """One goes when its session is closed, one when nothing is heard of its session."""
        closes, falls_silent = Client(of), Client(of, timeout_ms=2_000)
        closes.create(f"{name}/closed", flags=EPHEMERAL)
        falls_silent.create(f"{name}/silent", flags=EPHEMERAL)
        there.sync()
        self.assertEqual(there.get(f"{name}/closed", watch=True), b"x")
        self.assertEqual(there.get(f"{name}/silent"), b"x")
        closes.close()
        self.assertEqual(there.event(), (DELETED, f"{name}/closed"))
        self.gone(there, f"{name}/silent")
        falls_silent.session.close()

    def lasting(self, name, here, there):
        here.create(f"{name}/ttl", kind=raw.CREATE_TTL, flags=TTL, ttl=TTL_MS)
        here.create(f"{name}/long", kind=raw.CREATE_TTL, flags=TTL, ttl=10**9)
        here.create(f"{name}/c", kind=raw.CREATE_CONTAINER, flags=CONTAINER)
        here.create(f"{name}/c/child")
        there.sync()
        there.delete(f"{name}/c/child")
        self.gone(there, f"{name}/ttl")
        self.gone(here, f"{name}/c")
        self.seen(there, f"{name}/long", b"x")

    def multis(self, name, here, there):
        version = i32(0)
        good = [(raw.CREATE, raw.create(f"{name}/m", b"x")), (raw.CHECK, buf(name) + version),
                (raw.SET_DATA, buf(name) + buf("m") + i32(-1)), (raw.DELETE, buf(f"{name}/later") + i32(-1))]
        bad = [(raw.CREATE, raw.create(f"{name}/m2")), (raw.CHECK, buf(name) + i32(77))]
        here.ask(raw.MULTI, raw.multi(good))
        answer = here.session.request(raw.MULTI, raw.multi(bad))
        self.assertIn(answer[2], (OK, BAD_VERSION))
        self.seen(there, f"{name}/m", b"x")
        self.seen(there, name, b"m")
        self.seen(there, f"{name}/later", None)
        self.seen(there, f"{name}/m2", None)

    def quotas(self, name, here, there):
        path = f"{name}/quota"
        here.create(path)
        at = ""
        for part in path.strip("/").split("/"):
            at += "/" + part
            here.session.request(raw.CREATE, raw.create(f"/zookeeper/quota{at}", b""))
        here.create(f"/zookeeper/quota{path}/zookeeper_limits",
                    b"count=1000,bytes=-1=;countHardLimit=3")
        here.create(f"/zookeeper/quota{path}/zookeeper_stats", b"count=1,bytes=1")
        there.sync()
        # Either kind of leader looks at what it has applied: a request or two can be faster.
        made, error = 0, OK
        while error == OK and made < 10:
            error = there.session.request(raw.CREATE, raw.create(f"{path}/{made}", b"x"))[2]
            made += error == OK
        self.assertEqual(error, QUOTA_EXCEEDED)
        for client in here, there:
            client.sync()
            self.assertEqual(client.get(f"{path}/{made}"), None)
            stats = client.get(f"/zookeeper/quota{path}/zookeeper_stats").decode()
            self.assertEqual(re.findall(r"(?:count|bytes)=(\d+)", stats), [str(made + 1)] * 2)

    def acls(self, name, here, there):
        here.session.auth("digest", f"{name[-1]}:secret")
        here.ask(raw.CREATE, raw.create(f"{name}/acl", b"x", [(31, "auth", "")]))
        there.sync()
        there.ask(raw.GET_DATA, buf(f"{name}/acl") + b"\0", NO_AUTH)
        there.ask(raw.SET_DATA, buf(f"{name}/acl") + buf("y") + i32(-1), NO_AUTH)
        here.ask(raw.SET_ACL, buf(f"{name}/acl") + raw.acl_list([(1, "world", "anyone")]) + i32(0))
        self.seen(there, f"{name}/acl", b"x")

    def moves(self, top, one, other):
        """A session takes what it has to the other kind, and can't be used at the first any more."""
        name = f"{top}/moved-{one.number}"
        old = Client(one)
        old.create(name, flags=EPHEMERAL)
        before = old.session
        old.session = None
        there = Client(other, session=before.id, password=before.password)
        self.assertEqual(there.session.id, before.id, "its session goes on")
        there.sync()
        there.set(name, b"there")
        with self.assertRaises(raw.Closed):
            before.request(raw.SET_DATA, buf(name) + buf("old") + i32(-1))
            before.request(raw.PING, xid=-2)
        before.close()
        self.seen(there, name, b"there")
        there.close()
        witness = Client(one)
        self.gone(witness, name)
        witness.close()

    def test_each_kind_takes_everything_whichever_leads(self):
        n1, n2 = self.cluster.nodes
        self.matrix("/led-by-java", self.java, n1)
        # The watch and the ephemeral of a session outlive the change of leaders.
        stays, mover = Client(n1), Client(self.java)
        mover.create("/of-mover", flags=EPHEMERAL)
        stays.sync()
        stays.get("/led-by-java", watch=True)
        for node in n1, n2:
            wait_for(lambda: node.cluster_state()["votes"] == "yes", 30, f"node {node.number}'s vote")
        self.java.kill()
        wait_for(lambda: self.cluster.leader() is not None, 30, "a zabfs leader")
        for node in n1, n2:
            node.wait_ready()
        session = mover.session
        mover = Client(n2, session=session.id, password=session.password)
        self.assertEqual(mover.session.id, session.id)
        mover.sync()
        self.assertEqual(mover.get("/of-mover"), b"x")
        back = Client(n1, session=stays.session.id, password=stays.session.password)
        back.session.request(raw.SET_WATCHES, raw.i64(0) + raw.vector([], buf) * 3, xid=-8)
        back.sync()
        back.get("/led-by-java", watch=True)
        mover.set("/led-by-java", b"by a zabfs leader")
        self.assertEqual(back.event(), (CHANGED, "/led-by-java"))
        self.java.start()
        self.java.wait_ready(JAVA_STARTS_S)
        self.assertEqual(self.java.cluster_state()["role"], "follower")
        self.matrix("/led-by-zabfs", n2, self.java)
        log = self.java.log_text()
        self.assertNotIn("Digests are not matching", log)
        for client in mover, back:
            client.close()


if __name__ == "__main__":
    unittest.main()
