"""The examples of docs/examples, read and run as their schedulers would: every exit code is taken as it is meant."""

from __future__ import annotations

import ast
import configparser
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from streaming_jobs import stop
from streaming_jobs.commands import main
from streaming_jobs.errors import Failure, Stopped
from streaming_jobs.settings import Settings
from tests.conftest import ROOT
from tests.test_repo import phony

EXAMPLES = ROOT / "docs" / "examples"
PROGRAM, HOME = "/opt/streaming-jobs", "/srv/events"  # where the examples have them
JOB = f"{PROGRAM}/.venv/bin/streaming-jobs"
STOP_SECONDS = Settings.model_fields["stop_seconds"].default
BARE = {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "LOGNAME": "operator"}
UNITS = ("streaming-jobs.service", "streaming-jobs-watch.service")

NOTHING, AGAIN, LOOK, CORRECT, CALL = "nothing", "again", "look", "correct", "call"
MEANT = {0: NOTHING, 1: AGAIN, 2: CORRECT, 3: LOOK, 4: CALL, 75: NOTHING, 129: NOTHING, 130: NOTHING, 143: NOTHING}
"""What each exit code asks of whoever scheduled the run. AGAIN: once more, then it is one to be told of."""


def exit_codes() -> set[int]:
    """All that errors.py has, and 0."""

    def below(kind: type[Failure]) -> Iterator[type[Failure]]:
        yield kind
        for narrower in kind.__subclasses__():
            yield from below(narrower)

    fixed = {kind.exit_code for kind in below(Failure) if kind is not Stopped}
    return {0, *fixed, *(Stopped(number).exit_code for number in stop.SIGNALS)}


def test_every_exit_code_there_is_has_a_meaning_here() -> None:
    assert set(MEANT) == exit_codes()


def executable(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o755)
    return file


@dataclass(frozen=True)
class Stage:
    """A folder of programs that stand in for the real ones."""

    folder: Path

    def ending(self, *codes: int, name: str = "streaming-jobs") -> Path:
        """A program that ends in each of these codes in turn, and says something."""
        (self.folder / "codes").write_text("".join(f"{code}\n" for code in codes))
        counted = 'n=$(cat "$0.calls" 2>/dev/null || echo 0); n=$((n + 1)); echo "$n" > "$0.calls"'
        code = f'code=$(sed -n "${{n}}p" {shlex.quote(str(self.folder / "codes"))})'
        return executable(self.folder / name, f'#!/bin/sh\n{counted}\n{code}\necho "lines of run $n"\nexit "$code"\n')

    def calls(self) -> int:
        return int((self.folder / "streaming-jobs.calls").read_text())

    def finishing(self) -> Path:
        """A program that says it is ready, and ends in 143 after SIGTERM when it has written that it finished."""
        text = f"""#!{sys.executable}
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
print("ready", flush=True)
signal.sigwait({{signal.SIGTERM}})
open({str(self.folder / "finished")!r}, "w").close()
sys.exit(143)
"""
        return executable(self.folder / "streaming-jobs", text)

    def logger(self) -> None:
        executable(self.folder / "logger", f'#!/bin/sh\necho "$2" >> {shlex.quote(str(self.folder / "log"))}\n')

    def logged(self) -> list[str]:
        """The priorities that were sent to syslog."""
        file = self.folder / "log"
        return file.read_text().split() if file.exists() else []

    @property
    def path(self) -> str:
        return f"{self.folder}:{BARE['PATH']}"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    folder = tmp_path / "programs"
    folder.mkdir()
    made = Stage(folder)
    made.logger()
    return made


def shell(stage: Stage, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    bare = BARE | {"PATH": stage.path} | environment
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=False, timeout=60)


