"""What a node tells to monitors: `mntr` beside Java's, Prometheus, health, the alerts and the
dashboard of packaging/monitoring."""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import raw  # noqa: E402
from raw import buf  # noqa: E402
from servers import Java, Zabfs  # noqa: E402  (it puts ../cluster on the path)
from harness import Cluster, LoggedTest, die_with_parent, free_ports, wait_for  # noqa: E402

MONITORING = os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..", "packaging", "monitoring"))
PROVIDER = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
# What Grafana's dashboard 10465 and the rules in ZooKeeper's manual ask for, but for the JVM's.
OF_DASHBOARD = """
    quorum_size leader_uptime num_alive_connections open_file_descriptor_count outstanding_requests
    max_latency avg_latency min_latency global_sessions local_sessions znode_count ephemerals_count
    approximate_data_size watch_count packets_received packets_sent connection_rejected
    connection_drop_count unrecoverable_error_count digest_mismatches_count election_time_sum
    election_time_count learners synced_observers commit_count snap_count proposal_count
    fsynctime_sum snapshottime_sum""".split()
OF_LEADER = """
    learners synced_followers synced_non_voting_followers synced_observers pending_syncs
    leader_uptime last_proposal_size min_proposal_size max_proposal_size quorum_size
    peer_state""".split()


def kind_of(value):
    if re.fullmatch(r"-?\d+", value):
        return "whole number"
    if re.fullmatch(r"-?\d+\.\d+(E-?\d+)?", value):
        return "fraction"
    return "text"


def monitored(text):
    return dict(line.split("\t", 1) for line in text.decode().splitlines())


