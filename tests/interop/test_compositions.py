"""Ensembles of zabfs and Apache ZooKeeper servers in every composition, under partitions, kills and
pauses, with the histories of their clients checked; and one kind replaced by the other, server by
server, under load.

    test_compositions.py                   the short form
    test_compositions.py --seconds N       every composition of 3 and 5 servers in turn, for so long
    test_compositions.py --znodes N        the replacement, with so many znodes
"""
import argparse
import ctypes
import itertools
import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
import java_faults  # noqa: E402
from harness import OwnClusterTest, run, sh, wait_for  # noqa: E402
from java import JAVA_STARTS_S, JavaNode  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402
from kazoo.exceptions import (EXCEPTIONS, BadVersionError, ConnectionClosedError,  # noqa: E402
                              ConnectionLoss, OperationTimeoutError, SessionExpiredError)
from kazoo.handlers.threading import KazooTimeoutError  # noqa: E402
from netns import NetCluster, NetNode, ip  # noqa: E402
from register_history import History, Read, Seen, Write  # noqa: E402

REGISTERS = [f"/registers/{name}" for name in "abcd"]
CHAOS_S = 10  # of each composition in the short form
ZNODES_OF_A_MULTI, ZNODES_OF_A_DIRECTORY = 1_000, 10_000
# Of a tree that is not the leader's: two of Java's, one of zabfs's.
COMPLAINTS = ("Digests are not matching", "First digest mismatch", "differs from the leader's")
UNKNOWN = (ConnectionLoss, SessionExpiredError, ConnectionClosedError, OperationTimeoutError,
           KazooTimeoutError)
CLIENTS_ADDRESS = "10.231.7.200"
CLONE_NEWNET = 0x40000000



def _unknown_to_kazoo(code):
    def raise_it():
        raise AssertionError(f"a server answered with error {code}")
    return raise_it


for _code in range(-2_000, 0):  # kazoo itself says nothing of the code
    if _code not in EXCEPTIONS:
        EXCEPTIONS[_code] = _unknown_to_kazoo(_code)
logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # connections that are lost are what is wanted
_libc = ctypes.CDLL(None, use_errno=True)


class NetJavaNode(JavaNode, NetNode):
    def launcher(self):
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    former_log = ""  # of the servers whose place it has taken

    def epochs_led(self, after=0):
        return {int(zxid, 16) >> 32 for zxid in
                re.findall("setting last processed zxid: 0x([0-9a-f]+)", self.log_text()[after:])}


class MixedCluster(NetCluster):
    """`composition`: a letter a server, Z for zabfs and J for Java's. Clients have a namespace of
    their own, which nothing cuts off."""

    def __init__(self, composition):
        self.kinds = composition
        super().__init__(len(composition), tick_ms=400,
                         extra="maxClientCnxns=0\nmaxSessionTimeout=30000\nzabfs.quorumGrace=1000\n")

    def node_class(self, cluster, number):
        return (NetJavaNode if self.kinds[number - 1] == "J" else NetNode)(cluster, number)

    def make_network(self):
        super().make_network()
        self.clients = f"{self.prefix}-cl"
        ip("netns", "add", self.clients)
        ip("-n", f"{self.prefix}-sw", "link", "add", "pcl", "type", "veth", "peer", "name", "eth0",
           "netns", self.clients)
        ip("-n", f"{self.prefix}-sw", "link", "set", "pcl", "master", "br0", "up")
        ip("-n", self.clients, "addr", "add", f"{CLIENTS_ADDRESS}/24", "dev", "eth0")
        ip("-n", self.clients, "link", "set", "eth0", "up")

    def replace(self, number, kind):
        """A server of the other kind in the place of that one, which has ended: it has no data."""
        old = self.nodes[number - 1]
        sh(f"mv {old.data} {old.data}.{time.monotonic_ns()}")
        os.makedirs(old.data)
        with open(os.path.join(old.data, "myid"), "w") as myid:
            myid.write(f"{number}\n")
        self.kinds = self.kinds[:number - 1] + kind + self.kinds[number:]
        new = self.node_class(self, number)
        new.client_port = old.client_port
        new.former_log = getattr(old, "former_log", "") + old.log_text()
        os.truncate(old.log, 0)
        self.nodes[number - 1] = new
        return new

    def connect_string(self, nodes=None):
        return ",".join(f"{node.address}:{node.client_port}" for node in nodes or self.nodes)

    def enter(self):
        """This thread, and those that it starts, are in the clients' network from now on."""
        with open(f"/run/netns/{self.clients}") as namespace:
            if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def java_nodes(self):
        return [node for node in self.nodes if isinstance(node, JavaNode)]


