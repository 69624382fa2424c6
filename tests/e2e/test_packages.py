"""What packaging/ ships holds together: the unit, the image, the manifests, the wheel, alerts and dashboard."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

import promql_parser
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "systemd/offloom.service"
SETTINGS = PACKAGING / "systemd/offloom.toml"
RELEASE = ROOT / "target/release"
OFFLOOM = RELEASE / "offloom"
DATA_DIR = "/var/lib/weaviate"
ALERTS = {
    "OffloomDown", "OffloomExportFailed", "OffloomExportPartial", "OffloomNoSuccess", "OffloomQueueGrows",
    "OffloomExportStuck", "OffloomStoreRetries", "OffloomMemoryHigh", "OffloomDescriptorsHigh",
}
# What Grafana puts in before Prometheus sees an expression.
RATE_INTERVAL = "$__rate_interval"


def run(*command, **more):
    """Runs a command, and returns it with its output as text."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def flags_of(command):
    """The flags that the help of a command names."""
    helped = run(OFFLOOM, command, "--help", check=True).stdout
    return {flag for line in helped.splitlines() if line.lstrip().startswith("-")
            for flag in re.findall(r"--[a-z][a-z-]*", line)}


def unpacked(name, folder):
    """A data directory that a real server wrote."""
    run(RELEASE / "offloom-fixtures", "unpack", name, folder, check=True)
    return folder / "data"


def rows_below(heading):
    """The first cell of each row of the table below a heading of docs/operations.md."""
    page = (ROOT / "docs/operations.md").read_text()
    _, found, rest = page.partition(f"\n## {heading}\n")
    if not found:
        raise AssertionError(f"docs/operations.md has no heading `## {heading}`")
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.M)[0]
    return {match[1] for match in re.finditer(r"^\| `([A-Za-z_]+)", section, re.M)}


