"""The command line: parse, call one function, print, exit code. No logic.

    streaming-jobs [--home DIR] [--json] [-q] [-v] COMMAND …

The four general options are taken before or after the command's name. Exit codes: see `errors`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from streaming_jobs import contract as contracts
from streaming_jobs import settings as settings_of
from streaming_jobs.console import Console, document, summary
from streaming_jobs.contract import Contract
from streaming_jobs.errors import ContractError, Failure, as_failure
from streaming_jobs.ledger import Status
from streaming_jobs.settings import Settings


@dataclass(frozen=True)
class _Call:
    """What the general options say."""

    home: Path | None
    console: Console

    def settings(self) -> Settings:
        return settings_of.load(self.home)

    def contracts(self, settings: Settings, datasets: Sequence[str] = ()) -> tuple[Contract, ...]:
        return contracts.load_all(settings.conf, datasets)


app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
files_app = typer.Typer(add_completion=False, rich_markup_mode=None)
contract_app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(files_app, name="files", help="What became of each file.", invoke_without_command=True)
app.add_typer(contract_app, name="contract", help="Check contracts.")

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
    context.obj = _Call(home, Console(as_json, quiet, verbose))


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
def plan(context: typer.Context, datasets: Datasets = None) -> None:
    """What a run would do now; writes nothing."""
    _exit(context, lambda call: _plan(call, datasets))


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TABLE", help="Path under data/, such as gold/events_per_day.")],
    limit: Annotated[int, typer.Option(min=1, help="Rows.")] = 20,
) -> None:
    """Print a table."""
    _exit(context, lambda call: _show(call, name, limit))


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


@contract_app.command("lint")
def contract_lint(context: typer.Context, datasets: Datasets = None) -> None:
    """Check contracts; every finding on one line."""
    _exit(context, lambda call: _lint(call, datasets))


@app.command()
def sample(context: typer.Context, rows: Annotated[int, typer.Option(min=100, help="Rows of the day.")] = 200) -> None:
    """Write the next generated day of the demo dataset to data/raw."""
    _exit(context, lambda call: _sample(call, rows))


def main() -> None:
    """Entry point of the console script."""
    app(_hoisted(sys.argv[1:]), prog_name="streaming-jobs")


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
        code = _failed(call, as_failure(error))
    raise typer.Exit(code)


def _failed(call: _Call, failure: Failure) -> int:
    call.console.fail(failure)
    call.console.result({"exit_code": failure.exit_code, "errors": str(failure).splitlines()})
    return failure.exit_code


def _increment(call: _Call, layers: list[str], datasets: Sequence[str] | None, *, accept_quality: bool = False) -> int:
    settings, started = call.settings(), time.monotonic()
    wanted = call.contracts(settings, datasets or ())
    from streaming_jobs.increment import increment
    from streaming_jobs.run import Run

    one = Run(settings, call.console.note, accept_quality=accept_quality)
    one.stop.listen()
    with call.console.progress() as spinner:

        def entered(layer: str, dataset: str) -> None:
            if spinner:
                spinner.update(f"{layer} {dataset}")

        outcome = increment(layers, wanted, one, entered)
    seconds = time.monotonic() - started
    for line in summary(outcome.notes, seconds, failed=bool(outcome.failures)):
        call.console.say(line)
    for _, _, failure in outcome.failures:
        call.console.fail(failure)
    errors = [str(failure) for _, _, failure in outcome.failures]
    call.console.result(
        {
            "run_id": outcome.run_id,
            "exit_code": outcome.exit_code,
            "seconds": round(seconds, 3),
            "errors": errors,
            **document(outcome.notes),
        }
    )
    return outcome.exit_code


def _plan(call: _Call, datasets: Sequence[str] | None) -> int:
    from streaming_jobs.operations import plan as operation

    settings = call.settings()
    call.console.rows(operation.plan(call.contracts(settings, datasets or ()), settings))
    return 0


def _show(call: _Call, name: str, limit: int) -> int:
    from streaming_jobs.operations import show as operation

    call.console.rows(operation.read(call.settings().table(name), limit))
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


def _sample(call: _Call, rows: int) -> int:
    from streaming_jobs.operations import sample as operation

    day = operation.write_next_day(call.settings().table("raw"), rows)
    call.console.say(f"wrote data/raw/{day.path.name}: {day.rows} rows, some of them wrong on purpose")
    call.console.result({"exit_code": 0, "path": str(day.path), "rows": day.rows, "oddities": day.oddities})
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


if __name__ == "__main__":
    main()
