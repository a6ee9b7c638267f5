"""What is wrong is said in one line, with the right exit code, and nothing is written."""
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import (Cluster, ZABFSD, die_with_parent, free_ports, run, sh,
                     unprotect, wait_for)  # noqa: E402


class OneDaemon(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-test-")
        self.data = os.path.join(self.directory, "data")
        self.mount = os.path.join(self.directory, "mnt")
        os.mkdir(self.data)
        os.mkdir(self.mount)
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            process.kill()
            process.wait()
        subprocess.run(["umount", "-l", self.mount], capture_output=True)
        unprotect(self.mount)
        shutil.rmtree(self.directory, ignore_errors=True)

    def config(self, text):
        path = os.path.join(self.directory, "zoo.cfg")
        with open(path, "w") as f:
            f.write(text)
        return path

    def expect(self, code, pattern, *arguments):
        result = run(ZABFSD, *arguments, timeout=20)
        errors = [line for line in result.stderr.splitlines() if " error " in line]
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(len(errors), 1, result.stderr)
        self.assertRegex(errors[0], pattern)
        self.assertFalse(os.path.exists(os.path.join(self.data, "zabfs", "identity")))

    def start(self, data, **options):
        return self.start_with("--data-dir", data, "--mount", self.mount, **options)

    def start_with(self, *arguments, stderr=subprocess.DEVNULL):
        process = subprocess.Popen([ZABFSD, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=stderr,
                                   preexec_fn=die_with_parent)
        self.processes.append(process)
        wait_for(lambda: os.path.exists(os.path.join(self.mount, "@", "cluster")), 10, "the mount")
        return process

    def stop(self, process):
        process.terminate()
        self.assertEqual(process.wait(20), 0)


class Configuration(OneDaemon):
    def test_malformed_values_name_file_line_and_key(self):
        for text, pattern in (
                ("dataDir=DATA\ntickTime=soon", r"zoo.cfg:2: tickTime: .*soon.*not a number"),
                ("dataDir=DATA\nserver.1=host:1", r"zoo.cfg:2: server.1: "),
                ("dataDir=DATA\nserver.x=h:1:2", r"zoo.cfg:2: server.x: "),
                ("dataDir=DATA\nserver.1=h:1:1", r"the same"),
                ("dataDir=DATA\nserver.1=h:1:2:boss", r"neither participant nor observer"),
                ("tickTime=2000", r"dataDir is missing"),
                ("dataDir=DATA\nquorumListenOnAllIPs=maybe", r"neither true nor false")):
            with self.subTest(text=text):
                self.expect(2, pattern, self.config(text.replace("DATA", self.data)))

    def test_missing_or_wrong_myid(self):
        servers = "server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\n"
        path = self.config(f"dataDir={self.data}\n{servers}")
        self.expect(2, "myid is missing", path)
        for text, pattern in (("x\n", "not a server number"), ("7\n", "server 7 is not listed")):
            with open(os.path.join(self.data, "myid"), "w") as f:
                f.write(text)
            self.expect(2, pattern, path)

    def test_no_configuration(self):
        self.expect(2, "can't read", os.path.join(self.directory, "nothing.cfg"))
        self.expect(2, "give either")

    def test_mount_points(self):
        missing = os.path.join(self.directory, "missing")
        self.expect(2, "create the directory", "--data-dir", self.data, "--mount", missing)
        full = os.path.join(self.directory, "full")
        os.makedirs(os.path.join(full, "x"))
        self.expect(2, "not empty", "--data-dir", self.data, "--mount", full)
        self.expect(2, "not empty: x. These are on the disk of this machine alone.* Move them",
                    "--data-dir", self.data, "--mount", full)
        for name in ("a", "b", "c", "d", "e\nf"):
            os.mkdir(os.path.join(full, name))
        self.expect(2, r"not empty: .*and 1 more\. ", "--data-dir", self.data, "--mount", full)
        plain = os.path.join(self.directory, "plain")
        open(plain, "w").close()
        self.expect(2, "not a directory", "--data-dir", self.data, "--mount", plain)

    def test_a_stopped_nodes_mount_point_takes_no_writes(self):
        sh(f"ln -s {self.mount} {self.directory}/link")
        for end in ("terminate", "kill"):
            process = self.start(self.data)
            getattr(process, end)()
            process.wait()
            subprocess.run(["umount", "-l", self.mount], capture_output=True)
            for attempt in ("echo x > {}/f", "mkdir {}/d", "rmdir {}", "echo x > {}/../link/f"):
                self.assertNotEqual(run("bash", "-c", attempt.format(self.mount)).returncode, 0)
            self.assertEqual(os.listdir(self.mount), [])
        self.stop(self.start(self.data))
        unprotect(self.mount)
        os.rmdir(self.mount)
        os.mkdir(self.mount)

    def test_a_mount_point_that_is_not_protected(self):
        path = self.config(f"dataDir={self.data}\nzabfs.mount={self.mount}\n")
        self.stop(self.start_with(path))
        with open(path, "a") as f:
            f.write("zabfs.protectMountPoint=false\n")
        self.stop(self.start_with(path))
        sh(f"echo stray > {self.mount}/f")
        self.assertIn("not empty: f.", run(ZABFSD, path).stderr)

    def test_a_mount_point_where_nothing_can_be_immutable(self):
        sh(f"mount -t ramfs ramfs {self.directory} && mkdir {self.data} {self.mount}")
        self.addCleanup(sh, f"umount {self.directory}")
        log = os.path.join(self.directory, "log")
        with open(log, "w") as f:
            self.stop(self.start(self.data, stderr=f))
        self.assertIn("its mode is 0000", sh(f"cat {log}"))
        self.assertEqual(os.stat(self.mount).st_mode & 0o7777, 0)
        self.stop(self.start(self.data))
        unprotect(self.mount)
        self.assertEqual(os.stat(self.mount).st_mode & 0o7777, 0o755)

    def test_in_use(self):
        process = self.start(self.data)
        other = os.path.join(self.directory, "other")
        os.mkdir(other)
        result = run(ZABFSD, "--data-dir", self.data, "--mount", other)
        self.assertEqual(result.returncode, 1)
        self.assertIn("in use by another zabfsd", result.stderr)
        result = run(ZABFSD, "--data-dir", os.path.join(self.directory, "d2"), "--mount", self.mount)
        self.assertEqual(result.returncode, 2)
        self.assertIn("mount point already", result.stderr)
        self.stop(process)

    def test_a_directory_of_another_node(self):
        self.stop(self.start(self.data))
        with open(os.path.join(self.data, "myid"), "w") as f:
            f.write("2\n")
        path = self.config(f"dataDir={self.data}\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\n")
        result = run(ZABFSD, path)
        self.assertEqual(result.returncode, 2)
        self.assertIn("belongs to another node", result.stderr)

    def test_a_dead_mount_is_cleared(self):
        process = self.start(self.data)
        sh(f"echo kept > {self.mount}/f")
        process.kill()
        process.wait()
        process = self.start(self.data)
        self.assertEqual(sh(f"cat {self.mount}/f"), "kept\n")
        self.stop(process)

    def test_unmounted_from_outside(self):
        process = self.start(self.data)
        sh(f"umount {self.mount}")
        self.assertEqual(process.wait(10), 0)

    def test_passwords_that_others_can_read(self):
        key = os.path.join(self.directory, "key.pem")
        open(key, "w").close()
        path = self.config(f"dataDir={self.data}\nzabfs.sasl.user.alice=secret\n"
                           f"ssl.keyStore.location={key}\nzabfs.mount={self.directory}\n")
        for mode, warned in ((0o644, True), (0o640, False)):
            os.chmod(path, mode)
            os.chmod(key, mode)
            log = run(ZABFSD, path).stderr  # it ends at the mount point, which is not empty
            self.assertEqual(f"{path} holds a password" in log, warned)
            self.assertEqual(f"{key} holds a private key" in log, warned)
            self.assertNotIn("secret", log)

    def test_core_dumps(self):
        os.chmod(self.directory, 0o777)
        os.chown(self.data, 65534, 65534)
        port = free_ports(1)[0]
        for setting, owner in (("", 0), ("zabfs.coreDumps=true", 65534)):
            path = self.config(f"dataDir={self.data}\nclientPort={port}\n{setting}\n")
            process = subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                        ZABFSD, path], preexec_fn=die_with_parent,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.processes.append(process)
            def serves():
                with socket.create_connection(("127.0.0.1", port), 1):
                    return True
            wait_for(serves, 10, "the client port")
            # /proc gives a process that may not be dumped to root.
            self.assertEqual(os.stat(f"/proc/{process.pid}/environ").st_uid, owner)
            self.stop(process)

    def test_ports_in_use(self):
        ports = free_ports(4)
        taken = socket.socket()
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        with open(os.path.join(self.data, "myid"), "w") as f:
            f.write("1\n")
        path = self.config(f"dataDir={self.data}\nserver.1=127.0.0.1:{ports[0]}:{ports[1]}\n"
                           f"server.2=127.0.0.1:{ports[2]}:{ports[3]}\n")
        result = run(ZABFSD, path)
        taken.close()
        self.assertEqual(result.returncode, 1)
        self.assertIn("can't listen on", result.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.data, "zabfs")))


