"""The files that every contestant is given: days of application events, by DuckDB, the same on every machine.

A file is a function of its day, its rows and whether it is the corrected one. Of each thousand rows:

    10 correct a purchase of the day before: its key and time, another amount
     1 stands there twice
     3 are invalid: amount `abc`, no time, an event type nobody knows
    20 have their type in upper case, with blanks
   143 have no country

The corrected file has another amount in one row of a hundred. File names sort by date.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parent.parent
FIRST = date(2018, 1, 1)  # day 0
COLUMNS = ("event_id", "user_id", "event_type", "event_timestamp", "country", "amount")
HEADER = ",".join(COLUMNS)

_FILE = """
COPY (
  WITH rows AS (
    SELECT n, {day} AS day, n AS m, '' AS changed FROM range({rows}) AS own(n)
    UNION ALL SELECT n, {day}, n, '' FROM range({rows}) AS twice(n) WHERE n % 1000 = 777
    UNION ALL SELECT {rows} + n, {day} - 1, 100 * n + 18, '7' FROM range({rows} // 100) AS late(n) WHERE {day} > 0
  )
  SELECT md5(day || '-' || m) AS event_id,
         'user-' || lpad(CAST((m * 31 + day) % 50000 AS VARCHAR), 6, '0') AS user_id,
         CASE WHEN m % 1000 = 250 THEN 'teleport' WHEN m % 20 = 18 THEN 'purchase' WHEN m % 50 = 0 THEN ' Page_View '
              WHEN m % 20 < 10 THEN 'page_view' WHEN m % 20 < 15 THEN 'click' WHEN m % 20 < 18 THEN 'add_to_cart' ELSE 'signup' END
           AS event_type,
         CASE WHEN m % 1000 <> 499
              THEN strftime(DATE '{first}' + INTERVAL (day) DAY + INTERVAL (m * 7 % 86400) SECOND, '%Y-%m-%d %H:%M:%S') END
           AS event_timestamp,
         ['DE', 'FR', 'US', 'GB', 'IN', 'BR', NULL][m % 7 + 1] AS country,
         CASE WHEN m % 1000 = 999 THEN 'abc' WHEN m % 20 <> 18 THEN NULL
              WHEN {corrected} AND m % 100 = 38 THEN '1' || (m % 10000) || '.55' ELSE (m % 5000) || '.2' || changed END AS amount
  FROM rows ORDER BY n, m
) TO '{target}' (HEADER, DELIMITER ',', QUOTE '"', NULL '')
"""


def name(day: int) -> str:
    return f"events_{FIRST + timedelta(day)}.csv"


def deliver(folder: Path, days: Iterable[int], rows: int, *, corrected: bool = False) -> None:
    """Write the files of these days into a folder, each aside first and then by rename, as a source should."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / ".staged"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for day in days:
            connection.execute(_FILE.format(day=day, rows=rows, first=FIRST, corrected=corrected, target=staged))
            staged.rename(folder / name(day))


def cut(folder: Path, days: Iterable[int], rows: int, files: int) -> None:
    """Each of these days as so many files of about `rows` rows, in the order of their names. One query a day, not one a file."""
    staged = folder.parent / f".{folder.name}-whole"
    folder.mkdir(parents=True, exist_ok=True)
    for day in days:
        deliver(staged, [day], rows * files)
        header, *lines = (staged / name(day)).read_text("utf-8").splitlines(keepends=True)
        for n in range(files):
            part = lines[len(lines) * n // files : len(lines) * (n + 1) // files]
            (folder / f"{name(day).removesuffix('.csv')}-{n:03}.csv").write_text(header + "".join(part), "utf-8")
    shutil.rmtree(staged)


def joined(folder: Path, days: Iterable[int], rows: int) -> Path:
    """These days in one file under one header, by the name of the last one."""
    staged = folder.parent / f".{folder.name}-days"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".joined").open("wb") as out:
        for n, day in enumerate(days):
            deliver(staged, [day], rows)
            with (staged / name(day)).open("rb") as one:
                header = one.readline()
                if n == 0:
                    out.write(header)
                shutil.copyfileobj(one, out, 1 << 20)
            (staged / name(day)).unlink()
    staged.rmdir()
    return (folder / ".joined").rename(folder / name(day))


def land(file: Path, home_folder: Path) -> None:
    """Put a file into the landing folder by rename, over one of its name. A hard link: the same bytes for everyone."""
    raw = home_folder / "data/raw"
    os.link(file, raw / ".staged")
    (raw / ".staged").replace(raw / file.name)


def home(folder: Path, contract: str, files: Path | None = None) -> Path:
    """An empty home with this contract, whose landing folder has hard links to all `files`: the same bytes for everyone."""
    for part in ("conf", "data/raw", "checkpoints"):
        (folder / part).mkdir(parents=True)
    (folder / "conf/events.yaml").write_text(contract)
    for file in sorted(files.iterdir()) if files else ():
        os.link(file, folder / "data/raw" / file.name)
    return folder


def copied(home_folder: Path, target: Path) -> Path:
    """The same home once more, for a turn that must not see what another one wrote."""
    shutil.copytree(home_folder, target, copy_function=_link_or_copy)
    return target


def _link_or_copy(source: str, target: str) -> None:
    """Files that are never written again are shared, all others are not."""
    if source.endswith((".csv", ".parquet")):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def contract(*, window: bool = True) -> str:
    """The default dataset's; with the promise that versions of an event lie within a week of each other."""
    text = (ROOT / "conf/events.yaml").read_text()
    promised = text.replace("value: [_file]}", "value: [_file]}\n      - {property: mergeWindow, value: 7 days}", 1)
    return promised if window else text
