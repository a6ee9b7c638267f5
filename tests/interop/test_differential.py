"""The same requests to zabfsd and to Apache ZooKeeper, over several sessions; every answer, Stat and
event compared; then malformed ones (malformed.py), which both answer, or close the connection, alike.
What is never asked, and why:

  - a bare check, and createTTL without a TTL flag: they stop a Java 3.8.0 server;
  - at random, create with the container flag outside a multi: Java's digest is wrong after it;
  - setACL with other requests behind it: Java checks those by the old list until it is applied;
  - deleteContainer and createSession: Java takes them from any client, asking no ACL. Here they are
    unknown requests;
  - an addAuth with no more than its first number: now Java closes the connection, now it neither
    answers nor closes, then or later;
  - a null path among setWatches2's persistent or recursive ones: now it is taken, now it is not;
  - a path that is not UTF-8, where none need be there: Java tells of the one that it has made of it.

What is not compared: of a multi that is refused as a whole, the zxid and what follows. For some Java
takes no zxid, and sends what results it has, which no client reads.

  test_differential.py [REQUESTS [SEED]]
  test_differential.py malformed   all of them, with each difference
"""
import os
import random
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import malformed  # noqa: E402
import raw  # noqa: E402
from raw import boolean, buf, i32, i64, vector  # noqa: E402
from servers import Java, Zabfs  # noqa: E402

REQUESTS = 24_000
SESSIONS = 3
SESSION_MS = 3_600_000
PATIENCE_S = 60
SETTINGS = [f"maxSessionTimeout={SESSION_MS}", "enforceQuota=true", "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
            "znode.container.checkIntervalMs=3600000",  # the reaper comes when it comes
            # super:test
            "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="]
NAMES = ["a", "b", "c", "d1", "\u00e9t\u00e9"]
ACLS = [raw.OPEN_ACL, raw.OPEN_ACL, raw.OPEN_ACL,
        [(1, "world", "anyone")], [(31, "auth", "")], [], [(31, "digest", "u:x")],
        [(31, "world", "anyone"), (31, "world", "anyone")], [(31, "ip", "127.0.0.1/8")],
        [(31, "ip", "1.2.3")], [(31, "nosuch", "x")], [(31, "world", "someone")],
        [(15, "world", "anyone"), (16, "digest", "m:6QRaKIA0qFFWLvQiCrOaPzvVk4g=")]]
BAD_PATHS = ["", "a", "/a/", "/a//b", "/a/./b", "/..", "/a\0b", "/a\x01", "/\ue000", "/",
             "/zookeeper", "/zookeeper/config", "/zookeeper/quota/x", "/x\x7f"]


