"""A tiny home of every released version, `tests/golden/<version>.tar.gz`, is resumed, rebuilt and proved by this one.

python -m tests.test_golden        make the one of this version, at its release; one that is there is never made again
"""

from __future__ import annotations

import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from streaming_jobs import session, settings
from streaming_jobs.commands import app
from tests import oracle
from tests.conftest import FAST, ROOT, Home, forget_tables, home_at

pytestmark = pytest.mark.slow

GOLDEN = ROOT / "tests" / "golden"
MADE = sorted(path.name.removesuffix(".tar.gz") for path in GOLDEN.glob("*.tar.gz"))


def assert_right(home: Home) -> None:
    contract = oracle.parse((home.settings.conf / "orders.yaml").read_text("utf-8"))
    assert oracle.differences(home.path / "data", home.raw, contract, oracle.ORDERS_LOGIC) == []


def test_there_is_a_home_of_this_version() -> None:
    assert version("streaming-jobs") in MADE


@pytest.mark.parametrize("released", MADE)
def test_a_home_of_a_released_version_is_resumed_rebuilt_and_proved(spark: SparkSession, tmp_path: Path, released: str) -> None:
    with tarfile.open(GOLDEN / f"{released}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    home = Home(tmp_path / "home", settings.load(tmp_path / "home"), spark)
    assert_right(home)
    assert home.ok().notes == ()
    home.land("tue.csv", "1,sent,2026-01-07,1.25", "bad,open,never,1", at=1_767_800_000)
    home.land("thu.csv", "9,open,2026-01-08,9.00", at=1_767_900_000)
    home.ok()
    assert_right(home)
    for command in ("doctor", "rebuild bronze", "verify"):
        result = CliRunner().invoke(app, ["--home", str(home.path), *command.split()])
        assert result.exit_code == 0, result.output
    assert_right(home)
    forget_tables(spark)


def make() -> Path:
    """A home with a correction, refused rows, a dropped file and a key that went away behind it."""
    target = GOLDEN / f"{version('streaming-jobs')}.tar.gz"
    if target.exists():
        raise SystemExit(f"{target.name} is there, and a release is made once.")
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "checkpoints").mkdir()
        spark = session.start(settings.load(Path(scratch)), conf_over=FAST)
        home = home_at(spark, Path(scratch) / "home")
        home.land("mon.csv", "1,open,2026-01-05,1.00", "2,open,2026-01-05,2.00", "bad,open,never,3.00", at=1_767_600_000)
        home.ok()
        home.land("tue.csv", "1,paid,2026-01-06,1.00", "3,,2026-01-06,4.00", "4,open", at=1_767_700_000)
        home.ok()
        home.land("mon.csv", "1,open,2026-01-05,1.50", "5,open,2026-01-05,5.00", at=1_767_700_001)
        home.ok()
        with tarfile.open(target, "w:gz") as archive:
            archive.add(home.path, "home", filter=lambda member: None if "/locks" in member.name else _of_nobody(member))
    return target


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    print(make())
