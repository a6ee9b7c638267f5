"""The client port by the bytes: sessions that move and end, order of events, floods, slow readers,
garbage; and what clients and mounts see of each other.
"""
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(__file__))
import raw  # noqa: E402
from raw import boolean, buf, i32, i64  # noqa: E402
from servers import Zabfs  # noqa: E402
from harness import ClusterTest, free_ports, sh, wait_for  # noqa: E402


def read_file(*names):
    with open(os.path.join(*names)) as f:
        return f.read()


def is_closed(session):
    try:
        session.answer()
        return False
    except (raw.Closed, OSError):
        return True


class OneServer(unittest.TestCase):
    settings = ["4lw.commands.whitelist=*", "minSessionTimeout=500", "maxSessionTimeout=600000"]

    @classmethod
    def setUpClass(cls):
        cls.server = Zabfs(cls.settings)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.sessions = []

    def tearDown(self):
        for session in self.sessions:
            session.close()

    def open(self, *arguments, **options):
        self.sessions.append(raw.Session(self.server.address, *arguments, **options))
        return self.sessions[-1]

    def connections(self):
        for line in self.server.word("mntr").decode().splitlines():
            if line.startswith("zk_num_alive_connections"):
                return int(line.split()[1])

    def test_an_event_comes_before_any_answer_that_shows_the_change(self):
        writer, reader = self.open(), self.open()
        writer.request(raw.CREATE, raw.create("/order", b"0"))
        stop = threading.Event()

        def write():
            n = 0
            while not stop.is_set():
                n += 1
                writer.request(raw.SET_DATA, buf("/order") + buf(str(n)) + i32(-1))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(300):
                _, _, _, r = reader.request(raw.GET_DATA, buf("/order") + boolean(True))
                first = r.buf()
                reader.events.clear()
                for _ in range(200):
                    _, _, _, r = reader.request(raw.GET_DATA, buf("/order") + boolean(False))
                    if r.buf() != first:
                        self.assertEqual(reader.events, [(3, 3, "/order")])
                        break
        finally:
            stop.set()
            thread.join()

    def test_answers_keep_the_order_of_requests(self):
        session = self.open()
        session.request(raw.CREATE, raw.create("/fifo", b"0"))
        for n in range(500):
            session.post(raw.SET_DATA, buf("/fifo") + buf(str(n)) + i32(-1))
            session.post(raw.GET_DATA, buf("/fifo") + boolean(False))
            session.post(raw.SYNC, buf("/fifo"))
        xid = session.xid - 1500
        for n in range(500):
            for kind in range(3):
                xid += 1
                got, _, error, r = session.answer()
                self.assertEqual((got, error), (xid, 0))
                if kind == 1:
                    self.assertEqual(r.buf(), str(n).encode())

    def test_a_session_comes_again_and_its_old_connection_is_closed(self):
        old = self.open()
        old.request(raw.CREATE, raw.create("/again", flags=1))
        new = self.open(old.id, old.password)
        self.assertEqual((new.id, new.password), (old.id, old.password))
        self.assertTrue(is_closed(old))
        self.assertEqual(new.request(raw.EXISTS, buf("/again") + boolean(False))[2], 0)

    def test_a_wrong_password_and_a_session_that_is_over_are_turned_away(self):
        session = self.open()
        wrong = self.open(session.id, b"x" * 16)
        self.assertEqual((wrong.id, wrong.timeout_ms, wrong.password), (0, 0, b"\0" * 16))
        self.assertTrue(is_closed(wrong))
        session.request(raw.CLOSE)
        self.assertTrue(is_closed(session))
        self.assertEqual(self.open(session.id, session.password).id, 0)

    def test_a_client_that_has_seen_more_is_refused(self):
        with self.assertRaises(raw.Closed):
            self.open(seen=1 << 60)

    def test_a_silent_session_ends_with_its_ephemerals_and_its_connection(self):
        silent, other = self.open(timeout_ms=600), self.open()
        self.assertEqual(silent.timeout_ms, 600)
        silent.request(raw.CREATE, raw.create("/silent", flags=1))
        other.request(raw.EXISTS, buf("/silent") + boolean(True))
        self.assertTrue(is_closed(silent))
        self.assertEqual(other.request(raw.EXISTS, buf("/silent") + boolean(False))[2], -101)
        self.assertEqual(other.events, [(2, 3, "/silent")])

    def test_pings_keep_a_session(self):
        session = self.open(timeout_ms=1000)
        for _ in range(30):
            time.sleep(0.2)
            self.assertEqual(session.request(raw.PING, xid=-2)[0], -2)

    def test_an_unknown_request_is_answered_and_the_connection_closed(self):
        session = self.open()
        xid, zxid, error, _ = session.request(9001, buf("/x"))
        self.assertEqual((zxid, error), (-1, -6))
        self.assertTrue(is_closed(session))

    def test_authentication_that_fails_closes_the_connection(self):
        session = self.open()
        self.assertEqual(session.auth("nosuch", "x")[:3], (-4, 0, -115))
        self.assertTrue(is_closed(session))

    def test_what_a_client_sends_stays_in_short_lines_of_the_log(self):
        forged = b"x\n2026-01-01T00:00:00.000+00:00 error forged\x1b[2J\xc2\x9b1m\xff"
        with Zabfs(self.settings) as server:  # no other test's lines are like these

            def lines():
                with open(server.log, "rb") as f:
                    return f.read().split(b"\n")

            for scheme in (forged, b"y" * 900_000, b"\x80\n" * 400_000):
                session = raw.Session(server.address)
                self.assertEqual(session.auth(scheme, "")[2], -115)
                session.close()
            wait_for(lambda: [line for line in lines() if rb"\x80" in line], 10, "the last line")
            told = lines()
        self.assertIn(rb"x\n2026-01-01T00:00:00.000+00:00 error forged\x1b[2J\xc2\x9b1m\xff", b"\n".join(told))
        self.assertFalse([line for line in told for c in line if c < 0x20 or c >= 0x7f])
        self.assertFalse([line for line in told if line.startswith(b"2026-01-01")])
        own = [line for line in told if any(it in line for it in (b"forged", b"yyyy", rb"\x80"))]
        self.assertLessEqual(len(own), 3)
        self.assertLess(sum(map(len, own)), 3_000)

    def test_the_identities_of_a_connection_are_bounded(self):
        session = self.open()
        for i in range(200):  # its address is one, too
            session.auth("digest", "a:b")
            error = session.auth("digest", f"u{i}:p")[2]
            if error != 0:
                break
        self.assertEqual((i, error), (62, -115))
        self.assertTrue(is_closed(session))

        session = self.open()
        self.assertEqual(session.auth("digest", "u" * 5000)[2], 0)
        _, _, _, r = session.request(raw.WHO_AM_I)
        self.assertEqual(len(r.vector(lambda: (r.text(), r.text()))), 2)
        self.assertEqual(session.auth("digest", "v" * 5000)[2], -115)
        self.assertTrue(is_closed(session))

    def test_what_one_multi_read_answers_is_bounded(self):
        session = self.open()
        session.request(raw.CREATE, raw.create("/often", b"x" * 1_000_000))
        for times, error in ((10, 0), (1_000, -8)):
            reads = raw.multi([(raw.GET_DATA, buf("/often") + b"\0")] * times)
            answer = session.request(raw.MULTI_READ, reads)
            self.assertEqual(answer[2], error)
            self.assertEqual(len(answer[3].rest()) > 0, error == 0)
        session.request(raw.DELETE, buf("/often") + i32(-1))

    def test_requests_that_wait_are_bounded_by_their_bytes(self):
        session = self.open()
        session.request(raw.CREATE, raw.create("/often", b""))
        frame = buf("/often") + buf(b"x" * 1_000_000) + i32(-1)
        sender = threading.Thread(target=lambda: [session.post(raw.SET_DATA, frame)
                                                  for _ in range(60)])
        sender.start()
        for _ in range(60):
            self.assertEqual(session.answer()[2], 0)
        sender.join()
        session.request(raw.DELETE, buf("/often") + i32(-1))

    def test_garbage_harms_nobody(self):
        other = self.open()
        for garbage in (b"\0\0\0\0", b"\xff" * 100, b"\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n",
                        b"\0\0\0\5abcde", b"xxxx"):
            with socket.create_connection(self.server.address, 5) as s:
                s.sendall(garbage)
                self.assertEqual(s.recv(10), b"", garbage)
        for record in (b"", b"abc", i32(1), i32(1) + i32(4), i32(1) + i32(14) + b"\0" * 3,
                       i32(-8) + i32(101) + i64(0) + i32(1 << 30)):
            session = self.open()
            session.send(record)
            try:
                session.answer()
            except raw.Closed:
                pass
        self.assertEqual(other.request(raw.SYNC, buf("/"))[2], 0)

    def test_a_slow_reader_slows_nobody_and_its_memory_is_bounded(self):
        # Its session lasts longer than the test, so that only its not reading can be in the way.
        other, slow = self.open(), self.open(timeout_ms=40_000)
        other.request(raw.CREATE, raw.create("/large", b"x" * 1_000_000))

        def resident_kb():
            text = read_file(f"/proc/{self.server.process.pid}/status")
            return int(text.split("VmRSS:")[1].split()[0])

        before = resident_kb()
        self.ask_and_never_read(slow, "/large", 2000)  # 2 GB of answers
        count = self.connections()
        self.assertEqual(other.request(raw.SET_DATA, buf("/large") + buf("x") + i32(-1))[2], 0)
        self.assertEqual(self.connections(), count)  # it was answered while the slow one was there
        # Under ThreadSanitizer every byte has four of shadow. Unbounded it would be 2 GB, or 10.
        shadow = 5 if os.environ.get("ZABFS_SANITIZE") == "thread" else 1
        self.assertLess(resident_kb() - before, 200_000 * shadow)

    def test_who_neither_reads_nor_sends_loses_its_session_and_then_its_connection(self):
        other, silent = self.open(), self.open(timeout_ms=2000)
        other.request(raw.CREATE, raw.create("/unread", b"x" * 1_000_000))
        count = self.connections()
        self.ask_and_never_read(silent, "/unread", 200)
        wait_for(lambda: self.connections() < count, 40, "the end of the silent one")

    def ask_and_never_read(self, session, path, times):
        session.socket.settimeout(0.5)
        try:
            for _ in range(times):
                session.post(raw.GET_DATA, buf(path) + boolean(False))
        except OSError:  # the server reads no more of its requests
            pass

    def test_a_multi_of_thousands(self):
        session = self.open()
        operations = [(raw.CREATE, raw.create(f"/many{i}")) for i in range(5000)]
        _, _, error, r = session.request(raw.MULTI, raw.multi(operations))
        self.assertEqual(error, 0)
        for i in range(5000):
            r.i32(), r.take(1), r.i32()
            self.assertEqual(r.text(), f"/many{i}")

    def test_thousands_of_sessions_with_a_watch_each(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
        count = min(10_000, limit[1] // 2 - 200)
        sessions = [self.open(timeout_ms=600_000) for _ in range(count)]  # a busy machine takes long
        sessions[0].request(raw.CREATE, raw.create("/watched"))
        for session in sessions:
            session.post(raw.GET_DATA, buf("/watched") + boolean(True))
        for session in sessions:
            self.assertEqual(session.answer()[2], 0)
        sessions[0].request(raw.SET_DATA, buf("/watched") + buf("x") + i32(-1))
        for session in sessions:
            session.request(raw.PING, xid=-2)
            self.assertEqual(session.events, [(3, 3, "/watched")])
        for session in sessions:
            session.close()
        wait_for(lambda: self.connections() < 10, 20, "all connections gone")


class Limits(unittest.TestCase):
    def test_too_many_connections_of_one_address_are_refused(self):
        server = Zabfs()
        with open(server.config) as f:
            text = f.read().replace("maxClientCnxns=0", "maxClientCnxns=5")
        with open(server.config, "w") as f:
            f.write(text)
        with server:
            wait_for(lambda: b"Connections: 1\n" in server.word("srvr"), 10, "a quiet server")
            sessions = [raw.Session(server.address) for _ in range(5)]
            with self.assertRaises((raw.Closed, ConnectionError)):
                raw.Session(server.address)
            self.assertIn("maxClientCnxns", server.log_text())
            sessions[0].close()
            again = wait_for(lambda: self.try_open(server), 10, "room for another")
            for session in sessions + [again]:
                session.close()

    def try_open(self, server):
        try:
            return raw.Session(server.address)
        except raw.Closed:
            return None

    def test_only_words_of_the_whitelist_are_answered(self):
        with Zabfs() as server:
            self.assertIn(b"Mode: standalone", server.word("srvr"))
            self.assertEqual(server.word("ruok"),
                             b"ruok is not executed because it is not in the whitelist.\n")


class Admin(unittest.TestCase):
    def test_its_commands_answer_in_json(self):
        port = free_ports(1)[0]
        server = Zabfs(["admin.enableServer=true", f"admin.serverPort={port}"])
        with open(server.config) as f:
            text = f.read().replace("admin.enableServer=false\n", "")
        with open(server.config, "w") as f:
            f.write(text)
        with server:
            session = raw.Session(server.address)
            session.request(raw.CREATE, raw.create("/e", flags=1))
            session.request(raw.GET_DATA, buf("/e") + boolean(True))

            def ask(command):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/commands/{command}") as r:
                    self.assertEqual(r.headers["Content-Type"], "application/json")
                    answer = json.load(r)
                return answer

            self.assertEqual(ask("ruok"), {"command": "ruok", "error": None})
            self.assertEqual(ask("stat")["server_stats"]["server_state"], "standalone")
            self.assertEqual(ask("monitor")["ephemerals_count"], 1)
            self.assertEqual(ask("configuration")["client_port"], server.port)
            connections = ask("cons")["connections"]
            self.assertEqual([c["session_id"] for c in connections], [session.id])
            self.assertEqual(list(ask("watches_by_path")["path_to_session_ids"]), ["/e"])
            self.assertEqual(ask("dump")["session_id_to_ephemeral_paths"],
                             {hex(session.id): ["/e"]})
            self.assertIn("Unknown command", ask("nosuch")["error"])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/commands") as r:
                self.assertIn(b"/commands/monitor", r.read())
            with self.assertRaises(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/other")
            for garbage in (b"\0" * 10, b"GET /" + b"x" * 20000, b"POST /commands/ruok HTTP/1.1\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port), 5) as s:
                    s.sendall(garbage)
            self.assertIsNone(ask("ruok")["error"])
            session.close()


class ThreeServers(ClusterTest):
    options = {"extra": "maxClientCnxns=0\nzabfs.rootMode=0777\n"}

    def open(self, node, *arguments, **options):
        session = raw.Session(("127.0.0.1", node.client_port), *arguments, **options)
        self.addCleanup(session.close)
        return session

    def test_a_session_moves_and_its_old_server_refuses_its_writes(self):
        leader = self.cluster.leader()
        a, b = self.cluster.followers()
        for first, second in ((a, b), (leader, a), (b, leader)):
            old = self.open(first)
            path = f"/{self.name}/moved{old.id}"
            self.assertEqual(old.request(raw.CREATE, raw.create(path, acl=raw.OPEN_ACL))[2], -102)
            path = f"/moved{old.id}"
            old.request(raw.CREATE, raw.create(path, flags=1))
            new = self.open(second, old.id, old.password)
            self.assertEqual(new.id, old.id)
            self.assertEqual(new.request(raw.SET_DATA, buf(path) + buf("new") + i32(-1))[2], 0)
            old.post(raw.SET_DATA, buf(path) + buf("old") + i32(-1))
            self.assertTrue(is_closed(old))
            self.assertEqual(new.request(raw.GET_DATA, buf(path) + b"\0")[3].buf(), b"new")
            new.request(raw.CLOSE)

    def test_nobody_takes_over_a_session_by_its_id(self):
        lock = self.dir(self.n1, "@", "lock")
        holder = subprocess.Popen(["flock", lock, "cat"], stdin=subprocess.PIPE)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.stdin.close)
        wait_for(lambda: "state held" in read_file(lock), 10, "the lock")
        (contender,) = self.cluster.children_on_the_wire(f"/{self.name}")
        client = self.open(self.n1)
        _, _, error, r = client.request(raw.EXISTS, buf(f"/{self.name}/{contender}") + b"\0")
        self.assertEqual(error, 0)
        mounts = r.stat()["owner"]
        for node in self.cluster.nodes:
            for session in (mounts, client.id):
                for password in (raw.public_password(session), b"\0" * 16, b"", client.password[:8]):
                    self.assertEqual(self.open(node, session, password).id, 0)
            self.assertEqual(self.open(node, mounts, client.password).id, 0)
        self.assertIn("state held", read_file(lock))
        self.assertEqual(client.request(raw.EXISTS, buf("/") + b"\0")[2], 0)

    def test_a_password_is_good_at_every_server_and_after_restarts(self):
        client = self.open(self.n1)
        client.request(raw.CREATE, raw.create(f"/mine{client.id}", flags=1))

        def comes_again(node):
            again = self.open(node, client.id, client.password)
            self.assertEqual((again.id, again.password), (client.id, client.password))
            self.assertEqual(again.request(raw.EXISTS, buf(f"/mine{client.id}") + b"\0")[2], 0)

        for node in self.cluster.nodes:
            comes_again(node)
        leader = self.cluster.leader()
        leader.kill()
        wait_for(self.cluster.leader, 30, "another leader")
        for node in self.cluster.nodes:
            if node is not leader:
                node.wait_ready()
                comes_again(node)
        for node in self.cluster.nodes:
            node.kill()
        self.cluster.start()
        comes_again(leader)

    def test_sessions_live_through_a_change_of_leaders(self):
        sessions = [self.open(node) for node in self.cluster.followers()]
        for i, session in enumerate(sessions):
            session.request(raw.CREATE, raw.create(f"/lives{session.id}", flags=1))
        leader = self.cluster.leader()
        leader.kill()
        for session in sessions:
            self.assertEqual(
                session.request(raw.SET_DATA, buf(f"/lives{session.id}") + buf("x") + i32(-1))[2], 0)
        leader.start()
        leader.wait_ready()
        for session in sessions:
            session.request(raw.CLOSE)
            self.cluster.sync_all()
            self.assertFalse(os.path.exists(leader.path(f"lives{session.id}")))

    def test_without_a_quorum_clients_are_sent_elsewhere(self):
        a, b = self.cluster.followers()
        leader = self.cluster.leader()
        session = self.open(a)
        for node in (leader, b):
            node.kill()
        self.assertTrue(is_closed(session))
        with self.assertRaises((raw.Closed, ConnectionError)):
            self.open(a)
        for node in (leader, b):
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()

    def test_mounts_show_what_clients_do_and_clients_what_mounts_do(self):
        os.chmod(self.dir(self.n1), 0o777)
        self.cluster.sync_all()
        client = self.open(self.n2)
        top = f"/{self.name}"
        self.assertEqual(client.request(raw.CREATE, raw.create(top + "/f", b"text"))[2], 0)
        self.assertEqual(read_file(self.dir(self.n2, "f")), "text")
        client.request(raw.GET_DATA, buf(top + "/f") + boolean(True))
        client.request(raw.GET_CHILDREN, buf(top) + boolean(True))
        with open(self.dir(self.n2, "f"), "w") as f:
            f.write("more")
        with open(self.dir(self.n2, "g"), "w") as f:
            f.write("new")
        client.request(raw.SYNC, buf("/"))
        self.assertEqual(client.events, [(3, 3, top + "/f"), (4, 3, top)])
        self.assertEqual(client.request(raw.GET_DATA, buf(top + "/f") + b"\0")[3].buf(), b"more")
        client.request(raw.DELETE, buf(top + "/f") + i32(-1))
        self.assertFalse(os.path.exists(self.dir(self.n2, "f")))

    def test_a_listing_leaves_out_what_a_kernel_may_not_take(self):
        os.chmod(self.dir(self.n1), 0o777)
        session = self.open(self.n1)
        lengths = (255, 256, 1024, 1025, 4000)
        for length in lengths:
            self.assertEqual(session.request(raw.CREATE, raw.create(f"/{self.name}/" + length * "x"))[2], 0)
        children = session.request(raw.GET_CHILDREN, buf(f"/{self.name}") + b"\0")[3]
        self.assertEqual(sorted(map(len, children.vector(lambda: children.text()))), sorted(lengths))
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            self.assertEqual(sorted(map(len, os.listdir(self.dir(node)))), [255, 256, 1024])

    def test_mounts_show_what_a_quota_counts(self):
        os.chmod(self.dir(self.n1), 0o777)
        self.cluster.sync_all()
        client = self.open(self.n1)
        quota = f"/zookeeper/quota/{self.name}"
        for path, data in ((quota, b""), (quota + "/zookeeper_limits", b"count=100,bytes=-1"),
                           (quota + "/zookeeper_stats", b"count=0,bytes=0")):
            self.assertEqual(client.request(raw.CREATE, raw.create(path, data))[2], 0)
        for count in range(2, 13):
            client.request(raw.CREATE, raw.create(f"/{self.name}/{count}", b"x"))
            shown = self.n1.path(quota[1:], "zookeeper_stats")
            text = f"count={count},bytes={count - 1}"
            self.assertEqual(read_file(shown), text)
            self.assertEqual(os.stat(shown).st_size, len(text))

    def test_modes_and_acls_let_nobody_in_by_the_other_door(self):
        client = self.open(self.n1)
        top = f"/{self.name}"
        # A private file of a mount is private to clients, too.
        sh(f"umask 077; echo secret > {self.dir(self.n1, 'private')}; "
           f"echo open > {self.dir(self.n1, 'public')}; chmod 644 {self.dir(self.n1, 'public')}")
        self.assertEqual(client.request(raw.GET_DATA, buf(top + "/private") + b"\0")[2], -102)
        self.assertEqual(client.request(raw.GET_DATA, buf(top + "/public") + b"\0")[2], 0)
        for name in ("private", "public"):
            self.assertEqual(client.request(
                raw.SET_DATA, buf(f"{top}/{name}") + buf("x") + i32(-1))[2], -102)
            self.assertEqual(client.request(raw.DELETE, buf(f"{top}/{name}") + i32(-1))[2], -102)
            self.assertEqual(client.request(
                raw.SET_ACL, buf(f"{top}/{name}") + raw.acl_list(raw.OPEN_ACL) + i32(-1))[2], -102)
        # What only an authenticated client may read, no user of a mount but root may.
        client.auth("digest", "m:n")
        sh(f"chmod 777 {self.dir(self.n1)}")
        acl = [(31, "auth", "")]
        self.assertEqual(client.request(raw.CREATE, raw.create(top + "/theirs", b"x", acl))[2], 0)
        mode = os.stat(self.dir(self.n1, "theirs")).st_mode & 0o777
        self.assertEqual(mode, 0o600)
        self.assertNotEqual(os.system(
            f"setpriv --reuid 65534 --clear-groups cat {self.dir(self.n1, 'theirs')} 2>/dev/null"),
            0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