def terminated(command: Sequence[str], path: str) -> tuple[int, str]:
    """Exit code and stdout of a command whose process group gets SIGTERM once it is ready."""
    process = subprocess.Popen(command, env=BARE | {"PATH": path}, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


# What `alert` says of a meaning, as the priority of syslog.
PRIORITIES = {NOTHING: [], AGAIN: ["user.err"], LOOK: ["user.warning"], CORRECT: ["user.err"], CALL: ["user.crit"]}


@pytest.mark.parametrize("code", sorted(exit_codes()))
def test_cron_runs_it_once_more_after_1_and_prints_something_only_when_somebody_is_needed(code: int, stage: Stage) -> None:
    job = stage.ending(code, code)
    done = shell(stage, [str(EXAMPLES / "scheduled-run"), str(job), "run"], RETRY_SECONDS="0")
    asked = MEANT[code]
    runs = 2 if asked == AGAIN else 1
    assert (done.returncode, done.stderr, stage.calls(), stage.logged()) == (code, "", runs, PRIORITIES[asked])
    first, *rest = done.stdout.splitlines() or [""]
    assert (first.partition(":")[0], rest) == (
        ("", []) if asked == NOTHING else (PRIORITIES[asked][0].removeprefix("user."), ["", f"lines of run {runs}"])
    )


def test_cron_is_silent_when_the_second_try_works(stage: Stage) -> None:
    done = shell(stage, [str(EXAMPLES / "scheduled-run"), str(stage.ending(1, 0)), "run"], RETRY_SECONDS="0")
    assert (done.returncode, done.stdout, stage.calls(), stage.logged()) == (0, "", 2, [])


def crontab() -> tuple[dict[str, str], list[str]]:
    """Variables and commands of the crontab; every line is one of the two, or a comment."""
    variables, commands = {}, []
    for line in (EXAMPLES / "crontab").read_text("utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        if found := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            variables[found[1]] = found[2]
        else:
            found = re.fullmatch(r"((?:[\d*/,-]+ +){5})(\S.*)", line)
            assert found, line
            assert "%" not in found[2], "cron reads a % as the end of the line"
            commands.append(found[2])
    return variables, commands


def there(text: str, home: Path) -> str:
    """A command of an example, with the program of this checkout and another home."""
    text = text.replace(JOB, f"{shlex.quote(sys.executable)} -m streaming_jobs")
    return text.replace(PROGRAM, str(ROOT)).replace(HOME, shlex.quote(str(home)))


@pytest.mark.parametrize("command", crontab()[1])
def test_a_line_of_the_crontab_works_with_the_bare_environment_of_cron(command: str, bare_home: Path, stage: Stage) -> None:
    """As cron does it: the variables of the file, `sh -c`, the folder HOME. `plan` in the place of `run`, which would start a JVM."""
    (bare_home / "data/raw/a.csv").write_text("id,state,at,amount\n1,open,2026-01-01,1.00\n")
    given = crontab()[0]
    assert given["PATH"] == BARE["PATH"]
    environment = {**given, "HOME": str(ROOT), "LOGNAME": "operator", "PATH": stage.path}  # no line of a test belongs into syslog
    command = re.sub(r" run$", " plan", there(command, bare_home))
    wrapped = [f"{name}={value}" for name, value in environment.items()]
    call = ["env", "-i", *wrapped, environment["SHELL"], "-c", command]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, umask=0)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("scheduled-run" in command) is (done.stdout == "")
    missing = bare_home / "nowhere"
    call[-1] = command.replace(str(bare_home), str(missing))
    failed = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (failed.returncode, stage.logged()) == (2, ["user.err"] if "scheduled-run" in command else [])
    assert f"home {missing} is not a folder" in failed.stdout + failed.stderr


@pytest.mark.parametrize("code", sorted(exit_codes()))
def test_an_alert_of_systemd_has_the_priority_that_the_exit_status_asks_for(code: int, stage: Stage) -> None:
    done = shell(stage, [str(EXAMPLES / "alert")], MONITOR_EXIT_STATUS=str(code), MONITOR_UNIT="a.service")
    assert (done.returncode, done.stderr, stage.logged()) == (0, "", PRIORITIES[MEANT[code]])
    assert ("a.service" in done.stdout) is (MEANT[code] != NOTHING)


@pytest.mark.parametrize("status", ["KILL", "137", ""])
def test_what_was_killed_is_an_alert_too(status: str, stage: Stage) -> None:
    assert "was ended from outside" in shell(stage, [str(EXAMPLES / "alert")], MONITOR_EXIT_STATUS=status).stdout
    assert stage.logged() == ["user.err"]


def unit(name: str) -> configparser.ConfigParser:
    """A unit file; a key given twice in a section is an error, because none of ours is a list."""
    parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string((EXAMPLES / name).read_text("utf-8"))
    return parsed


def statuses(service: configparser.SectionProxy, key: str) -> set[int]:
    return {int(code) for code in service.get(key, "").split()}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_takes_each_exit_code_as_it_is_meant(name: str) -> None:
    service = unit(name)["Service"]
    good, final, forced = (statuses(service, f"{key}ExitStatus") for key in ("Success", "RestartPrevent", "RestartForce"))
    assert service["Restart"] == "on-failure"
    restarted = exit_codes() - {0} - good - final
    assert forced <= restarted
    assert good | final | restarted == exit_codes() - {0}
    assert final == {code for code, asked in MEANT.items() if asked in (CORRECT, LOOK, CALL)}
    # A run that finds another at work has nothing to do; a watch takes over when the other has ended.
    busy = {75} if name == "streaming-jobs-watch.service" else set()
    assert restarted == {code for code, asked in MEANT.items() if asked == AGAIN} | busy
    limits = unit(name)["Unit"]
    assert int(limits["StartLimitBurst"]) >= 2
    assert limits["OnFailure"] == "streaming-jobs-alert@%n.service"
    assert unit("streaming-jobs-alert@.service")["Service"]["ExecStart"] == f"{PROGRAM}/docs/examples/alert"


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)(s|min|h)?", text)
    assert found
    return int(found[1]) * {None: 1, "s": 1, "min": 60, "h": 3600}[found[2]]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_leaves_time_for_the_batch_in_hand_and_signals_python_only(name: str) -> None:
    service = unit(name)["Service"]
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert seconds(service["TimeoutStopSec"]) > STOP_SECONDS


