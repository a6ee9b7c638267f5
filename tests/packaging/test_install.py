"""What `cmake --install` puts in place, the manual, and completion in three shells."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import BUILD, ZABFS, ZABFSD, die_with_parent, run, sh, unprotect, wait_for  # noqa: E402

PAGES = {"zabfs.1": [ZABFS, "help", "--man", "zabfs"],
         "zabfs.cfg.5": [ZABFS, "help", "--man", "zabfs.cfg"],
         "zabfs-recipes.7": [ZABFS, "help", "--man", "recipes"],
         "zabfsd.8": [ZABFSD, "--man"]}


def keys():
    """The keys that zabfsd knows: those with an effect, and those without."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", run(ZABFSD, "--keys").stdout, re.M)
    return ([key for key, value in rows if value != "without effect"],
            [key for key, value in rows if value == "without effect"])


def commands():
    return re.findall(r"^  ([a-z-]+) ", run(ZABFS, "--help").stdout.split("Subcommands:")[1], re.M)


def options(*program):
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", run(*program, "--help").stdout))


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="zabfs-test-")
        cls.addClassCleanup(shutil.rmtree, cls.root, True)
        sh(f"DESTDIR={cls.root} cmake --install {BUILD} --prefix /usr")

    def path(self, name):
        return os.path.join(self.root, name)

    def test_everything_is_in_its_place(self):
        for name in ("usr/bin/zabfs", "usr/sbin/zabfsd", "usr/etc/zabfs/zoo.cfg",
                     "usr/lib/systemd/system/zabfs.service", "usr/lib/systemd/system/zabfs@.service",
                     "usr/lib/systemd/system-generators/zabfs-generator",
                     "usr/share/man/man1/zabfs.1", "usr/share/man/man5/zabfs.cfg.5",
                     "usr/share/man/man7/zabfs-recipes.7", "usr/share/man/man8/zabfsd.8",
                     "usr/share/bash-completion/completions/zabfs",
                     "usr/share/zsh/site-functions/_zabfs",
                     "usr/share/fish/vendor_completions.d/zabfs.fish",
                     "usr/share/doc/zabfs/DESIGN" ".md", "usr/share/doc/zabfs/examples/three-nodes.cfg"):
            self.assertTrue(os.path.isfile(self.path(name)), name)
        self.assertTrue(os.access(self.path("usr/lib/systemd/system-generators/zabfs-generator"), os.X_OK))

    def test_nothing_is_writable_by_others(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                mode = os.lstat(os.path.join(folder, name)).st_mode
                self.assertFalse(mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), name)

    def test_the_units_have_no_gaps(self):
        for name in ("zabfs.service", "zabfs@.service", "../system-generators/zabfs-generator"):
            with open(self.path("usr/lib/systemd/system/" + name)) as f:
                self.assertNotRegex(f.read(), r"@[A-Z_]+@")

    def test_a_mount_of_its_own_would_be_seen_by_nobody_else(self):
        """No setting that gives the service a mount namespace (systemd.exec(5))."""
        with open(self.path("usr/lib/systemd/system/zabfs.service")) as f:
            settings = dict(re.findall(r"^([A-Za-z]+)=(.*)$", f.read(), re.M))
        for name in settings:
            self.assertNotRegex(name, r"^(Protect(System|Home|Kernel|Control|Proc)|ProcSubset|Private|"
                                      r"(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec|Bind)\w*Paths|Mount|"
                                      r"Root|TemporaryFileSystem|DynamicUser)")
        self.assertEqual((settings["Type"], settings["KillMode"]), ("notify", "mixed"))

    def test_the_generator_makes_a_mount_unit_for_each_mount(self):
        generator = self.path("generator")
        config = self.path("config/zabfs")
        os.makedirs(config)
        with open(self.path("usr/lib/systemd/system-generators/zabfs-generator")) as f:
            script = re.sub(r"/usr(/local)?/etc/zabfs|/etc/zabfs", config, f.read())
        with open(generator, "w") as f:
            f.write(script)
        for name, text in (("zoo.cfg", "zabfs.mount=/wrong\nzabfs.mount = /zab\n"),
                           ("a-b.cfg", "#zabfs.mount=/no\nzabfs.mount=/srv/a b\n"),
                           ("two.cfg", "zabfs.mount=/srv/two\n"), ("none.cfg", "tickTime=2000\n")):
            with open(os.path.join(config, name), "w") as f:
                f.write(text)
        out = self.path("units")
        os.makedirs(out)
        sh(f"sh {generator} {out} {out} {out}")
        self.assertEqual(sorted(os.listdir(out)), ["srv-two.mount", "zab.mount"])
        with open(os.path.join(out, "zab.mount")) as f:
            self.assertIn("Requires=zabfs.service\nAfter=zabfs.service\n", f.read())
        with open(os.path.join(out, "srv-two.mount")) as f:
            self.assertIn("Requires=zabfs@two.service\n", f.read())

    def sample(self):
        with open(self.path("usr/etc/zabfs/zoo.cfg")) as f:
            return f.read()

    def test_the_sample_has_every_key(self):
        named = re.findall(r"^#?([\w.]+)=", self.sample(), re.M)
        for key in keys()[0]:
            begin = key.rstrip("*")
            self.assertTrue(any(n == key or key.endswith("*") and n.startswith(begin) for n in named), key)

    def test_a_node_starts_with_the_sample(self):
        data, mount, config = self.path("data"), self.path("mnt"), self.path("zoo.cfg")
        text = self.sample().replace("/var/lib/zabfs", data).replace("zabfs.mount=/zab", f"zabfs.mount={mount}")
        with open(config, "w") as f:
            f.write(text.replace("clientPort=2181", "clientPort=0"))
        os.makedirs(data)
        node = subprocess.Popen([ZABFSD, "--make-mount-point", config], preexec_fn=die_with_parent,
                                stderr=subprocess.PIPE, text=True)
        self.addCleanup(unprotect, mount)
        try:
            wait_for(lambda: run(ZABFS, "status", "--mount", mount).returncode == 0, 20, "the node")
        finally:
            node.terminate()
            log = node.communicate(timeout=20)[1]
        self.assertEqual(node.returncode, 0, log)
        self.assertNotIn("not a key", log)
        self.assertNotIn("unknown", log)


