"""The demo, the checks and the tests share one build of every crate (wasmtime takes minutes)."""
import json
import os
import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ["build", "-p", "offloom", "-p", "offloom-fixtures", "--bins"]
INSTALL = ["build", "-p", "offloom"]
TEST = ["test", "--workspace", "--exclude", "offloom-bench", "--no-run"]
# Clippy runs `cargo check`, which compiles only macros and build scripts to machine code.
LINT = ["check", "--workspace", "--all-targets"]


def compiled(command):
    """The units that `cargo COMMAND` compiles to machine code: crate and target -> feature sets."""
    graph = subprocess.run(
        ["cargo", *command, "--release", "--locked", "--unit-graph", "-Z", "unstable-options"],
        # Only so that a stable cargo prints the graph; nothing is compiled.
        env=os.environ | {"RUSTC_BOOTSTRAP": "1"},
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    ).stdout
    units = {}
    for unit in json.loads(graph)["units"]:
        if unit["mode"] in ("build", "run-custom-build"):
            target = unit["target"]
            key = (unit["pkg_id"], target["name"], *target["kind"], unit["mode"],
                   unit["platform"], json.dumps(unit["profile"], sort_keys=True))
            units.setdefault(key, set()).add(frozenset(unit["features"]))
    return units


def built_again(first, second):
    """What `second` compiles with features that `first` did not compile it with."""
    return sorted(
        f"{key[0]} {key[1]}: {sorted(features)}, not one of {[sorted(had) for had in first[key]]}"
        for key, sets in second.items() if key in first
        for features in sets - first[key]
    )


def only_in(first, second):
    """What `first` compiles and `second` does not."""
    return sorted(f"{key[0]} {key[1]}" for key in first if key not in second)


class OneBuild(unittest.TestCase):
    def test_the_tests_use_all_of_the_demo_s_build(self):
        demo, tests = compiled(DEMO), compiled(TEST)
        self.assertGreater(len(demo), 300)
        self.assertEqual(built_again(demo, tests), [])
        self.assertEqual(only_in(demo, tests), [])

    def test_the_checks_build_nothing_again(self):
        self.assertEqual(built_again(compiled(DEMO), compiled(LINT)), [])

    def test_an_installed_program_is_the_one_that_was_tested(self):
        install, tests = compiled(INSTALL), compiled(TEST)
        self.assertEqual(built_again(install, tests), [])
        self.assertEqual(only_in(install, tests), [])

    def test_the_demo_builds_nothing_for_tests_alone(self):
        crates = {key[1] for key in compiled(DEMO)}
        self.assertEqual(crates & {"jsonschema", "proptest", "arrow_array", "ureq"}, set())

    def test_another_feature_is_found(self):
        with_benchmark = compiled(["test", "--workspace", "--no-run"])
        self.assertNotEqual(built_again(compiled(DEMO), with_benchmark), [])


if __name__ == "__main__":
    unittest.main()
