"""Machines for the commands of the documents: each has files, processes, mounts, a host name and a
network of its own, in namespaces. Whatever a command writes, wherever, is in memory. All of it ends
with the test, however that ends, because it ends with the first process of the namespaces.

A machine sees the files of this one. The programs are installed by `cmake --install`. Three things
are not what a user has: there is no way out of the network; `cmake` builds nothing, because what is
tested is built already; `systemctl` and `journalctl` are stand-ins (stand_ins.py).
"""
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "cluster"))
from harness import BUILD, die_with_parent, run, wait_for  # noqa: E402

END_OF_BLOCK = "--- end of block ---"

# The first process of a machine. The root is this machine's, below a layer in memory; /root and
# what a node would use are as on a fresh system.
_MAKE = r"""set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 none /mnt
cd /mnt
mkdir root up work source source_work
mount -t overlay none -o lowerdir=/,upperdir=up,workdir=work root
for place in tmp run root; do mount -t tmpfs none root/$place; done
chmod 1777 root/tmp
mount --rbind /dev root/dev
mount --rbind /sys root/sys
mount -t proc none root/proc
mkdir -p "root$SOURCE"
mount -t overlay none -o "lowerdir=$SOURCE,upperdir=source,workdir=source_work" "root$SOURCE"
if [ "$BUILD" != "$SOURCE/build" ]; then
  rm -rf "root$SOURCE/build"
  ln -s "$BUILD" "root$SOURCE/build"
fi
rm -rf root/etc/zabfs root/var/lib/zabfs root/zab root/usr/local/sbin/zabfsd root/usr/local/bin/zabfs
for program in systemctl journalctl cmake editor; do
  cp "$STAND_INS" root/usr/local/bin/$program
done
chmod 755 root/usr/local/bin/*
mkdir root/run/systemd root/old
pivot_root root root/old
cd /
umount -l /old
rmdir /old
hostname "$NAME"
ip link set lo up
echo ready
exec sleep infinity
"""

# Runs the files that it is told of, each in this same shell, until one fails.
_SHELL = f"""while read -r -u 63 kind file; do
  if [ "$kind" = fails ]; then
    set +e; ( set -e; . "$file" ); code=$?; set -e
    [ $code != 0 ] || {{ echo "this succeeded, and should fail"; exit 1; }}
  else
    . "$file"
  fi
  printf '\\n%s\\n' '{END_OF_BLOCK}'
done"""


class Machine:
    def __init__(self, number=1, installed=True):
        self.number = number
        self.name = f"node{number}"
        self.address = f"10.0.0.{number}"
        self.shell = self.control = None
        self.blocks = 0
        self.first = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
             "bash", "-c", _MAKE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE": ROOT, "NAME": self.name,
                 "BUILD": os.path.abspath(BUILD), "STAND_INS": os.path.join(HERE, "stand_ins.py")})
        said = self.first.stdout.readline()
        if said != "ready\n":
            raise AssertionError("no machine: " + said + self.first.stdout.read())
        with open(f"/proc/{self.first.pid}/task/{self.first.pid}/children") as f:
            self.init = f.read().split()[0]
        if installed:
            self.call("cmake", "--install", "build", "--prefix", "/usr")
            self.call("mkdir", "-p", "/etc/zabfs")
            self.call("mv", "/usr/etc/zabfs/zoo.cfg", "/etc/zabfs/zoo.cfg")
            # As the Debian packages place them.
            self.call("sed", "-i", "s,/usr/local/etc/,/etc/,; s,/usr/local/sbin/,/usr/sbin/,",
                      "/usr/lib/systemd/system/zabfs.service", "/usr/lib/systemd/system/zabfs@.service")

    def inside(self, *command):
        return ["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-r", "env", "-i", "-C", ROOT,
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"
                "/usr/share/zookeeper/bin", "HOME=/root", "LC_ALL=C.UTF-8", "USER=root", *command]

    def run(self, *command, **options):
        return run(*self.inside(*command), **options)

    def call(self, *command, **options):
        result = self.run(*command, **options)
        if result.returncode != 0:
            raise AssertionError(f"{command} exited {result.returncode}: {result.stdout}{result.stderr}")
        return result.stdout

    def sh(self, script, **options):
        """What a script prints, with its errors, and whatever it comes to."""
        return self.run("bash", "-c", "exec 2>&1\n" + script, **options).stdout

    def write(self, path, text):
        subprocess.run(self.inside("sh", "-c", f"cat > {path}"), input=text, text=True, check=True)

    def open_shell(self):
        read, write = os.pipe()
        self.control = os.fdopen(write, "w")
        os.dup2(read, 63)  # of no use to what the blocks open
        self.shell = subprocess.Popen(
            self.inside("bash", "-ec", _SHELL), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent, pass_fds=(63,))
        os.close(read)
        os.close(63)

    def begin(self, script, fails=False):
        """Starts a block in the shell of this machine, which keeps its directory and variables."""
        if self.shell is None:
            self.open_shell()
        self.blocks += 1
        path = f"/tmp/block-{self.blocks}"
        self.write(path, script + "\n")
        self.control.write(f"{'fails' if fails else 'runs'} {path}\n")
        self.control.flush()

    def end(self, seconds=300):
        """What the block printed, and whether it did what it should."""
        def on_time(number, frame):
            raise TimeoutError
        lines = []
        before = signal.signal(signal.SIGALRM, on_time)
        signal.alarm(seconds)
        try:
            for line in self.shell.stdout:
                if line.rstrip("\n") == END_OF_BLOCK:
                    text = "".join(lines)
                    return text.removesuffix("\n"), True
                lines.append(line)
            return "".join(lines), False
        except TimeoutError:
            return "".join(lines) + f"\nnothing more for {seconds} s", False
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    def stop(self):
        for process in (self.shell, self.first):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        if self.control:
            self.control.close()
        for process in (self.shell, self.first):
            if process:
                process.stdout.close()


class Lab:
    """Machines on one network: node1 has the address 10.0.0.1, and so on."""

    def __init__(self, count=3, **options):
        self.machines = []
        try:
            for number in range(1, count + 1):
                self.machines.append(Machine(number, **options))
            self.join()
        except BaseException:
            self.stop()
            raise

    def join(self):
        first = self.machines[0]
        if len(self.machines) > 1:
            first.call("ip", "link", "add", "br0", "type", "bridge")
            first.call("ip", "link", "set", "br0", "up")
            first.call("ip", "addr", "add", first.address + "/24", "dev", "br0")
        for machine in self.machines[1:]:
            port = f"port{machine.number}"
            # From outside of their process namespaces, where their processes have these numbers.
            run("nsenter", "-t", first.init, "-n", "ip", "link", "add", port, "type", "veth", "peer", "name",
                "eth0", "netns", machine.init, check=True)
            first.call("ip", "link", "set", port, "master", "br0")
            first.call("ip", "link", "set", port, "up")
            machine.call("ip", "addr", "add", machine.address + "/24", "dev", "eth0")
            machine.call("ip", "link", "set", "eth0", "up")

    def stop(self):
        for machine in self.machines:
            machine.stop()


__all__ = ["HERE", "ROOT", "Lab", "Machine", "run", "wait_for"]
