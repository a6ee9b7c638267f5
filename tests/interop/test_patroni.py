"""Patroni keeps PostgreSQL highly available with zabfs as its store: bootstrap, a switchover, and a
failover while the leader of zabfs dies, too. There is never more than one primary, and no
acknowledged row is lost."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, die_with_parent, free_ports, wait_for  # noqa: E402

import psycopg2  # noqa: E402

BIN = "/usr/lib/postgresql/15/bin"

CONFIG = """
scope: zabfs
name: pg{number}
restapi:
  listen: 127.0.0.1:{rest}
  connect_address: 127.0.0.1:{rest}
zookeeper:
  hosts: [{hosts}]
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{fsync: "off", shared_buffers: 16MB, max_connections: 30}}
  initdb: [{{encoding: UTF8}}, {{auth: trust}}]
  pg_hba: ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  data_dir: {directory}/data
  bin_dir: {bin}
  authentication:
    superuser: {{username: postgres, password: x}}
    replication: {{username: replicator, password: x}}
    rewind: {{username: rewinder, password: x}}
  parameters: {{unix_socket_directories: {directory}}}
"""


class Member:
    def __init__(self, number, directory, hosts, rest, port):
        self.number, self.rest, self.port = number, rest, port
        self.name = f"pg{number}"
        self.directory = os.path.join(directory, self.name)
        os.mkdir(self.directory)
        shutil.chown(self.directory, "postgres")
        self.config = os.path.join(self.directory, "patroni.yml")
        with open(self.config, "w") as f:
            f.write(CONFIG.format(number=number, rest=rest, port=port, bin=BIN,
                                  directory=self.directory, hosts=hosts))
        self.process = None

    def start(self):
        def become_its_own():
            os.setsid()  # with its postgres, so that both can be killed at once
            die_with_parent()
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/patroni", self.config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                user="postgres", group="postgres", extra_groups=[], cwd=self.directory,
                env={"PATH": "/usr/bin:/bin", "HOME": self.directory, "LC_ALL": "C.UTF-8"},
                preexec_fn=become_its_own)

    def postmaster(self):
        try:
            with open(os.path.join(self.directory, "data", "postmaster.pid")) as f:
                return int(f.readline())
        except (OSError, ValueError):
            return None

    def kill(self):
        """Patroni and PostgreSQL at once, as when a machine goes."""
        pid = self.postmaster()
        self.process.kill()
        if pid and os.path.exists(f"/proc/{pid}/comm"):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def cluster(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/cluster", timeout=3) as answer:
            return {m["name"]: m for m in json.load(answer)["members"]}

    def connect(self):
        return psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", password="x",
                                dbname="postgres", connect_timeout=3)

    def ask(self, query):
        connection = self.connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()

    def is_primary(self):
        try:
            return not self.ask("select pg_is_in_recovery()")[0][0]
        except psycopg2.Error:
            return False


class Writer(threading.Thread):
    """Inserts numbers at whoever is primary; knows which were acknowledged."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members = members
        self.acknowledged = []
        self.stopping = threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            for member in self.members:
                try:
                    connection = member.connect()
                    connection.autocommit = True
                    with connection.cursor() as cursor:
                        while not self.stopping.is_set():
                            number += 1
                            cursor.execute("insert into numbers values (%s)", (number,))
                            self.acknowledged.append(number)
                            time.sleep(0.02)
                except psycopg2.Error:
                    time.sleep(0.1)


