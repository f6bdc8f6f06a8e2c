"""`status`: each state that needs a hand, in one line with its command; the document; what is printed. No Spark, a clock of our own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streaming_jobs import ledger, locks
from streaming_jobs.facts.hands import command
from streaming_jobs.ledger import Status
from streaming_jobs.operations import status
from tests.conftest import ORDERS, call
from tests.handmade import DAY, HOUR, NOW, Made, made

EARLIER = NOW - 2 * HOUR
LAYERS = ("bronze", "silver", "gold")


@pytest.fixture
def home(tmp_path: Path) -> Made:
    return made(tmp_path / "home")


def healthy(home: Made) -> None:
    """One file, read through all layers two hours ago."""
    home.file("a.csv", EARLIER)
    for layer in LAYERS:
        home.work(layer, EARLIER)
    home.settle()


def daily(home: Made, days: int = 40, *, without: tuple[int, ...] = (), last: int = 100) -> None:
    """A file for each day up to yesterday, taken in at 03:00 of the day after. last: its rows. without: days ago that have none."""
    for n in range(days, 0, -1):
        if n not in without:
            day = (NOW - n * DAY).date()
            home.file(f"orders_{day}.csv", datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + DAY, last if n == 1 else 100)


def rejected(home: Made) -> None:
    home.file("bad.csv", EARLIER, None, Status.REJECTED, "header lacks `id`")
    healthy(home)


def rejected_before(home: Made) -> None:
    home.file("a.csv", EARLIER - DAY)
    home.file("a.csv", EARLIER, None, Status.REJECTED, "a quote opened in line 2 is never closed")
    home.settle()


def many_rejected(home: Made) -> None:
    for n in range(8):
        home.file(f"bad{n}.csv", EARLIER - n * HOUR, None, Status.REJECTED, "not utf-8")
    healthy(home)


def held(home: Made) -> None:
    home.file("it's\n.csv", EARLIER - DAY, 100)
    reason = "3 rows instead of 100; if that is right: streaming-jobs files accept it's\n.csv"
    home.file("it's\n.csv", EARLIER, None, Status.HELD, reason)
    home.settle()


def accepted(home: Made) -> None:
    """Held back, and let in by hand since: the next run takes it in."""
    home.file("a.csv", EARLIER - DAY)
    home.file("a.csv", EARLIER, None, Status.HELD, ledger.ACCEPTED)
    home.settle()


def changed_content(home: Made) -> None:
    home.file("-a.csv", EARLIER - DAY, 7)
    home.file("-a.csv", EARLIER, None, Status.REJECTED, ledger.CHANGED_CONTENT)
    home.settle()


def missing(home: Made, ago: timedelta = 2 * DAY) -> None:
    for name in ("a.csv", "b.csv"):
        home.file(name, NOW - 9 * DAY, lies_there=False)
    for name in ("a.csv", "b.csv"):
        home.file(name, NOW - ago, None, Status.MISSING, "no longer in the landing folder; its rows stay", lies_there=False)
    home.settle()


def missing_for_long(home: Made) -> None:
    missing(home, 8 * DAY)


def quarantined(home: Made) -> None:
    home.file("a.csv", EARLIER)
    home.settle(
        quarantined=[("cast", "amount", EARLIER), ("cast", "at", EARLIER), ("minimum", "amount", EARLIER), ("old", None, NOW - 9 * DAY)]
    )


def quarantined_long_ago(home: Made) -> None:
    home.file("a.csv", NOW - 9 * DAY)
    home.settle(quarantined=[("cast", "amount", NOW - 8 * DAY)])


def lost_data_file(home: Made) -> None:
    healthy(home)
    next(home.settings.table("silver/orders").glob("*.parquet")).unlink()


def lost_bronze(home: Made) -> None:
    home.file("a.csv", EARLIER)
    ledger.append_files(home.settings, home.files, None)


def unreadable_ledger(home: Made) -> None:
    healthy(home)
    (home.settings.table(ledger.RUNS) / "_delta_log/00000000000000000000.json").write_text("{")


def more_in_bronze_than_in_the_ledger(home: Made) -> None:
    home.file("a.csv", EARLIER)
    home.settle(bronze=11, silver=10, groups={"open": 10})


def more_below_bronze_than_in_it(home: Made) -> None:
    home.file("a.csv", EARLIER)
    home.settle(silver=10, quarantined=[("cast", None, NOW - 9 * DAY)])


def gold_that_counts_otherwise(home: Made) -> None:
    home.file("a.csv", EARLIER)
    home.settle(groups={"open": 8, "paid": 1})


def run_that_does_not_balance(home: Made) -> None:
    home.work("silver", EARLIER, rows=10, accepted=9)
    healthy(home)


def looser_contract(home: Made) -> None:
    healthy(home)
    home.contract(ORDERS.replace(", logicalTypeOptions: {minimum: 0}", ""))


def stricter_contract(home: Made) -> None:
    healthy(home)
    home.contract(ORDERS.replace("minimum: 0", "minimum: 1"))


def no_landing_folder(home: Made) -> None:
    (home.path / "data/raw").rmdir()


def failed(home: Made) -> None:
    home.file("a.csv", EARLIER)
    home.work("silver", NOW - DAY)
    home.work("silver", EARLIER, 0, outcome="failed: [DIVIDE_BY_ZERO].", seconds=0.0)
    home.settle()


def failed_and_well_again(home: Made) -> None:
    home.file("a.csv", EARLIER)
    home.work("silver", NOW - DAY, 0, outcome="failed: no space", seconds=0.0)
    home.work("silver", EARLIER)
    home.settle()


def forgetting(home: Made) -> None:
    """Of three keys one came to its end; the oldest of the others is told."""
    healthy(home)
    begun = {"a": NOW - 5 * HOUR, "b": NOW - 3 * HOUR, "c": NOW - 2 * HOUR}
    rows = [ledger.ForgottenRow("orders", "salt", digest, at, None) for digest, at in begun.items()]
    ledger.append_forgotten(home.settings, [*rows, ledger.ForgottenRow("orders", "salt", "a", None, NOW - 4 * HOUR)])


def forgotten(home: Made) -> None:
    """Once, and a second time."""
    healthy(home)
    for at in (NOW - 5 * HOUR, NOW - 2 * HOUR):
        ledger.append_forgotten(home.settings, [ledger.ForgottenRow("orders", "salt", "a", at, None)])
        ledger.append_forgotten(home.settings, [ledger.ForgottenRow("orders", "salt", "a", None, at + HOUR / 2)])


def planned_batch(home: Made) -> None:
    healthy(home)
    (home.settings.checkpoint("silver", "orders") / "offsets/1").write_text(
        (home.settings.checkpoint("silver", "orders") / "offsets/0").read_text()
    )


def waiting(home: Made) -> None:
    home.file("a.csv", NOW - 9 * DAY)
    home.work("bronze", NOW - 2 * DAY)
    home.settle()
    home.file("b.csv", NOW - 5 * DAY)


def waiting_for_the_next_run(home: Made) -> None:
    home.file("a.csv", NOW - 9 * DAY)
    home.work("bronze", EARLIER)
    home.settle()
    home.file("b.csv", NOW - 5 * DAY)


def no_file_of_yesterday(home: Made) -> None:
    daily(home, without=(1,))
    home.settle()


def every_file_came(home: Made) -> None:
    daily(home)
    home.settle()


def one_percent_of_the_rows(home: Made) -> None:
    daily(home, last=1)
    home.settle()


def promised(*properties: str) -> Callable[[Made], None]:
    def state(home: Made) -> None:
        home.contract(ORDERS + "slaProperties:\n" + "".join(f"  - {{{p}}}\n" for p in properties))
        daily(home, without=(1, 2))
        home.settle(at=NOW - 3 * DAY)

    return state


CASES: list[tuple[Callable[[Made], None], list[str]]] = [
    (healthy, []),
    (rejected, ["rejected orders: bad.csv: header lacks `id`; deliver it corrected, then: `streaming-jobs run orders`"]),
    (
        rejected_before,
        [
            "rejected orders: a.csv: a quote opened in line 2 is never closed; its 10 rows of before stay; deliver it corrected, then: "
            "`streaming-jobs run orders`"
        ],
    ),
    (
        many_rejected,
        [
            *[f"rejected orders: bad{n}.csv: not utf-8; deliver it corrected, then: `streaming-jobs run orders`" for n in range(5)],
            "rejected orders: 3 more files: `streaming-jobs files --status rejected`",
        ],
    ),
    (
        held,
        [
            "held orders: it's\n.csv: 3 rows instead of 100; its 100 rows of before stay; if that is right: "
            r"`streaming-jobs files accept $'it\x27s\x0a.csv'`"
        ],
    ),
    (accepted, []),
    (
        changed_content,
        [
            "rejected orders: -a.csv: changed content under a known name, and the contract says onRedelivery: reject; its 7 rows of before "
            "stay; if that is right: `streaming-jobs files accept -- -a.csv`"
        ],
    ),
    (
        missing,
        [
            "missing orders: a.csv and 1 more left the landing folder; the 20 rows that were read stay: "
            "`streaming-jobs files --status missing`"
        ],
    ),
    (missing_for_long, []),
    (
        quarantined,
        [
            "refused orders: rows of the last 7 days, by rule: cast amount 1, cast at 1, minimum amount 1: "
            "`streaming-jobs quarantine show orders`"
        ],
    ),
    (quarantined_long_ago, []),
    (
        lost_bronze,
        [
            "damaged orders: data/bronze/orders lacks ingest 1, which the ledger has: it was removed, or an older state of it was "
            "restored. Restore the table from the backup that belongs to data/ledger; or make it from the files that still lie in the "
            "landing folder, without those that do not: `streaming-jobs rebuild bronze orders --force`"
        ],
    ),
    (
        more_in_bronze_than_in_the_ledger,
        ["unbalanced orders: data/bronze/orders holds 11 rows, the ledger says 10: `streaming-jobs rebuild bronze orders`"],
    ),
    (
        more_below_bronze_than_in_it,
        ["unbalanced orders: silver and quarantine hold 10 + 1 rows of 10 in bronze: `streaming-jobs rebuild silver orders`"],
    ),
    (
        gold_that_counts_otherwise,
        ["unbalanced orders: data/gold/by_state counts 9 rows, silver holds 10: `streaming-jobs rebuild gold orders`"],
    ),
    (
        run_that_does_not_balance,
        ["unbalanced orders: 1 of 2 runs of silver took in more or fewer rows than they accounted for: `streaming-jobs verify orders`"],
    ),
    (
        looser_contract,
        [
            "changed orders: the contract means something else than silver holds (amount.minimum 0 -> nothing), and nothing is applied "
            "until: `streaming-jobs quarantine replay orders`"
        ],
    ),
    (
        stricter_contract,
        [
            "changed orders: the contract means something else than silver holds (amount.minimum 0 -> 1), and nothing is applied until: "
            "`streaming-jobs rebuild silver orders`"
        ],
    ),
    (failed, ["failed orders: silver, 2026-11-26 10:00Z: failed: [DIVIDE_BY_ZERO]: `streaming-jobs silver orders`"]),
    (failed_and_well_again, []),
    (
        planned_batch,
        [
            "stuck orders: silver has planned batch 1 and not finished it; a run goes on with it, or says why not: "
            "`streaming-jobs silver orders`"
        ],
    ),
    (
        forgetting,
        [
            "forgetting orders: a key is erased since 2026-11-26 09:00Z, and not to the end; give the same command again, with the key: "
            "`streaming-jobs forget orders --key KEY`"
        ],
    ),
    (forgotten, []),
    (waiting, ["waiting orders: bronze: 1 new, for 1 d 23 h: `streaming-jobs run orders`"]),
    (waiting_for_the_next_run, []),
    (every_file_came, []),
    (no_file_of_yesterday, ["late orders: the file of 2026-11-25 did not come; expected every day: `streaming-jobs plan orders`"]),
    (
        one_percent_of_the_rows,
        [
            "unusual orders: orders_2026-11-25.csv has 1 rows, usual are 100; if that is wrong, deliver it again, then: "
            "`streaming-jobs run orders`"
        ],
    ),
    (
        promised("property: latency, value: 2, unit: d, element: at", "property: frequency, value: 30, unit: d"),
        ["late orders: at is at most 2 d old, but the newest is of 2026-11-23 12:00Z, 3 d ago: `streaming-jobs plan orders`"],
    ),
    (
        promised("property: frequency, value: 1, unit: d"),
        ["late orders: a file every 1 d, but the newest file came 2026-11-24 03:00Z, 2 d 9 h ago: `streaming-jobs plan orders`"],
    ),
    (
        promised('property: timeOfAvailability, value: "06:00+01:00", driver: regulatory'),
        [
            "late orders: a file by 06:00 +0100 (regulatory), but the file due 2026-11-26 05:00Z is 7 h late: `streaming-jobs plan orders`",
        ],
    ),
]


@pytest.mark.parametrize(("state", "lines"), CASES, ids=lambda part: getattr(part, "__name__", ""))
def test_each_state_that_needs_a_hand_is_one_line_that_ends_in_the_command(
    home: Made, state: Callable[[Made], None], lines: list[str]
) -> None:
    state(home)
    found = home.facts()
    assert [str(hand) for hand in found.hands] == lines
    assert found.exit_code == (4 if any(line.startswith(("damaged", "unbalanced")) for line in lines) else 0)


def test_damage_is_named_as_doctor_names_it_and_everything_that_can_be_read_is_still_told(home: Made) -> None:
    lost_data_file(home)
    found = home.facts()
    (hand,) = found.hands
    assert str(hand).startswith("damaged orders: data/silver/orders lacks 1 of its 1 data files, or they have another size; the first is ")
    assert str(hand).endswith(": `streaming-jobs rebuild silver orders`")
    assert found.exit_code == 4
    (one,) = found.datasets
    assert [(t.name, t.rows) for t in one.tables] == [
        ("bronze/orders", 10), ("silver/orders", 10), ("quarantine/orders", 0), ("gold/by_state", 1),
    ]  # fmt: skip
    assert [(layer.layer, layer.outcome, layer.pending) for layer in one.layers] == [(layer, "done", ()) for layer in LAYERS]


def test_a_ledger_that_cannot_be_read_is_named_with_the_command_and_tables_are_still_told(home: Made) -> None:
    unreadable_ledger(home)
    found = home.facts()
    assert [(hand.kind, hand.command) for hand in found.hands] == [("damaged", "streaming-jobs rebuild ledger")]
    assert [(t.name, t.rows) for t in found.datasets[0].tables][:2] == [("bronze/orders", 10), ("silver/orders", 10)]
    assert "data/ledger/runs cannot be opened" in status.text(found, None)


def test_a_missing_landing_folder_is_said_and_is_no_damage(home: Made) -> None:
    no_landing_folder(home)
    (hand,) = home.facts().hands
    assert (hand.kind, hand.command, hand.exit_code) == ("wrong", "streaming-jobs plan orders", 0)
    assert hand.what.startswith("bronze: landing folder data/raw does not exist; nothing was read. Create the folder")


def test_a_contract_that_cannot_be_used_is_one_line_and_does_not_hide_the_other_datasets(home: Made) -> None:
    healthy(home)
    (home.path / "conf/broken.yaml").write_text("kind: DataContract\n")
    found = home.facts()
    assert [one.dataset for one in found.datasets] == ["orders"]
    (hand,) = found.hands
    assert (hand.kind, hand.dataset, hand.command, hand.exit_code) == ("wrong", "broken", "streaming-jobs contract lint broken", 0)
    assert re.fullmatch(r"conf/broken\.yaml: \w+ is missing, and \d more", hand.what)


def test_what_is_worse_comes_first(home: Made) -> None:
    home.file("bad.csv", EARLIER, None, Status.REJECTED, "not utf-8")
    home.work("silver", EARLIER, rows=10, accepted=9)
    home.file("a.csv", EARLIER)
    home.settle(quarantined=[("cast", "amount", EARLIER)])
    (home.path / "conf/broken.yaml").write_text("")
    assert [hand.kind for hand in home.facts().hands] == ["unbalanced", "wrong", "rejected", "refused"]


def test_sums_are_not_held_against_a_dataset_that_a_process_is_writing(home: Made) -> None:
    more_in_bronze_than_in_the_ledger(home)
    with locks.hold(home.settings, ["bronze"], ["orders"]):
        assert home.hands() == []
    assert len(home.hands()) == 1


def test_a_planned_batch_is_only_stuck_when_no_process_works_at_it(home: Made) -> None:
    planned_batch(home)
    with locks.hold(home.settings, ["silver"], ["orders"]):
        assert home.hands() == []
    assert [line.split()[0] for line in home.hands()] == ["stuck"]


def test_who_holds_a_lock_is_told_without_taking_or_writing_it(home: Made) -> None:
    folder = home.path / "checkpoints/locks"
    assert locks.holder(home.settings, LAYERS, "orders") is None
    assert not folder.exists()
    with locks.hold(home.settings, ["gold"], ["orders"]):
        assert "process" in str(locks.holder(home.settings, LAYERS, "orders"))
        assert locks.holder(home.settings, ["bronze"], "orders") is None
    assert locks.holder(home.settings, LAYERS, "orders") is None


def test_a_file_that_lies_in_the_landing_folder_has_come_before_it_is_read(home: Made) -> None:
    no_file_of_yesterday(home)
    assert [hand.kind for hand in home.facts().hands] == ["late"]
    home.file("orders_2026-11-25.csv", NOW - HOUR)
    assert home.hands() == []
    assert home.facts().datasets[0].layer("bronze").pending == ("1 new",)


def test_the_facts_of_a_dataset_are_what_ledger_and_tables_say(home: Made) -> None:
    home.file("a.csv", EARLIER, 6, written=EARLIER - HOUR)
    home.file("b.csv", EARLIER, 4)
    home.file("c.csv", EARLIER, None, Status.REJECTED, "not utf-8")
    home.work("bronze", NOW - DAY, 3)
    home.work("bronze", EARLIER, 10, seconds=2.5)
    home.settle(quarantined=[("cast", "amount", EARLIER), ("cast", "amount", NOW - 8 * DAY)])
    (one,) = home.facts().datasets
    assert one.files == (("ingested", 2), ("rejected", 1))
    assert [(q.rule, q.column, q.rows, q.files, q.recent, q.newest) for q in one.quarantined] == [("cast", "amount", 2, 1, 1, EARLIER)]
    bronze = one.layer("bronze")
    assert (bronze.started_at, bronze.rows, bronze.seconds, bronze.succeeded_at) == (EARLIER, 10, 2.5, EARLIER + timedelta(seconds=2.5))
    assert [(b.layer, b.runs, b.rows_in, b.accepted, b.seconds, b.off) for b in one.balances] == [("bronze", 2, 13, 13, 3.5, 0)]
    assert one.newest is not None
    assert (one.newest.path, one.newest.rows) == ("b.csv", 4)
    assert [(t.name, t.rows, t.version) for t in one.tables] == [
        ("bronze/orders", 10, 0), ("silver/orders", 8, 1), ("quarantine/orders", 2, 0), ("gold/by_state", 1, 1),
    ]  # fmt: skip


def test_a_table_changed_when_rows_did_and_not_when_files_were_joined_or_properties_set(home: Made) -> None:
    healthy(home)
    silver = next(t for t in home.facts().datasets[0].tables if t.name == "silver/orders")
    log = home.settings.table("silver/orders") / "_delta_log/00000000000000000000.json"
    made_at = next(json.loads(line)["commitInfo"]["timestamp"] for line in log.read_text().splitlines() if "commitInfo" in line)
    assert silver.version == 1
    assert silver.changed_at == datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=made_at)


def test_before_the_first_run_nothing_needs_a_hand(home: Made) -> None:
    found = home.facts()
    assert (found.hands, found.exit_code) == ((), 0)
    assert status.text(found, None).splitlines()[0] == "nothing needs a hand"


def test_the_document_carries_everything_as_plain_data(home: Made) -> None:
    quarantined(home)
    home.contract(ORDERS + "slaProperties: [{property: latency, value: 2, unit: h}]\n")
    document = status.document(home.facts())
    assert {key: type(value).__name__ for key, value in document.items()} == {
        "version": "int", "exit_code": "int", "at": "datetime", "needs_a_hand": "list", "datasets": "list",
    }  # fmt: skip
    (hand,) = document["needs_a_hand"]
    assert hand == {
        "kind": "refused", "dataset": "orders", "what": "rows of the last 7 days, by rule: cast amount 1, cast at 1, minimum amount 1",
        "command": "streaming-jobs quarantine show orders", "exit_code": 0,
    }  # fmt: skip
    (one,) = document["datasets"]
    assert sorted(one) == [
        "balances", "changed", "damaged", "dataset", "files", "forgetting_since", "gaps", "layers", "newest", "promises", "quarantined",
        "refused", "replayable", "rhythm", "tables", "unusual",
    ]  # fmt: skip
    assert one["files"] == {"ingested": 1}
    assert one["promises"] == [
        {
            "promise": "latency", "said": "data is at most 2 h old", "kept": True, "open": False,
            "measured": "the newest is of 2026-11-26 10:00Z, 2 h ago",
        }
    ]  # fmt: skip
    assert one["rhythm"]["unknown"] == "1 days with files over 1 days are too few to expect any; 28 days are needed"


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_no_line_is_wider_and_each_command_stays_in_one_piece(home: Made, width: int) -> None:
    daily(home, without=(1,))
    home.file("bad with a rather long name, as they are made by machines.csv", EARLIER, None, Status.REJECTED, "header lacks `id`, " * 5)
    for layer in LAYERS:
        home.work(layer, EARLIER, 1_234_567)
    home.settle(quarantined=[("purchases_have_an_amount", None, EARLIER), ("cast", "event_timestamp", EARLIER)])
    found = home.facts()
    text = status.text(found, width)
    assert max(len(line) for line in text.splitlines()) <= width
    for hand in found.hands:
        assert any(line.strip().endswith(f"`{hand.command}`") for line in text.splitlines()), hand
    assert "1 234 567" in text


def test_hostile_names_stay_on_their_line_and_do_not_reach_the_terminal(home: Made) -> None:
    for n, name in enumerate(("[red]x[/red].csv", "\x1b[31mred.csv", "new\nline.csv", "\u202erevo.csv", "$(reboot).csv", "a`b.csv")):
        home.file(name, EARLIER - n * HOUR, None, Status.HELD, f"because of {name}")
    home.settle(quarantined=[("\x1b[2J", "a\nb", EARLIER)])
    text = status.text(home.facts(), None)
    assert all(line.isprintable() for line in text.splitlines())
    assert "[red]x[/red].csv: because of [red]x[/red].csv" in text
    assert "`streaming-jobs files accept '$(reboot).csv'`" in text


@pytest.mark.parametrize(
    "name", ["a.csv", "it's.csv", "new\nline.csv", "\x1b[31m.csv", "$(echo x)`id`;a&b|c.csv", "größer \u202e.csv", "a\\nb.csv"]
)
def test_a_command_gives_a_shell_back_the_very_name(name: str) -> None:
    words = command("files", "accept", name)
    assert words.isprintable()
    said = subprocess.run(
        ["bash", "-c", f"printf %s {words.removeprefix('streaming-jobs files accept ')}"], capture_output=True, check=True
    )
    assert said.stdout.decode() == name


def test_status_is_one_document_with_json_and_ends_in_4_for_sums_that_do_not_agree(tmp_path: Path) -> None:
    home = made(tmp_path / "home")
    healthy(home)
    good = call(home.path, "status", "--json")
    assert (good.returncode, json.loads(good.stdout)["exit_code"], good.stderr) == (0, 0, "")
    write_deltalake(str(home.settings.table("bronze/orders")), pa.table({"id": ["1"]}), mode="append", schema_mode="merge")
    home.checkpoint("silver", "bronze/orders")
    bad = call(home.path, "status")
    assert bad.returncode == 4
    assert bad.stdout.startswith("1 thing needs a hand:\nunbalanced orders: data/bronze/orders holds 11 rows, the ledger says 10: ")


def test_an_unknown_dataset_is_a_usage_error(home: Made) -> None:
    done = call(home.path, "status", "order")
    assert done.returncode == 2
    assert "did you mean orders" in done.stderr


def test_looking_writes_nothing(home: Made) -> None:
    planned_batch(home)

    def everything() -> Iterator[tuple[str, int]]:
        return ((str(file), file.stat().st_mtime_ns) for file in sorted(home.path.rglob("*")))

    before = [*everything()]
    home.facts()
    assert [*everything()] == before
