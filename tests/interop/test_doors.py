"""The ways in beside the plain port: TLS with certificates as identities, the Unix-domain socket
with users as identities, authentication that is enforced; and sessions that only one server knows."""
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
import raw  # noqa: E402
from certificates import Authority  # noqa: E402
from harness import Cluster, free_ports, wait_for  # noqa: E402
from raw import Closed, Session, buf, create, i32  # noqa: E402
from servers import Zabfs  # noqa: E402

NO_AUTH, INVALID_ACL, REQUIRES_AUTH, EPHEMERAL_ON_LOCAL, EXPIRED = -102, -114, -124, -120, -112


class Tls(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-tls-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.authority = Authority(self.directory)
        self.secure_port = free_ports(1)[0]
        self.store = self.authority.issue("server")
        self.alice = self.authority.issue("alice")

    def start(self, *settings):
        stores = () if any("trustStore" in setting for setting in settings) else (
            f"ssl.keyStore.location={self.store}",
            f"ssl.trustStore.location={self.authority.certificate}")
        server = Zabfs([f"secureClientPort={self.secure_port}", *stores, *settings])
        server.start()
        self.addCleanup(server.stop)
        return server

    def socket(self, certificate=None, maximum=None):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if certificate:
            context.load_cert_chain(certificate)
        if maximum:
            context.maximum_version = maximum
        plain = socket.create_connection(("127.0.0.1", self.secure_port), 10)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def refused(self, certificate):
        with self.assertRaises((OSError, Closed)):  # ssl.SSLError is an OSError
            Session(self.socket(certificate))

    def test_a_certificate_is_an_identity(self):
        self.start()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            alice = Session(self.socket(self.alice, version))
            self.assertEqual(alice.request(raw.WHO_AM_I)[2], 0)
            mine = create(f"/{version.name}", b"x" * 200_000, [(31, "auth", "")])
            self.assertEqual(alice.request(raw.CREATE, mine)[2], 0)
            acl = alice.request(raw.GET_ACL, buf(f"/{version.name}"))[3].acl()
            self.assertEqual(acl, [(31, "x509", "CN=alice,O=zab")])
            bob = Session(self.socket(self.authority.issue("bob")))
            get = buf(f"/{version.name}") + b"\0"
            self.assertEqual(bob.request(raw.GET_DATA, get)[2], NO_AUTH)
            self.assertEqual(len(alice.request(raw.GET_DATA, get)[3].buf()), 200_000)
            for session in (alice, bob):
                session.close()

    def test_an_earlier_tls_session_is_not_taken_up_and_no_reason_to_fail(self):
        self.start()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=self.authority.certificate)
            context.load_cert_chain(self.alice)
            context.maximum_version = version
            earlier = None
            for _ in range(3):
                plain = socket.create_connection(("127.0.0.1", self.secure_port), 10)
                tls = context.wrap_socket(plain, server_hostname="127.0.0.1", session=earlier)
                self.assertFalse(tls.session_reused)
                session = Session(tls)
                self.assertEqual(session.request(raw.WHO_AM_I)[2], 0)
                earlier = tls.session
                session.close()

    def test_stores_as_java_has_them(self):
        self.start(f"ssl.keyStore.location={self.authority.key_store(self.store, 'secret')}",
                   "ssl.keyStore.password=secret",
                   f"ssl.trustStore.location={self.authority.trust_store('changeit')}",
                   "ssl.trustStore.password=changeit")
        alice = Session(self.socket(self.alice))
        self.assertEqual(alice.request(raw.WHO_AM_I)[2], 0)
        alice.close()
        os.mkdir(os.path.join(self.directory, "other"))
        stranger = Authority(os.path.join(self.directory, "other"), "stranger")
        self.refused(stranger.issue("mallory"))

    def test_who_has_no_good_certificate_is_refused_with_a_reason(self):
        server = self.start()
        self.refused(None)
        os.mkdir(os.path.join(self.directory, "other"))
        stranger = Authority(os.path.join(self.directory, "other"), "stranger")
        self.refused(stranger.issue("mallory"))
        self.refused(self.authority.issue("late", days=-1))
        with socket.create_connection(("127.0.0.1", self.secure_port)) as s:
            s.sendall(b"ruok" * 20)  # no TLS at all
            s.settimeout(10)
            while s.recv(100):
                pass
        log = server.whole_log()
        for reason in ("peer did not return a certificate", "certificate has expired",
                       "the peer's certificate: ", "TLS: "):
            self.assertIn(reason, log)
        Session(self.socket(self.alice)).close()

    def test_superuser_and_no_certificate_needed(self):
        self.start("ssl.clientAuth=want", "X509AuthenticationProvider.superUser=CN=alice,O=zab")
        nobody = Session(self.socket())
        self.assertEqual(nobody.request(raw.CREATE, create("/n", acl=[(1, "world", "anyone")]))[2], 0)
        self.assertEqual(nobody.request(raw.SET_DATA, buf("/n") + buf("x") + i32(-1))[2], NO_AUTH)
        alice = Session(self.socket(self.alice))
        self.assertEqual(alice.request(raw.SET_DATA, buf("/n") + buf("x") + i32(-1))[2], 0)
        for session in (nobody, alice):
            session.close()

    def test_new_files_are_read_without_a_restart(self):
        server = self.start()
        before = Session(self.socket(self.alice))
        serial = self.socket(self.alice).getpeercert()["serialNumber"]
        with open(self.store, "w") as f:
            f.write("nonsense")
        time.sleep(1.1)
        Session(self.socket(self.alice)).close()  # the old one goes on
        self.assertIn("holds no usable certificate", server.whole_log())
        self.authority.issue("server")

        def renewed():
            with self.socket(self.alice) as s:
                return s.getpeercert()["serialNumber"] != serial
        wait_for(renewed, 10, "the new certificate", every=0.3)
        self.assertEqual(before.request(raw.EXISTS, buf("/") + b"\0")[2], 0)
        before.close()

    def test_bad_settings_are_errors_that_say_so(self):
        with self.assertRaisesRegex(AssertionError, "holds no usable certificate"):
            self.store = os.path.join(self.directory, "missing.pem")
            self.start()
        with self.assertRaisesRegex(AssertionError, "none of PEM, PKCS12, JKS"):
            self.start("ssl.keyStore.type=BCFKS")


