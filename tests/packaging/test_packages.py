"""The Debian packages on a bare Debian 12 under a systemd of its own: installed, enabled, upgraded
while it runs, removed and purged. And the container's image, made by its Dockerfile.

It builds the packages and a system, which takes minutes: tests/run --packages.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cluster"))
from harness import die_with_parent, run, wait_for  # noqa: E402
from machine import Machine, call  # noqa: E402

SOURCE = os.path.join(HERE, "..", "..")


def next_version(package, directory):
    """The same package with a higher version."""
    tree = os.path.join(directory, "next")
    call("dpkg-deb", "--raw-extract", package, tree)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control) as f:
        text = f.read()
    with open(control, "w") as f:
        f.write(re.sub(r"^Version: (.*)$", r"Version: \1+next", text, flags=re.M))
    target = os.path.join(directory, "zabfs_next.deb")
    call("dpkg-deb", "-Zgzip", "-z1", "--build", "--root-owner-group", tree, target)
    return target


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="zabfs-test-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, True)
        call(os.path.join(SOURCE, "packaging", "build-packages"), "--quick", cls.directory, timeout=3600)
        cls.package, = glob.glob(cls.directory + "/zabfs_*.deb")
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.remove)
        cls.machine.make([cls.package, next_version(cls.package, cls.directory)])
        cls.machine.boot()

    def run(self, result=None):
        failures = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > failures and self.machine.init:
            print(self.machine.run("journalctl", "--no-pager", "-n", "60").stdout, file=sys.stderr)
            print(self.machine.run("systemctl", "status", "zabfs").stdout, file=sys.stderr)

    def pid(self):
        return self.machine.property("zabfs", "MainPID")

    def wait_active(self, unit="zabfs.service"):
        wait_for(lambda: self.machine.property(unit, "ActiveState") == "active", 60, f"{unit} active")

    def test_1_installed_it_is_not_started(self):
        m = self.machine
        m.call("apt-get", "install", "-y", "-qq", "--no-install-recommends",
               "/root/" + os.path.basename(self.package))
        self.assertEqual(m.run("systemctl", "is-enabled", "zabfs").stdout, "disabled\n")
        self.assertEqual(m.property("zabfs", "ActiveState"), "inactive")
        self.assertRegex(m.call("zabfs", "--version"), r"^zabfs \d")
        self.assertIn("zabfs.quorumGrace", m.call("man", "zabfs.cfg"))
        self.assertIn("/etc/zabfs/zoo.cfg", m.call("dpkg-query", "-W", "-f", "${Conffiles}", "zabfs"))
        self.assertEqual(m.run("systemd-analyze", "verify", "zabfs.service", "zabfs@x.service").stderr, "")

    def test_2_enabled_it_is_ready_when_mounted(self):
        m = self.machine
        m.call("systemctl", "enable", "--now", "zabfs")
        self.assertEqual(m.property("zabfs", "ActiveState"), "active")
        m.sh("mountpoint -q /zab && echo kept > /zab/file")
        self.assertIn("quorum yes", m.property("zabfs", "StatusText"))
        self.assertEqual(m.property("zab.mount", "ActiveState"), "active")
        self.assertEqual(m.sh("ls -ld /var/lib/zabfs | cut -c 1-10"), "drwx------\n")
        log = m.call("journalctl", "-u", "zabfs", "--no-pager")
        self.assertNotRegex(log, r"\[(warning|error|critical)\]", "a warning of the daemon in its unit")

    def test_3_what_the_mount_can_do_it_can_do_hardened(self):
        m = self.machine
        m.sh("mkdir -p /zab/d && chown 1234:1234 /zab/d && chmod 4750 /zab/d && stat -c %u:%a /zab/d")
        self.assertEqual(m.sh("flock /zab/d/@/lock cat /zab/d/@/next"), "1\n")
        self.assertEqual(m.sh("exec 9> /zab/d/@/ephemeral/me; ls /zab/d"), "me\n")
        handles = m.sh("exec 9> /zab/d/@/ephemeral/me; cat /zab/@/handles")
        self.assertRegex(handles, r"ephemeral")
        self.assertIn("zabfs-guard", m.sh("cat /proc/[0-9]*/comm"))
        under = m.sh("mkdir -p /root/under; unshare -m --propagation private sh -c "
                     "'mount --bind / /root/under; lsattr -d /root/under/zab'")
        self.assertIn("i", under.split()[0], "the directory under the mount is immutable")
        security = m.run("systemd-analyze", "security", "--no-pager", "zabfs").stdout
        figure = re.search(r"exposure level for zabfs.service: ([\d.]+)", security)[1]
        print(f"systemd-analyze security: {figure}", file=sys.stderr)
        self.assertLess(float(figure), 6)

    def test_4_a_node_that_dies_or_hangs_is_started_again(self):
        m = self.machine
        drop_in = "/run/systemd/system/zabfs.service.d"
        for signal in ("KILL", "STOP"):
            with self.subTest(signal=signal):
                m.sh(f"mkdir -p {drop_in}; printf '[Service]\\nWatchdogSec=3\\n' > {drop_in}/test.conf; "
                     "systemctl daemon-reload; systemctl restart zabfs")
                before = self.pid()
                m.call("systemctl", "kill", "--kill-whom=main", "-s", signal, "zabfs")
                wait_for(lambda: self.pid() not in (before, "0"), 60, "another process", every=0.5)
                self.wait_active()
                self.assertEqual(m.sh("cat /zab/file"), "kept\n")
        m.sh(f"rm -r {drop_in}; systemctl daemon-reload; systemctl restart zabfs")

    def test_5_a_unit_that_requires_the_mount_starts_the_node_first(self):
        m = self.machine
        m.call("systemctl", "stop", "zabfs")
        self.assertNotEqual(m.run("mountpoint", "-q", "/zab").returncode, 0)
        m.sh("cat > /etc/systemd/system/needs.service <<'UNIT'\n[Unit]\nRequiresMountsFor=/zab/d\n[Service]\n"
             "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'cat /zab/file > /root/seen'\n"
             "[Install]\nWantedBy=multi-user.target\nUNIT\n"
             "systemctl daemon-reload; systemctl enable needs; systemctl start needs")
        self.assertEqual(m.sh("cat /root/seen; rm /root/seen"), "kept\n")
        self.wait_active()
        m.call("systemctl", "stop", "zabfs")
        self.assertEqual(m.property("needs", "ActiveState"), "inactive")  # it ended before its mount
        m.power_off()
        m.boot()
        self.assertEqual(m.sh("cat /root/seen"), "kept\n")
        self.assertEqual(m.run("systemctl", "is-system-running").stdout, "running\n")
        self.assertNotIn("can't be unmounted", m.call("journalctl", "-u", "zabfs", "--no-pager"))
        m.sh("systemctl disable --now needs; rm /etc/systemd/system/needs.service; systemctl daemon-reload")

    def test_6_a_second_node_on_the_machine(self):
        m = self.machine
        m.sh("cat > /etc/zabfs/two.cfg <<'CFG'\ntickTime=2000\ndataDir=/var/lib/zabfs/two\nclientPort=2182\n"
             "zabfs.mount=/srv/two\nCFG\nsystemctl daemon-reload; systemctl enable --now zabfs@two")
        m.sh("mountpoint -q /srv/two && echo two > /srv/two/file && test ! -e /zab/two")
        self.assertEqual(m.property("srv-two.mount", "ActiveState"), "active")

    def test_7_an_upgrade_goes_on_with_what_runs(self):
        m = self.machine
        m.sh("echo '# mine' >> /etc/zabfs/zoo.cfg")
        before = self.pid()
        m.call("apt-get", "install", "-y", "-qq", "--no-install-recommends", "/root/zabfs_next.deb")
        self.assertNotIn(self.pid(), (before, "0"))
        for unit in ("zabfs", "zabfs@two"):
            self.assertEqual(m.property(unit, "ActiveState"), "active")
        self.assertEqual(m.sh("cat /zab/file /srv/two/file"), "kept\ntwo\n")
        self.assertIn("# mine", m.sh("cat /etc/zabfs/zoo.cfg"))
        self.assertIn("+next", m.call("dpkg-query", "-W", "zabfs"))

    def test_8_removed_and_purged(self):
        m = self.machine
        m.call("apt-get", "remove", "-y", "-qq", "zabfs")
        self.assertEqual(m.run("mountpoint", "-q", "/zab").returncode, 1)
        self.assertNotIn("zabfsd", m.sh("cat /proc/[0-9]*/comm"))
        m.sh("test ! -e /zab; rmdir /srv/two; test -e /etc/zabfs/zoo.cfg; test -e /var/lib/zabfs")
        m.sh("rm /etc/zabfs/two.cfg")
        m.call("apt-get", "purge", "-y", "-qq", "zabfs")
        self.assertEqual(m.sh("find / -xdev -path /proc -prune -o -name '*zabfs*' ! -path '/root/*' "
                              "! -path '/var/log/*' ! -path '/var/cache/man/*' ! -path '/tmp/*' -print; "
                              "systemctl list-units --failed --no-legend"), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