class Generator:
    """Random requests; what it makes depends on the seed alone, never on answers."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        # With several requests under way, what a quota refuses depends on how fast a server is.
        self.pipelines = seed % 2 == 0

    def path(self):
        r = self.random
        if r.random() < 0.03:
            return r.choice(BAD_PATHS)
        return "/" + "/".join(r.choice(NAMES) for _ in range(r.choice((1, 1, 1, 2, 2, 3))))

    def data(self):
        return self.random.choice([b"", None, b"x", b"some data", b"\0\xff" * 20])

    def version(self):
        return self.random.choice([-1, -1, -1, 0, 1, 2])

    def acl(self):
        return self.random.choice(ACLS) if self.random.random() < 0.2 else raw.OPEN_ACL

    def create(self):
        r = self.random
        kind = r.choice([raw.CREATE, raw.CREATE, raw.CREATE2, raw.CREATE2, raw.CREATE_CONTAINER,
                         raw.CREATE_TTL])
        ttl = None
        flags = r.choice([0, 0, 0, 1, 1, 2, 3, 7, -1])
        if kind == raw.CREATE_CONTAINER:
            flags = 4
        elif kind == raw.CREATE_TTL:
            flags, ttl = r.choice([5, 6]), r.choice([100000, 1 << 39, 0, -5, 1 << 41])
        elif r.random() < 0.02:
            flags = r.choice([5, 6])
        path = self.path()
        if flags in (2, 3, 6) and r.random() < 0.3:
            path += "/"
        if r.random() < 0.01:
            path += "\U0001f600"  # Java tells of it in CESU-8, if it is watched: so only here
        return kind, raw.create(path, self.data(), self.acl(), flags, ttl)

    def quota(self):
        """Limits on a subtree come, change and go; usage is looked at by a later read."""
        r = self.random
        subject = "/zookeeper/quota/" + r.choice(NAMES[:2])
        limits = f"count={r.choice([-1, 5])},bytes={r.choice([-1, 50])}"
        if r.random() < 0.5:
            limits += f"=;byteHardLimit={r.choice([40, 400])};countHardLimit={r.choice([6, 60])}"
        return r.choice([
            (raw.CREATE, raw.create(subject)),
            (raw.CREATE, raw.create(subject + "/zookeeper_limits", limits.encode())),
            (raw.CREATE, raw.create(subject + "/zookeeper_stats", b"count=0,bytes=0")),
            (raw.SET_DATA, buf(subject + "/zookeeper_limits") + buf(limits) + i32(-1)),
            (raw.DELETE, buf(subject + "/zookeeper_limits") + i32(-1)),
            (raw.DELETE, buf(subject + "/zookeeper_stats") + i32(-1)),
            (raw.GET_DATA, buf(subject + "/zookeeper_stats") + b"\0")])

    def write(self):
        r = self.random
        kind = r.choice([raw.CREATE, raw.CREATE, raw.DELETE, raw.SET_DATA, raw.SET_DATA])
        if kind == raw.CREATE:
            return self.create()
        if kind == raw.DELETE:
            return kind, buf(self.path()) + i32(self.version())
        return kind, buf(self.path()) + buf(self.data()) + i32(self.version())

    def multi(self):
        operations = []
        for _ in range(self.random.randrange(5)):
            if self.random.random() < 0.25:
                operations.append((raw.CHECK, buf(self.path()) + i32(self.version())))
            else:
                operations.append(self.write())
        if self.random.random() < 0.03:
            operations.append((raw.GET_DATA, buf(self.path()) + b"\0"))
        return raw.MULTI, raw.multi(operations)

    def multi_read(self):
        operations = [(self.random.choice([raw.GET_DATA, raw.GET_CHILDREN]),
                       buf(self.path()) + b"\0") for _ in range(self.random.randrange(4))]
        return raw.MULTI_READ, raw.multi(operations)

    def paths(self):
        return vector([self.path() for _ in range(self.random.randrange(3))], buf)

    def request(self):
        r = self.random
        if not self.pipelines and r.random() < 0.03:
            return self.quota()
        pick = r.random()
        if pick < 0.42:
            return self.write()
        if pick < 0.50:
            return self.multi()
        if pick < 0.53:
            return self.multi_read()
        if pick < 0.57:
            return raw.SET_ACL, buf(self.path()) + raw.acl_list(r.choice(ACLS)) + i32(
                self.version())
        if pick < 0.90:
            kind = r.choice([raw.EXISTS, raw.GET_DATA, raw.GET_CHILDREN, raw.GET_CHILDREN2,
                             raw.GET_ACL])
            body = buf(self.path())
            return kind, body if kind == raw.GET_ACL else body + boolean(r.random() < 0.4)
        if pick < 0.93:
            return raw.ADD_WATCH, buf(self.path()) + i32(r.choice([0, 1, 1, 2]))
        if pick < 0.95:
            return (r.choice([raw.CHECK_WATCHES, raw.REMOVE_WATCHES]),
                    buf(self.path()) + i32(r.choice([1, 2, 3])))
        if pick < 0.96:
            seen = r.choice([0, 1 << 62])
            kind = r.choice([raw.SET_WATCHES, raw.SET_WATCHES2])
            body = i64(seen) + self.paths() + self.paths() + self.paths()
            if kind == raw.SET_WATCHES2:
                body += self.paths() + self.paths()
            return kind, body
        if pick < 0.97:
            return raw.GET_EPHEMERALS, buf(r.choice([None, "", "/", "/a"]))
        if pick < 0.98:
            return raw.GET_ALL_CHILDREN_NUMBER, buf(r.choice(["/", self.path()]))
        if pick < 0.99:
            return r.choice([(raw.WHO_AM_I, b""), (raw.SYNC, buf(self.path())), (raw.PING, b"")])
        return r.choice([(raw.SET_DATA, b"\0\0"), (raw.CREATE, b""), (raw.GET_DATA, b"\0"),
                         (raw.MULTI, b"\0\0\0\1")])


def open_session(address, *known):
    """None expires: each server would count that as a txn at another moment of the comparison."""
    session = raw.Session(address, *known, timeout_ms=SESSION_MS)
    session.socket.settimeout(PATIENCE_S)
    return session


class Side:
    """One server and its sessions, and how its answers are told so that they compare."""

    def __init__(self, server):
        self.server = server
        self.sessions = []

    def open(self):
        self.sessions.append(open_session(self.server.address))

    def reopen(self, i, keep):
        old = self.sessions[i]
        if not keep:
            old.request(raw.CLOSE)
        old.close()
        if keep:
            self.sessions[i] = open_session(self.server.address, old.id, old.password)
        else:
            self.sessions[i] = open_session(self.server.address)

    def owner(self, value):
        for i, session in enumerate(self.sessions):
            if session.id == value:
                return f"session {i}"
        return "nobody" if value == 0 else "another"

    @staticmethod
    def counter(zxid):
        return zxid if zxid < 0 else zxid & 0xffffffff

    def stat(self, reader):
        stat = reader.stat()
        for name in ("czxid", "mzxid", "pzxid"):
            stat[name] = self.counter(stat[name])
        stat["same time"] = stat.pop("ctime") == stat.pop("mtime") if stat["version"] == 0 else None
        if stat["version"] != 0:
            stat.pop("ctime", None)
            stat.pop("mtime", None)
        stat["owner"] = self.owner(stat["owner"])
        return stat

    def result(self, kind, r):
        """The body of an answer, by what was asked."""
        if kind == raw.CREATE:
            return r.text()
        if kind in (raw.CREATE2, raw.CREATE_CONTAINER, raw.CREATE_TTL):
            return r.text(), self.stat(r)
        if kind in (raw.SET_DATA, raw.SET_ACL, raw.EXISTS):
            return self.stat(r)
        if kind == raw.GET_DATA:
            return r.buf(), self.stat(r)
        if kind == raw.GET_ACL:
            return r.acl(), self.stat(r)
        if kind == raw.GET_CHILDREN:
            return sorted(r.vector(r.text))
        if kind == raw.GET_CHILDREN2:
            return sorted(r.vector(r.text)), self.stat(r)
        if kind == raw.SYNC:
            return r.text()
        if kind in (raw.ADD_WATCH, raw.GET_ALL_CHILDREN_NUMBER):
            return r.i32()
        if kind == raw.GET_EPHEMERALS:
            return sorted(r.vector(r.text))
        if kind == raw.WHO_AM_I:
            return sorted(r.vector(lambda: (r.text(), r.text())))
        if kind in (raw.MULTI, raw.MULTI_READ):
            results = []
            while True:
                op, done, error = r.i32(), r.take(1), r.i32()
                if done == b"\1":
                    return results + [(op, error)]
                results.append((op, error, r.i32() if op == -1 else self.result(op, r)))
        return None

    def ask(self, i, kind, body):
        session = self.sessions[i]
        try:
            xid, zxid, error, reader = session.request(kind, body, -2 if kind == raw.PING else None)
        except raw.Closed:
            return "closed"
        answer = self.result(kind, reader) if error == 0 else None
        return (xid, self.counter(zxid), error, answer, reader.rest())

    def ask_many(self, i, requests):
        """The same with all of them under way at once."""
        session = self.sessions[i]
        answers = []
        try:
            for kind, body in requests:
                session.post(kind, body)
            for kind, _ in requests:
                xid, zxid, error, reader = session.answer()
                answer = self.result(kind, reader) if error == 0 else None
                answers.append((xid, self.counter(zxid), error, answer, reader.rest(),
                                session.events))
                session.events = []
        except (raw.Closed, OSError):
            answers.append("closed")
        return answers

    def events(self, in_order=True):
        """What all sessions have been told since the last time: a read flushes it."""
        told = []
        for session in self.sessions:
            session.request(raw.EXISTS, buf("/nothing") + b"\0")
            told.append(session.events if in_order else sorted(session.events))
            session.events = []
        return told


def make_equal_sides(java, zabfs):
    sides = [Side(java), Side(zabfs)]
    for _ in range(SESSIONS):
        for side in sides:
            side.open()
    for side in sides:
        side.sessions[1].auth("digest", "m:n")
        side.sessions[2].auth("digest", "super:test")
    return sides


def compare(requests, seed, complain):
    """Runs that many; `complain(text)` for each difference."""
    generator = Generator(seed)
    with Java(SETTINGS) as java, Zabfs(SETTINGS) as zabfs:
        sides = make_equal_sides(java, zabfs)
        for number in range(requests):
            i = generator.random.choice([0, 0, 0, 1, 1, 2])
            what, in_order = None, True
            if generator.random.random() < 0.003:
                keep = generator.random.random() < 0.5
                for side in sides:
                    side.reopen(i, keep)
                if i > 0:
                    for side in sides:
                        side.sessions[i].auth("digest", "m:n" if i == 1 else "super:test")
                what = f"session {i} comes again"
                answers = ["", ""]
                in_order = keep  # the ephemerals of a session go in any order
            elif generator.pipelines and generator.random.random() < 0.03:
                many = [r for r in (generator.request()
                                    for _ in range(generator.random.randint(2, 20)))
                        if r[0] not in (raw.PING, raw.SET_ACL)]
                what = f"session {i} asks at once {many!r}"
                answers = [side.ask_many(i, many) for side in sides]
                if "closed" in answers[0] + answers[1]:
                    for side in sides:
                        side.sessions[i] = open_session(side.server.address)
            else:
                kind, body = generator.request()
                what = f"session {i} asks {kind} {body!r}"
                answers = [side.ask(i, kind, body) for side in sides]
                if "closed" in answers:  # by both, or there is a difference
                    for side in sides:
                        side.sessions[i] = open_session(side.server.address)
            if answers[0] != answers[1] and isinstance(answers[0], list):
                pairs = [pair for pair in zip(many, *answers) if pair[1] != pair[2]]
                what = f"session {i} asks many at once, first {pairs[0][0] if pairs else many}"
                answers = [[pair[side] for pair in pairs] for side in (1, 2)]
            if answers[0] != answers[1]:
                complain(f"seed {seed}, request {number}, {what}:\n"
                         f"  java  {answers[0]}\n  zabfs {answers[1]}")
            events = [side.events(in_order) for side in sides]
            if events[0] != events[1]:
                complain(f"seed {seed}, request {number}, events after {what}:\n"
                         f"  java  {events[0]}\n  zabfs {events[1]}")
        for side in sides:
            for session in side.sessions:
                session.close()


class WithoutZxids(Side):
    """Told so that two compare which have made a different number of txns."""

    @staticmethod
    def counter(zxid):
        return min(zxid, 0)


class Asker:
    """One server, and what it makes of one request after the other, each told so that it compares."""
    ROOT = "/malformed"
    PATH, NEW = ROOT + "/there", ROOT + "/new"
    SETUP = [(raw.DELETE, buf(NEW) + i32(-1)), (raw.DELETE, buf(PATH) + i32(-1)),
             (raw.CREATE, raw.create(PATH, b"data"))]

    def __init__(self, server):
        self.side = WithoutZxids(server)
        self.zxid = None  # the last one heard of
        self.side.open()  # asks
        self.side.open()  # prepares
        self.side.sessions[1].auth("digest", "super:test")
        self.ask(1, raw.CREATE, raw.create(self.ROOT))
        self.set_up()

    def set_up(self):
        return [self.ask(1, kind, body) for kind, body in self.SETUP]

    def ask(self, i, kind, body):
        """Its answer and that of a ping behind it, or how the connection ended; and events."""
        session, told, forgets = self.side.sessions[i], [], False
        closes = kind == raw.CLOSE or kind not in (*malformed.KNOWN, raw.SASL)
        try:
            session.post(kind, body, {raw.PING: -2, raw.AUTH: -4}.get(kind))
            if not closes:  # who closes a connection with bytes unread may lose its last answer
                session.post(raw.PING, xid=-2)
            while closes or len(told) < 2:
                xid, zxid, error, reader = session.answer()
                zxid = self.since(zxid)
                body = self.body(kind, error, reader)
                if error == -5 and kind in (raw.MULTI, raw.MULTI_READ):
                    zxid = body = "not compared"
                    forgets = True
                told.append((xid if xid < 0 else "its own", zxid, error, body))
                kind = raw.PING if kind != raw.CLOSE else kind
        except (raw.Closed, OSError) as e:
            told.append("silence" if isinstance(e, TimeoutError) else "closed")
            session.close()
            # The same session, so that none expires later and takes a zxid.
            known = () if kind == raw.CLOSE else (session.id, session.password)
            self.side.sessions[i] = open_session(self.side.server.address, *known)
            self.zxid = None
        if forgets:
            self.zxid = None
        events, session.events = session.events, []
        return told, events

    def since(self, zxid):
        if zxid <= 0:
            return zxid
        before, self.zxid = self.zxid, zxid
        return "the first" if before is None else zxid - before

    def body(self, kind, error, reader):
        try:
            return (self.side.result(kind, reader) if error == 0 else None), reader.rest()
        except ValueError as e:
            return str(e), reader.data


def compare_malformed(complain):
    """Every malformed request to both; `complain(text)` for each difference. How many there were."""
    with Java(SETTINGS) as java, Zabfs(SETTINGS) as zabfs:
        askers = [Asker(java), Asker(zabfs)]
        number = 0
        for what, kind, body in malformed.requests(Asker.PATH, Asker.NEW):
            if is_left_alone(kind, body):
                continue
            number += 1
            answers = [asker.ask(0, kind, body) for asker in askers]
            states = [asker.set_up() for asker in askers]
            if answers[0] != answers[1]:
                complain(f"{what}: {kind} {body!r}\n  java  {answers[0]}\n  zabfs {answers[1]}")
            elif states[0] != states[1]:
                complain(f"after {what}: {kind} {body!r}\n"
                         f"  java  {states[0]}\n  zabfs {states[1]}")
            if java.process.poll() is not None:
                complain(f"java is dead after {what}: {kind} {body!r}")
                break
        for what, record in malformed.variants(malformed.HELLO):
            number += 1
            answers = [hello_answer(server, record) for server in (java, zabfs)]
            if answers[0] != answers[1]:
                complain(f"{what} of a connect request: {record!r}\n"
                         f"  java  {answers[0]}\n  zabfs {answers[1]}")
    return number


def is_left_alone(kind, body):
    """The head of this file says why."""
    if kind in (raw.CHECK, 20, -10) or (kind == raw.AUTH and len(body) <= 4):
        return True
    null, path = i32(1) + i32(-1), i32(1) + buf(Asker.PATH)  # lists; two more make it the third
    if kind == raw.SET_WATCHES2 and null in body[1 - len(null + 2 * path):]:
        return True
    tells = (raw.SYNC, raw.SET_WATCHES, raw.SET_WATCHES2, raw.ADD_WATCH, raw.REMOVE_WATCHES,
             raw.EXISTS)
    return kind in tells and any(b"/" + bad in body for bad in malformed.NOT_UTF8)


def hello_answer(server, record):
    """What a connect request gets: (timeout, whether there is a session, ...), or `closed`."""
    with socket.create_connection(server.address, 10) as s:
        s.settimeout(10)
        s.sendall(i32(len(record)) + record)
        try:
            answer = raw.Reader(raw.exactly(s, struct.unpack(">i", raw.exactly(s, 4))[0]))
        except raw.Closed:
            return "closed"
        return (answer.i32(), answer.i32(), answer.i64() != 0, len(answer.buf() or b""),
                answer.rest())


class Differential(unittest.TestCase):
    def test_malformed_requests_are_answered_as_by_java(self):
        differences = []
        number = compare_malformed(differences.append)
        self.assertEqual(differences, [], "\n".join(differences[:10]))
        print(f"{number} malformed requests, no difference")

    def test_every_answer_is_javas(self):
        differences = []
        for seed in (1, 2):
            compare(REQUESTS // 2, seed, differences.append)
        self.assertEqual(differences, [], "\n".join(differences[:10]))
        print(f"{REQUESTS} requests, no difference")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        def show(text, left=[15]):
            print(text)
            left[0] -= 1
            if left[0] == 0:
                sys.exit(1)

        if sys.argv[1] == "malformed":
            print(compare_malformed(print), "requests")
            sys.exit(0)
        compare(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1, show)
    else:
        unittest.main(verbosity=2)
