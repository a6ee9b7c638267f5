"""Each heading of troubleshooting.md is a mistake that is made here, on machines of their own. What is
said then is what the page says, and what the page says to do mends it."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from page import Run, blocks_of, prints, read_page  # noqa: E402
from sandbox import Lab, wait_for  # noqa: E402
from test_docs import README, TROUBLES, steps  # noqa: E402

START = "systemctl start zabfs; journalctl -u zabfs -n 1"
# Devices without FUSE's, in a mount namespace of the command.
NO_FUSE = ("mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; "
           "mknod -m 666 /dev/urandom c 1 9; ")
MISTAKES = {}


def mistake(heading):
    def register(make):
        MISTAKES[heading] = make
        return make
    return register


def on_third(heading, script):
    mistake(heading)(lambda lab: lab.machines[2].sh(script))


def said(machine, text, seconds=60):
    """What `zabfs status` prints once it has that."""
    output = []

    def look():
        output[:] = [machine.sh("zabfs status")]
        return text in output[0]
    try:
        wait_for(look, seconds, text, every=0.3)
    except AssertionError as error:
        raise AssertionError(f"{error}; status says:\n{output[0]}") from error
    return output[0]


on_third("There is no /dev/fuse",
         f"systemctl stop zabfs; unshare -m sh -c \"{NO_FUSE} zabfsd /etc/zabfs/zoo.cfg\"; {START}")
on_third("Not root, and no fusermount3",
         "mkdir -p /srv/own/mnt /srv/own/data; chown -R nobody /srv/own; cd /srv/own; printf "
         "'dataDir=/srv/own/data\\nzabfs.mount=/srv/own/mnt\\n' > zoo.cfg; "
         "mv /usr/bin/fusermount3 /usr/bin/moved; "
         f"unshare -m sh -c \"{NO_FUSE} mknod -m 666 /dev/fuse c 10 229; "
         "timeout 20 setpriv --reuid=65534 --clear-groups zabfsd /srv/own/zoo.cfg\"; "
         "mv /usr/bin/moved /usr/bin/fusermount3")
on_third("The directory to mount on is not empty",
         f"systemctl stop zabfs; zabfsd --unprotect /zab; echo x > /zab/notes; {START}")
on_third("There is no directory to mount on",
         "sed s,/zab$,/srv/zab, /etc/zabfs/zoo.cfg > /tmp/zoo.cfg; zabfsd /tmp/zoo.cfg")
on_third("No myid", f"systemctl stop zabfs; rm /var/lib/zabfs/myid; {START}")
on_third("A number that zoo.cfg does not list", f"systemctl stop zabfs; echo 7 > /var/lib/zabfs/myid; {START}")
on_third("The data of another node", f"systemctl stop zabfs; echo 1 > /var/lib/zabfs/myid; {START}")
on_third("An address that this machine does not have",
         f"systemctl stop zabfs; sed -i s/10.0.0.3/10.9.9.9/ /etc/zabfs/zoo.cfg; {START}")
on_third("A port that is in use",
         "systemctl stop zabfs; busybox nc -l -p 2181 > /dev/null 2>&1 & sleep 0.5; "
         f"{START}; kill %1; systemctl start zabfs")
on_third("A key or a value that is mistyped",
         "echo zabfs.muont=/zab >> /etc/zabfs/zoo.cfg; zabfsd --check-config /etc/zabfs/zoo.cfg")


@mistake("One of three is up")
def one_of_three(lab):
    first, second, third = lab.machines[:3]
    second.sh("systemctl stop zabfs")
    third.sh("systemctl stop zabfs")
    status = said(first, "without some of them there is no quorum")
    return status + first.sh("ls /zab/team; echo x > /zab/team/f")


@mistake("A firewall drops the ports between members")
def firewall(lab):
    third = lab.machines[2]
    third.sh("nft -f - <<'END'\ntable inet zabfs { chain input { type filter hook input priority 0; "
             "tcp dport { 2888, 3888 } drop; tcp sport { 2888, 3888 } drop; }; }\nEND")
    return said(third, "without some of them there is no quorum")


on_third("Transport endpoint is not connected",
         "kill -9 $(cat /run/systemd/zabfs.pid); sleep 1; ls /zab; zabfs status")
on_third("Operation not permitted, and nothing is mounted", "systemctl stop zabfs; touch /zab/x; rmdir /zab")
on_third("Permission denied in a new tree",
         "setpriv --reuid=1000 --clear-groups touch /zab/x; "
         "zkCli.sh -server 127.0.0.1:2181 create /x y 2>&1 | grep Insufficient")
on_third("A file of more than 1 MB", "head -c 2000000 /dev/zero > /zab/large; rm /zab/large")
on_third("Members can't be changed", "zabfs members add 4 10.0.0.4:2888:3888")
on_third("Members can't be changed by a user",
         "setpriv --reuid=1000 --clear-groups sh -c 'echo x >> /zab/@/members; zabfs members remove 3'")
on_third("zabfs lock on a directory that is not mounted", "zabfs lock /tmp -- true")
on_third("A command that is mistyped", "zabfs stauts")
on_third("No mount on this machine", "systemctl stop zabfs; zabfs status")


class Troubleshooting(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(3)
        cls.addClassCleanup(cls.lab.stop)
        cls.troubles = {}
        for block in blocks_of(read_page(TROUBLES)):
            cls.troubles.setdefault(block.heading, []).append(block)

    def all_is_well(self, before):
        for machine in self.lab.machines[:3]:
            wait_for(lambda m=machine: "votes yes" in m.sh("zabfs status && cat /zab/@/cluster"), 90,
                     f"a vote of {machine.name} before \"{before}\"", every=0.3)

    def test_1_every_heading_is_a_mistake_that_is_made(self):
        self.assertEqual([h for h in self.troubles if h != "Troubleshooting"], list(MISTAKES))
        for heading in MISTAKES:
            self.assertEqual(self.troubles[heading][0].language, "text", heading)

    def test_2_what_each_of_them_says_and_what_mends_it(self):
        Run(self, README, self.lab).run(steps())
        page = Run(self, TROUBLES, self.lab)
        page.run(self.troubles["Troubleshooting"])
        for heading, blocks in self.troubles.items():
            if heading not in MISTAKES:
                continue
            self.all_is_well(heading)
            output = MISTAKES[heading](self.lab)
            for block in blocks:
                if block.language == "text" and not prints(block.text, output):
                    page.fail(block, "another message", output)
            page.run([block for block in blocks if block.language == "sh"])
        self.all_is_well("the end")


if __name__ == "__main__":
    unittest.main(verbosity=2)
