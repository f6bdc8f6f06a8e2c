"""The command line: parse, call one function, print, exit code. No logic.

    streaming-jobs [--home DIR] [--json] [-q] [-v] COMMAND …

The four general options are taken before or after the command's name. Exit codes: see `errors`.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from streaming_jobs import contract as contracts
from streaming_jobs import settings as settings_of
from streaming_jobs.console import Console, document, written
from streaming_jobs.contract import Contract
from streaming_jobs.errors import ContractError, DamagedState, Failure, InputRefused, UsageError, as_failure
from streaming_jobs.ledger import Status
from streaming_jobs.settings import Settings
from streaming_jobs.stop import Stop

if TYPE_CHECKING:
    from streaming_jobs.increment import Outcome
    from streaming_jobs.metrics import Live, Scheduled
    from streaming_jobs.run import Note, Run, Turn


@dataclass
class _Call:
    """What the general options say; how the console logs, as soon as the settings are known."""

    home: Path | None
    console: Console

    def settings(self) -> Settings:
        found = settings_of.load(self.home)
        os.umask(int(found.umask, 8))
        self.console = self.console.logging(found.log_format)
        return found

    def contracts(self, settings: Settings, datasets: Sequence[str] = ()) -> tuple[Contract, ...]:
        return contracts.load_all(settings.conf, datasets)


class Layer(StrEnum):
    LEDGER = "ledger"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


class Form(StrEnum):
    TABLE = "table"
    CSV = "csv"


class Deliveries(StrEnum):
    LIST = "list"
    REWRITE = "rewrite"


_Work = Callable[[tuple[Contract, ...], "Run", Callable[[str, str], None]], "Outcome"]

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
files_app = typer.Typer(add_completion=False, rich_markup_mode=None)
quarantine_app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
contract_app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(files_app, name="files", help="What became of each file.", invoke_without_command=True)
app.add_typer(quarantine_app, name="quarantine", help="The rows that Silver refused.")
app.add_typer(contract_app, name="contract", help="Draft, check and compare contracts.")

Datasets = Annotated[list[str] | None, typer.Argument(metavar="[DATASET]...", help="Datasets by name; all when none is named.")]
AcceptQuality = Annotated[bool, typer.Option("--accept-quality", help="Let batches above maxQuarantinedShare pass.")]


@app.callback()
def general(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="Folder with conf/, data/, checkpoints/; else STREAMING_JOBS_HOME, else here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout, lines on stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only failures.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Stack traces of failures.")] = False,
) -> None:
    """CSV files dropped in a folder become three Delta tables that stay right."""
    context.obj = _Call(home, Console(as_json, quiet, verbose).logging("auto"))


@app.command()
def bronze(context: typer.Context, datasets: Datasets = None) -> None:
    """New and changed CSV files -> bronze, then exit."""
    _exit(context, lambda call: _increment(call, ["bronze"], datasets))


@app.command()
def silver(context: typer.Context, datasets: Datasets = None, accept_quality: AcceptQuality = False) -> None:
    """Changes of bronze -> silver and quarantine, then exit."""
    _exit(context, lambda call: _increment(call, ["silver"], datasets, accept_quality=accept_quality))


@app.command()
def gold(context: typer.Context, datasets: Datasets = None) -> None:
    """Changes of silver -> gold, then exit."""
    _exit(context, lambda call: _increment(call, ["gold"], datasets))


@app.command()
def run(context: typer.Context, datasets: Datasets = None, accept_quality: AcceptQuality = False) -> None:
    """Bronze, silver and gold in order, then exit."""
    _exit(context, lambda call: _increment(call, ["bronze", "silver", "gold"], datasets, accept_quality=accept_quality))


@app.command()
def watch(
    context: typer.Context,
    datasets: Datasets = None,
    every: Annotated[str, typer.Option(metavar="TIME", help="Between two looks at the landing folder, such as 5s, 500ms or 1m.")] = "5s",
) -> None:
    """The three layers kept up to date until SIGTERM or Ctrl-C."""
    _exit(context, lambda call: _watch(call, datasets, every))


@app.command()
def plan(context: typer.Context, datasets: Datasets = None) -> None:
    """What a run would do now; writes nothing."""
    _exit(context, lambda call: _plan(call, datasets))


@app.command()
def status(context: typer.Context, datasets: Datasets = None) -> None:
    """What needs a hand, with the command that helps; then tables, layers, files and balances. Ends in 4 for damage."""
    _exit(context, lambda call: _status(call, datasets))


@app.command()
def report(
    context: typer.Context,
    datasets: Datasets = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the page goes; data/report.html of the home when not said.")
    ] = None,
) -> None:
    """The same as one HTML page with charts, for a browser without a network. Ends as status does."""
    _exit(context, lambda call: _page(call, datasets, out))


@app.command()
def doctor(context: typer.Context, datasets: Datasets = None) -> None:
    """Machine, contracts, checkpoints, tables and ledger checked against each other; each finding with its remedy."""
    _exit(context, lambda call: _doctor(call, datasets))


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TABLE", help="Path under data/, such as gold/events_per_day.")],
    limit: Annotated[int, typer.Option(min=1, help="Rows.")] = 20,
) -> None:
    """Print a table."""
    _exit(context, lambda call: _show(call, name, limit))


@app.command()
def sql(
    context: typer.Context,
    query: Annotated[
        str, typer.Argument(help="Tables: bronze_DATASET, silver_DATASET, quarantine_DATASET, Gold by name, ledger_files, ledger_runs.")
    ],
    form: Annotated[Form | None, typer.Option("--format", help="Default: a table on a terminal, else CSV.")] = None,
) -> None:
    """Ask the tables in SQL (DataFusion's); changes nothing."""
    _exit(context, lambda call: _sql(call, query, form))


@files_app.callback()
def files(context: typer.Context, status: Annotated[Status | None, typer.Option(help="Only files in this status.")] = None) -> None:
    """The newest decision about each file."""
    if context.invoked_subcommand is None:
        _exit(context, lambda call: _files(call, status))


@files_app.command("accept")
def files_accept(
    context: typer.Context, path: Annotated[str, typer.Argument(help="Relative to the landing folder, as `files` prints it.")]
) -> None:
    """Let a held-back file in; the next run applies it."""
    _exit(context, lambda call: _accept(call, path))


@quarantine_app.command("list")
def quarantine_list(context: typer.Context, datasets: Datasets = None) -> None:
    """Refused rows counted by rule, column and file."""
    _exit(context, lambda call: _quarantine_list(call, datasets))


@quarantine_app.command("show")
def quarantine_show(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    rule: Annotated[str | None, typer.Option(help="Only rows that this rule refused.")] = None,
    file: Annotated[str | None, typer.Option(help="Only rows of this file, relative to the landing folder.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows.")] = 20,
) -> None:
    """Refused rows as they were delivered, with their reasons."""
    _exit(context, lambda call: _quarantine_show(call, dataset, rule, file, limit))


@quarantine_app.command("replay")
def quarantine_replay(context: typer.Context, datasets: Datasets = None) -> None:
    """Judge refused rows again by the contract as it is now; those that pass go to silver."""
    _exit(context, lambda call: _redo(call, "replay", datasets))


@app.command()
def rebuild(
    context: typer.Context,
    layer: Annotated[Layer, typer.Argument(metavar="LAYER", help="bronze, silver (with its quarantine), gold; or ledger.")],
    datasets: Datasets = None,
    force: Annotated[bool, typer.Option("--force", help="Even if a table loses more than a tenth of its rows, or was lost.")] = False,
    accept_quality: AcceptQuality = False,
) -> None:
    """Make a layer again from the one above, and everything below it. Readers see the old rows or the new ones.

    ledger: what is known of files, again from bronze; only where it is lost, older than bronze or cannot be read.
    """
    if layer is Layer.LEDGER:
        _exit(context, lambda call: _rebuild_ledger(call, datasets))
    _exit(context, lambda call: _redo(call, f"rebuild {layer}", datasets, accept_quality=accept_quality, force=force))


@app.command()
def explain(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    key: Annotated[list[str], typer.Option(help="A value for each column of the key, in its order.")],
) -> None:
    """One key: the rows that carry it, which won and why, what refused the others, and the gold groups it counts in."""
    _exit(context, lambda call: _explain(call, dataset, key))


@app.command()
def verify(context: typer.Context, datasets: Datasets = None, limit: Annotated[int, typer.Option(min=1, help="Keys.")] = 20) -> None:
    """Prove bronze against files and ledger, silver against bronze, gold against silver; ends in 4 with the keys that differ."""
    _exit(context, lambda call: _verify(call, datasets, limit))


@app.command()
def maintain(
    context: typer.Context,
    datasets: Datasets = None,
    keep_days: Annotated[
        int | None, typer.Option(min=0, help="Keep what was replaced for so long; default: change_feed_retention_days.")
    ] = None,
) -> None:
    """Join small files and remove those that no table, reader of the last days or stream needs any more."""
    _exit(context, lambda call: _maintain(call, datasets, keep_days))


@app.command()
def forget(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    key: Annotated[list[str], typer.Option(help="A value for each column of the key, in its order.")],
    files: Annotated[
        Deliveries, typer.Option(help="Delivered files that hold the key: name them, or write them again without its records.")
    ] = Deliveries.LIST,
) -> None:
    """Erase one key from every layer with all older versions, keep it out from now on, and prove it by a search; 3 if something is left."""
    _exit(context, lambda call: _forget(call, dataset, key, files))


@contract_app.command("diff")
def contract_diff(
    context: typer.Context,
    old: Annotated[
        Path | None, typer.Argument(help="A contract file; without one, contracts are compared with their silver tables.")
    ] = None,
    new: Annotated[Path | None, typer.Argument(help="Another edition of it.")] = None,
) -> None:
    """What one edition of a contract says otherwise than another, or than the tables, and what follows."""
    _exit(context, lambda call: _diff(call, old, new))


@contract_app.command("draft")
def contract_draft(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Samples of one source, as they are delivered.")],
    name: Annotated[str | None, typer.Option(metavar="DATASET", help="Else made of --out or of the files' names.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="Write it there, if nothing is there yet; else print it.")] = None,
) -> None:
    """Guess a complete contract from samples of a source; comments say what each guess rests on."""
    _exit(context, lambda call: _draft(call, files, name, out))


@contract_app.command("lint")
def contract_lint(context: typer.Context, datasets: Datasets = None) -> None:
    """Check contracts; every finding on one line."""
    _exit(context, lambda call: _lint(call, datasets))


@app.command()
def sample(context: typer.Context, rows: Annotated[int, typer.Option(min=100, help="Rows of the day.")] = 200) -> None:
    """Write the next generated day of the demo dataset to data/raw."""
    _exit(context, lambda call: _sample(call, rows))


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    arguments = _hoisted(sys.argv[1:])
    try:
        code = app(arguments, prog_name="streaming-jobs", standalone_mode=False)
    except typer.TyperException as error:
        code = _misused(error, Console(json="--json" in arguments))
    sys.exit(code)


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """General options first, wherever they stood; what follows `--` stays."""
    general_, rest = [], []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            rest += [argument, *waiting]
            break
        if argument in ("--json", "-q", "--quiet", "-v", "--verbose") or argument.startswith("--home="):
            general_.append(argument)
        elif argument == "--home":
            general_ += [argument, *waiting[:1]]
            del waiting[:1]
        else:
            rest.append(argument)
    return general_ + rest


def _exit(context: typer.Context, command: Callable[[_Call], int]) -> None:
    call: _Call = context.find_object(_Call) or _Call(None, Console())
    try:
        code = command(call)
    except Exception as error:
        code = _failed(call.console, as_failure(error))
    raise typer.Exit(code)


def _failed(console: Console, failure: Failure) -> int:
    console.fail(failure)
    console.result({"exit_code": failure.exit_code, "errors": list(failure.findings)})
    return failure.exit_code


def _misused(error: typer.TyperException, console: Console) -> int:
    """A command line that means nothing, in one line as any other failure; of an empty one the help, which is what its error holds."""
    said = error.format_message().replace("Value error, ", "", 1)  # pydantic's word for "one of ours"
    if type(error).__name__ == "NoArgsIsHelpError":
        print(said, file=sys.stderr)
        return error.exit_code
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "streaming-jobs"
    ended = said if said.endswith((".", "?")) else f"{said}."
    return _failed(console, UsageError(f"{ended} Nothing was started; see `{command} --help`."))


def _increment(call: _Call, layers: list[str], datasets: Sequence[str] | None, *, accept_quality: bool = False) -> int:
    from streaming_jobs.increment import increment

    return _report(call, datasets, lambda wanted, one, entered: increment(layers, wanted, one, entered), accept_quality=accept_quality)


def _report(call: _Call, datasets: Sequence[str] | None, work: _Work, *, accept_quality: bool, force: bool = False) -> int:
    """Run `work` on the datasets and print what it did."""
    settings, started = call.settings(), time.monotonic()
    with _kept(call, settings) as kept:
        wanted = call.contracts(settings, datasets or ())
        one = replace(_run(call, settings, kept), accept_quality=accept_quality, force=force)
        with call.console.progress() as spinner:

            def entered(layer: str, dataset: str) -> None:
                if spinner:
                    spinner.update(f"{layer} {dataset}")

            outcome = work(wanted, one, entered)
        seconds = time.monotonic() - started
        call.console.end(outcome, seconds)
        errors = [finding for _, _, failure in outcome.failures for finding in failure.findings]
        call.console.result(
            {
                "run_id": outcome.run_id,
                "exit_code": outcome.exit_code,
                "seconds": round(seconds, 3),
                "errors": errors,
                **document(outcome.notes),
            }
        )
        if kept:
            kept.exit_code = outcome.exit_code
    return outcome.exit_code


def _watch(call: _Call, datasets: Sequence[str] | None, every: str) -> int:
    seconds, settings = _seconds(every), call.settings()
    from streaming_jobs import watch as operation

    live, served = _served(settings, datasets or ())

    def fail(failure: Failure, then: str) -> None:
        call.console.fail(failure)
        call.console.tell(then)

    operation.watch(datasets or (), _run(call, settings, live), seconds, operation.Told(call.console.tell, fail), served)
    return 0


class _Listener(Protocol):
    """Is told of what `run.Run` is told of."""

    def note(self, what: Note) -> None: ...
    def turn(self, what: Turn) -> None: ...


def _run(call: _Call, settings: Settings, *more: _Listener | None) -> Run:
    """One invocation that signals can stop, and that the console, the lineage file and `more` listen to."""
    from streaming_jobs.run import Run

    listeners: list[_Listener] = [one for one in more if one]
    if settings.openlineage_file:
        from streaming_jobs import lineage

        listeners.append(lineage.Listener(settings, settings.openlineage_file, call.console.warn))
    listeners.append(call.console)  # last: what is said has been counted

    def note(what: Note) -> None:
        for one in listeners:
            one.note(what)

    def turn(what: Turn) -> None:
        for one in listeners:
            one.turn(what)

    stop = Stop(seconds=settings.stop_seconds, written=call.console.last_line)
    stop.listen()
    return Run(settings, note, stop, turn)


def _kept(call: _Call, settings: Settings) -> AbstractContextManager[Scheduled | None]:
    if settings.metrics_file is None:
        return nullcontext()
    from streaming_jobs import metrics

    return metrics.kept(settings.metrics_file, settings, call.console.warn)


def _served(settings: Settings, datasets: Sequence[str]) -> tuple[Live | None, AbstractContextManager[None]]:
    if not settings.metrics_port:
        return None, nullcontext()
    from streaming_jobs import metrics

    live = metrics.Live(settings)
    return live, metrics.served(settings.metrics_port, live, datasets)


def _seconds(text: str) -> float:
    """`5s`, `500ms`, `1m` in seconds, more than none: a look at the folders that never ends is of use to nobody."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", text)
    seconds = float(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]] if found else 0.0
    if not seconds:
        raise UsageError(f"--every {text}: a number above 0 with ms, s or m, such as 5s; nothing was started.")
    return seconds


def _plan(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import plan as operation

    settings = call.settings()
    call.console.rows(operation.plan(call.contracts(settings, datasets or ()), settings))
    return 0


def _status(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import status as operation

    found = operation.status(datasets or (), call.settings())
    call.console.result(operation.document(found))
    call.console.page(lambda width: operation.text(found, width))
    return found.exit_code


def _page(call: _Call, datasets: Sequence[str] | None, out: Path | None) -> int:
    from streaming_jobs.facts.words import verdict
    from streaming_jobs.operations import report as operation

    written = operation.write(datasets or (), call.settings(), out)
    call.console.say(f"wrote {written.shown}: {verdict(written.facts.hands)}")
    call.console.result({"exit_code": written.facts.exit_code, "path": str(written.path), "needs_a_hand": len(written.facts.hands)})
    return written.facts.exit_code


def _doctor(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import doctor as operation

    settings = call.settings()
    findings = operation.examine(datasets or (), settings)
    code = operation.exit_code(findings)
    call.console.result({"exit_code": code, "findings": [asdict(finding) for finding in findings]})
    for finding in findings:
        call.console.say(f"{operation.KINDS[finding.exit_code]} {finding.place}: {finding.what}. {finding.remedy}")
    if not findings:
        call.console.say("nothing to put right")
    return code


def _show(call: _Call, name: str, limit: int) -> int:
    from streaming_jobs.operations import show as operation

    call.console.rows(operation.read(call.settings().table(name), limit))
    return 0


def _sql(call: _Call, query: str, form: Form | None) -> int:
    from streaming_jobs import csvtext
    from streaming_jobs.operations import sql as operation

    answer = operation.ask(query, call.settings().home / "data")
    if call.console.json or (form or (Form.TABLE if sys.stdout.isatty() else Form.CSV)) is Form.TABLE:
        call.console.rows(operation.first(answer, None if call.console.json else operation.MOST_ON_SCREEN))
    else:
        for line in csvtext.lines(answer.columns, answer.rows):
            if not written(line, end=""):
                break
    return 0


def _files(call: _Call, status: Status | None) -> int:
    from streaming_jobs.operations import files as operation

    settings = call.settings()
    call.console.rows(operation.newest(call.contracts(settings), settings, status, full=call.console.json))
    return 0


def _accept(call: _Call, path: str) -> int:
    from streaming_jobs.operations import files as operation

    settings = call.settings()
    for row in operation.accept(path, call.contracts(settings), settings):
        call.console.say(f"accepted {row.dataset} {row.path}; the next run applies it: streaming-jobs run {row.dataset}")
    call.console.result({"exit_code": 0, "accepted": path})
    return 0


def _quarantine_list(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import quarantine as operation

    settings = call.settings()
    call.console.rows(operation.counts(call.contracts(settings, datasets or ()), settings))
    return 0


def _quarantine_show(call: _Call, dataset: str, rule: str | None, file: str | None, limit: int) -> int:
    from streaming_jobs.operations import quarantine as operation

    settings = call.settings()
    (contract,) = call.contracts(settings, [dataset])
    call.console.rows(operation.rows(contract, settings, limit, rule, file))
    return 0


def _redo(call: _Call, what: str, datasets: Sequence[str] | None, *, accept_quality: bool = False, force: bool = False) -> int:
    from streaming_jobs import bronze, gold, silver
    from streaming_jobs.increment import redo

    steps = {
        "replay": {"silver": silver.replay},
        "rebuild bronze": {"bronze": bronze.rebuild, "silver": silver.rebuild, "gold": gold.rebuild},
        "rebuild silver": {"silver": silver.rebuild, "gold": gold.rebuild},
        "rebuild gold": {"gold": gold.rebuild},
    }[what]
    return _report(
        call, datasets, lambda wanted, one, entered: redo(steps, wanted, one, entered), accept_quality=accept_quality, force=force
    )


def _rebuild_ledger(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import rebuild_ledger as operation

    settings = call.settings()
    rows, moved = operation.rebuild(call.contracts(settings, datasets or ()), settings)
    for line in moved:
        call.console.say(line)
    call.console.rows(rows)
    return 0


def _explain(call: _Call, dataset: str, key: Sequence[str]) -> int:
    from streaming_jobs import explain as operation

    settings = call.settings()
    (contract,) = call.contracts(settings, [dataset])
    call.console.rows(operation.explain(contract, settings, key))
    return 0


def _verify(call: _Call, datasets: Sequence[str] | None, limit: int) -> int:
    from streaming_jobs import verify as operation

    settings = call.settings()
    proof = operation.prove(call.contracts(settings, datasets or ()), settings, limit)
    for table in proof.checked:
        call.console.say(f"data/{table.table}: {table.rows} rows compared with {table.against}")
    if proof.total:
        call.console.rows(proof.rows(), exit_code=DamagedState.exit_code)
        call.console.fail(proof.failure())
        return DamagedState.exit_code
    call.console.result({"exit_code": 0, "rows": [], "total": 0})
    call.console.say(f"proved: {len(proof.checked)} tables hold what the layer above gives")
    return 0


def _maintain(call: _Call, datasets: Sequence[str] | None, keep_days: int | None) -> int:
    from streaming_jobs.operations import maintain as operation

    settings = call.settings()
    days = settings.change_feed_retention_days if keep_days is None else keep_days
    call.console.rows(operation.maintain(call.contracts(settings, datasets or ()), settings, days))
    return 0


def _forget(call: _Call, dataset: str, key: Sequence[str], files: Deliveries) -> int:
    from streaming_jobs import forget as operation

    settings = call.settings()
    (contract,) = call.contracts(settings, [dataset])
    erased = operation.forget(contract, _run(call, settings), key, rewrite=files is Deliveries.REWRITE)
    call.console.say(operation.said(erased))
    code = InputRefused.exit_code if erased.left else 0
    call.console.rows(operation.rows(erased), exit_code=code)
    return code


def _diff(call: _Call, old: Path | None, new: Path | None) -> int:
    from streaming_jobs.operations import diff as operation

    if (old is None) != (new is None):
        raise UsageError("contract diff takes two contract files, or none to compare the contracts of conf/ with their tables.")
    if old and new:
        call.console.rows(operation.between(old, new))
        return 0
    settings = call.settings()
    call.console.rows(operation.against_tables(call.contracts(settings), settings))
    return 0


def _sample(call: _Call, rows: int) -> int:
    from streaming_jobs.operations import sample as operation

    day = operation.write_next_day(call.settings().table("raw"), rows)
    call.console.say(f"wrote data/raw/{day.path.name}: {day.rows} rows, some of them wrong on purpose")
    call.console.result({"exit_code": 0, "path": str(day.path), "rows": day.rows, "oddities": day.oddities})
    return 0


def _draft(call: _Call, files: Sequence[Path], name: str | None, out: Path | None) -> int:
    from streaming_jobs.operations import draft as operation

    made = operation.draft(files, call.settings().home, name, out)
    call.console.result({"exit_code": 0, "path": out, **asdict(made)})
    if out is None:
        call.console.plain(made.text)
    else:
        call.console.say(f"wrote {out}: {made.seen} of {made.rows} rows looked at; next, `streaming-jobs contract lint {made.dataset}`")
    return 0


def _lint(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import lint as operation

    report = operation.lint(call.settings().conf, datasets or ())
    for file in report.files:
        for finding in file.findings:
            call.console.fail(finding)
        for key in file.without_effect:
            call.console.say(f"{file.dataset}: without effect: {key}")
        if not file.findings:
            call.console.say(f"{file.dataset}: good")
    code = 0 if report.clean else ContractError.exit_code
    call.console.result({"exit_code": code, "contracts": [asdict(file) for file in report.files]})
    return code
