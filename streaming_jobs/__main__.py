"""Where `python -m streaming_jobs` and the script `streaming-jobs` begin and end; `commands.py` says what there is between."""

from __future__ import annotations

import atexit
import gc


def main() -> None:
    """Run the command that the arguments name, and exit with its code.

    Python does not look for garbage while it imports, nor at the end: what is imported stays, and what is left then goes with
    the process. Both together are a seventh of a run without work.
    """
    gc.disable()
    from streaming_jobs import commands

    gc.freeze()
    gc.enable()
    atexit.register(_leave)
    commands.main()


def _leave() -> None:
    gc.disable()
    gc.freeze()


if __name__ == "__main__":
    main()
