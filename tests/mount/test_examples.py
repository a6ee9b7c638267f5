"""What README.md says to try and every example of @/help run as they stand, in each shell and with
busybox's tools. (All other commands of README.md: tests/docs.)"""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, die_with_parent, run, wait_for  # noqa: E402

README = os.path.join(os.path.dirname(__file__), "..", "..", "README.md")
SHELLS = {"bash": ["bash"], "dash": ["dash"], "zsh": ["zsh", "-f"], "busybox": ["busybox", "sh"]}


def block_after(text, heading):
    """The lines of the indented or fenced block that follows a line."""
    lines = text[text.index(heading):].splitlines()[1:]
    block = re.search(r"(?:^ +\S.*\n?)+|(?<=^```sh\n)(?:.*\n)*?(?=```$)", "\n".join(lines), re.M).group()
    return [line.strip() for line in block.splitlines()]


class Examples(ClusterTest):
    nodes = 1

    def setUp(self):
        super().setUp()
        self.top = self.n1.path("")
        self.help = self.read("@/help")

    def read(self, name):
        with open(os.path.join(self.top, name)) as f:
            return f.read()

    def tools_of(self, shell):
        """busybox's shell comes with busybox's tools in front of the others."""
        environment = dict(os.environ)
        if shell == "busybox":
            tools = os.path.join(self.cluster.directory, "tools")
            if not os.path.isdir(tools):
                os.mkdir(tools)
                for tool in run("busybox", "--list").stdout.split():
                    os.symlink("/usr/bin/busybox", os.path.join(tools, tool))
            environment["PATH"] = tools + ":" + environment["PATH"]
        return environment

    def execute(self, shell, lines, directory):
        """Runs lines as one script that ends at the first failure; gives what it printed."""
        script = "\n".join(["set -e", *lines])
        process = subprocess.Popen([*SHELLS[shell], "-c", script], cwd=directory, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=self.tools_of(shell), start_new_session=True,
                                   preexec_fn=die_with_parent)
        try:
            output = process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f"{shell} hangs in:\n{script}\nafter: {process.communicate()[0]}")
        self.assertEqual(process.returncode, 0, f"{shell}, in:\n{script}\n{output}")
        return output

    def replaced(self, line, old, new):
        self.assertIn(old, line)
        return line.replace(old, new)

    def test_what_the_readme_says_to_try(self):
        with open(README) as f:
            lines = block_after(f.read(), "## What to try")
        self.assertEqual(lines[0], "cd ~/zabfs-quickstart/mnt")
        self.assertTrue(lines[-1].startswith("inotifywait"))
        command = lines[-1].split("#")[0].strip()
        lines[-1] = f"timeout 2 {command} || test $? -ne 1"
        for shell in SHELLS:
            with self.subTest(shell):
                # The watcher that runs in the background is to have begun.
                watcher = next(n for n, line in enumerate(lines) if line.endswith("&"))
                script = [*lines[1:watcher + 1], "sleep 1", *lines[watcher + 1:], "kill $!"]
                output = self.execute(shell, script, self.top)
                for expected in ("hello\n", "alone\n", "job\n", "created", "Setting up watches",
                                 "mine\n", "leader", "lock"):
                    self.assertIn(expected, output)
                self.assertEqual(self.read("app/hosts"), open("/etc/hosts").read())
                # What a shell registered goes a moment after the shell.
                registration = os.path.join(self.top, "app", os.uname().nodename)
                wait_for(lambda: not os.path.exists(registration), 10, "its end")
                self.assertEqual(run("rm", "-r", *(os.path.join(self.top, name)
                                                   for name in ("app", "greeting"))).returncode, 0)

    def test_what_help_says_to_try(self):
        flock, number, registered, office, watch, queue, work, once = block_after(self.help, "From a shell:")
        watch = self.replaced(watch, "do ...;", 'do echo "$type $name"; break; done;').replace(
            "done; done", "done")
        queue = self.replaced(queue, "do ...;", 'do echo "item $item"; break;')
        work = self.replaced(work, "do ...;", 'do echo "work $item"; test $item != last || break;')
        once, comment = once.split("#")
        self.assertIn("another node", comment)
        script = [
            flock, number, 'echo "number $n"', registered, 'test -e "$(hostname)"', office,
            "exec 7< @/watch; read -r zxid <&7", "touch news",
            self.replaced(watch, "< @/watch", "<&7"),
            "echo first > @/queue", "echo second > @/queue", queue,
            "echo task > @/work", "echo last > @/work", work,
            "timeout 1 cat @/work",  # the last one, which was not acknowledged
            once, "echo I make the backup", f"({once}; echo twice)",
            # What the surprises come to.
            "timeout 5 cat @/queue", "timeout 1 cat @/queue || test $? -ne 1",
            "echo old > @/data", "sed s/old/new/ @/data > f; cat f > @/data",
            "grep new @/data",
        ]
        for shell in SHELLS:
            with self.subTest(shell):
                directory = self.n1.path(f"help-{shell}")
                os.mkdir(directory)
                output = self.execute(shell, script, directory)
                for expected in ("one at a time in the whole cluster", "number 1\n",
                                 "created news\n", "item first\n", "second\n", "new\n",
                                 "work task\nwork last\nlast\nI make the backup\n"):
                    self.assertIn(expected, output)
                self.assertNotIn("twice", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
