"""`contract lint`: what is wrong with the contracts, and what in them means nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streaming_jobs.contract.load import examine_all


@dataclass(frozen=True)
class LintedFile:
    """One contract. findings: lines that make it unusable. without_effect: legal ODCS keys that change nothing here."""

    dataset: str
    file: Path
    findings: tuple[str, ...]
    without_effect: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    files: tuple[LintedFile, ...]  # sorted by dataset

    @property
    def clean(self) -> bool:
        """True: every contract can be run. Keys without effect do not count against it."""
        return not any(f.findings for f in self.files)


def lint(conf: Path, datasets: Sequence[str] = ()) -> Report:
    """Examine the contracts of `conf`, or only those named. Writes nothing.

    Raises UsageError for a name without a contract, or when there is no contract at all.
    """
    return Report(tuple(LintedFile(e.dataset, e.file, e.findings, e.without_effect) for e in examine_all(conf, datasets)))
