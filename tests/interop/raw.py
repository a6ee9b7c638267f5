"""ZooKeeper's client protocol, request by request, with nothing between the test and the bytes."""
import socket
import struct

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = range(11, 19)
CREATE_CONTAINER, CREATE_TTL, MULTI_READ = 19, 21, 22
AUTH, SET_WATCHES, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER, SET_WATCHES2 = 100, 101, 103, 104, 105
ADD_WATCH, WHO_AM_I, CLOSE, SASL = 106, 107, -11, 102
OPEN_ACL = [(31, "world", "anyone")]


class Closed(Exception):
    pass


def i32(value):
    return struct.pack(">i", value)


def i64(value):
    return struct.pack(">q", value)


def boolean(value):
    return b"\1" if value else b"\0"


def buf(value):
    if value is None:
        return i32(-1)
    if isinstance(value, str):
        value = value.encode()
    return i32(len(value)) + value


def vector(items, encode):
    return i32(len(items)) + b"".join(encode(item) for item in items)


def acl_list(acl):
    return vector(acl, lambda a: i32(a[0]) + buf(a[1]) + buf(a[2]))


def create(path, data=b"", acl=None, flags=0, ttl=None):
    body = buf(path) + buf(data) + acl_list(OPEN_ACL if acl is None else acl) + i32(flags)
    return body if ttl is None else body + i64(ttl)


def multi(operations):
    return (b"".join(i32(kind) + b"\0" + i32(-1) + body for kind, body in operations)
            + i32(-1) + b"\1" + i32(-1))


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, size):
        if self.at + size > len(self.data):
            raise ValueError("the answer is too short")
        self.at += size
        return self.data[self.at - size:self.at]

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def i64(self):
        return struct.unpack(">q", self.take(8))[0]

    def buf(self):
        size = self.i32()
        return None if size < 0 else self.take(size)

    def text(self):
        value = self.buf()
        return None if value is None else value.decode(errors="backslashreplace")

    def vector(self, read):
        return [read() for _ in range(max(0, self.i32()))]

    def stat(self):
        names = ("czxid mzxid ctime mtime version cversion aversion owner length children "
                 "pzxid").split()
        return dict(zip(names, struct.unpack(">qqqqiiiqiiq", self.take(68))))

    def acl(self):
        return self.vector(lambda: (self.i32(), self.text(), self.text()))

    def rest(self):
        return self.data[self.at:]


def exactly(connection, size):
    data = bytearray()
    while len(data) < size:
        try:
            more = connection.recv(size - len(data))
        except ConnectionError as e:
            raise Closed() from e
        if not more:
            raise Closed()
        data += more
    return bytes(data)


def public_password(session):
    """Apache ZooKeeper's, which follows from the session's id: java.util.Random, seeded with it."""
    state = (session ^ 0xB3415C00 ^ 0x5DEECE66D) & (2**48 - 1)
    words = []
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & (2**48 - 1)
        words.append(state >> 16)
    return struct.pack("<4I", *words)


class Session:
    """One connection; one request at a time, events are kept apart in their order. `address` may be
    a socket that is connected already."""

    def __init__(self, address, session=0, password=b"\0" * 16, timeout_ms=20000, seen=0):
        self.socket = address
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address, 10)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(20)
        self.xid = 0
        self.events = []
        self.send(i32(0) + i64(seen) + i32(timeout_ms) + i64(session) + buf(password) + b"\0")
        answer = Reader(self.receive())
        answer.i32()
        self.timeout_ms = answer.i32()
        self.id = answer.i64()
        self.password = answer.buf()

    def send(self, record):
        self.socket.sendall(i32(len(record)) + record)

    def receive(self):
        return exactly(self.socket, struct.unpack(">i", exactly(self.socket, 4))[0])

    def answer(self):
        """(xid, zxid, error, body as a Reader) of the next answer."""
        while True:
            reader = Reader(self.receive())
            xid, zxid, error = reader.i32(), reader.i64(), reader.i32()
            if xid != -1:
                return xid, zxid, error, reader
            self.events.append((reader.i32(), reader.i32(), reader.text()))

    def post(self, kind, body=b"", xid=None):
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(i32(xid) + i32(kind) + body)

    def request(self, kind, body=b"", xid=None):
        self.post(kind, body, xid)
        return self.answer()

    def auth(self, scheme, credentials):
        return self.request(AUTH, i32(0) + buf(scheme) + buf(credentials), xid=-4)

    def znodes(self):
        """All that there are, for who may read them: path to (data, Stat, ACL)."""
        found, left = {}, ["/"]
        while left:
            path = left.pop()
            error, data = self.request(GET_DATA, buf(path) + b"\0")[2:]
            assert error == 0, (path, error)
            acl = self.request(GET_ACL, buf(path))[3].acl()
            found[path] = (data.buf(), data.stat(), acl)
            children = self.request(GET_CHILDREN, buf(path) + b"\0")[3]
            left += [path.rstrip("/") + "/" + name for name in children.vector(children.text)]
        return found

    def close(self):
        self.socket.close()