class Watcher(threading.Thread):
    """Looks for two primaries at a time."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members = members
        self.looks = 0
        self.split = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            found = [member.name for member in self.members if member.is_primary()]
            self.looks += 1
            # One that is asked early and another that is asked late may both be right.
            if len(found) > 1 and len([m for m in self.members if m.is_primary()]) > 1:
                self.split.append(found)
            time.sleep(0.1)


class Patroni(unittest.TestCase):
    def setUp(self):
        self.store = Cluster(3, tick_ms=500, extra="zabfs.rootMode=0777\n").start()
        self.addCleanup(self.store.stop)
        self.directory = tempfile.mkdtemp(prefix="zabfs-patroni-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, True)
        ports = free_ports(6)
        hosts = ", ".join(f"'127.0.0.1:{node.client_port}'" for node in self.store.nodes)
        self.members = [Member(i + 1, self.directory, hosts, ports[2 * i], ports[2 * i + 1])
                        for i in range(3)]
        self.addCleanup(lambda: [member.stop() for member in self.members])

    def log(self):
        text = ""
        for member in self.members:
            with open(os.path.join(member.directory, "log"), errors="replace") as f:
                text += f"--- {member.name}\n" + "".join(f.readlines()[-25:])
        return text

    def wait(self, condition, seconds, what):
        def holds():
            try:
                return condition()
            except (OSError, KeyError, psycopg2.Error):
                return None
        try:
            return wait_for(holds, seconds, what, every=0.3)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log()}") from e

    def leader(self, at=None):
        members = (at or self.members[0]).cluster()
        leaders = [m["name"] for m in members.values() if m["role"] == "leader"]
        return next(m for m in self.members if [m.name] == leaders)

    def healthy(self):
        members = self.members[0].cluster().values()
        return (len(members) == 3 and {"leader", "sync_standby"} <= {m["role"] for m in members} and
                all(m["state"] in ("running", "streaming") for m in members))

    def test_bootstrap_switchover_and_failover(self):
        self.members[0].start()
        self.wait(lambda: self.members[0].is_primary(), 60, "the first primary")
        for member in self.members[1:]:
            member.start()
        self.wait(self.healthy, 90, "three members, one of them a synchronous standby")
        # What Patroni keeps is there to be read on a mount.
        with open(self.store.nodes[1].path("service", "zabfs", "leader")) as f:
            self.assertEqual(f.read(), "pg1")
        connection = self.members[0].connect()
        connection.autocommit = True
        connection.cursor().execute("create table numbers (n int)")
        connection.close()
        writer, watcher = Writer(self.members), Watcher(self.members)
        writer.start()
        watcher.start()
        self.wait(lambda: len(writer.acknowledged) > 20, 30, "some rows")

        standby = next(name for name, m in self.members[0].cluster().items()
                       if m["role"] == "sync_standby")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.members[0].rest}/switchover", method="POST",
            data=json.dumps({"leader": "pg1", "candidate": standby}).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.assertEqual(answer.status, 200)
        self.wait(lambda: self.leader().name == standby, 30, "the switchover")
        self.wait(self.healthy, 90, "a synchronous standby after the switchover")
        before = len(writer.acknowledged)
        self.wait(lambda: len(writer.acknowledged) > before + 20, 60, "rows after the switchover")

        primary = self.leader()
        rest = [member for member in self.members if member is not primary]
        dead = self.store.leader()
        started = time.monotonic()
        dead.kill()
        primary.kill()
        new = self.wait(lambda: next((m for m in rest if m.is_primary()), None), 90, "a new primary")
        print(f"a new primary {time.monotonic() - started:.1f} s after the old one and the leader of "
              "zabfs were killed")
        before = len(writer.acknowledged)
        self.wait(lambda: len(writer.acknowledged) > before + 20, 60, "rows after the failover")
        dead.start()
        primary.start()
        self.wait(lambda: not primary.is_primary() and
                  primary.ask("select pg_is_in_recovery()")[0][0], 120, "the old one as a standby")
        for thread in (writer, watcher):
            thread.stopping.set()
            thread.join(20)
        rows = {row[0] for row in new.ask("select n from numbers")}
        self.assertEqual([n for n in writer.acknowledged if n not in rows], [])
        self.assertEqual(watcher.split, [])
        print(f"{len(writer.acknowledged)} rows acknowledged, all there; {watcher.looks} looks, never "
              "two primaries")


if __name__ == "__main__":
    unittest.main(verbosity=2)
