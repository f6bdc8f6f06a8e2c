"""What needs a hand, worst first, each in one line with the command that helps. Pure: facts in, lines out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from streaming_jobs.contract import Availability, Frequency
from streaming_jobs.errors import DamagedState
from streaming_jobs.facts.arrivals import RECENT
from streaming_jobs.facts.model import Dataset, Hand, RefusedFile
from streaming_jobs.facts.words import span, stamp, weekdays

_MOST = 5  # lines of one kind for one dataset; the rest is one more line
_WAITS = timedelta(days=1)  # work that lies longer than that is not about to be done by the next scheduled run


def hands(datasets: Sequence[Dataset], broken: Sequence[tuple[str, Sequence[str]]], now: datetime) -> tuple[Hand, ...]:
    """broken: datasets whose contracts cannot be used, and all findings."""
    found = []
    for dataset, findings in broken:
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        found.append(Hand("wrong", dataset, f"{findings[0]}{more}", command("contract", "lint", dataset)))
    for one in datasets:
        found += [*_of_state(one), *_of_erasure(one), *_of_work(one, now), *_of_files(one, now), *_of_rows(one), *_of_time(one)]
    return tuple(sorted(dict.fromkeys(found), key=lambda hand: (-hand.exit_code, _KINDS.index(hand.kind))))


_KINDS = (
    "damaged",
    "unbalanced",
    "wrong",
    "changed",
    "failed",
    "forgetting",
    "stuck",
    "held",
    "rejected",
    "late",
    "unusual",
    "waiting",
    "missing",
    "refused",
)


def command(*words: str) -> str:
    """A command of ours as a shell takes it, whatever the words hold."""
    return " ".join(["streaming-jobs", *map(_quoted, words)])


def _quoted(word: str) -> str:
    """Characters that cannot be printed are written as bash and zsh read them back."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(c if c.isprintable() and c not in "\\'" else "".join(f"\\x{b:02x}" for b in c.encode()) for c in word)
    return f"$'{escaped}'"


def _of_state(one: Dataset) -> Iterator[Hand]:
    code = DamagedState.exit_code
    for damage in one.damaged:
        yield Hand("damaged", one.dataset, f"{damage.place} {damage.what}{damage.remedy}", damage.command, code)
    for gap in one.gaps:
        yield Hand("unbalanced", one.dataset, gap.what, gap.command, code)
    for balance in one.balances:
        if balance.off:
            what = f"{balance.off} of {balance.runs} runs of {balance.layer} took in more or fewer rows than they accounted for"
            yield Hand("unbalanced", one.dataset, what, command("verify", one.dataset), code)
    if one.changed:
        again = ("quarantine", "replay") if one.replayable else ("rebuild", "silver")
        what = f"the contract means something else than silver holds ({'; '.join(one.changed)}), and nothing is applied until"
        yield Hand("changed", one.dataset, what, command(*again, one.dataset))


def _of_erasure(one: Dataset) -> Iterator[Hand]:
    if one.forgetting_since:
        what = f"a key is erased since {stamp(one.forgetting_since)}, and not to the end; give the same command again, with the key"
        yield Hand("forgetting", one.dataset, what, command("forget", one.dataset, "--key", "KEY"))


def _of_work(one: Dataset, now: datetime) -> Iterator[Hand]:
    for layer in one.layers:
        known = one.damaged or (one.changed and layer.layer == "silver")
        if layer.problem:
            yield Hand("wrong", one.dataset, f"{layer.layer}: {layer.problem}", command("plan", one.dataset))
        elif layer.outcome and layer.outcome != "done" and not known:
            at = stamp(layer.started_at) if layer.started_at else "before"
            yield Hand("failed", one.dataset, f"{layer.layer}, {at}: {layer.outcome.rstrip('.')}", command(layer.layer, one.dataset))
        elif layer.unfinished_batch is not None and not known:
            what = f"{layer.layer} has planned batch {layer.unfinished_batch} and not finished it; a run goes on with it, or says why not"
            yield Hand("stuck", one.dataset, what, command(layer.layer, one.dataset))
        elif layer.pending and layer.waiting_since and now - layer.waiting_since > _WAITS and not known:
            what = f"{layer.layer}: {', '.join(layer.pending)}, for {span(now - layer.waiting_since)}"
            yield Hand("waiting", one.dataset, what, command("run", one.dataset))


def _of_files(one: Dataset, now: datetime) -> Iterator[Hand]:
    for status in ("held", "rejected"):
        files = [file for file in one.refused if file.status == status]
        for file in files[:_MOST]:
            yield _of_file(one.dataset, file)
        if len(files) > _MOST:
            yield Hand(status, one.dataset, f"{len(files) - _MOST} more files", command("files", "--status", status))
    gone = [file for file in one.refused if file.status == "missing" and now - file.decided_at <= RECENT]
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        what = f"{gone[0].path}{more} left the landing folder; the {sum(f.rows for f in gone)} rows that were read stay"
        yield Hand("missing", one.dataset, what, command("files", "--status", "missing"))


def _of_file(dataset: str, file: RefusedFile) -> Hand:
    stay = "its one row of before stays" if file.rows == 1 else f"its {file.rows} rows of before stay"
    kept = f"; {stay}" if file.rows else ""
    # A reason may name the command itself.
    reason = (file.reason or "no reason was noted").split("; if that is right:")[0]
    if file.by_contract or file.status == "held":
        accept = ("--", file.path) if file.path.startswith("-") else (file.path,)
        return Hand(file.status, dataset, f"{file.path}: {reason}{kept}; if that is right", command("files", "accept", *accept))
    return Hand(file.status, dataset, f"{file.path}: {reason}{kept}; deliver it corrected, then", command("run", dataset))


def _of_rows(one: Dataset) -> Iterator[Hand]:
    recent = [rule for rule in one.quarantined if rule.recent]
    if recent:
        named = (" ".join(filter(None, (rule.rule, rule.column, str(rule.recent)))) for rule in recent[:_MOST])
        rules = ", ".join(named) + (", …" if len(recent) > _MOST else "")
        yield Hand("refused", one.dataset, f"rows of the last 7 days, by rule: {rules}", command("quarantine", "show", one.dataset))


def _of_time(one: Dataset) -> Iterator[Hand]:
    for promise in one.promises:
        if promise.open:
            yield Hand("late", one.dataset, f"{promise.said}, but {promise.measured}", command("plan", one.dataset))
    # Who promises how often a file comes says what to expect; and what is late is late once.
    said = any(isinstance(p.promise, Frequency) or (p.open and isinstance(p.promise, Availability)) for p in one.promises)
    if one.rhythm.missing and not said:
        yield Hand("late", one.dataset, _missed(one), command("plan", one.dataset))
    for file in one.unusual[-_MOST:]:
        what = f"{file.path} has {file.rows} rows, usual are {file.usual}; if that is wrong, deliver it again, then"
        yield Hand("unusual", one.dataset, what, command("run", one.dataset))


def _missed(one: Dataset) -> str:
    days = one.rhythm.missing
    shown = ", ".join(map(date.isoformat, days[:3])) + (f" and {len(days) - 3} more days" if len(days) > 3 else "")
    expected = f"expected {weekdays(one.rhythm.weekdays)}"
    if one.rhythm.by == "name":
        return f"the file of {shown} did not come; {expected}"
    return f"no file came on {shown}; {expected}"
