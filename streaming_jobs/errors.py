"""Every failure an operator can meet, and the exit code it ends in.

    Failure                 1
    ├── Unexpected          1   a bug of ours, or an engine error nobody named yet
    ├── UsageError          2   the command, a contract, a setting or the machine is not as needed
    │   ├── ContractError       one line per finding, each with file, place and remedy
    │   ├── SettingsError
    │   └── SetupError          Java or the Delta jars
    ├── InputRefused        3   a quality limit was crossed; nothing of the batch was applied
    ├── DamagedState        4   tables, ledger and checkpoints contradict each other
    ├── Locked             75   another process holds the layer
    └── Stopped       130/143   a signal, after the batch in hand

A message says what, where, what was and was not applied, and which command comes next.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

_JAVA = re.compile(r"^(?:: |Caused by: )([\w.$]+)", re.MULTILINE)  # the class of an exception in a Java stack trace


class Failure(Exception):
    """Base of the tree. exit_code: what the process ends with. findings: what is said, each in one line, also where a value has several."""

    exit_code = 1

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


class Unexpected(Failure):
    """Wraps what nobody foresaw; `__cause__` has the whole story."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"unexpected {type(error).__name__}: {_line(error)[:300].rstrip(' .')}. What was committed stays, the rest comes again with "
            "the next run; run with -v for the stack trace."
        )
        self.__cause__ = error


def reason(error: Exception) -> str:
    """Why something beside the work failed, in a word or two."""
    return getattr(error, "strerror", None) or type(error).__name__


def is_of_data(error: Exception) -> bool:
    """True for an error of Spark about a value, SQLSTATE class 22: overflow, division by zero, a cast that fails."""
    state = getattr(error, "getSqlState", None)  # Spark is not imported where errors are
    return state is not None and str(state() or "").startswith("22")


def _line(error: Exception) -> str:
    """The first line of its message; of an error about a value only the kind, because the message holds the value."""
    if is_of_data(error):
        return f"[{error.getCondition()}]"  # type: ignore[attr-defined]
    if hasattr(error, "java_exception"):  # of py4j: its first line names only a call, the next ones may hold values
        return ", caused by ".join(_JAVA.findall(str(error))) or type(error).__name__
    return next((text for text in str(error).splitlines() if text.strip()), "no message")


def as_failure(error: Exception) -> Failure:
    """The error itself where it is one of the tree, else wrapped as Unexpected."""
    return error if isinstance(error, Failure) else Unexpected(error)


class UsageError(Failure):
    exit_code = 2


class ContractError(UsageError):
    """A contract that breaks the rules of its subset; `findings` is never empty."""

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__(*findings)


class SettingsError(UsageError):
    pass


class SetupError(UsageError):
    pass


class InputRefused(Failure):
    exit_code = 3


class DamagedState(Failure):
    exit_code = 4


class Locked(Failure):
    exit_code = 75


class Stopped(Failure):
    """A signal asked for the end; every batch that had begun is complete."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        name = signal.Signals(signum).name
        super().__init__(f"stopped by {name} after the batch in hand; run the same command again to continue.")