class Unit(unittest.TestCase):
    def setUp(self):
        self.settings = {}
        for line in UNIT.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, value = line.split("=", 1)
                self.settings.setdefault(key, []).append(value)
        self.sample = tomllib.loads(SETTINGS.read_text())

    def test_systemd_knows_every_line(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / UNIT.name
            # Its program has to be there.
            copy.write_text(UNIT.read_text().replace("/usr/bin/offloom", "/bin/true"))
            found = run("systemd-analyze", "verify", "--man=no", "--generators=no", copy)
        self.assertEqual((found.returncode, found.stderr), (0, ""))

    def test_an_unknown_line_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / UNIT.name
            copy.write_text(UNIT.read_text().replace("/usr/bin/offloom", "/bin/true") + "[Service]\nNoSuchKey=1\n")
            found = run("systemd-analyze", "verify", "--man=no", "--generators=no", copy)
        self.assertIn("NoSuchKey", found.stderr)

    def test_it_is_exposed_less_than_3(self):
        found = run("systemd-analyze", "security", "--offline=true", "--threshold=29", "--no-pager", UNIT)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        self.assertRegex(found.stdout, r"Overall exposure level for offloom.service: [0-2]\.\d")

    def test_the_data_directory_is_read_only_and_the_two_folders_are_not(self):
        self.assertEqual(self.sample["data_dir"], DATA_DIR)
        self.assertEqual(self.settings["ReadOnlyPaths"], [DATA_DIR])
        self.assertEqual(self.settings["ProtectSystem"], ["strict"])
        self.assertNotIn("ReadWritePaths", self.settings)
        self.assertEqual([self.sample["state_dir"]], [f"/var/lib/{name}" for name in self.settings["StateDirectory"]])
        self.assertEqual([self.sample["cache_dir"]], [f"/var/cache/{name}" for name in self.settings["CacheDirectory"]])

    def test_no_group_opens_weaviate_s_folders_so_one_capability_does(self):
        self.assertEqual(self.settings["CapabilityBoundingSet"], ["CAP_DAC_READ_SEARCH"])
        self.assertEqual(self.settings["AmbientCapabilities"], ["CAP_DAC_READ_SEARCH"])
        # In a namespace of users it would open nothing.
        self.assertNotIn("PrivateUsers", self.settings)

    def test_it_has_longer_to_stop_than_its_exports(self):
        [seconds] = self.settings["TimeoutStopSec"]
        self.assertGreater(int(seconds.removesuffix("s")), self.sample["shutdown_grace_seconds"])

    def test_its_flags_exist(self):
        [started] = self.settings["ExecStart"]
        program, command, *flags = started.split()
        self.assertEqual((program, command), ("/usr/bin/offloom", "serve"))
        self.assertEqual(flags, ["--config", "/etc/offloom/offloom.toml"])
        self.assertIn("--config", flags_of("serve"))

    def test_every_key_of_the_sample_is_taken(self):
        text = SETTINGS.read_text()
        everything = re.sub(r"^#(?=[a-z_]+ = )", "", text, flags=re.M)
        self.assertNotEqual(everything, text)
        for settings in (text, everything):
            self.assertEqual(self.taken(settings), self.keys(tomllib.loads(settings)))

    def test_another_key_is_not_taken(self):
        self.assertEqual(self.taken("no_such_key = 1\n" + SETTINGS.read_text()), set())

    @staticmethod
    def keys(settings):
        """The keys as `offloom config check` prints them."""
        found = set()
        for key, value in settings.items():
            if isinstance(value, dict):
                found |= {f"{key}.{inner}" for inner in value}
            else:
                found.add("sources" if key == "data_dir" else key)
        return found

    @staticmethod
    def taken(settings):
        """The keys that `offloom config check` takes from a file of settings."""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "offloom.toml"
            file.write_text(settings)
            checking = subprocess.Popen([OFFLOOM, "config", "check", "--config", file],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            found = set()
            for line in checking.stdout:
                if line.startswith("data directories:"):
                    # From here on it tries the stores, which are not there.
                    checking.kill()
                    break
                if line.endswith("(the file)\n"):
                    found.add(line.split(" = ")[0])
            checking.stdout.close()
            checking.wait()
        return found


class Image(unittest.TestCase):
    def setUp(self):
        text = (PACKAGING / "docker/Dockerfile").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        joined = "\n".join(lines).replace("\\\n", " ")
        self.stages = []
        for line in joined.splitlines():
            word, rest = line.split(None, 1)
            if word == "FROM":
                self.stages.append([])
            self.stages[-1].append((word, rest))

    def of(self, stage, word):
        return [rest for found, rest in self.stages[stage] if found == word]

    def test_it_runs_offloom_as_a_user_who_is_not_root(self):
        [user] = self.of(-1, "USER")
        self.assertNotIn(user.split(":")[0], ("root", "0"))
        self.assertEqual(json.loads(self.of(-1, "ENTRYPOINT")[-1]), ["/usr/bin/offloom"])

    def test_what_it_writes_is_in_volumes(self):
        [variables] = self.of(-1, "ENV")
        folders = {value for name, value in re.findall(r"(XDG_[A-Z]+_HOME)=(\S+)", variables)}
        self.assertEqual(folders, set(json.loads(self.of(-1, "VOLUME")[-1])))

    def test_it_is_built_with_the_rust_and_the_folders_that_the_workspace_needs(self):
        workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]
        self.assertEqual(self.of(0, "FROM"), [f"rust:{workspace['package']['rust-version']}-bookworm AS build"])
        self.assertEqual(self.of(1, "FROM"), ["debian:bookworm-slim"])
        self.assertIn("rustup target add wasm32-wasip2", self.of(0, "RUN"))
        self.assertIn("cargo build --release --locked -p offloom", self.of(0, "RUN"))
        copied = {source for rest in self.of(0, "COPY") for source in rest.split()[:-1]}
        folders = {member.split("/")[0] for member in workspace["members"]}
        self.assertEqual(copied, folders | {"guest", "wit", "Cargo.toml", "Cargo.lock"})


def manifests(name):
    """The objects of a file by their kind and name."""
    found = yaml.safe_load_all((PACKAGING / "kubernetes" / name).read_text())
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def arguments(container):
    """The command of a container, and its flags with their values."""
    command, *flags = container["args"]
    return command, dict(flag.split("=", 1) if "=" in flag else (flag, None) for flag in flags)


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.objects = manifests("sidecar.yaml")
        self.stateful = self.objects["StatefulSet", "weaviate"]["spec"]
        self.pod = self.stateful["template"]["spec"]
        self.containers = {each["name"]: each for each in self.pod["containers"]}
        cron = manifests("cronjob.yaml")["CronJob", "offloom-nightly"]["spec"]
        self.nightly = cron["jobTemplate"]["spec"]["template"]["spec"]
        self.schedule = cron["schedule"]
        [self.exporter] = self.nightly["containers"]

    def test_every_flag_exists(self):
        for container, expected in ((self.containers["offloom"], "serve"), (self.exporter, "export")):
            command, flags = arguments(container)
            self.assertEqual(command, expected)
            self.assertEqual(sorted(set(flags) - flags_of(command)), [])

    def test_nobody_is_root_and_offloom_writes_to_its_volumes_alone(self):
        for pod, container in ((self.pod, self.containers["offloom"]), (self.nightly, self.exporter)):
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertGreater(pod["securityContext"]["runAsUser"], 0)
            self.assertEqual(container["securityContext"], {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            })
            self.assertEqual(container["image"], f"offloom:{version()}")
            self.assertLessEqual({"requests", "limits"}, set(container["resources"]))
            mounts = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
            flags = arguments(container)[1]
            self.assertEqual(flags["--data-dir"], DATA_DIR)
            self.assertIs(mounts[DATA_DIR], True)
            for flag in ("--state-dir", "--cache-dir"):
                # A folder that Offloom makes itself: of the volume's own it would not be the owner.
                self.assertIs(mounts[str(pathlib.PurePath(flags[flag]).parent)], False)

    def test_every_volume_and_every_secret_is_there(self):
        claims = {each["metadata"]["name"] for each in self.stateful["volumeClaimTemplates"]}
        for pod, more in ((self.pod, claims), (self.nightly, set())):
            volumes = {each["name"] for each in pod["volumes"]} | more
            secrets = {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
            for container in pod["containers"]:
                self.assertLessEqual({each["name"] for each in container["volumeMounts"]}, volumes)
                secrets |= {each["secretRef"]["name"] for each in container.get("envFrom", [])}
            self.assertLessEqual({("Secret", name) for name in secrets}, set(self.objects))

    def test_the_sidecar_stands_beside_one_weaviate(self):
        self.assertEqual(self.stateful["replicas"], 1)
        weaviate = self.containers["weaviate"]
        self.assertEqual(weaviate["image"], "semitechnologies/weaviate:1.38.0")
        data = {each["name"]: each["mountPath"] for each in weaviate["volumeMounts"]}
        self.assertEqual(data, {"data": DATA_DIR})
        of_offloom = {each["mountPath"]: each["name"] for each in self.containers["offloom"]["volumeMounts"]}
        self.assertEqual(of_offloom[DATA_DIR], "data")

    def test_the_sidecar_has_ports_of_its_own(self):
        sidecar = self.containers["offloom"]
        _, flags = arguments(sidecar)
        listened = [flags[flag] for flag in ("--listen", "--grpc-listen", "--metrics-listen")]
        self.assertEqual(listened, ["0.0.0.0:8090", "0.0.0.0:50061", "0.0.0.0:9091"])
        self.assertEqual([each["containerPort"] for each in sidecar["ports"]], [8090, 50061, 9091])
        every = [each["containerPort"] for container in self.containers.values() for each in container["ports"]]
        self.assertEqual(len(every), len(set(every)))
        service = self.objects["Service", "weaviate"]["spec"]["ports"]
        self.assertEqual([each["port"] for each in service], every)
        probed = [sidecar[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
        self.assertEqual(probed, [{"path": "/v1/.well-known/live", "port": "offloom-http"},
                                  {"path": "/v1/.well-known/ready", "port": "offloom-http"}])

    def test_the_sidecar_has_users(self):
        _, flags = arguments(self.containers["offloom"])
        file = pathlib.PurePath(flags["--api-keys-file"])
        mounted = {each["mountPath"]: each["name"] for each in self.containers["offloom"]["volumeMounts"]}
        [secret] = [each["secret"]["secretName"] for each in self.pod["volumes"]
                    if each["name"] == mounted[str(file.parent)]]
        for line in self.objects["Secret", secret]["stringData"][file.name].splitlines():
            self.assertEqual(len(line.split()), 2, line)

    def test_the_export_runs_every_night_beside_weaviate(self):
        self.assertRegex(self.schedule, r"^\d+ [0-6] \* \* \*$")
        self.assertTrue(arguments(self.exporter)[1]["--to"].startswith("s3://"))
        [data] = [each for each in self.nightly["volumes"] if each["name"] == "data"]
        claim = f"data-{self.objects['StatefulSet', 'weaviate']['metadata']['name']}-0"
        self.assertEqual(data["persistentVolumeClaim"], {"claimName": claim})
        [near] = self.nightly["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        self.assertEqual(near["labelSelector"]["matchLabels"], self.stateful["selector"]["matchLabels"])


def metrics_in(expression):
    """The metrics that an expression names; that of a histogram without its suffix."""
    found = set()

    def visit(node):
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(expression.replace(RATE_INTERVAL, "5m")), visit)
    return {re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name) for name in found}


class Monitoring(unittest.TestCase):
    def setUp(self):
        [group] = yaml.safe_load((PACKAGING / "monitoring/alerts.yaml").read_text())["groups"]
        self.rules = group["rules"]
        self.dashboard = json.loads((PACKAGING / "monitoring/dashboard.json").read_text())
        self.panels = self.dashboard["panels"]

    def test_every_alert_says_what_to_do(self):
        self.assertEqual({rule["alert"] for rule in self.rules}, ALERTS)
        self.assertEqual(len(self.rules), len(ALERTS))
        for rule in self.rules:
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook"})
            self.assertEqual(rule["annotations"]["runbook"], "docs/operations.md")
            self.assertTrue(all(rule["annotations"].values()))

    def test_every_alert_is_documented(self):
        self.assertEqual(rows_below("Alerts"), ALERTS)

    def test_the_dashboard_has_one_datasource(self):
        self.assertEqual(self.dashboard["schemaVersion"], 39)
        [variable] = self.dashboard["templating"]["list"]
        self.assertEqual((variable["name"], variable["type"]), ("datasource", "datasource"))
        ids = [panel["id"] for panel in self.panels]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in self.panels:
            for part in (panel, *panel["targets"]):
                self.assertEqual(part["datasource"], {"type": "prometheus", "uid": "${datasource}"})

    def test_every_expression_names_documented_metrics_alone(self):
        expressions = [rule["expr"] for rule in self.rules]
        expressions += [target["expr"] for panel in self.panels for target in panel["targets"]]
        self.assertGreater(len(expressions), 20)
        for expression in expressions:
            self.assertTrue(metrics_in(expression), expression)
        named = set().union(*map(metrics_in, expressions))
        self.assertEqual(sorted(named - rows_below("Metrics") - {"up"}), [])

    def test_names_are_found_and_a_wrong_expression_is_refused(self):
        expression = "a > 0 and ignoring (b) increase(c_total[30m]) == 0 or d_seconds_bucket offset 5m"
        self.assertEqual(metrics_in(expression), {"a", "c_total", "d_seconds"})
        with self.assertRaises(ValueError):
            metrics_in("rate(a_total)")


class Wheel(unittest.TestCase):
    def test_pip_installs_the_program_that_was_built(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            maturin = pathlib.Path(sys.executable).with_name("maturin")
            built = run(maturin, "build", "--release", "--locked", "--auditwheel", "skip", "--out", folder,
                        cwd=PACKAGING / "python", env=os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target")})
            self.assertEqual(built.returncode, 0, built.stderr)
            # wasmtime takes minutes.
            compiled = set(re.findall(r"^ *Compiling (\S+)", built.stderr, re.M))
            self.assertEqual(compiled - {"offloom"}, set(), built.stderr)
            [wheel] = folder.glob("*.whl")
            self.assertTrue(wheel.name.startswith(f"offloom-{version()}-py3-none-"), wheel.name)
            run(sys.executable, "-m", "venv", folder / "venv", check=True)
            run(folder / "venv/bin/pip", "install", "--no-index", wheel, check=True)
            offloom = folder / "venv/bin/offloom"
            self.assertEqual(run(offloom, "--version", check=True).stdout, f"offloom {version()}\n")
            data_dir = unpacked("basic", folder / "source")
            self.assertIn("AllTypes", run(offloom, "inspect", "--data-dir", data_dir, check=True).stdout)


if __name__ == "__main__":
    unittest.main()