class Client(threading.Thread):
    """A session that reads and writes as fast as it is answered, at whatever server takes it."""

    def __init__(self, cluster, history, number, session_s):
        super().__init__(daemon=True, name=f"client {number}")
        self.cluster, self.history, self.session_s = cluster, history, session_s
        self.dice = random.Random(number)
        self.values = (f"c{number}-{i}" for i in itertools.count())
        self.stopping = threading.Event()
        self.acknowledged = 0
        self.made = {}  # a path by the value that it was made with
        self.longest_s = 0.0
        self.sessions = set()
        self.floor = 0
        self.trouble = None

    def run(self):
        self.cluster.enter()
        self.client = KazooClient(self.cluster.connect_string(), timeout=self.session_s)
        try:
            self.client.start(JAVA_STARTS_S)
            last = time.monotonic()
            while not self.stopping.is_set():
                before = self.acknowledged
                try:
                    self.step()
                except UNKNOWN:
                    time.sleep(0.05)
                except BadVersionError:
                    pass
                if self.acknowledged > before:
                    self.longest_s = max(self.longest_s, time.monotonic() - last)
                    last = time.monotonic()
        except Exception as error:  # the test shows it
            self.trouble = repr(error)
        finally:
            self.client.stop()
            self.client.close()

    def follow_session(self):
        """What a session has seen holds for it alone."""
        if not self.client.client_id:
            return  # it has no connection
        session = self.client.client_id[0]
        if session not in self.sessions:
            self.sessions.add(session)
            self.floor = 0
            if len(self.sessions) > 1:
                print(f"{self.name}: a new session", flush=True)

    def step(self):
        self.follow_session()
        key = self.dice.choice(REGISTERS)
        what = self.dice.random()
        if what < 0.5:
            self.write(key, self.read(key))
        elif what < 0.6:
            self.write_two(*self.dice.sample(REGISTERS, 2))
        elif what < 0.7:
            self.make()
        elif what < 0.85:
            began = time.monotonic()
            self.client.sync_async("/").get(self.session_s)
            self.read(key, began, synced=True)
        else:
            self.read(key)

    def read(self, key, began=0.0, synced=False):
        session, floor = self.client.client_id, self.floor
        data, stat = self.client.get_async(key).get(self.session_s)
        seen = Seen(stat.version, data.decode(), stat.mzxid)
        is_same = self.client.client_id == session
        self.history.add(Read(key, seen, began, synced, floor if is_same else 0, self.name))
        self.floor = max(self.floor, seen.mzxid) if is_same else 0
        return seen

    def wrote(self, key, value, stat, began):
        self.history.add(Write(key, Seen(stat.version, value, stat.mzxid), began, time.monotonic()))
        self.floor = max(self.floor, stat.mzxid)
        self.acknowledged += 1

    def write(self, key, seen):
        value, began = next(self.values), time.monotonic()
        self.history.attempt(value)
        try:
            stat = self.client.set_async(key, value.encode(), seen.version).get(2 * self.session_s)
        except BadVersionError:
            self.history.refuse(value)
            raise
        self.wrote(key, value, stat, began)

    def write_two(self, *keys):
        versions = [self.read(key).version for key in keys]
        values, began = [next(self.values) for _ in keys], time.monotonic()
        for value in values:
            self.history.attempt(value)
        multi = self.client.transaction()
        for key, value, version in zip(keys, values, versions):
            multi.set_data(key, value.encode(), version)
        results = multi.commit_async().get(2 * self.session_s)
        if any(isinstance(result, Exception) for result in results):
            for value in values:
                self.history.refuse(value)
            return
        for key, value, stat in zip(keys, values, results):
            self.wrote(key, value, stat, began)

    def make(self):
        value = next(self.values)
        self.made[value] = None
        self.made[value] = self.client.create_async("/made/n-", value.encode(),
                                                    sequence=True).get(2 * self.session_s)
        self.acknowledged += 1