def test_a_second_try_of_the_scheduled_unit_fits_between_two_elapses_of_its_timer() -> None:
    timer, service = unit("streaming-jobs.timer"), unit("streaming-jobs.service")
    assert timer["Timer"]["Unit"] == "streaming-jobs.service"
    every = re.fullmatch(r"\*:0/(\d+)", timer["Timer"]["OnCalendar"])
    assert every
    window = seconds(service["Unit"]["StartLimitIntervalSec"])
    assert seconds(service["Service"]["RestartSec"]) < window < int(every[1]) * 60
    assert (service["Service"]["Type"], service["Unit"]["StartLimitBurst"]) == ("oneshot", "2")


def test_the_units_are_held_in_equally_and_leave_the_jvm_what_it_needs() -> None:
    kept = {"Type", "ExecStart", "SuccessExitStatus", "RestartForceExitStatus"}
    run, watch = ({key: value for key, value in unit(name)["Service"].items() if key not in kept} for name in UNITS)
    assert run == watch
    assert run["ReadWritePaths"] == HOME
    assert (run["ProtectSystem"], run["NoNewPrivileges"], run["CapabilityBoundingSet"]) == ("strict", "yes", "")
    assert (run["IPAddressDeny"], run["IPAddressAllow"]) == ("any", "localhost")
    assert not {"MemoryDenyWriteExecute", "ProcSubset"} & run.keys()
    given = dict(pair.split("=", 1) for pair in run["Environment"].split())
    heap = given["STREAMING_JOBS_DRIVER_MEMORY"]
    assert mebibytes(run["MemoryMax"]) >= 2 * mebibytes(heap)