class QuorumTls(unittest.TestCase):
    def test_stores_as_java_has_them(self):
        directory = tempfile.mkdtemp(prefix="zabfs-tls-")
        self.addCleanup(shutil.rmtree, directory, True)
        authority = Authority(directory)
        store = authority.key_store(authority.issue("member"), "secret")
        cluster = Cluster(3, tick_ms=500, extra=(
            "sslQuorum=true\n"
            f"ssl.quorum.keyStore.location={store}\nssl.quorum.keyStore.password=secret\n"
            f"ssl.quorum.trustStore.location={authority.trust_store('changeit')}\n"
            "ssl.quorum.trustStore.password=changeit\n"))
        self.addCleanup(cluster.stop)
        cluster.start()
        with open(cluster.nodes[0].path("f"), "w") as f:
            f.write("by TLS")
        for node in cluster.nodes:
            node.barrier()
            self.assertEqual(os.path.getsize(node.path("f")), 6)

    def test_members_speak_tls_and_strangers_are_kept_out(self):
        directory = tempfile.mkdtemp(prefix="zabfs-tls-")
        self.addCleanup(shutil.rmtree, directory, True)
        authority = Authority(directory)
        os.mkdir(os.path.join(directory, "other"))
        stranger = Authority(os.path.join(directory, "other"), "stranger")
        good, bad = authority.issue("member"), stranger.issue("mallory")
        cluster = Cluster(3, tick_ms=500, extra=(
            "sslQuorum=true\n"
            f"ssl.quorum.keyStore.location={good}\n"
            f"ssl.quorum.trustStore.location={authority.certificate}\n"))
        self.addCleanup(cluster.stop)
        a, b, c = cluster.nodes
        cluster.start()
        c.terminate()
        with open(c.config) as f:
            config = f.read()
        with open(c.config, "w") as f:
            f.write(config.replace(good, bad))
        c.start()
        for node in (a, b):
            node.wait_ready()
        with open(a.path("f"), "w") as f:
            f.write("x" * 300_000)
        b.barrier()
        self.assertEqual(os.path.getsize(b.path("f")), 300_000)
        wait_for(lambda: "the peer's certificate: " in a.log_text() + b.log_text(), 20,
                 "a word on the stranger")
        self.assertFalse(c.has_quorum())
        c.terminate()
        with open(c.config, "w") as f:
            f.write(config)
        c.start()
        c.wait_ready()
        with open(c.path("f")) as f:
            self.assertEqual(len(f.read()), 300_000)
        cluster.leader().kill()
        wait_for(lambda: cluster.leader() is not None, 20, "the next leader")
        # Bytes that are no TLS end their connection alone.
        for line in config.splitlines():
            if line.startswith("server."):
                for port in line.split("=")[1].split(":")[1:3]:
                    try:
                        with socket.create_connection(("127.0.0.1", int(port)), 5) as s:
                            s.sendall(b"\0" * 100)
                            s.settimeout(10)
                            while s.recv(100):
                                pass
                    except OSError:
                        pass  # the killed one
        with open(cluster.leader().path("g"), "w") as f:
            f.write("still here")


