"""Very many small files in one landing folder: the first load, one file more, and nothing to do, each as its own process.

    python -m benchmarks.many_files [FILES]

Files have 50 rows. Prints wall time, peak memory of the largest process (the JVM), and files per second.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "event_id,user_id,event_type,event_timestamp,country,amount\n"


def land(folder: Path, number: int) -> None:
    lines = (f"{number}-{n},user-{n},click,2026-01-{number % 28 + 1:02} 10:00:00,IT,\n" for n in range(50))
    (folder / f"events_{number:06}.csv").write_text(HEADER + "".join(lines))


def run(home: Path, what: str, layer: str, files: int) -> None:
    started = time.monotonic()
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(home), layer, "-q"]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"{what}: {layer} {seconds:.1f} s, exit {code}, {files / seconds:.0f} files/s, peak {peak} MiB", flush=True)


def main(files: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        for part in ("conf", "data/raw"):
            (home / part).mkdir(parents=True)
        shutil.copy(ROOT / "conf/events.yaml", home / "conf")
        for number in range(files):
            land(home / "data/raw", number)
        run(home, f"first load of {files} files", "bronze", files)
        run(home, "nothing to do", "bronze", 0)
        land(home / "data/raw", files)
        run(home, "one file more", "bronze", 1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