def mebibytes(text: str) -> int:
    """`2g`, `4G` or `4Gi`, `512m`, `512Mi`."""
    found = re.fullmatch(r"(\d+)([gGmM])i?", text)
    assert found
    return int(found[1]) * (1024 if found[2] in "gG" else 1)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    names = [file.name for pattern in ("*.service", "*.timer") for file in EXAMPLES.glob(pattern)]
    assert len(names) == 4
    for name in names:
        text = (EXAMPLES / name).read_text("utf-8").replace(PROGRAM, str(ROOT)).replace(HOME, str(tmp_path))
        (tmp_path / name.replace("@", "@x")).write_text(text)
    files = [str(tmp_path / name.replace("@", "@x")) for name in names]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def commands() -> list[list[str]]:
    """The arguments of every call of ours in the examples."""
    found = crontab()[1] + [unit(name)["Service"]["ExecStart"] for name in UNITS]
    found += [dag().run.kept["bash_command"].split(";")[1], job()["args"][0].split(";")[1], instructions()["CMD"][0]]
    arguments = []
    for text in found:
        words = json_list(text) if text.startswith("[") else shlex.split(text)
        start = next((n + 1 for n, word in enumerate(words) if word.endswith("/streaming-jobs") or word == "streaming-jobs"), 0)
        arguments.append(words[start:])
    return arguments


def json_list(text: str) -> list[str]:
    found = ast.literal_eval(text)
    assert isinstance(found, list)
    return found


def test_every_command_of_the_examples_exists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(commands()) == 7
    for arguments in commands():
        assert arguments[:2] == ["--home", HOME] or "--home" not in arguments
        monkeypatch.setattr(sys, "argv", ["streaming-jobs", *arguments, "--help"])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code, capsys.readouterr().err) == (0, ""), arguments


def test_every_path_of_the_examples_exists() -> None:
    named: set[str] = set()
    for file in EXAMPLES.iterdir():
        named |= set(re.findall(rf"{PROGRAM}/([\w./-]+\w)", file.read_text("utf-8")))
    assert {"docs/examples/scheduled-run", "docs/examples/alert", ".venv/bin/streaming-jobs"} <= named
    assert sorted(path for path in named if not path.startswith(".venv") and not (ROOT / path).exists()) == []


class Task:
    """What a DAG makes, as far as this test looks at it."""

    def __init__(self, **kept: Any) -> None:
        self.kept = kept
        self.output = self


@dataclass
class Made:
    """The DAG's file, loaded."""

    dag: dict[str, Any]
    run: Task
    called_with: list[Any]
    fails: type[Exception]


def dag() -> Made:
    """Load the DAG with a small stand-in for the modules of Airflow that it imports."""

    class Dag:
        def __init__(self, **kept: Any) -> None:
            self.kept = kept

        def __enter__(self) -> Dag:
            return self

        def __exit__(self, *_: object) -> None: ...

    called: list[Any] = []

    def task(function: Any) -> Any:
        def call(*arguments: Any) -> None:
            called.extend([function, *arguments])

        return call

    kinds = {name: type(name, (Exception,), {}) for name in ("AirflowException", "AirflowFailException", "AirflowSkipException")}
    fakes: dict[str, dict[str, Any]] = {
        "airflow": {}, "airflow.providers": {}, "airflow.providers.standard": {}, "airflow.providers.standard.operators": {},
        "airflow.providers.standard.operators.bash": {"BashOperator": Task},
        "airflow.sdk": {"DAG": Dag, "task": task}, "airflow.sdk.exceptions": kinds,
    }  # fmt: skip
    before = dict(sys.modules)
    try:
        for name, content in fakes.items():
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name]).update(content)
        loaded = runpy.run_path(str(EXAMPLES / "airflow_dag.py"))
    finally:
        for name in fakes:
            sys.modules.pop(name)
            if name in before:
                sys.modules[name] = before[name]
    return Made(loaded["dag"].kept, loaded["run"], called, kinds["AirflowFailException"])


AIRFLOW = {
    NOTHING: "AirflowSkipException", AGAIN: "AirflowException", LOOK: "goes on", CORRECT: "AirflowFailException",
    CALL: "AirflowFailException",
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(exit_codes()))
def test_airflow_takes_each_exit_code_as_it_is_meant(code: int) -> None:
    made = dag()
    try:
        said = "goes on" if made.run.kept["output_processor"](str(code)) == code else "another code"
    except Exception as error:
        said = type(error).__name__
    # What was stopped from outside has not done its work, and Airflow knows no next run that would.
    assert said == ("goes on" if code == 0 else "AirflowException" if code > 128 else AIRFLOW[MEANT[code]])


