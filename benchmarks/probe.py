"""Seconds that the probe takes: per 120 MB of several kinds of CSV, and for 2 000 small files.

Run: python benchmarks/probe.py [MB]. Files go to a temporary folder and are deleted. The best of five
counts, because the machine does other things too.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from streaming_jobs.contract import Landing, RawColumn
from streaming_jobs.probe import Facts, count_records, probe, probe_all

COLUMNS = tuple(RawColumn(name) for name in ("id", "customer", "placed_at", "state", "amount", "note"))
HEADER = ",".join(c.name for c in COLUMNS)
LANDING = Landing("", "*", fallback_encodings=("iso-8859-1",))

PLAIN = "{n},customer {n},2026-01-{d:02}T10:00:00Z,paid,{n}.50,some text as it comes"
LINES = {
    "plain": PLAIN,
    "one quoted cell in 1 000 lines": PLAIN,
    "one quoted cell a line": '{n},"Smith, Ann {n}",2026-01-{d:02}T10:00:00Z,paid,{n}.50,some text as it comes',
    "all quoted": '"{n}","customer {n}","2026-01-{d:02}T10:00:00Z","paid","{n}.50","some text as it comes"',
    "all quoted, many empty": '"{n}","","","","","","","","","","","","","","",""',
    "cells of three lines": '{n},"Smith, Ann\nsecond line\nthird line",2026-01-{d:02},paid,{n}.50,"x ""y"" z"',
    "inches": '{n},5" pipe,2026-01-{d:02}T10:00:00Z,paid,{n}.50,7" pipe and more',
    "CRLF": PLAIN + "\r",
    "utf-8 letters": PLAIN.replace("some", "søme"),
    "latin-1 fallback": PLAIN.replace("some", "søme"),
    "gz": PLAIN,
}


def write(folder: Path, kind: str, size: int) -> Path:
    """About `size` bytes of one kind, unpacked; blocks repeat, which only the packed file profits from."""
    encoding = "iso-8859-1" if kind.startswith("latin") else "utf-8"
    lines = [LINES[kind].format(n=n, d=n % 28 + 1) for n in range(20_000)]
    if kind.startswith("one quoted cell in"):
        lines[::1000] = [line.replace("some text", '"some, text"', 1) for line in lines[::1000]]
    block = ("\n".join(lines) + "\n").encode(encoding)
    end = "\r\n" if kind == "CRLF" else "\n"
    file = folder / f"{kind}.csv{'.gz' if kind == 'gz' else ''}"
    with gzip.open(file, "wb", compresslevel=6) if kind == "gz" else file.open("wb") as stream:
        stream.write((HEADER + end).encode())
        for _ in range(max(1, size // len(block))):
            stream.write(block)
    return file


def best(call: Callable[[], object], times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main(megabytes: int) -> None:
    print(f"seconds for {megabytes} MB (best of 5)    probe   count_records")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for kind in LINES:
            file = write(folder, kind, megabytes * 1_000_000)
            found = probe(folder, file.name, LANDING, COLUMNS)
            if not isinstance(found, Facts):
                raise SystemExit(f"{kind}: {found.reason}")
            probed = best(lambda name=file.name: probe(folder, name, LANDING, COLUMNS))  # type: ignore[misc]
            counted = best(lambda facts=found: count_records(folder, facts, LANDING), 2)  # type: ignore[misc]
            print(f"{kind:32} {probed:10.3f} {counted:10.3f}   {found.encoding}", flush=True)
            file.unlink()
        names = [f"{n:04}.csv" for n in range(2000)]
        for name in names:
            (folder / name).write_text(f"{HEADER}\n" + "1,a,2026-01-01,paid,1.50,x\n" * 50)
        for threads in (1, 4):
            seconds = best(lambda threads=threads: probe_all(folder, names, LANDING, COLUMNS, threads))  # type: ignore[misc]
            print(f"{'2 000 small files, ' + str(threads) + ' threads':32} {seconds:10.3f}   of {os.cpu_count()} cores")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 120)