class AdminTls(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-tls-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.authority = Authority(self.directory)
        self.port = free_ports(1)[0]

    def start(self, *settings):
        store = self.authority.issue("admin")
        server = Zabfs(["admin.enableServer=true", f"admin.serverPort={self.port}",
                        f"ssl.quorum.keyStore.location={store}", *settings]).start()
        self.addCleanup(server.stop)
        return server

    def get(self, scheme, command="configuration"):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        url = f"{scheme}://127.0.0.1:{self.port}/commands/{command}"
        with urllib.request.urlopen(url, timeout=10,
                                    context=context if scheme == "https" else None) as answer:
            return json.load(answer)

    def test_one_port_for_both(self):
        self.start("admin.portUnification=true")
        for scheme in ("http", "https", "http", "https"):
            self.assertEqual(self.get(scheme)["command"], "configuration")

    def test_nothing_but_tls(self):
        server = self.start("admin.forceHttps=true")
        self.assertEqual(self.get("https")["command"], "configuration")
        with self.assertRaises(OSError):
            self.get("http")
        self.assertIn("admin.forceHttps", server.whole_log())

    def test_many_connections_make_a_long_answer(self):
        server = self.start("admin.portUnification=true")
        sessions = [Session(server.address) for _ in range(1500)]
        self.assertEqual(len(self.get("https", "connections")["connections"]), 1500)
        for session in sessions:
            session.close()


class UnixSocket(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-unix-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.path = os.path.join(self.directory, "socket")
        self.server = Zabfs([f"zabfs.clientSocket={self.path}"]).start()
        self.addCleanup(self.server.stop)

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        return Session(s)

    def as_user(self, uid, program, groups=()):
        """Runs a program with a Session `s` in a process of that user's; gives what it prints."""
        with open(raw.__file__) as f:  # the user need not be able to read it
            source = (f.read() + f"\nc = socket.socket(socket.AF_UNIX); c.connect({self.path!r})\n"
                      "s = Session(c)\n" + program)
        result = subprocess.run(["/usr/bin/python3", "-c", source], user=uid, group=uid,
                                extra_groups=groups, capture_output=True, text=True, timeout=30,
                                env={"PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.strip()

    def test_the_user_is_the_identity(self):
        made = self.as_user(1234, "print(s.request(CREATE, create('/mine', b'x', [(31, 'auth', '')]))[2])")
        self.assertEqual(made, "0")
        root = self.connect()
        self.assertEqual(root.request(raw.GET_ACL, buf("/mine"))[3].acl(), [(31, "uid", "1234")])
        get = "print(s.request(GET_DATA, buf('/mine') + b'\\0')[2])"
        self.assertEqual(self.as_user(1234, get), "0")
        self.assertEqual(self.as_user(1235, get), str(NO_AUTH))
        # Root is root, as on a mount.
        self.assertEqual(root.request(raw.GET_DATA, buf("/mine") + b"\0")[2], 0)
        plain = Session(self.server.address)
        self.assertEqual(plain.request(raw.GET_DATA, buf("/mine") + b"\0")[2], NO_AUTH)
        root.close()
        plain.close()

    def test_who_owns_a_file_of_the_mount_owns_it_here(self):
        root = self.connect()
        posix = (0, "digest", "zabfs-posix,f,600,1234,1234:x")
        self.assertEqual(root.request(raw.CREATE, create("/f", b"x", [posix]))[2], 0)
        put = "print(s.request(SET_DATA, buf('/f') + buf('y') + i32(-1))[2])"
        self.assertEqual(self.as_user(1234, put), "0")
        self.assertEqual(self.as_user(1235, put), str(NO_AUTH))
        root.close()

    def make(self, path, mode, uid, kind="f", gid=None, data=b"x"):
        """As a mount would: others' r and w are the world entry's."""
        world = (1 if mode & 4 else 0) | (14 if mode & 2 else 0)
        acl = [(0, "digest", f"zabfs-posix,{kind},{mode & ~6:o},{uid},{uid if gid is None else gid}:x")]
        if world:
            acl.append((world, "world", "anyone"))
        root = self.connect()
        self.assertEqual(root.request(raw.CREATE, create(path, data, acl))[2], 0)
        root.close()

    def test_the_posix_entry_is_not_for_strangers_to_write(self):
        entries = [(0, "digest", f"zabfs-posix,{text}:x") for text in
                   ("f,644,0,0", "f,6755,1234,1234", "l,777,0,0", "d,755,1234,1234",
                    "f,644,4294967295,0", "f,644,1234,4294967295", "c,644,1234,1234", "f,10644,0,0")]
        plain = Session(self.server.address)
        plain.auth("digest", "u:p")
        self.assertEqual(plain.request(raw.CREATE, create("/own"))[2], 0)
        for entry in entries:
            acl = raw.OPEN_ACL + [entry]
            for kind, body in ((raw.CREATE, create("/x", acl=acl)),
                               (raw.CREATE2, create("/x", acl=acl, flags=1)),
                               (raw.CREATE_CONTAINER, create("/x", acl=acl, flags=4)),
                               (raw.SET_ACL, buf("/own") + raw.acl_list(acl) + i32(-1))):
                self.assertEqual(plain.request(kind, body)[2], INVALID_ACL, entry)
            answer = plain.request(raw.MULTI, raw.multi([(raw.CREATE, create("/x", acl=acl))]))[3]
            self.assertEqual(struct.unpack(">i", answer.rest()[9:13])[0], INVALID_ACL, entry)
        root = self.connect()
        for entry in entries[4:]:  # what no mount can show is nobody's to write
            self.assertEqual(root.request(raw.CREATE, create("/x", acl=[entry]))[2], INVALID_ACL)
        link = [(0, "digest", "zabfs-posix,l,755,0,0:x")]
        self.assertEqual(root.request(raw.CREATE, create("/x", b"t" * 4096, link))[2], INVALID_ACL)
        self.assertEqual(root.request(raw.CREATE, create("/x", b"t" * 4095, link))[2], 0)
        self.assertNotEqual(
            root.request(raw.SET_DATA, buf("/x") + buf(b"t" * 4096) + i32(-1))[2], 0)
        for session in (plain, root):
            session.close()

    def test_a_users_posix_entry_is_as_chown_and_chmod_would_let_it(self):
        attempts = ("def t(*texts):\n"
                    "    for text in texts:\n"
                    "        acl = [(0, 'digest', f'zabfs-posix,{text}:x')]\n"
                    "        print(s.request(CREATE, create('/y', b'x', acl))[2], end=' ')\n"
                    "        s.request(DELETE, buf('/y') + i32(-1))\n")
        texts = ("f,644,1234,1234", "f,6755,1234,77", "l,777,1234,1234", "f,644,1235,1234",
                 "f,644,0,0", "f,644,1234,78", "f,2755,1234,0")
        codes = self.as_user(1234, attempts + f"t(*{texts!r})", groups=[77])
        self.assertEqual([int(code) for code in codes.split()], 3 * [0] + 4 * [INVALID_ACL])
        self.make("/f", 0o644, 1234)
        change = ("def c(text):\n"
                  "    acl = OPEN_ACL + [(0, 'digest', f'zabfs-posix,{text}:x')]\n"
                  "    print(s.request(SET_ACL, buf('/f') + acl_list(acl) + i32(-1))[2], end=' ')\n"
                  "for text in TEXTS: c(text)\n")
        mine = ("f,4750,1234,1234", "f,2750,1234,77", "f,644,1234,78", "f,644,0,77", "l,755,1234,77")
        codes = self.as_user(1234, f"TEXTS = {mine!r}\n" + change, groups=[77])
        self.assertEqual([int(code) for code in codes.split()], 2 * [0] + 3 * [INVALID_ACL])
        codes = self.as_user(1235, f"TEXTS = {('f,2750,1234,77', 'f,644,1234,77')!r}\n" + change)
        self.assertEqual([int(code) for code in codes.split()], [NO_AUTH, INVALID_ACL])

    def test_directories_hide_from_users_what_they_hide_on_a_mount(self):
        self.make("/p", 0o710, 1234, "d", 77)
        self.make("/p/f", 0o666, 1234)
        self.make("/p/d", 0o777, 1234, "d")
        all_of_it = (
            "acl = acl_list(OPEN_ACL)\n"
            "for kind, body in ((EXISTS, buf('/p/f') + b'\\0'), (EXISTS, buf('/p/none') + b'\\0'),\n"
            "    (GET_DATA, buf('/p/f') + b'\\0'), (GET_CHILDREN, buf('/p/d') + b'\\0'),\n"
            "    (GET_ACL, buf('/p/f')), (GET_ALL_CHILDREN_NUMBER, buf('/p/d')),\n"
            "    (SET_DATA, buf('/p/f') + buf('y') + i32(-1)), (CREATE, create('/p/d/x')),\n"
            "    (DELETE, buf('/p/d/x') + i32(-1))):\n"
            "    print(s.request(kind, body)[2], end=' ')\n")

        def codes(uid, groups=()):
            return [int(code) for code in self.as_user(uid, all_of_it, groups).split()]
        self.assertEqual(codes(1235), 9 * [NO_AUTH])
        allowed = [0, -101] + 7 * [0]
        self.assertEqual(codes(1234), allowed)
        self.assertEqual(codes(1235, [77]), allowed)
        # ZooKeeper's clients are held to the ACL of the znode alone.
        plain = Session(self.server.address)
        self.assertEqual(plain.request(raw.GET_DATA, buf("/p/f") + b"\0")[2], 0)
        plain.close()

    def test_users_hear_nothing_of_what_is_hidden(self):
        self.make("/p", 0o700, 1234, "d")
        program = (
            "s.request(ADD_WATCH, buf('/') + i32(1))\n"
            "s.request(SET_WATCHES, i64(0) + 3 * vector(['/p/f', '/p/none'], buf))\n"
            "print(s.request(GET_ALL_CHILDREN_NUMBER, buf('/'))[3].i32(), flush=True)\n"
            "import sys; sys.stdin.readline()\n"
            "s.request(SYNC, buf('/'))\n"
            "print([path for _, _, path in s.events])\n")
        self.make("/p/f", 0o644, 1234)
        with open(raw.__file__) as f:
            source = (f.read() + f"\nc = socket.socket(socket.AF_UNIX); c.connect({self.path!r})\n"
                      "s = Session(c)\n" + program)
        users = [subprocess.Popen(["/usr/bin/python3", "-c", source], user=uid, group=uid,
                                  extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True) for uid in (1234, 1235)]
        counts = [int(user.stdout.readline()) for user in users]
        self.assertEqual(counts[0] - counts[1], 1)
        root = self.connect()
        for kind, body in ((raw.SET_DATA, buf("/p/f") + buf("y") + i32(-1)),
                           (raw.MULTI, raw.multi([(raw.DELETE, buf("/p/f") + i32(-1)),
                                                  (raw.DELETE, buf("/p") + i32(-1))])),
                           (raw.CREATE, create("/seen"))):
            self.assertEqual(root.request(kind, body)[2], 0)
        heard = [user.communicate("\n", 30)[0] for user in users]
        self.assertIn("/p/f", heard[0])
        self.assertNotIn("/p/", heard[1])
        self.assertIn("/seen", heard[1])
        root.close()

    def test_the_sticky_rule_holds(self):
        self.make("/t", 0o1777, 0, "d")
        for name in ("a", "b"):
            self.make(f"/t/{name}", 0o666, 1234)
        remove = "print(s.request(DELETE, buf('/t/{}') + i32(-1))[2])"
        in_multi = ("print(s.request(MULTI, multi([(DELETE, buf('/t/a') + i32(-1))]))[3]"
                    ".rest()[9:13].hex())")
        self.assertEqual(self.as_user(1235, remove.format("a")), str(NO_AUTH))
        self.assertEqual(self.as_user(1235, in_multi), struct.pack(">i", NO_AUTH).hex())
        self.assertEqual(self.as_user(1234, remove.format("a")), "0")
        own = "s.request(CREATE, create('/t/own', b'', [(31, 'auth', '')]));" + remove.format("own")
        self.assertEqual(self.as_user(1235, own), "0")
        plain = Session(self.server.address)  # of nobody in particular
        self.assertEqual(plain.request(raw.DELETE, buf("/t/b") + i32(-1))[2], 0)
        plain.close()

    def test_all_groups_of_a_user_count(self):
        self.make("/g", 0o640, 1234, gid=77)
        self.make("/not-g", 0o604, 1234, gid=77)
        get = "for p in ('/g', '/not-g'): print(s.request(GET_DATA, buf(p) + b'\\0')[2], end=' ')"
        many = list(range(3000, 3100))
        self.assertEqual(self.as_user(1235, get, many + [77]), f"0 {NO_AUTH}")
        self.assertEqual(self.as_user(1235, get, many), f"{NO_AUTH} 0")
        # More than a request can carry: refused with a reason, not cut short.
        result = subprocess.run(
            ["/usr/bin/python3", "-c", "import socket; c = socket.socket(socket.AF_UNIX); "
             f"c.connect({self.path!r}); print(c.recv(1))"], user=1235, group=1235,
            extra_groups=range(100_000, 102_000), capture_output=True, text=True, timeout=30)
        self.assertEqual(result.stdout.strip(), "b''")
        self.assertIn("uid 1235 is in 2001 groups", self.server.whole_log())

    def test_the_socket_goes_with_the_server_and_a_stale_one_is_replaced(self):
        self.server.process.kill()
        self.server.process.wait()
        self.assertTrue(os.path.exists(self.path))
        self.server.start()
        self.connect().close()
        self.server.process.terminate()
        self.server.process.wait(20)
        self.assertFalse(os.path.exists(self.path))


class EnforcedAuthentication(unittest.TestCase):
    def test_who_has_not_authenticated_is_told_and_closed(self):
        with Zabfs(["enforce.auth.enabled=true", "enforce.auth.schemes=digest"]) as server:
            guest = Session(server.address)
            self.assertEqual(guest.request(raw.GET_DATA, buf("/") + b"\0")[2], REQUIRES_AUTH)
            with self.assertRaises(Closed):
                guest.answer()
            known = Session(server.address)
            self.assertEqual(known.auth("digest", "a:b")[2], 0)
            self.assertEqual(known.request(raw.GET_DATA, buf("/") + b"\0")[2], 0)
            self.assertEqual(known.request(raw.CREATE, create("/a"))[2], 0)
            known.close()


class LocalSessions(unittest.TestCase):
    def start(self, extra):
        cluster = Cluster(3, tick_ms=500, extra="localSessionsEnabled=true\n"
                          "zabfs.rootMode=0777\n" + extra).start()
        self.addCleanup(cluster.stop)
        return cluster

    @staticmethod
    def global_sessions(cluster):
        """Transactions so far, but for the mounts' own."""
        with open(cluster.nodes[0].path("@", "cluster")) as f:
            return [line for line in f if line.startswith("zxid")]

    def address(self, node):
        return ("127.0.0.1", node.client_port)

    def test_they_cost_no_transaction_and_end_with_their_server(self):
        cluster = self.start("")
        a, b = cluster.nodes[:2]
        time.sleep(0.5)
        before = self.global_sessions(cluster)
        session = Session(self.address(a), timeout_ms=2000)
        self.assertEqual(session.request(raw.EXISTS, buf("/") + b"\0")[2], 0)
        self.assertEqual(self.global_sessions(cluster), before)
        self.assertEqual(session.request(raw.CREATE, create("/a"))[2], 0)
        self.assertEqual(session.request(raw.CREATE, create("/e", flags=1))[2], EPHEMERAL_ON_LOCAL)
        operations = raw.multi([(raw.CREATE, create("/m")), (raw.CREATE, create("/n", flags=3))])
        self.assertEqual(session.request(raw.MULTI, operations)[2], EPHEMERAL_ON_LOCAL)
        elsewhere = Session(self.address(b), session.id, session.password)
        self.assertEqual(elsewhere.id, 0)  # nobody knows it there
        session.socket.close()
        again = Session(self.address(a), session.id, session.password, 2000)
        self.assertEqual(again.id, session.id)
        again.socket.close()
        time.sleep(4)
        self.assertEqual(Session(self.address(a), session.id, session.password).id, 0)  # expired

    def test_one_that_makes_an_ephemeral_becomes_known_to_all(self):
        cluster = self.start("localSessionsUpgradingEnabled=true\n")
        a, b = cluster.nodes[:2]
        session = Session(self.address(a), timeout_ms=4000)
        self.assertEqual(session.request(raw.CREATE, create("/e", flags=1))[2], 0)
        session.socket.close()
        moved = Session(self.address(b), session.id, session.password, 4000)
        self.assertEqual(moved.id, session.id)
        self.assertEqual(moved.request(raw.EXISTS, buf("/e") + b"\0")[3].stat()["owner"], moved.id)
        self.assertEqual(moved.request(raw.CLOSE)[2], 0)
        wait_for(lambda: not os.path.exists(a.path("e")), 10, "the end of its ephemeral")


if __name__ == "__main__":
    unittest.main(verbosity=2)