class Storage(OneDaemon):
    """A data directory that was damaged."""

    def segment(self):
        directory = os.path.join(self.data, "zabfs")
        return os.path.join(directory, sorted(n for n in os.listdir(directory)
                                              if n.startswith("log."))[-1])

    def filled(self):
        process = self.start(self.data)
        sh(f"cd {self.mount}; for i in $(seq 50); do echo $i > f$i; done")
        process.kill()
        process.wait()
        subprocess.run(["umount", "-l", self.mount])

    def test_a_corrupt_log_is_named_and_not_changed(self):
        self.filled()
        with open(self.segment(), "r+b") as f:
            f.seek(2000)
            byte = f.read(1)
            f.seek(2000)
            f.write(bytes([byte[0] ^ 0xff]))
        result = run(ZABFSD, "--data-dir", self.data, "--mount", self.mount)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"log\.[0-9a-f]+ offset \d+: a record that had been synced")

    def test_a_torn_tail_is_dropped(self):
        self.filled()
        with open(self.segment(), "r+b") as f:
            data = f.read()
            end = len(data.rstrip(b"\0"))
            f.seek(end - 3)
            f.write(b"\xff\xff\xff")
        process = self.start(self.data)
        self.assertEqual(sh(f"cat {self.mount}/f49"), "49\n")
        self.stop(process)


