#!/usr/bin/python3
"""Every zoo.cfg that Java's server starts from, zabfsd starts from. The files are those that images,
charts and roles make (configs/), and small ones of single keys. `zabfsd --check-config` reads them
here, and Java's own reader beside it."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
sys.path.insert(0, os.path.dirname(__file__))
import raw  # noqa: E402
from harness import ZABFSD, ClusterTest  # noqa: E402
from servers import JAVA_CLASSES, Zabfs  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BAD_CONFIGURATION = 2

THREE = "server.1=10.0.0.1:2888:3888\nserver.2=10.0.0.2:2888:3888\nserver.3=10.0.0.3:2888:3888\n"
MEMBERS = "initLimit=10\nsyncLimit=5\n"

# Of each: lines of a zoo.cfg with a dataDir and a clientPort.
SMALL = {
    "retain_few": "autopurge.snapRetainCount=1\n",
    "retain_many": "autopurge.snapRetainCount=5000\n",
    "retain_none": "autopurge.snapRetainCount=-1\n",
    "retain_word": "autopurge.snapRetainCount=many\n",
    "boolean_case": "standaloneEnabled=True\nreconfigEnabled=FALSE\nlocalSessionsEnabled=true\n",
    "boolean_word": "reconfigEnabled=yes\n",
    "property_word": "extendedTypesEnabled=yes\nsnapCount=few\nenforceQuota=1\n",
    "snap_count": "snapCount=1\n",
    "session_default": "minSessionTimeout=-1\nmaxSessionTimeout=-1\n",
    "session_crossed": "minSessionTimeout=60000\nmaxSessionTimeout=40000\n",
    "session_over_ticks": "minSessionTimeout=60001\n",
    "session_of_default_ticks": "minSessionTimeout=60000\n",
    "connections": "maxClientCnxns=-1\nmaxCnxns=-1\n",
    "plus": "tickTime=+2000\n",
    "hexadecimal_number": "tickTime=0x7d0\n",
    "tick_zero": "tickTime=0\n",
    "tick_short": "tickTime=1\n",
    "large_buffer": "jute.maxbuffer=4194304\n",
    "hexadecimal_buffer": "jute.maxbuffer=0xfffff\n",
    "last_counts": "tickTime=never\ntickTime=2000\n",
    "large_id": MEMBERS + THREE + "server.70004=10.0.0.4:2888:3888:observer\n",
    "server_twice": MEMBERS + THREE + "server.3=10.0.0.3:2888:3888\n",
    "server_changed": MEMBERS + THREE + "server.3=10.0.0.9:2888:3888\n",
    "role_case": MEMBERS + THREE + "server.4=10.0.0.4:2888:3888:Observer\npeerType=PARTICIPANT\n",
    "role_unknown": MEMBERS + THREE + "server.4=10.0.0.4:2888:3888:king\n",
    "no_election_port": MEMBERS + THREE + "server.4=10.0.0.4:2888\n",
    "same_ports": MEMBERS + THREE + "server.4=10.0.0.4:2888:2888\n",
    "server_name": MEMBERS + THREE + "server.four=10.0.0.4:2888:3888\n",
    "no_limits": THREE,
    "ipv6": MEMBERS + THREE + "server.4=[2001:db8::4]:2888:3888;[::]:2181\n",
    "client_ipv6": "clientPortAddress=[::1]\n",
    "client_any": "clientPortAddress=::\n",
    "client_name": "clientPortAddress=localhost\n",
    "own_line": MEMBERS + "server.1=0.0.0.0:2888:3888;[::]:2181\n"
                "server.2=10.0.0.2:2888:3888;2181\nserver.3=10.0.0.3:2888:3888;2181\n",
    "groups": MEMBERS + THREE + "group.1=1:2:3\nweight.1=2\nweight.9=1\n",
    "groups_twice": MEMBERS + THREE + "group.1=1:2:3\ngroup.2=1\n",
    "groups_without": MEMBERS + THREE + "group.1=1:2\n",
    "groups_name": MEMBERS + THREE + "group=1:2:3\n",
    "election": "electionAlg=0\n",
    "election_3": "electionAlg=3\n",
    "unknown": "someKey=1\nanother.key with spaces\n",
    "data_port_word": "clientPort=none\n",
    "data_port_large": "clientPort=70000\n",
    "no_port": "clientPort=0\n",
    "quorum_sasl_odd": "quorum.auth.serverRequireSasl=true\n",
    "multi_address_off": MEMBERS + THREE + "server.4=10.0.0.4:2888:3888|10.0.1.4:2888:3888\n",
    "version": "version=100000000\n",
}

# What Java starts from, and zabfsd does not, on purpose: words of the reason that it gives.
REFUSED = {
    "bitnami-sasl": "there are no users who could",
    "digest_closed": "the digest scheme can't be closed",
    "digest_algorithm": "only SHA1 is supported",
    "revocation": "whether a certificate was revoked",
    "plain_too": "takes TLS or plain text, not both",
    "members_plain_too": "takes TLS or plain text, not both",
    "nobody_may": "there are no users who could",
    "members_by_sasl": "SASL between members is not supported",
    "own_scheme": "only x509",
    "one_session_byte": "their sessions would have the same numbers",
    "oracle": "an oracle in the place of a quorum",
}
SMALL.update({
    "digest_closed": "DigestAuthenticationProvider.enabled=false\n",
    "digest_algorithm": "DigestAuthenticationProvider.digestAlg=SHA-256\n",
    "revocation": "ssl.crl=true\n",
    "plain_too": "client.portUnification=true\n",
    "members_plain_too": "portUnification=true\n",
    "nobody_may": "sessionRequireClientSASLAuth=true\n",
    "members_by_sasl": "quorum.auth.enableSasl=true\n",
    "own_scheme": "ssl.authProvider=own\n",
    "one_session_byte": MEMBERS + THREE + "server.257=10.0.0.4:2888:3888\n",
    "oracle": MEMBERS + THREE + "oraclePath=/tmp/oracle\n",
})


def check(path):
    done = subprocess.run([ZABFSD, "--check-config", path], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout + done.stderr


class Config(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="zabfs-config-")
        cls.files = {}
        try:
            cls.make_stores()
            for name in sorted(os.listdir(os.path.join(HERE, "configs"))):
                with open(os.path.join(HERE, "configs", name), "rb") as f:
                    cls.write(name.removesuffix(".cfg"), f.read())
            for name, text in SMALL.items():
                whole = f"dataDir=/data\nclientPort=2181\n{text}"
                cls.write(name, whole.encode())
            cls.java = cls.ask_java()
        except BaseException:
            shutil.rmtree(cls.directory)
            raise

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)

    @classmethod
    def make_stores(cls):
        def run(*command):
            subprocess.run(command, cwd=cls.directory, check=True, capture_output=True, timeout=120)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=server", "-keyout", "key.pem", "-out", "cert.pem")
        run("openssl", "pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem", "-passout",
            "pass:secret", "-out", "server.keystore.p12")
        run("keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", "cert.pem", "-keystore",
            "cluster.truststore.p12", "-storetype", "PKCS12", "-storepass", "secret")
        run("keytool", "-importkeystore", "-noprompt", "-srckeystore", "server.keystore.p12",
            "-srcstorepass", "secret", "-destkeystore", "server.jks", "-deststoretype", "JKS",
            "-deststorepass", "secret")

    @classmethod
    def write(cls, name, text):
        """With directories and stores that are there, and as the first server that is listed."""
        folder = os.path.join(cls.directory, name)
        data = os.path.join(folder, "data")
        os.makedirs(data)
        text = re.sub(rb"(?m)^(\s*data(?:Log)?Dir[ =]+)/\S*", rb"\1" + data.encode(), text)
        text = re.sub(rb"(?m)^(\S*Store\.location=)(.*)$",
                      rb"\1" + cls.directory.encode() + rb"/\2", text)
        first = re.search(rb"(?m)^server\.(\d+)", text)
        with open(os.path.join(data, "myid"), "wb") as f:
            f.write((first.group(1) if first else b"1") + b"\n")
        path = os.path.join(folder, "zoo.cfg")
        with open(path, "wb") as f:
            f.write(text)
        cls.files[name] = path
        return path

    @classmethod
    def ask_java(cls):
        done = subprocess.run(["java", "-cp", JAVA_CLASSES, os.path.join(HERE, "ConfigOracle.java"),
                               *cls.files.values()], capture_output=True, text=True, timeout=300)
        answers = [line for line in done.stdout.splitlines()
                   if line.startswith(("starts", "refused: "))]
        assert len(answers) == len(cls.files), done.stdout + done.stderr
        return dict(zip(cls.files, answers))

    def test_what_java_starts_from_zabfsd_starts_from(self):
        started = 0
        for name in self.java:
            with self.subTest(name):
                code, said = check(self.files[name])
                if name in REFUSED:
                    self.assertEqual(code, BAD_CONFIGURATION, said)
                    self.assertIn(REFUSED[name], said)
                    self.assertEqual(self.java[name], "starts")
                elif self.java[name] == "starts":
                    self.assertEqual(code, 0, said)
                    started += 1
        self.assertGreater(started, 40)

    def test_what_java_refuses_zabfsd_refuses_where_it_would_mean_something_else(self):
        for name in ["retain_word", "boolean_word", "session_crossed", "session_over_ticks",
                     "hexadecimal_number", "tick_zero", "role_unknown", "no_election_port",
                     "same_ports", "server_name", "groups_twice", "groups_without", "groups_name",
                     "election", "data_port_word", "data_port_large", "quorum_sasl_odd"]:
            with self.subTest(name):
                self.assertTrue(self.java[name].startswith("refused"), self.java[name])
                code, said = check(self.files[name])
                self.assertEqual(code, BAD_CONFIGURATION, said)
                self.assertRegex(said, r"zoo\.cfg")

    def test_it_says_what_is_ignored_and_what_it_would_run_with(self):
        code, said = check(self.files["ansible"])
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"(?m)^ignored: \S+zoo\.cfg:\d+: forceSync is ignored: the log is ")
        self.assertRegex(said, r"(?m)^warning: \S+zoo\.cfg:\d+: snapCount=1: 2 is taken, the least")
        self.assertRegex(said, r"(?m)^runs with: serverId=101$")

    def test_it_starts_nothing(self):
        self.assertEqual(check(self.files["docker"])[0], 0)
        data = os.path.join(os.path.dirname(self.files["docker"]), "data")
        self.assertEqual(os.listdir(data), ["myid"])

    def test_a_mistyped_key_of_zabfs_is_an_error_that_names_the_nearest(self):
        path = self.write("mistyped", b"dataDir=/data\nzabfs.comitAfter=10\n")
        code, said = check(path)
        self.assertEqual(code, BAD_CONFIGURATION)
        self.assertIn("zoo.cfg:2: zabfs.comitAfter: there is no such key; is it zabfs.commitAfter?",
                      said)

    def test_a_jks_store_is_refused_with_the_command_that_converts_it(self):
        text = (f"dataDir=/data\nsecureClientPort=2281\nssl.clientAuth=none\n"
                f"ssl.keyStore.location=server.jks\nssl.keyStore.password=secret\n")
        code, said = check(self.write("jks", text.encode()))
        self.assertEqual(code, BAD_CONFIGURATION)
        self.assertIn("keytool -importkeystore -srckeystore", said)

    def test_a_store_that_the_password_does_not_open_is_refused(self):
        text = ("dataDir=/data\nsecureClientPort=2281\nssl.clientAuth=none\n"
                "ssl.keyStore.location=server.keystore.p12\nssl.keyStore.password=wrong\n")
        code, said = check(self.write("wrong_password", text.encode()))
        self.assertEqual(code, BAD_CONFIGURATION)
        self.assertIn("can't be opened with the password that is given", said)


class Effects(unittest.TestCase):
    def test_a_name_is_listened_on_at_all_its_addresses(self):
        found = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
        with Zabfs(["clientPortAddress=localhost"]) as server:
            for address in {entry[4][0] for entry in found}:
                with self.subTest(address):
                    try:
                        socket.create_server((address, 0), family=socket.AF_INET6
                                             if ":" in address else socket.AF_INET).close()
                    except OSError:
                        continue  # this machine does not have it
                    socket.create_connection((address, server.port), 5).close()

    def test_a_client_of_sasl_at_a_server_without_users_goes_on_as_for_java(self):
        with Zabfs() as server:
            session = raw.Session(server.address)
            _, zxid, error, body = session.request(raw.SASL, raw.buf(b""))
            self.assertEqual((zxid, error, body.i32()), (0, 0, -1))
            self.assertEqual(session.request(raw.EXISTS, raw.buf("/zookeeper") + b"\0")[2], 0)


class LeaderServes(ClusterTest):
    options = {"extra": "leaderServes=no\n"}

    def test_a_leader_that_serves_nobody_refuses_sessions_and_followers_do_not(self):
        leader, follower = self.cluster.leader(), self.cluster.followers()[0]
        with self.assertRaises((raw.Closed, OSError)):
            raw.Session(("127.0.0.1", leader.client_port))
        session = raw.Session(("127.0.0.1", follower.client_port))
        self.assertEqual(session.request(raw.EXISTS, raw.buf("/zookeeper") + b"\0")[2], 0)
        os.mkdir(leader.path(self.name, "d"))  # its mount is served


if __name__ == "__main__":
    unittest.main()
