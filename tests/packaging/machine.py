"""A bare Debian in a directory, booted with a systemd of its own by systemd-nspawn.

It has no network: what is installed there is downloaded before it boots. All its processes and
mounts are in namespaces that end with it.
"""
import os
import shutil
import signal
import subprocess
import tempfile

from harness import ZABFSD, die_with_parent, run, wait_for

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"


def call(*command, **options):
    result = run(*command, **{"timeout": 540, **options})
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)} exited {result.returncode}: {result.stdout[-2000:]}"
                             f"{result.stderr[-2000:]}")
    return result.stdout


class Machine:
    def __init__(self):
        # Not /tmp: that may be a filesystem in memory.
        self.top = tempfile.mkdtemp(prefix="zabfs-test-", dir="/var/tmp")
        self.root = os.path.join(self.top, "root")
        self.console = os.path.join(self.top, "console")
        self.nspawn = None
        self.init = None

    def make(self, packages):
        base = os.environ.get("ZABFS_TEST_SYSTEM")  # one that debootstrap has made before
        if base:
            call("cp", "-a", base, self.root)
        else:
            call("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,man-db", SUITE,
                 self.root, MIRROR, timeout=1200)
        # As debootstrap leaves it, but for policy: services may be started.
        for package in packages:
            shutil.copy(package, os.path.join(self.root, "root"))
        self.chroot("apt-get", "update", "-qq")
        self.chroot("apt-get", "install", "-y", "-qq", "--no-install-recommends", "--download-only",
                    *[f"/root/{os.path.basename(p)}" for p in packages[:1]])

    def chroot(self, *command):
        return call("chroot", self.root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", *command)

    def boot(self):
        with open(self.console, "ab") as console:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--private-network",
                 "--capability=all", "--bind=/dev/fuse", f"--machine=zabfs-test-{os.getpid()}",
                 "--directory", self.root],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, preexec_fn=die_with_parent,
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.init = wait_for(self.find_init, 60, "the init of the machine")
        wait_for(lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"),
                 300, "a booted system", every=0.5)

    def find_init(self):
        if self.nspawn.poll() is not None:
            raise AssertionError(self.console_text())
        with open(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children") as f:
            children = f.read().split()
        return children[0] if children else None

    def run(self, *command, **options):
        return run("nsenter", "-t", self.init, "-m", "-u", "-i", "-p", "-n", "-r", "-w", "--", "env", "-i",
                   "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8",
                   *command, **{"timeout": 300, **options})

    def call(self, *command, **options):
        result = self.run(*command, **options)
        if result.returncode != 0:
            raise AssertionError(f"{command} exited {result.returncode}: {result.stdout}{result.stderr}")
        return result.stdout

    def sh(self, script):
        return self.call("sh", "-ec", script)

    def property(self, unit, name):
        return self.call("systemctl", "show", "--value", "-p", name, unit).strip()

    def console_text(self):
        with open(self.console, errors="replace") as f:
            return f.read()[-4000:]

    def power_off(self):
        if self.nspawn is None:
            return
        if self.nspawn.poll() is None:
            os.kill(self.nspawn.pid, signal.SIGTERM)  # it shuts its system down
            try:
                self.nspawn.wait(90)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        self.nspawn = self.init = None

    def remove(self):
        self.power_off()
        for point in ("zab", "srv/two"):
            run(ZABFSD, "--unprotect", os.path.join(self.root, point))
        shutil.rmtree(self.top, ignore_errors=True)