def test_airflow_retries_once_and_never_runs_two_at_a_time_or_catches_up() -> None:
    made = dag()
    assert made.run.kept["retries"] == 1
    assert (made.dag["max_active_runs"], made.dag["catchup"]) == (1, False)
    assert made.dag["start_date"].tzinfo is not None


@pytest.mark.parametrize("code", sorted(exit_codes()))
def test_airflow_has_a_task_of_its_own_that_is_red_when_input_was_refused(code: int) -> None:
    made = dag()
    refused, given = made.called_with
    assert given is made.run.output
    if MEANT[code] == LOOK:
        with pytest.raises(made.fails, match="files were rejected or held back"):
            refused(code)
    else:
        assert refused(code) is None


@pytest.mark.parametrize("code", [0, 3, 75, 143])
def test_the_command_of_airflow_prints_the_exit_code_last(code: int, stage: Stage) -> None:
    command = dag().run.kept["bash_command"].replace(JOB, str(stage.ending(code)))
    done = shell(stage, ["bash", "-c", command])
    assert (done.returncode, done.stdout.splitlines()) == (0, ["lines of run 1", str(code)])


def test_airflow_that_ends_a_task_waits_for_the_batch_in_hand(stage: Stage) -> None:
    command = dag().run.kept["bash_command"].replace(JOB, str(stage.finishing()))
    assert terminated(["bash", "-c", command], stage.path) == (0, "143\n")
    assert (stage.folder / "finished").exists()