class Manual(unittest.TestCase):
    def page(self, name):
        return run(*PAGES[name]).stdout

    def shown(self, name):
        """As man shows it, with what groff complains of as an error."""
        with tempfile.NamedTemporaryFile("w", suffix=name) as f:
            f.write(self.page(name))
            f.flush()
            result = run("man", "--warnings", "-E", "UTF-8", "-l", f.name,
                         env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
        self.assertEqual((result.returncode, result.stderr), (0, ""), name)
        return re.sub(r".\x08|\x1b\[[0-9;]*m", "", result.stdout)

    def test_man_shows_each_page_without_complaints(self):
        for name in PAGES:
            with self.subTest(page=name):
                text = self.shown(name)
                for heading in ("NAME", "DESCRIPTION", "SEE ALSO"):
                    self.assertRegex(text, rf"(?m)^{heading}$")

    def test_all_commands_and_options_are_in_it(self):
        text = self.shown("zabfs.1")
        for command in commands():
            self.assertIn(f"zabfs {command} ", text)
            for option in options(ZABFS, command):
                self.assertIn(option, text)
        text = self.shown("zabfsd.8")
        for option in options(ZABFSD):
            self.assertIn(option, text)

    def test_all_keys_are_in_it(self):
        text = self.shown("zabfs.cfg.5")
        known, without_effect = keys()
        self.assertGreater(len(known), 50)
        self.assertGreater(len(without_effect), 20)
        for key in known + without_effect:
            self.assertIn(key, text)

    def test_all_recipes_are_in_it(self):
        text = self.shown("zabfs-recipes.7")
        for name in ("lock", "rwlock", "semaphore/N", "leader", "queue", "ring/KEY", "txn/", "once/NAME/PERIOD"):
            self.assertRegex(text, rf"(?m)^ +{re.escape(name)}")
        self.assertIn("flock @/lock -c 'echo one at a time in the whole cluster'", text)

    def test_the_version_is_written_once(self):
        for program in (ZABFS, ZABFSD):
            told = run(program, "--version").stdout
            self.assertRegex(told, rf"^{os.path.basename(program)} \d+\.\d+\.\d+\n$")
            self.assertIn(told.split()[1], self.page("zabfsd.8"))
        root = os.path.join(os.path.dirname(__file__), "..", "..")
        self.assertEqual(sh(f"cd {root} && git grep -lF {told.split()[1]} -- fsd consensus tree packaging; true"),
                         "")


class BuildDependencies(unittest.TestCase):
    def test_the_package_is_built_with_what_everybody_builds_with(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "packaging")
        with open(os.path.join(folder, "dependencies")) as f:
            build = set(re.search(r"^build=\(([^)]*)\)", f.read(), re.M)[1].split())
        with open(os.path.join(folder, "debian", "control")) as f:
            control = set(re.findall(r"^ ([a-z0-9.+-]+)(?: \([^)]*\))?,$", f.read().split("\n\n")[0], re.M))
        # A compiler is there wherever packages are built; fuse3 is to run it.
        self.assertEqual(control - {"debhelper-compat"}, build - {"g++", "fuse3"})


class Help(unittest.TestCase):
    def test_a_topic_is_a_page_a_command_a_recipe_or_a_key(self):
        for topic, part in (("zabfs", "zabfs lock [OPTION]..."), ("zabfs.cfg", "zabfs.quorumGrace"),
                            ("recipes", "semaphore/N"), ("lock", "--timeout"), ("queue", "each write is an item"),
                            ("zabfs.mount", "where to mount"), ("zoo.cfg", "#zabfs.quorumGrace=5000"),
                            ("", "topics:")):
            with self.subTest(topic=topic):
                result = run(ZABFS, "help", *([topic] if topic else []))
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(part, result.stdout)

    def test_no_line_is_wider_than_a_terminal(self):
        for line in run(ZABFS, "help", "zabfs.cfg").stdout.splitlines():
            self.assertLessEqual(len(line), 80)

    def test_did_you_mean(self):
        for typed, meant in (("statsu", "status"), ("lokc", "lock"), ("Lock", "lock"), ("expor", "export"),
                             ("memebrs", "members")):
            result = run(ZABFS, typed)
            self.assertEqual(result.returncode, 2)
            self.assertEqual(result.stderr, f'zabfs: there is no command "{typed}". Did you mean "{meant}"? '
                                            "See zabfs --help.\n")
        result = run(ZABFS, "frobnicate")
        self.assertEqual((result.returncode, result.stderr),
                         (2, 'zabfs: there is no command "frobnicate". See zabfs --help.\n'))
        self.assertIn('Did you mean "zabfs.mount"?', run(ZABFS, "help", "zabfs.muont").stderr)


class Completion(unittest.TestCase):
    FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "packaging", "completion")

    def bash(self, *words):
        quoted = " ".join(f"'{w}'" for w in words)
        return sh(f"source {self.FOLDER}/zabfs.bash; COMP_WORDS=(zabfs {quoted}); COMP_CWORD={len(words)}; "
                  "_zabfs; printf '%s\\n' \"${COMPREPLY[@]}\"").split()

    def fish(self, *words):
        line = " ".join(("zabfs", *words))
        result = run("fish", "--no-config", "-c", f"source {self.FOLDER}/zabfs.fish; complete -C '{line}'",
                     env={**os.environ, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"})
        return [offered.split("\t")[0] for offered in result.stdout.splitlines()]

    def test_bash_and_fish_offer_all_commands(self):
        known = set(commands())
        self.assertEqual(set(self.bash("")), known | {"--help", "--version"})
        self.assertEqual(set(self.fish("''")) - {"--help", "--version"}, known)
        self.assertEqual(self.bash("wat"), ["watch"])
        self.assertEqual(self.fish("wat"), ["watch"])

    def test_their_options_are_the_programs(self):
        for command in commands():
            known = options(ZABFS, command)
            self.assertEqual(set(self.bash(command, "--")), known, command)
            self.assertEqual(set(self.fish(command, "--")) | {"--help"}, known, command)

    def test_zsh_has_the_same_words(self):
        with open(os.path.join(self.FOLDER, "zabfs.zsh")) as f:
            text = f.read()
        self.assertEqual(run("zsh", "-n", os.path.join(self.FOLDER, "zabfs.zsh")).stderr, "")
        self.assertEqual(set(re.findall(r"^    '([a-z-]+):", text, re.M)), set(commands()))
        every = set().union(*(options(ZABFS, command) for command in commands()))
        self.assertEqual(set(re.findall(r"(--[a-z-]+)", text)), every | {"--version"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
