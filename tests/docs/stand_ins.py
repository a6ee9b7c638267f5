#!/usr/bin/python3
"""Stand-ins for programs that the machines of sandbox.py can't have. Each does what the documents
ask of it, and refuses anything else.

systemctl   starts what a unit's ExecStart= says, waits until it has said that it is ready as for
            Type=notify, stops it, reloads it by SIGHUP, and gives the StatusText that it told. It starts nothing again.
journalctl  prints what a unit has logged.
cmake       builds nothing: what is tested is built already. It installs.
editor      leaves the file as it is.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import time

STATE = "/run/systemd"


def refuse(why):
    sys.exit(f"{os.path.basename(sys.argv[0])} is a stand-in here: {why}")


class Unit:
    def __init__(self, name):
        self.name = name.removesuffix(".service")
        self.pid_file = f"{STATE}/{self.name}.pid"
        self.log_file = f"{STATE}/{self.name}.log"
        self.status_file = f"{STATE}/{self.name}.status"

    def command(self):
        template, at, instance = self.name.partition("@")
        for folder in ("/etc/systemd/system", "/usr/lib/systemd/system", "/usr/local/lib/systemd/system"):
            path = f"{folder}/{template}{at}.service"
            if os.path.exists(path):
                with open(path) as f:
                    line = re.search(r"^ExecStart=(.*)$", f.read(), re.M)[1]
                return line.replace("%i", instance).split()
        sys.exit(f"Unit {self.name}.service could not be found.")

    def pid(self):
        try:
            with open(self.pid_file) as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/stat") as f:
                return pid if f.read().split(") ")[1][0] != "Z" else 0
        except (OSError, ValueError):
            return 0

    def start(self):
        if self.pid():
            return 0
        command = self.command()
        path = f"{STATE}/{self.name}.notify"
        for old in (path, self.status_file):  # of a run that has ended
            if os.path.exists(old):
                os.unlink(old)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(path)
        os.makedirs("/var/lib/zabfs", mode=0o700, exist_ok=True)  # StateDirectory=
        keeper = os.fork()
        if keeper == 0:
            self.keep(command, notify)
        while True:
            time.sleep(0.05)
            text = self.status()
            if os.waitpid(keeper, os.WNOHANG)[0]:
                text += "EXITED"
            if "READY=1" in text:
                return 0
            if "EXITED" in text:
                print(f"Job for {self.name}.service failed. See \"systemctl status {self.name}.service\" and "
                      f"\"journalctl -u {self.name}.service\".", file=sys.stderr)
                return 1

    def keep(self, command, notify):
        """Beside the daemon for as long as it runs: takes what it says."""
        os.setsid()
        with open(self.status_file, "w") as status, open(self.log_file, "a") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                       umask=0o077, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                                         "NOTIFY_SOCKET": notify.getsockname()})
            with open(self.pid_file, "w") as f:
                f.write(str(process.pid))
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in range(3):
                os.dup2(null, descriptor)
            notify.settimeout(0.2)
            while process.poll() is None:
                try:
                    status.write(notify.recv(65536).decode() + "\n")
                    status.flush()
                except TimeoutError:
                    pass
            status.write(f"EXITED {process.returncode}\n")
        os._exit(0)

    def stop(self):
        if pid := self.pid():
            os.kill(pid, signal.SIGTERM)
            # A zombie may have threads that still hold its files. `keep` waits for them.
            while self.pid() or "EXITED" not in self.status():
                time.sleep(0.02)
        return 0

    def reload(self):
        os.kill(self.pid(), signal.SIGHUP)
        return 0

    def status(self):
        try:
            with open(self.status_file) as f:
                return f.read()
        except OSError:
            return ""

    def print_status(self):
        texts = re.findall(r"^STATUS=(.*)$", self.status(), re.M)
        state = "inactive (dead)"
        if self.pid():
            state = "active (running)" if "READY=1" in self.status() else "activating (start)"
        print(f"     Active: {state}")
        if texts and self.pid():
            print(f"     Status: \"{texts[-1]}\"")
        return 0 if self.pid() else 3


def systemctl(arguments):
    if arguments == ["daemon-reload"]:
        return 0
    verb, *rest = arguments
    if verb in ("enable", "disable"):
        if rest[0] != "--now":
            return 0
        verb, rest = {"enable": "start", "disable": "stop"}[verb], rest[1:]
    units = [Unit(name) for name in rest if not name.startswith("-")]
    if verb == "start":
        return max(unit.start() for unit in units)
    if verb == "stop":
        return max(unit.stop() for unit in units)
    if verb == "restart":
        return max(unit.stop() or unit.start() for unit in units)
    if verb == "reload":
        return max(unit.reload() for unit in units)
    if verb == "status":
        return max(unit.print_status() for unit in units)
    return refuse(f"it has no {verb}")


def journalctl(arguments):
    words = list(arguments)
    unit, lines = None, None
    while words:
        word = words.pop(0)
        if word == "-u":
            unit = Unit(words.pop(0))
        elif word == "-n":
            lines = int(words.pop(0))
        elif word not in ("--no-pager", "-e"):
            refuse(f"it has no {word}")
    with open(unit.log_file) as f:
        text = f.read().splitlines()
    print("\n".join(text if lines is None else text[-lines:]))
    return 0


def cmake(arguments):
    if arguments[0] == "--install":
        os.execv("/usr/bin/cmake", ["/usr/bin/cmake", *arguments])
    if arguments[0] == "--build" or "-B" in arguments:
        return 0
    return refuse("it builds nothing")


def editor(arguments):
    return 0 if all(os.path.exists(name) for name in arguments) else refuse(f"no {arguments}")


if __name__ == "__main__":
    sys.exit({"systemctl": systemctl, "journalctl": journalctl, "cmake": cmake, "editor": editor}[
        os.path.basename(sys.argv[0])](sys.argv[1:]))
