"""Make the archive of loaded classes at set-up, by two small runs of the default dataset in a folder that is gone afterwards.

    python -m streaming_jobs.operations.archive_classes      what `make setup` runs

Without it every start is slower and nothing else changes; the first run makes one then.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from streaming_jobs import class_archive, contract, settings
from streaming_jobs.errors import as_failure
from streaming_jobs.operations import sample
from streaming_jobs.settings import Settings

_CONTRACT = Path(__file__).parents[2] / "conf" / "events.yaml"
_LAYERS = ("bronze", "silver", "gold")


def make(given: Settings) -> bool:
    """Write the archive into the folder of the jars; False when it is there. Takes about half a minute."""
    archive = class_archive.of(given.jars)
    if archive.exists():
        return False
    from streaming_jobs import session

    with tempfile.TemporaryDirectory(prefix="streaming-jobs-") as folder:
        home = given.model_copy(update={"home": Path(folder), "driver_memory": "1g"})
        for part in ("conf", "data/raw", "checkpoints"):
            (home.home / part).mkdir(parents=True)
        shutil.copy2(_CONTRACT, home.conf)
        with session.opened(home, small=True) as spark:
            _run(home)
            # A run with much to do compiles its expressions, with classes of its own.
            for name in ("spark.sql.adaptive.enabled", "spark.sql.codegen.wholeStage"):
                spark.conf.set(name, "true")
            spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK")
            _run(home)
    return archive.exists()


def _run(home: Settings) -> None:
    """A new day and, from the second on, a corrected one, through the three layers."""
    from streaming_jobs.increment import increment
    from streaming_jobs.run import Run

    raw = home.landing("data/raw")
    for first in sorted(raw.glob("*.csv"))[:1]:
        first.write_text("".join(first.read_text("utf-8").splitlines(keepends=True)[:-1]), "utf-8")
    sample.write_next_day(raw, 100)
    outcome = increment(_LAYERS, contract.load_all(home.conf), Run(home, lambda _: None), lambda *_: None)
    for _, _, failure in outcome.failures:
        raise failure


def main() -> int:
    """Entry point of the set-up. A failure does not end it: what is wrong with Spark the first run says too, and only speed is lost."""
    try:
        given = settings.load()
        made = make(given)
    except Exception as error:
        print(f"no class archive: {as_failure(error)} The set-up goes on; the first run makes one.", file=sys.stderr)
        return 0
    print(f"class archive {'written into' if made else 'already in'} {given.jars}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