def answer_to(word, port):
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(word.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def get(port, path):
    """The status and the text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text):
    """The values of a Prometheus text, by name with labels."""
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}


def promtool(*arguments, **options):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60,
                          **options)


class BesideJava(unittest.TestCase):
    def test_mntr_has_javas_names_with_values_of_the_same_type(self):
        words = ["4lw.commands.whitelist=*"]
        with Java(words) as java, Zabfs(words) as zabfs:
            theirs, ours = monitored(java.word("mntr")), monitored(zabfs.word("mntr"))
        self.assertGreater(len(theirs), 400)
        self.assertEqual(sorted(set(theirs) - set(ours)), [])
        for name, value in theirs.items():
            self.assertEqual(kind_of(ours[name]), kind_of(value), name)

    def test_conf_envi_and_dump_have_javas_lines(self):
        words = ["4lw.commands.whitelist=*"]
        with Java(words) as java, Zabfs(words) as zabfs:
            for word in ("conf", "envi"):
                theirs, ours = ({line.split("=")[0]
                                 for line in server.word(word).decode().split("\n")
                                 if not line.startswith(("java.", "os.memory."))}
                                for server in (java, zabfs))
                self.assertEqual(sorted(theirs - ours), [], word)
            # Java tells of sets that have become empty, too.
            theirs, ours = (set(re.sub(r"\d+\b|[A-Z][a-z][a-z] [A-Z][a-z][a-z] .* \d{4}", "N",
                                       server.word("dump").decode()).split("\n"))
                            for server in (java, zabfs))
            self.assertEqual(ours, theirs)


class Counts(unittest.TestCase):
    def test_what_clients_do_is_counted(self):
        with Zabfs(["4lw.commands.whitelist=*"]) as server:
            before = monitored(server.word("mntr"))
            session = raw.Session(server.address)
            session.request(raw.CREATE, raw.create("/a", b"x"))
            for _ in range(3):
                session.request(raw.GET_DATA, buf("/a") + b"\0")
            session.auth("magic", "word")
            session.close()
            after = monitored(server.word("mntr"))

        def rise(name):
            return int(after["zk_" + name]) - int(before["zk_" + name])

        self.assertEqual(rise("connection_request_count"), 1)
        self.assertEqual(rise("auth_failed_count"), 1)
        self.assertEqual(rise("cnt_readlatency"), 3)
        self.assertEqual(rise("cnt_updatelatency"), 1)
        self.assertGreaterEqual(rise("cnt_fsynctime"), 1)
        self.assertGreaterEqual(rise("proposal_count"), 2)
        self.assertGreaterEqual(rise("commit_count"), 2)
        self.assertGreater(rise("bytes_received_count"), 100)
        self.assertGreater(rise("response_bytes"), 100)
        self.assertGreater(int(after["zk_max_client_response_size"]), 60)
        self.assertGreater(int(after["zk_min_client_response_size"]), 0)


class Port(unittest.TestCase):
    def test_another_provider_is_a_warning_and_nothing_listens(self):
        with Zabfs(["metricsProvider.className=org.example.Other"]) as server:
            self.assertIn("the metrics provider org.example.Other is not known", server.whole_log())

    def test_a_port_in_use_keeps_the_node_from_starting(self):
        with Zabfs() as other:
            server = Zabfs([f"metricsProvider.className={PROVIDER}",
                            f"metricsProvider.httpPort={other.port}"])
            with self.assertRaisesRegex(AssertionError, "can't listen on .*port of metrics"):
                server.__enter__()

    def test_it_answers_for_metrics_alone(self):
        port = free_ports(1)[0]
        with Zabfs([f"metricsProvider.className={PROVIDER}", "metricsProvider.httpHost=127.0.0.1",
                    f"metricsProvider.httpPort={port}", "metricsProvider.exportJvmInfo=true"]):
            self.assertEqual(get(port, "/metrics")[0], 200)
            self.assertEqual(get(port, "/metrics?name=x")[0], 200)
            self.assertEqual(get(port, "/commands")[0], 404)


class Ensemble(LoggedTest):
    def setUp(self):
        self.cluster = Cluster(3, extra="zabfs.rootMode=0777\n")
        self.addCleanup(self.cluster.stop)
        ports = free_ports(6)
        for node in self.cluster.nodes:
            node.metrics_port, node.admin_port = ports.pop(), ports.pop()
            with open(node.config, "a") as f:
                f.write(f"metricsProvider.className={PROVIDER}\n"
                        f"metricsProvider.httpPort={node.metrics_port}\n"
                        f"admin.serverPort={node.admin_port}\n")
        self.cluster.start()

    def write_some(self):
        """So that every histogram has something in it."""
        for node in self.cluster.nodes:
            directory = node.path(f"at{node.number}")
            os.mkdir(directory)
            for n in range(3):
                with open(os.path.join(directory, "file"), "w") as f:
                    f.write(f"{n}\n")
            subprocess.run(["flock", os.path.join(directory, "@", "lock"), "true"], check=True)
            session = raw.Session(("127.0.0.1", node.client_port))
            session.request(raw.CREATE, raw.create(f"/client{node.number}", b"x"))
            session.request(raw.GET_DATA, buf(f"/client{node.number}") + b"\0")
            session.close()

    def mntr(self, node):
        return monitored(answer_to("mntr", node.client_port))

    def test_metrics(self):
        self.write_some()
        leader = self.cluster.leader()
        told = self.mntr(leader)
        for name in OF_LEADER:
            self.assertIn("zk_" + name, told)
        self.assertEqual((told["zk_learners"], told["zk_synced_followers"]), ("2", "2"))
        self.assertEqual(told["zk_peer_state"], "leading - broadcast")
        self.assertGreater(int(told["zk_max_proposal_size"]), 0)
        for node in self.cluster.followers():
            told = self.mntr(node)
            self.assertEqual(told["zk_peer_state"], "following - broadcast")
            self.assertNotIn("zk_learners", told)
            self.assertGreater(int(told["zk_learner_commit_received_count"]), 0)
        for node in self.cluster.nodes:
            status, text = get(node.metrics_port, "/metrics")
            self.assertEqual(status, 200)
            lint = promtool("check", "metrics", input=text)
            self.assertEqual((lint.returncode, lint.stdout + lint.stderr), (0, ""))
            with open(node.path("@", "metrics")) as f:
                here = f.read()
            families = [{line for line in each.splitlines() if line.startswith("# TYPE")}
                        for each in (text, here)]
            self.assertLessEqual(families[0], families[1])
        text = get(leader.metrics_port, "/metrics")[1]
        values = samples(text)
        self.assertEqual([name for name in OF_DASHBOARD if name not in values], [])
        for name in ("fsync", "commit", "election", "unavailable", "lock_wait", "lock_hold"):
            self.assertGreater(values[f"zabfs_{name}_seconds_count"], 0, name)
        for side, kind in (("client", "create"), ("client", "getData"), ("mount", "flush")):
            self.assertGreater(values[f'zabfs_{side}_request_seconds_count{{kind="{kind}"}}'], 0)

    def test_health(self):
        for node in self.cluster.nodes:
            for what in ("live", "ready"):
                status, text = get(node.admin_port, f"/health/{what}")
                self.assertEqual((status, json.loads(text)[what], json.loads(text)["reason"]),
                                 (200, True, None))
        left, lost = self.cluster.leader(), self.cluster.followers()
        lost[0].kill()
        others = [left, lost[1]]
        for node in others:  # by the leader's word, also where it does not lead
            def names_it(node=node):
                with open(node.path("@", "health")) as f:
                    text = f.read()
                return re.search(rf"^lost {lost[0].number} 127.0.0.1:\d+$", text, re.M) and \
                    "state degraded" in text
            wait_for(names_it, 30, f"node {node.number} to name the lost one")
            status, text = get(node.admin_port, "/health/ready")
            self.assertEqual((status, json.loads(text)["lost"]), (200, [lost[0].number]))
        lost[1].kill()

        def is_unready():
            status, text = get(left.admin_port, "/health/ready")
            return status == 503 and json.loads(text)
        answer = wait_for(is_unready, 30, "the node without a quorum to say so")
        self.assertEqual((answer["ready"], answer["reason"]), (False, "this node has no quorum"))
        self.assertEqual(get(left.admin_port, "/health/live")[0], 200)
        for command, works in (("stat", False), ("ruok", False), ("monitor", True), ("envi", True)):
            status, text = get(left.admin_port, f"/commands/{command}")
            error = json.loads(text)["error"]
            self.assertEqual((status, error), (200, None if works else
                             "This ZooKeeper instance is not currently serving requests"))

    def query(self, port, expression):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?" +
                                      urllib.parse.urlencode({"query": expression}), timeout=20)
        answer = json.load(text)
        self.assertEqual(answer["status"], "success", expression)
        return answer["data"]["result"]

    def start_prometheus(self, directory):
        """One that scrapes this ensemble each second, with our rules, not waiting a minute."""
        port = free_ports(1)[0]
        with open(os.path.join(MONITORING, "zabfs.rules.yml")) as f:
            rules = re.sub(r"\bfor: \w+", "for: 2s", f.read())
        with open(os.path.join(directory, "rules.yml"), "w") as f:
            f.write(rules)
        targets = ", ".join(f"'127.0.0.1:{node.metrics_port}'" for node in self.cluster.nodes)
        with open(os.path.join(directory, "prometheus.yml"), "w") as f:
            f.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                    "rule_files: [rules.yml]\n"
                    "scrape_configs: [{job_name: zabfs, static_configs: "
                    f"[{{targets: [{targets}]}}]}}]\n")
        server = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml",
             f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        wait_for(lambda: len(self.query(port, 'up{job="zabfs"} == 1')) == 3, 60,
                 "Prometheus to have scraped all nodes")
        return port

    def alerts(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/alerts", timeout=20) as text:
            return {(alert["labels"]["alertname"], alert["labels"].get("member"))
                    for alert in json.load(text)["data"]["alerts"] if alert["state"] == "firing"}

    def test_dashboard_and_alerts_of_a_running_ensemble(self):
        with tempfile.TemporaryDirectory(prefix="zabfs-prometheus-") as directory:
            self.write_some()
            port = self.start_prometheus(directory)
            self.write_some_more()
            with open(os.path.join(MONITORING, "zabfs.dashboard.json")) as f:
                expressions = [target["expr"].replace("$instance", ".*")
                               for panel in json.load(f)["panels"]
                               for target in panel.get("targets", [])]
            self.assertGreater(len(expressions), 30)

            def silent():
                return [each for each in expressions if not self.query(port, each)]
            wait_for(lambda: not silent(), 60, f"data for {silent()}", every=1)
            wait_for(lambda: not self.alerts(port), 30, "no alert", every=0.5)
            self.cluster.followers()[0].kill()
            dead = [node.number for node in self.cluster.nodes if node.process.poll() is not None]
            wanted = {("ZabfsNodeDown", None), ("ZabfsMemberLost", str(dead[0]))}
            wait_for(lambda: wanted <= self.alerts(port), 60, f"{wanted}", every=0.5)

    def write_some_more(self):
        for node in self.cluster.nodes:
            for n in range(3):
                with open(node.path(f"at{node.number}", "more"), "w") as f:
                    f.write(f"{n}\n")


class Rules(unittest.TestCase):
    def test_alerts_fire_when_they_should_and_only_then(self):
        for command in (("check", "rules", "zabfs.rules.yml"),
                        ("test", "rules", "zabfs.rules.test.yml")):
            result = promtool(*command, cwd=MONITORING)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
