"""`zabfs status` and `zabfs members` without a mount: a server is asked at its clientPort."""
import base64
import hashlib
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import ZABFS, Cluster, OwnClusterTest, die_with_parent, free_ports, run, wait_for  # noqa: E402

PASSWORD = "super:se:cret"  # a colon in it is the password's


def digest(credentials):
    user, _ = credentials.split(":", 1)
    return user + ":" + base64.b64encode(hashlib.sha1(credentials.encode()).digest()).decode()


class FromAfar(OwnClusterTest):
    words = "*"

    def make(self, nodes=3, extra=""):
        self.cluster = Cluster(nodes, tick_ms=300, extra="reconfigEnabled=true\n"
                               f"DigestAuthenticationProvider.superDigest={digest(PASSWORD)}\n{extra}")
        for node in self.cluster.nodes:
            with open(node.config) as f:
                text = f.read().replace("4lw.commands.whitelist=*",
                                        f"4lw.commands.whitelist={self.words}")
                for other in self.cluster.nodes:  # clients' addresses, as in zoo.cfg of many
                    lines = [line + f";127.0.0.1:{other.client_port}"
                             if line.startswith(f"server.{other.number}=") else line
                             for line in text.splitlines()]
                    text = "\n".join(lines) + "\n"
            with open(node.config, "w") as f:
                f.write("\n".join(line for line in text.splitlines()
                                  if not line.startswith("clientPort=") or nodes == 1) + "\n")
        return self.cluster.nodes

    def secret(self, text=f"digest:{PASSWORD}\n", mode=0o600):
        path = os.path.join(self.cluster.directory, "auth")
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def ask(self, *command, node=None, **options):
        address = f"127.0.0.1:{(node or self.cluster.nodes[0]).client_port}"
        return run(ZABFS, *command, "--server", address, **options)

    def status(self, node=None):
        return json.loads(self.ask("status", "--json", node=node).stdout)


