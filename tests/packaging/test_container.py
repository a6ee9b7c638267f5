"""The entrypoint of the container: the zoo.cfg that it makes of the official image's variables, and
an ensemble that is started by it."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ZABFS, ZABFSD, die_with_parent, free_ports, run, sh, unprotect, wait_for  # noqa: E402

ENTRYPOINT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "packaging", "container",
                          "entrypoint")


class Entrypoint(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zabfs-test-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def environment(self, number=1, **variables):
        here = os.path.join(self.directory, str(number))
        return {"PATH": os.environ["PATH"], "ZABFSD": ZABFSD, "ZOO_CONF_DIR": here + "/conf",
                "ZOO_DATA_DIR": here + "/data", "ZOO_DATA_LOG_DIR": here + "/log",
                "ZABFS_MOUNT": here + "/mnt", "ZOO_MY_ID": str(number), **variables}

    def configuration(self, **variables):
        """The lines of the zoo.cfg, made for a daemon that does nothing."""
        env = self.environment(ZABFSD="true", **variables)
        shutil.rmtree(env["ZOO_CONF_DIR"], True)
        result = run("sh", ENTRYPOINT, env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(env["ZOO_CONF_DIR"] + "/zoo.cfg") as f:
            return dict(line.split("=", 1) for line in f.read().splitlines())

    def test_each_variable_of_the_official_image_has_its_key(self):
        for variable, key, fallback, value in (
                ("ZOO_TICK_TIME", "tickTime", "2000", "1234"),
                ("ZOO_INIT_LIMIT", "initLimit", "5", "7"),
                ("ZOO_SYNC_LIMIT", "syncLimit", "2", "6"),
                ("ZOO_MAX_CLIENT_CNXNS", "maxClientCnxns", "60", "9"),
                ("ZOO_STANDALONE_ENABLED", "standaloneEnabled", "true", "false"),
                ("ZOO_ADMINSERVER_ENABLED", "admin.enableServer", "true", "false"),
                ("ZOO_AUTOPURGE_PURGEINTERVAL", "autopurge.purgeInterval", "0", "24"),
                ("ZOO_AUTOPURGE_SNAPRETAINCOUNT", "autopurge.snapRetainCount", "3", "5"),
                ("ZOO_4LW_COMMANDS_WHITELIST", "4lw.commands.whitelist", None, "srvr, mntr")):
            with self.subTest(variable=variable):
                self.assertEqual(self.configuration().get(key), fallback)
                self.assertEqual(self.configuration(**{variable: value})[key], value)

    def test_servers_and_extra_lines(self):
        lines = self.configuration(ZOO_SERVERS="server.1=a:2888:3888;2181 server.2=b:2888:3888;2181",
                                   ZOO_CFG_EXTRA="snapCount=5000 zabfs.inotify=false")
        self.assertEqual(lines["server.2"], "b:2888:3888;2181")
        self.assertNotIn("clientPort", lines)
        self.assertEqual((lines["snapCount"], lines["zabfs.inotify"]), ("5000", "false"))
        self.assertEqual(self.configuration()["clientPort"], "2181")
        self.assertNotIn("zabfs.mount", self.configuration(ZABFS_MOUNT=""))

    def test_what_is_there_stays(self):
        env = self.environment(ZABFSD="true")
        for directory, name, text in (("ZOO_CONF_DIR", "zoo.cfg", "mine\n"), ("ZOO_DATA_DIR", "myid", "9\n")):
            os.makedirs(env[directory], exist_ok=True)
            with open(os.path.join(env[directory], name), "w") as f:
                f.write(text)
            self.assertEqual(run("sh", ENTRYPOINT, env=env).returncode, 0)
            with open(os.path.join(env[directory], name)) as f:
                self.assertEqual(f.read(), text)

    def test_another_command_runs_instead(self):
        result = run("sh", ENTRYPOINT, "echo", "hello", env=self.environment())
        self.assertEqual((result.returncode, result.stdout), (0, "hello\n"))
        self.assertFalse(os.path.exists(self.environment()["ZOO_CONF_DIR"]))

    def test_an_ensemble(self):
        ports = free_ports(9)
        servers = " ".join(f"server.{i + 1}=127.0.0.1:{ports[i]}:{ports[3 + i]};127.0.0.1:{ports[6 + i]}"
                           for i in range(3))
        mounts = []
        for number in (1, 2, 3):
            env = self.environment(number, ZOO_SERVERS=servers, ZOO_TICK_TIME="500",
                                   ZOO_ADMINSERVER_ENABLED="false")
            mount = env["ZABFS_MOUNT"]
            mounts.append(mount)
            os.makedirs(os.path.dirname(mount))
            with open(os.path.join(self.directory, f"log{number}"), "wb") as log:
                node = subprocess.Popen(["sh", ENTRYPOINT], env=env, preexec_fn=die_with_parent,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.addCleanup(unprotect, mount)
            self.addCleanup(sh, f"umount -l {mount} 2>/dev/null; true")
            self.addCleanup(node.wait, 20)
            self.addCleanup(node.terminate)
        for mount in mounts:
            wait_for(lambda: run(ZABFS, "status", "--mount", mount).returncode == 0, 120, f"a quorum at {mount}")
        sh(f"echo hello > {mounts[0]}/greeting; sync -f {mounts[2]}")
        wait_for(lambda: os.path.exists(mounts[2] + "/greeting"), 20, "what another node wrote")


if __name__ == "__main__":
    unittest.main(verbosity=2)