def cronjob() -> dict[str, Any]:
    found, _ = yaml.safe_load_all((EXAMPLES / "cronjob.yaml").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def job() -> dict[str, Any]:
    """Its container."""
    (found,) = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def in_the_container(stage: Stage, code: int) -> int:
    """What the container ends in when the program ends in this code."""
    stage.ending(code)
    words = [*job()["command"], *job()["args"]]
    assert words[:3] == ["tini", "-g", "--"]
    return shell(stage, words[3:]).returncode


KUBERNETES = {NOTHING: None, AGAIN: ("Count", 3), LOOK: ("FailJob", 1), CORRECT: ("FailJob", 0), CALL: ("FailJob", 0)}


@pytest.mark.parametrize("code", sorted(exit_codes()))
def test_kubernetes_takes_each_exit_code_as_it_is_meant(code: int, stage: Stage) -> None:
    """action and number of the rule that applies; None: the Job is complete."""
    ended, applies = in_the_container(stage, code), None
    rules = cronjob()["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    if ended:
        [applies, *_] = [(rule["action"], n) for n, rule in enumerate(rules) if ended in rule.get("onExitCodes", {}).get("values", [])]
    assert ended in (code, 0)
    assert applies == (("Count", 3) if code > 128 else KUBERNETES[MEANT[code]])


def test_the_rules_of_kubernetes_are_of_the_form_it_asks_for() -> None:
    spec = cronjob()["spec"]
    template = spec["jobTemplate"]["spec"]["template"]["spec"]
    rules = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    listed = [rule["onExitCodes"] for rule in rules if "onExitCodes" in rule]
    assert all(len(set(rule) & {"onExitCodes", "onPodConditions"}) == 1 for rule in rules)
    assert {(rule["containerName"], rule["operator"]) for rule in listed} == {(job()["name"], "In")}
    assert all(rule["values"] == sorted(set(rule["values"])) for rule in listed)
    # 0 is no failure, and 75 is none in the container.
    assert sorted(code for rule in listed for code in rule["values"]) == sorted(exit_codes() - {0, 75})
    assert [rule["onPodConditions"] for rule in rules if "onPodConditions" in rule] == [[{"type": "DisruptionTarget", "status": "True"}]]
    assert (spec["concurrencyPolicy"], template["restartPolicy"]) == ("Forbid", "Never")
    assert template["terminationGracePeriodSeconds"] > STOP_SECONDS


def test_a_pod_that_is_ended_finishes_the_batch_in_hand(stage: Stage) -> None:
    stage.finishing()
    assert terminated([*job()["command"][3:], *job()["args"]], stage.path) == (143, "")
    assert (stage.folder / "finished").exists()


def test_the_pod_has_the_memory_and_cores_it_says_and_writes_only_where_it_may() -> None:
    container, image = job(), instructions()
    given = {item["name"]: item["value"] for item in container["env"]}
    assert set(given) <= {f"STREAMING_JOBS_{name.upper()}" for name in Settings.model_fields}
    assert given["STREAMING_JOBS_CORES"] == container["resources"]["requests"]["cpu"]
    assert mebibytes(container["resources"]["limits"]["memory"]) >= 2 * mebibytes(given["STREAMING_JOBS_DRIVER_MEMORY"])
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [given["STREAMING_JOBS_HOME"], "/tmp"]
    held = container["securityContext"]
    assert (held["readOnlyRootFilesystem"], held["allowPrivilegeEscalation"], held["capabilities"]) == (True, False, {"drop": ["ALL"]})
    pod = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    user = str(pod["securityContext"]["runAsUser"])
    assert (pod["securityContext"]["runAsNonRoot"], f"{user}:{pod['securityContext']['runAsGroup']}") == (True, image["USER"][-1])
    _, claim = yaml.safe_load_all((EXAMPLES / "cronjob.yaml").read_text("utf-8"))
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def instructions() -> dict[str, list[str]]:
    """Of the Containerfile: instruction -> its arguments, in order."""
    text = re.sub(r"^#.*\n", "", (EXAMPLES / "Containerfile").read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        found.setdefault(name, []).append(" ".join(arguments.split()))
    return found


def test_the_image_names_no_registry_and_runs_as_a_user_of_its_own() -> None:
    image = instructions()
    assert [bool(re.fullmatch(r"[a-z]+:[a-z0-9-]+", base)) for base in image["FROM"]] == [True]
    assert not image["FROM"][0].endswith(":latest")
    assert image["USER"] == ["10001:10001"]
    assert "useradd --uid 10001" in image["RUN"][0]
    assert list(image).index("USER") < list(image).index("WORKDIR")
    assert [json_list(text) for text in image["ENTRYPOINT"]] == [["tini", "-g", "--", "streaming-jobs"]]
    assert f"STREAMING_JOBS_HOME={HOME}" in image["ENV"]
    assert job()["image"] == f"streaming-jobs:{version()}"


def version() -> str:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def test_the_image_is_set_up_by_make_with_what_the_set_up_needs_and_what_ci_installs() -> None:
    image = instructions()
    targets = [command.split()[1] for command in image["RUN"] if command.startswith("make ")]
    assert targets == ["setup"]
    assert set(targets) <= set(phony())
    copied = [word for line in image["COPY"] for word in line.split()[1:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    rule = re.search(r"^\.venv/ready: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert rule
    needed = {"Makefile", *(name.split("/")[0] for name in rule[1].split()), "conf/events.yaml"}
    assert set(copied) == needed
    installed = re.search(r"--no-install-recommends (.+?) &&", image["RUN"][0])
    assert installed
    of_ci = set(re.findall(r"missing\+=\(([^)]+)\)", (ROOT / ".ci/run").read_text("utf-8")))
    assert set(installed[1].split()) == {"tini", *(name for names in of_ci for name in names.split())}


def test_the_page_about_scheduling_names_every_example_and_every_exit_code() -> None:
    text = (ROOT / "docs/scheduling.md").read_text("utf-8")
    assert sorted(file.name for file in EXAMPLES.iterdir() if f"](examples/{file.name})" not in text and file.is_file()) == []
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \|", text, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(", ")} == exit_codes()


def test_the_page_about_exit_codes_has_a_section_for_each() -> None:
    sections = re.findall(r"^## (\d+(?:, \d+)*)", (ROOT / "docs/exit-codes.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(int(code) for section in sections for code in section.split(", ")) == sorted(exit_codes())