class Everything(FromAfar):
    def test_status_is_what_a_mount_tells(self):
        nodes = self.make()
        self.cluster.start()
        wait_for(lambda: self.status()["present"] == 3, 20, "all three")
        by_mount = json.loads(run(ZABFS, "status", "--json", "--mount", nodes[0].mount).stdout)
        self.assertEqual(set(self.status()), set(by_mount))
        self.assertEqual([m["address"] for m in self.status()["members"]],
                         [m["address"] for m in by_mount["members"]])
        nodes[2].kill()
        wait_for(lambda: "refuses" in (self.status()["members"][2]["unreachable"] or ""), 30,
                 "why the third is lost")
        wait_for(lambda: "quorum: 2 of 3 voters, may lose 0" in self.ask("status").stdout, 30,
                 "a quorum of two")
        self.assertIn("server 3 can't be reached: its election port", self.ask("status").stdout)
        nodes[1].kill()
        wait_for(lambda: self.ask("status").returncode == 1, 30, "no quorum")
        self.assertIn("no quorum of 3 voters", self.ask("status").stdout)

    def test_members_come_and_go(self):
        nodes = self.make()
        self.cluster.start()
        secret = self.secret()
        n3 = nodes[2]
        wrong = self.ask("members", "remove", "3", env={**os.environ, "ZABFS_AUTH": ""})
        self.assertEqual(wrong.returncode, 1)
        wrong = self.ask("members", "remove", "3")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("--auth-file", wrong.stderr)
        done = self.ask("members", "demote", "3", "--auth-file", secret)
        self.assertEqual((done.returncode, done.stdout), (0, "member 3 observes\n"), done.stderr)
        wait_for(lambda: self.status()["members"][2]["role"] == "observer", 20, "an observer")
        done = self.ask("members", "promote", "3",
                        env={**os.environ, "ZABFS_AUTH": f"digest:{PASSWORD}"})
        self.assertEqual((done.returncode, done.stdout), (0, "member 3 votes\n"), done.stderr)
        with open(n3.config) as f:
            address, = [line.split("=")[1].strip() for line in f if line.startswith("server.3=")]
        done = self.ask("members", "remove", "3", "--auth-file", "-", input=f"digest:{PASSWORD}\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_for(lambda: len(self.status()["members"]) == 2, 20, "two members")
        # Into a quorum of which too few are there nobody gets.
        ports = free_ports(6)
        n3.kill()
        self.ask("members", "demote", "2", "--auth-file", secret)
        done = self.ask("members", "add", "9", f"127.0.0.1:{ports[0]}:{ports[1]}", "--timeout", "1",
                        "--auth-file", secret)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is its zabfsd running?", done.stderr)
        self.ask("members", "promote", "2", "--auth-file", secret)
        n3.start()
        done = self.ask("members", "add", "3", address.replace(":participant", ""), "--auth-file",
                        secret)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "member 3 observes\nmember 3 votes\n")
        self.assertIn("version=", open(nodes[0].path("zookeeper", "config")).read())

    def test_credentials_stay_secret(self):
        self.make(1)
        self.cluster.start()
        for text, mode, why in ((f"digest:{PASSWORD}", 0o640, "chmod 600"),
                                (f"digest:{PASSWORD}", 0o602, "chmod 600"),
                                ("nonsense", 0o600, "not SCHEME:CREDENTIALS"),
                                ("x" * 10_000, 0o600, "too long")):
            done = self.ask("members", "remove", "3", "--auth-file", self.secret(text, mode))
            self.assertEqual(done.returncode, 1)
            self.assertIn(why, done.stderr)
            self.assertNotIn("cret", done.stderr)
        done = self.ask("members", "remove", "3", "--auth-file", self.cluster.directory)
        self.assertIn("not a file", done.stderr)
        self.assertEqual(run(ZABFS, "status", "--auth-file", self.secret()).returncode, 2)

    def test_nobody_is_there(self):
        self.make(1)
        port = free_ports(1)[0]
        done = run(ZABFS, "status", "--server", f"127.0.0.1:{port}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Connection refused", done.stderr)
        for address in ("nonsense", ":", "localhost:", "localhost:http", "localhost:0",
                        "localhost:65536", f"localhost:{port},localhost:{port}", f"a/b:{port}"):
            for command in (("status",), ("members", "remove", "3")):
                done = run(ZABFS, *command, "--server", address)
                self.assertEqual((done.returncode, "not HOST:PORT" in done.stderr), (1, True), address)

    def test_addresses(self):
        self.make(1)
        self.cluster.start()
        port = self.cluster.nodes[0].client_port
        for host in ("127.0.0.1", "localhost", "[::1]"):
            done = run(ZABFS, "status", "--json", "--server", f"{host}:{port}")
            self.assertTrue(json.loads(done.stdout)["quorum"])
            done = run(ZABFS, "members", "remove", "9", "--server", f"{host}:{port}")
            self.assertIn("no member is 9", done.stderr)

    def test_a_server_that_sends_what_a_terminal_obeys(self):
        self.make(1)
        script = ("import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); "
                  "print(s.getsockname()[1], flush=True)\n"
                  "while True:\n"
                  "  c, _ = s.accept(); c.recv(4); c.sendall(b'node 1\\nquorum yes\\nnote \\x1b[2Jx\\n')"
                  "; c.close()\n")
        liar = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                                preexec_fn=die_with_parent)
        try:
            port = liar.stdout.readline().strip()
            self.assertIn("note: ?[2Jx\n", run(ZABFS, "status", "--server", f"127.0.0.1:{port}").stdout)
        finally:
            liar.kill()
            liar.wait()
            liar.stdout.close()


class SrvrAlone(FromAfar):
    """What is in the whitelist by default, as of Java's servers."""
    words = "srvr"

    def test_status_asks_each_member(self):
        nodes = self.make()
        self.cluster.start()
        state = self.status()
        self.assertEqual((state["quorum"], state["voters"], state["present"], state["may_lose"]),
                         (True, 3, 3, 1))
        self.assertEqual(sorted(m["role"] for m in state["members"]),
                         ["follower", "follower", "leader"])
        self.assertIn("4lw.commands.whitelist", " ".join(state["notes"]))
        nodes[2].kill()
        wait_for(lambda: self.status()["present"] == 2, 20, "the loss")
        self.assertIn("Connection refused", self.status()["members"][2]["unreachable"])
        done = self.ask("members", "demote", "3", "--auth-file", self.secret())
        self.assertEqual((done.returncode, done.stdout), (0, "member 3 observes\n"), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
