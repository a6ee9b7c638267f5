"""Disks that lose things under real daemons: each node heals by itself, and nothing is lost."""
import json
import os
import shutil
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import Cluster, ClusterTest, ZABFS, run, sh, wait_for  # noqa: E402

SEGMENT_HEADER, RECORD_HEADER, TXN = 64, 48, 1


def records(path):
    """(offset, length of the body, type, zxid, synced) of each record of a segment."""
    with open(path, "rb") as f:
        data = f.read()
    offset = SEGMENT_HEADER
    while offset + RECORD_HEADER <= len(data):
        _, _, _, length, kind, synced, zxid, _, magic = struct.unpack_from("<IIIIIIqII", data, offset)
        if magic != 0x4345525A:
            return
        yield offset, length, kind, zxid, synced
        offset += RECORD_HEADER + (length + 7 & ~7)


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 0x40]))


def last_segment(node):
    return node.storage(max(n for n in os.listdir(node.storage()) if n.startswith("log.")))


def rot_txns(node, *which):
    """Damages the data of some txns in the middle of the log; the count of txns there."""
    segment = last_segment(node)
    txns = [r for r in records(segment) if r[2] == TXN]
    for place in which:
        offset, length = txns[int(len(txns) * place)][:2]
        flip(segment, offset + RECORD_HEADER + length // 2)
    return len(txns)


class Healing(ClusterTest):
    options = {"tick_ms": 200}

    def write_some(self, node, prefix, count=60):
        sh(f"cd {self.dir(node)}; for i in $(seq {count}); do echo {prefix}$i > {prefix}$i; done")

    def check_all(self, *prefixes, count=60):
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            for prefix in prefixes:
                out = sh(f"cd {self.dir(node)}; for i in $(seq {count}); do cat {prefix}$i; done")
                self.assertEqual(out.split(), [f"{prefix}{i + 1}" for i in range(count)])

    def wait_votes(self, node, seconds=40):
        wait_for(lambda: node.cluster_state().get("votes") == "yes" and node.has_quorum(), seconds,
                 f"node {node.number} with its vote")

    def test_a_wiped_disk_comes_back_without_a_vote_and_gains_it(self):
        victim = self.cluster.followers()[0]
        self.write_some(victim, "a")
        victim.kill()
        shutil.rmtree(victim.storage())
        self.write_some(self.cluster.leader(), "b")
        victim.start()
        victim.wait_ready()
        state = victim.cluster_state()
        self.assertEqual((state["role"], state["votes"]), ("observer", "no"))
        self.wait_votes(victim)
        wait_for(lambda: victim.cluster_state()["role"] == "follower", 20, "a follower again")
        # Its vote counts: with it and one other there is a quorum.
        other = [n for n in self.cluster.followers() if n is not victim][0]
        other.kill()
        self.write_some(victim, "c")
        other.start()
        other.wait_ready()
        self.check_all("a", "b", "c")

    def test_a_node_mends_its_log_from_another(self):
        victim = self.cluster.followers()[0]
        self.write_some(victim, "a")
        self.cluster.sync_all()
        victim.kill()
        rot_txns(victim, 0.3, 0.6)
        result = run(ZABFS, "check", victim.data)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{os.path.basename(last_segment(victim))} offset", result.stdout)
        victim.start()
        victim.wait_ready()
        self.assertIn("DAMAGE", victim.log_text())
        self.assertIn("mended the log with 2 txns", victim.log_text())
        self.assertEqual(victim.cluster_state()["votes"], "yes")
        self.check_all("a")
        victim.terminate()
        result = run(ZABFS, "check", victim.data)
        self.assertEqual(result.returncode, 0, result.stdout)
        victim.start()
        victim.wait_ready()

    def test_damage_on_every_node_is_mended_without_a_leader(self):
        self.write_some(self.n1, "a")
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            node.kill()
        for i, node in enumerate(self.cluster.nodes):
            rot_txns(node, 0.2 + 0.2 * i)
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            node.wait_ready()
            self.assertIn("mended the log", node.log_text())
        self.check_all("a")

    def test_a_log_beyond_mending_is_had_anew(self):
        victim = self.cluster.followers()[0]
        self.write_some(victim, "a")
        victim.kill()
        flip(last_segment(victim), 20)  # the header of the only segment
        flip(victim.storage("accepted.0"), 17)
        victim.start()
        victim.wait_ready()
        self.assertIn("accepted.0 is damaged; the other copy has what it said", victim.log_text())
        self.assertIn("has no vote until", victim.log_text())
        self.assertTrue(any(n.startswith("damaged.") for n in os.listdir(victim.storage())))
        self.wait_votes(victim)
        self.assertFalse(any(n.startswith("damaged.") for n in os.listdir(victim.storage())))
        self.check_all("a")


class FirstStart(unittest.TestCase):
    """A new ensemble whose nodes are started, ended and started again before it forms."""

    def start_after(self, interrupt, nodes):
        cluster = Cluster(tick_ms=200)
        self.addCleanup(cluster.stop)
        for _ in range(2):
            for node in cluster.nodes[:nodes]:
                node.start()
                wait_for(lambda: any(n.startswith("log.") for n in os.listdir(node.storage())), 20,
                         f"the first files of node {node.number}")
                interrupt(node)
        cluster.start()
        for node in cluster.nodes:
            self.assertNotIn("is lost", node.log_text())
        with open(cluster.nodes[0].path("f"), "w") as f:
            f.write("formed\n")
        cluster.sync_all()
        for node in cluster.nodes:
            with open(node.path("f")) as f:
                self.assertEqual(f.read(), "formed\n")

    def test_one_node_is_killed_alone(self):
        self.start_after(lambda node: node.kill(), 1)

    def test_every_node_is_stopped_alone(self):
        self.start_after(lambda node: node.terminate(), 3)


class FullDisk(ClusterTest):
    options = {"tick_ms": 200}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # One follower's disk is small: its data moves to a filesystem of its own.
        node = cls.victim = cls.cluster.followers()[0]
        node.terminate()
        saved = os.path.join(node.directory, "saved")
        shutil.copytree(node.data, saved)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", node.data], check=True)
        shutil.copytree(saved, node.data, dirs_exist_ok=True)
        node.start()
        node.wait_ready()

    def test_it_steps_aside_serves_reads_and_comes_back(self):
        victim = self.victim
        leader = self.cluster.leader()
        sh(f"echo before > {self.dir(leader, 'f')}")
        self.cluster.sync_all()
        ballast = os.path.join(victim.data, "ballast")
        with open(ballast, "wb") as f:
            try:
                while True:
                    f.write(bytes(1 << 16))
                    f.flush()
            except OSError:
                pass
        sh(f"cd {self.dir(leader)}; for i in $(seq 60); do head -c 900000 /dev/urandom > big$i; done")
        wait_for(lambda: victim.cluster_state()["disk"] == "full", 30, "a full disk")
        self.assertIsNone(victim.process.poll())
        self.assertEqual(victim.cluster_state()["role"], "looking")
        for node in self.cluster.nodes:  # itself, the leader, and whom the leader tells
            wait_for(lambda: self.state_of(victim, node) == "disk full", 20,
                     f"word of the full disk on node {node.number}")
        self.assertIn("No space left", victim.log_text())
        self.assertEqual(sh(f"cat {self.dir(victim, 'f')}"), "before\n")
        sh(f"echo meanwhile > {self.dir(leader, 'g')}")
        os.unlink(ballast)
        sh(f"rm {self.dir(leader)}/big*")
        wait_for(lambda: victim.cluster_state()["disk"] == "ok" and victim.has_quorum(), 30,
                 "room again")
        victim.barrier()
        self.assertEqual(sh(f"cat {self.dir(victim, 'g')}"), "meanwhile\n")
        for node in self.cluster.nodes:
            wait_for(lambda: self.state_of(victim, node) == "up", 20,
                     f"word of the room on node {node.number}")

    def state_of(self, member, node):
        """As `zabfs status` shows it on `node`."""
        answer = run(ZABFS, "status", "--json", "--mount", node.mount)
        members = json.loads(answer.stdout)["members"]
        return {m["id"]: m["state"] for m in members}[member.number]


if __name__ == "__main__":
    unittest.main(verbosity=2)