class Garbage(unittest.TestCase):
    def test_on_the_ports(self):
        cluster = Cluster(3, tick_ms=500)
        try:
            cluster.start()
            sh(f"echo x > {cluster.nodes[0].path('f')}")
            with open(cluster.nodes[0].config) as f:
                servers = [line.strip().split("=")[1].split(":") for line in f
                           if line.startswith("server.")]
            frames = [b"", b"\xff" * 100, b"GET / HTTP/1.0\r\n\r\n", os.urandom(5000),
                      struct.pack(">qqi", -65536, 2, 2_000_000_000),
                      struct.pack(">qqi", -65536, 77, 4) + b"host",
                      struct.pack(">qqi", -65536, 3, 9) + b"host:3888" + struct.pack(">i", -5),
                      struct.pack(">iqi", 11, 0, 2_000_000_000),
                      struct.pack(">iqi", 99, 0, 0),
                      struct.pack(">iqi", 11, 0, 4) + b"abcd" + struct.pack(">i", -1),
                      struct.pack(">iqi", 2, 5, -1) + struct.pack(">i", -1)]
            for host, quorum, election, *_ in servers:
                for port in (quorum, election):
                    for frame in frames:
                        s = socket.create_connection((host, int(port)), timeout=5)
                        s.sendall(frame)
                        time.sleep(0.01)
                        s.close()
            sh(f"echo y > {cluster.nodes[0].path('f')}")
            cluster.sync_all()
            self.assertEqual(sh(f"cat {cluster.nodes[2].path('f')}"), "y\n")
            for node in cluster.nodes:
                self.assertIsNone(node.process.poll())
                self.assertNotIn("gives up", node.log_text())
            self.assertIn("quorum port: closed", "".join(n.log_text() for n in cluster.nodes))
        except BaseException:
            cluster.print_logs()
            raise
        finally:
            cluster.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