class EnsembleTest(OwnClusterTest):
    def ensemble(self, composition):
        self.cluster = MixedCluster(composition)
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready(JAVA_STARTS_S)
        ours = [node for node in self.cluster.nodes if not isinstance(node, JavaNode)]
        for node in ours[:1]:
            os.chmod(node.mount, 0o777)  # for clients that are nobody
        self.as_client(self.prepare)
        self.history = History()

    def as_client(self, what, nodes=None):
        """What that gives for a client of each server, in the servers' order."""
        results = {}

        def of_one(node):
            self.cluster.enter()
            client = KazooClient(self.cluster.connect_string([node]), timeout=20)
            try:
                client.start(JAVA_STARTS_S)
                results[node.number] = what(client)
            except Exception as error:
                results[node.number] = error
            finally:
                client.stop()
                client.close()
        threads = [threading.Thread(target=of_one, args=(node,)) for node in nodes or self.cluster.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, result in results.items():
            if isinstance(result, Exception):
                raise AssertionError(f"a client of server {number}: {result!r}") from result
        return [results[number] for number in sorted(results)]

    @staticmethod
    def prepare(client):
        for path in ["/made"] + REGISTERS:
            client.ensure_path(path)

    def begin(self, clients, session_s):
        self.clients = [Client(self.cluster, self.history, number, session_s)
                        for number in range(clients)]
        for client in self.clients:
            client.start()
        self.progress("writes at the beginning")

    def progress(self, what, seconds=90):
        before = sum(client.acknowledged for client in self.clients)
        wait_for(lambda: self.trouble() or
                 sum(client.acknowledged for client in self.clients) > before + 30, seconds, what)
        self.assertIsNone(self.trouble())

    def trouble(self):
        return next((client.trouble for client in self.clients if client.trouble), None)

    def chaos(self, dice, seconds):
        """A majority is always up and together, if one asks all of its servers for some seconds."""
        nodes = self.cluster.nodes
        few = (len(nodes) - 1) // 2
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            some = dice.sample(nodes, dice.randint(1, few))
            what = dice.choice(["split", "split", "deaf", "kill", "stop"])
            print(f"{what} {[node.number for node in some]}", flush=True)
            if what == "split":
                self.cluster.split(some)
            elif what == "deaf":  # what the others send is lost
                for node in some:
                    node.drop_from([other for other in nodes if other not in some])
            elif what == "stop":
                for node in some:
                    node.signal(signal.SIGSTOP)
            else:
                for node in some:
                    node.kill()
            time.sleep(dice.uniform(0.5, 4))
            self.cluster.heal()
            for node in some:
                if what == "stop":
                    node.signal(signal.SIGCONT)
                elif what == "kill":
                    node.start()
            time.sleep(dice.uniform(0, 2))
            if dice.random() < 0.5:
                self.progress("writes after that")

    def finish(self):
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(60)
            self.assertFalse(client.is_alive(), f"{client.name} hangs")
        self.assertIsNone(self.trouble())
        for node in self.cluster.nodes:
            node.wait_ready(JAVA_STARTS_S)
        wait_for(self.is_at_rest, 60, "servers at rest")
        self.judge(self.as_client(self.tree_of))
        print(f"{self.cluster.kinds}: {len(self.history.writes)} writes and "
              f"{len(self.history.reads)} reads, Java led epochs {sorted(self.java_led())}",
              flush=True)

    def java_led(self):
        return set().union(*(node.epochs_led() for node in self.cluster.java_nodes()))

    @staticmethod
    def tree_of(client):
        def below(path):
            data, stat = client.get(path)
            yield path, (data, tuple(stat), tuple(client.get_acls(path)[0]))
            for child in sorted(client.get_children(path)):
                yield from below(f"{path}/{child}")
        client.sync("/")
        return {path: found for top in ("/registers", "/made") for path, found in below(top)}

    def is_at_rest(self):
        """A write whose fate its client was not told may still come."""
        trees = self.as_client(self.tree_of)
        time.sleep(1)
        return trees == self.as_client(self.tree_of)

    def faults_of(self, node):
        """Known faults of Java's that its log or its disk shows."""
        def is_java(address):
            return self.cluster.kinds[int(address.rsplit(".", 1)[1]) - 1] == "J"
        logs = [getattr(one, "former_log", "") + one.log_text() for one in self.cluster.nodes]
        former = java_faults.faults_in(node.former_log, lambda address: True)
        return ([fault._replace(at=0) for fault in former] +
                java_faults.faults_in(node.log_text(), is_java) +
                java_faults.gap_faults(java_faults.logged_zxids(node.data), node.number, logs))

    def judge(self, trees):
        """Java's servers lose transactions by faults of their own (java_faults.py). What such a
        server acknowledged is void: the history is not judged, nor is its tree. The others must be
        equal all the same, unless it led with what it had. Whatever else differs is a fault."""
        nodes = self.cluster.nodes
        faults = {node: self.faults_of(node) for node in self.cluster.java_nodes()}
        faulty = [node for node, found in faults.items() if found]
        has_led = any(node.epochs_led(min(fault.at for fault in faults[node])) for node in faulty)
        if not has_led:
            self.assert_sound([node for node in nodes if node not in faulty],
                              [tree for node, tree in zip(nodes, trees) if node not in faulty])
        try:
            self.assert_sound(nodes, trees)
            self.assert_history(trees[0])
            self.assert_made(trees[0])
        except AssertionError as error:
            if not faulty:
                raise
            for node in faulty:
                print(f"server {node.number}, Java's: " +
                      "; ".join(fault.what for fault in faults[node]), flush=True)
            print(f"so this run does not show {str(error)[:300]}", flush=True)

    def assert_sound(self, nodes, trees):
        self.assert_equal(trees)
        for node in nodes:
            for words in COMPLAINTS:
                self.assertFalse(words in node.log_text(), f"server {node.number}: {words}")

    def assert_equal(self, trees):
        for tree in trees[1:]:
            differing = sorted(path for path in tree.keys() | trees[0].keys()
                               if tree.get(path) != trees[0].get(path))
            self.assertEqual([(path, tree.get(path), trees[0].get(path))
                              for path in differing[:3]], [])

    def assert_history(self, tree):
        at_the_end = {}
        for key in REGISTERS:
            data, stat, _ = tree[key]
            version, mzxid = stat[4], stat[1]
            at_the_end[key] = Seen(version, data.decode(), mzxid)
        self.assertEqual(self.history.violations(at_the_end, self.java_led())[:5], [])

    def assert_made(self, tree):
        made = [found[0].decode() for path, found in tree.items() if path.startswith("/made/")]
        self.assertEqual(len(made), len(set(made)), "something was made twice")
        there = set(made)
        for client in self.clients:
            lost = [path for value, path in client.made.items() if path and value not in there]
            self.assertEqual(lost, [], "acknowledged, and not there")


class Compositions(EnsembleTest):
    def compose(self, composition, seconds=CHAOS_S, seed=None):
        seed = random.randrange(10**6) if seed is None else seed
        print(f"{composition}, seed {seed}", flush=True)
        self.ensemble(composition)
        self.begin(clients=6, session_s=6)
        self.chaos(random.Random(seed), seconds)
        self.cluster.heal()
        self.progress("writes of all, healed")
        self.finish()

    def test_two_of_ours_and_one_of_javas(self):
        self.compose("ZZJ")

    def test_one_of_ours_and_two_of_javas(self):
        self.compose("JZJ")

    def test_three_of_ours_and_two_of_javas(self):
        self.compose("JZZJZ")

    def every_one(self, seconds):
        """All of 3 and 5 servers, and each kind alone."""
        end = time.monotonic() + seconds
        kinds = [ours * "Z" + (servers - ours) * "J" for servers in (3, 5)
                 for ours in range(servers, -1, -1)]
        for kind in itertools.cycle(kinds):
            if time.monotonic() > end:
                return
            self.compose("".join(random.sample(kind, len(kind))), 2 * CHAOS_S)
            self.cluster.stop()


class Checker(unittest.TestCase):
    """What no ensemble may do is found."""

    def setUp(self):
        self.history = History()
        for value in ("one", "two", "three"):
            self.history.attempt(value)
        self.write(1, "one", 0x100000002, 0, 1)
        self.write(2, "two", 0x100000003, 2, 3)
        self.end = Seen(2, "two", 0x100000003)

    def write(self, version, value, zxid, began, ended):
        self.history.add(Write("/r", Seen(version, value, zxid), began, ended))

    def read(self, seen, began=0, synced=False, floor=0):
        self.history.add(Read("/r", seen, began, synced, floor, "a client"))

    def assert_found(self, words, stale_epochs=()):
        found = self.history.violations({"/r": self.end}, stale_epochs)
        self.assertTrue(any(words in one for one in found), found)

    def test_nothing_is_wrong(self):
        self.read(Seen(1, "one", 0x100000002), began=2.5, synced=True, floor=0x100000002)
        self.assertEqual(self.history.violations({"/r": self.end}), [])

    def test_a_lost_write(self):
        self.end = Seen(1, "one", 0x100000002)
        self.assert_found("is lost")

    def test_two_histories(self):
        self.read(Seen(2, "three", 0x100000004))
        self.assert_found("is both")

    def test_a_value_of_nobody(self):
        self.end = Seen(3, "four", 0x100000005)
        self.assert_found("nobody wrote")

    def test_a_refused_write_that_was_done(self):
        self.history.refuse("three")
        self.end = Seen(3, "three", 0x100000005)
        self.assert_found("had been refused")

    def test_a_write_that_comes_before_an_older_one(self):
        self.write(3, "three", 0x100000001, 4, 5)
        self.end = Seen(3, "three", 0x100000001)
        self.assert_found("comes before it")

    def test_a_session_that_goes_back(self):
        self.read(Seen(1, "one", 0x100000002), floor=0x100000003)
        self.assert_found("is older than what its session had seen")

    def test_a_stale_read_behind_a_sync(self):
        self.read(Seen(1, "one", 0x100000002), began=4, synced=True)
        self.assert_found("does not see")
        self.assertEqual(self.history.violations({"/r": self.end}, stale_epochs=[1]), [])


class Faults(unittest.TestCase):
    """Java's known faults are told from ours."""
    STARTS = "INFO QuorumPeerConfig - Reading configuration from: /zoo.cfg\n"
    CONNECTS = "INFO Learner - Successfully connected to leader, using address: /10.231.7.3:2888\n"
    DIFF = "INFO Learner - Getting a diff from the leader 0x200000009\n"
    NEWLEADER = "INFO Learner - Learner received NEWLEADER message\n"
    TRUNC = "WARN Learner - Truncating log to get in sync with the leader 0x200000004\n"
    NPE = "java.lang.NullPointerException: x\n\tat org.apache.zookeeper.server.quorum."

    @staticmethod
    def loads(zxid):
        return f"INFO ZKDatabase - Snapshot loaded in 5 ms, highest zxid is 0x{zxid:x}, digest\n"

    @staticmethod
    def elects(zxid):
        return f"INFO FastLeaderElection - New election. My id = 1, proposed zxid=0x{zxid:x}\n"

    def found(self, *lines, leader_is_java=True):
        faults = java_faults.faults_in("".join(lines), lambda address: leader_is_java)
        return [fault.what.split(":")[0] for fault in faults]

    def test_a_learner_that_lost_what_it_acknowledged(self):
        learner = [self.CONNECTS, self.DIFF, self.NEWLEADER]
        self.assertEqual(self.found(*learner, self.STARTS, self.loads(0x200000008)),
                         ["ZOOKEEPER-4643 or 4646"])
        self.assertEqual(self.found(*learner, self.elects(0x200000008)), ["ZOOKEEPER-4785"])
        for end in (0x200000009, 0x20000000a, 0x300000000):
            self.assertEqual(self.found(*learner, self.STARTS, self.loads(end)), [])
            self.assertEqual(self.found(*learner, self.elects(end)), [])

    def test_one_that_had_not_acknowledged_or_was_cut_back(self):
        before = [self.CONNECTS, self.DIFF]
        self.assertEqual(self.found(*before, self.STARTS, self.loads(0x200000003)), [])
        after = [*before, self.NEWLEADER, self.elects(0x200000009), self.CONNECTS, self.TRUNC]
        self.assertEqual(self.found(*after, self.loads(0x200000004), self.NEWLEADER,
                                    self.elects(0x200000004)), [])

    def test_exceptions(self):
        thread, sync = "SendAckRequestProcessor.flush(S:1)\n", "Learner.syncWithLeader(L:1)\n"
        for is_java in (True, False):
            self.assertEqual(self.found(self.NPE + thread, leader_is_java=is_java),
                             ["ZOOKEEPER-4409"])
        self.assertEqual(self.found(self.CONNECTS, self.NPE + sync), ["ZOOKEEPER-4394"])
        self.assertEqual(self.found(self.CONNECTS, self.NPE + sync, leader_is_java=False), [])
        self.assertEqual(self.found(self.NPE + "LearnerHandler.run(H:1)\n"), [])

    def test_gaps_that_no_leader_of_ours_made(self):
        zxids = [0x100000001, 0x100000002, 0x200000001, 0x200000005, 0x200000006]

        def found(said):
            log = f"sends server 1, whose log ends at 0x{said:x}, DIFF: the txns up to 0x9\n"
            return len(java_faults.gap_faults(zxids, 1, [log]))
        self.assertEqual(list(java_faults.gaps_in(zxids)), [(0x200000001, 0x200000005)])
        self.assertEqual(found(0x200000004), 1)  # it claimed to have what its log lacks
        self.assertEqual(found(0x200000001), 0)  # that is where it said that its log ends


class Replacement(EnsembleTest):
    znodes = 2_000

    def fill(self, client):
        client.create("/before")
        for first in range(0, self.znodes, ZNODES_OF_A_MULTI):
            parent = f"/before/{first // ZNODES_OF_A_DIRECTORY}"
            client.ensure_path(parent)
            multi = client.transaction()
            for i in range(first, min(first + ZNODES_OF_A_MULTI, self.znodes)):
                multi.create(f"{parent}/{i}", b"x" * 100)
            multi.commit()

    def prepare_for_java(self, node):
        """Its clients come again, and get passwords that Java's servers know."""
        with open(node.config, "a") as config:
            config.write("zabfs.publicPasswords=true\n")
        node.terminate()
        node.start()
        node.wait_ready()
        self.progress(f"writes with server {node.number} again")

    @staticmethod
    def count(client):
        return sum(client.exists(f"/before/{name}").numChildren
                   for name in client.get_children("/before"))

    def replace(self, number, kind):
        started = time.monotonic()
        old = self.cluster.nodes[number - 1]
        old.terminate(60)
        old.unmount()
        self.progress("writes without it")
        new = self.cluster.replace(number, kind)
        new.start()
        new.wait_ready(JAVA_STARTS_S)
        if kind == "Z":  # it came without data, and observes first
            wait_for(lambda: new.cluster_state()["votes"] == "yes", 120, "its vote")
        self.progress("writes with it")
        print(f"server {number} is {kind} after {time.monotonic() - started:.1f} s", flush=True)

    def test_there_and_back(self):
        self.ensemble("JJJ")
        self.as_client(self.fill, self.cluster.nodes[:1])
        self.begin(clients=4, session_s=20)
        for number in (1, 2, 3):
            self.replace(number, "Z")
        for node in self.cluster.nodes:
            self.prepare_for_java(node)
        for number in (1, 2, 3):
            self.replace(number, "J")
        self.finish()
        for client in self.clients:
            self.assertEqual(len(client.sessions), 1, "a session that pinged expired")
        for count in self.as_client(self.count):
            self.assertEqual(count, self.znodes)
        print("longest waits for an acknowledgement:",
              [f"{client.longest_s:.1f} s" for client in self.clients], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--znodes", type=int, default=Replacement.znodes)
    options, rest = parser.parse_known_args()
    Replacement.znodes = options.znodes
    NetJavaNode.heap_mb += options.znodes // 400
    if options.seconds is not None:
        Compositions.test_every_one = lambda self: self.every_one(options.seconds)
        rest = ["Compositions.test_every_one"]
    unittest.main(verbosity=2, argv=[sys.argv[0], *rest])
