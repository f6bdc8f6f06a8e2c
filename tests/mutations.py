"""Each safeguard switched off in a copy of the package: a test must fail. One line each; exit 1 when one survives.

python -m tests.mutations [NAME …]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """text: of `file`, once in it. test: that is to fail with `instead` in its place."""

    name: str
    file: str
    text: str
    instead: str
    test: str


MUTATIONS = (
    Mutation(
        "the lock", "locks.py", "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass",
        "test_cli.py::test_a_layer_in_use_ends_in_75_at_once_and_names_the_holder",
    ),
    Mutation(
        "the hash of content that is known", "bronze.py", "if held.sha256 == found.sha256:", "if False:",
        "test_pipeline.py::test_a_touched_file_with_the_same_content_writes_no_data",
    ),
    Mutation(
        "a hash only where it is certain", "bronze.py", "sha256=intent.sha256 if certain else None,", "sha256=intent.sha256,",
        "test_recovery.py::test_what_was_read_of_many_rows_is_not_taken_for_what_was_probed",
    ),
    Mutation(
        "the comparison with the ledger", "landing.py", "elif state is None or _is_open(entry, state, contract_changed_at):",
        "elif state is None:", "test_pipeline.py::test_a_corrected_file_corrects_everything_below_it",
    ),
    Mutation(
        "a load that a crash left open", "bronze.py", "if intents and intents[0].ingest_id <= stored:", "if False:",
        "test_recovery.py::test_a_crash_after_any_write_and_a_rerun_give_the_same_tables_as_no_crash",
    ),
    Mutation(
        "a ledger entry that comes again", "ledger.py", "if txn and done is not None and done >= txn[1]:", "if False:",
        "test_ledger.py",
    ),
    Mutation(
        "a checkpoint that was set back", "checkpoints.py", "return highest if highest > newest else None", "return None",
        "test_damage.py::test_damage_is_seen_and_named_in_one_line_before_anything_is_read",
    ),
    Mutation(
        "a table that was set back", "marks.py", "if held < version:", "if False:",
        "test_damage.py::test_damage_is_seen_and_named_in_one_line_before_anything_is_read",
    ),
    Mutation(
        "another hand in Bronze", "damage.py", "if operation := _foreign(contract, settings, version):", "if operation := None:",
        "test_damage.py::test_damage_is_seen_and_named_in_one_line_before_anything_is_read",
    ),
    Mutation(
        "a feed that was cleaned away", "silver.py", "if gone else _lost(", "if None else _lost(",
        "test_damage.py::test_changes_that_were_cleaned_away_before_they_were_read_are_not_passed_over",
    ),
    Mutation(
        "our own session", "session.py", "        yield _running[0]\n", "        yield SparkSession.getActiveSession()\n",
        "test_damage.py::test_damage_is_repaired_by_the_command_that_is_named",
    ),
    Mutation(
        "values in messages of the engine", "gold.py", "failed[gold.name] = _reason(error)", "failed[gold.name] = str(error)",
        "test_containment.py::test_a_cell_appears_in_no_message_log_or_ledger",
    ),
    Mutation(
        "an append that comes again", "small.py", "return ledger.transaction_version(table, txn.app) >= txn.version", "return False",
        "test_small.py::test_rows_of_a_transaction_that_the_table_has_are_not_appended_again",
    ),
    Mutation(
        "a key that goes away", "small.py", '.when_matched_delete("NOT new._put")', '.when_matched_delete("false")',
        "test_small.py::test_a_merge_without_spark_leaves_the_rows_and_the_changes_of_sparks",
    ),
    Mutation(
        "a file that is replaced without Spark", "small.py", "return least is None or most is None or any(",
        "return least is not None and most is not None and any(",
        "test_small.py::test_of_a_part_only_files_that_may_hold_it_are_counted",
    ),
    Mutation(
        "statistics that are not exact", "compaction.py",
        "column_properties=dict.fromkeys(inexact, none) or None", "column_properties=None",
        "test_small.py::test_no_file_is_passed_over_for_what_its_statistics_say",
    ),
    Mutation(
        "empty partition", "rules/judgement.py", 'value = F.when(value != "", value)', "pass",
        "test_pipeline.py::test_an_empty_string_as_a_partition_is_null_and_its_key_is_found_again",
    ),
    Mutation(
        "joined files are no work", "checkpoints.py", "and not _only_joins_files(commit)", "and True",
        "test_pending.py::test_joined_files_are_no_work_for_gold_and_leave_it_right",
    ),
    Mutation(
        "packed files", "bronze.py", "and not any(probe.is_packed(f.path) for f in files)", "",
        "test_pipeline.py::test_rows_of_a_packed_file_are_not_held_in_memory_however_small_it_is",
    ),
    Mutation(
        "groups that a row left", "gold.py", "groups = changes.groupBy(",
        """groups = changes.where("_change_type <> 'update_preimage'").groupBy(""",
        "test_pipeline.py::test_a_null_group_is_kept_up_to_date_like_any_other",
    ),
    Mutation(
        "guard on lost rows", "run.py", "fresh >= held * (1 - _MAX_LOSS)", "fresh >= 0",
        "test_rebuild.py::test_a_rebuild_that_would_lose_rows_writes_nothing_until_it_is_forced",
    ),
    Mutation(
        "sequence guard", "rules/versions.py", ".when(newer | equal, UPDATE)", ".when(newer | ~newer, UPDATE)",
        "test_versions.py",
    ),
    Mutation(
        "one row per key in a batch", "rules/versions.py", '.where("_rank = 1")', '.where("_rank > 0")',
        "test_delivery.py::test_b5_b6_one_key_many_times_in_one_batch_ends_in_one_row",
    ),
    Mutation(
        "transaction ids", "tables.py", '.option("txnAppId", txn.app).option("txnVersion", txn.version)', "",
        "test_recovery.py::test_a_crash_after_any_write_and_a_rerun_give_the_same_tables_as_no_crash",
    ),
    Mutation(
        "the newest of a key in a small batch", "rules/in_memory.py", "ranks[n] > ranks[newest[key]]", "ranks[n] < ranks[newest[key]]",
        "test_in_memory.py::test_a_small_batch_is_decided_as_spark_decides_it",
    ),
    Mutation(
        "a winner that went away in a small batch", "rules/in_memory.py",
        "left = [n for key, n in held.items() if is_lost[n] and key not in newest]", "left: list[int] = []",
        "test_in_memory.py::test_a_small_batch_is_decided_as_spark_decides_it",
    ),
    Mutation(
        "netting of a small batch", "rules/in_memory.py", "has_come and went.get(name, version) <= version", "has_come",
        "test_in_memory.py::test_rows_that_came_and_went_are_netted_as_spark_nets_them",
    ),
    Mutation(
        "what a version checksum says", "checksums.py", '"numFiles": len(sizes)', '"numFiles": len(sizes) + 1',
        "test_checksums.py::test_every_version_of_every_table_has_a_checksum_that_spark_finds_right",
    ),
    Mutation(
        "retraction", "silver.py", "_net(judged, seen) if seen.gone else (judged, None)", "_net(judged, seen)[0], None",
        "test_pipeline.py::test_a_corrected_file_corrects_everything_below_it",
    ),
    Mutation(
        "retraction from a small quarantine", "small.py", "set(_texts(gone, identity)) - set(_texts(fresh, identity)) | ", "",
        "test_pipeline.py::test_a_key_and_a_group_without_rows_disappear_and_so_does_their_quarantine",
    ),
    Mutation(
        "retraction from a large quarantine", "silver.py", 'for c in _IDENTITY))\n                .whenMatchedDelete("NOT new._put")',
        'for c in _IDENTITY))\n                .whenMatchedDelete("false")',
        "test_pipeline.py::test_a_key_and_a_group_without_rows_disappear_and_so_does_their_quarantine",
    ),
    Mutation(
        "netting of unchanged rows", "rules/versions.py", "theirs_at > mine_at if after else theirs_at < mine_at", "theirs_at.isNull()",
        "test_versions.py",
    ),
    Mutation(
        "decision from Bronze", "rules/versions.py", '.when(F.col("_lost"), REDECIDE)', '.when(F.col("_lost"), DELETE)',
        "test_versions.py",
    ),
    Mutation(
        "partitions of the rows that move", "silver.py", 'F.col(f"_old.{sqltext.quoted(p)}")', 'F.col(f"_new.{sqltext.quoted(p)}")',
        "test_model.py::test_a_key_that_moves_to_another_partition_is_found_in_its_old_one",
    ),
    Mutation(
        "partitions of the rows that move, in memory", "silver.py", "{*decided.moved[p].to_pylist(), *decided.out[p].to_pylist()}",
        "{*decided.put[p].to_pylist()}", "test_model.py::test_a_key_that_moves_to_another_partition_is_found_in_its_old_one",
    ),
    Mutation(
        "meaning of the table", "meaning.py", "if all(d.effect is Effect.ADDS for d in found):", "if True:",
        "test_meaning.py::test_a_change_of_meaning_is_refused_without_a_write_while_bronze_goes_on_and_a_rebuild_applies_it",
    ),
    Mutation(
        "order on replay", "silver.py", "if seen.refused < seen.rows or", "if seen.refused > seen.rows or",
        "test_meaning.py::test_a_row_that_comes_back_from_quarantine_does_not_win_over_a_newer_one",
    ),
    Mutation(
        "checkpoint before a recomputation", "silver.py", 'checkpoints.discard(settings.checkpoint("silver", contract.dataset))', "pass",
        "test_rebuild.py::test_a_delivery_that_came_and_went_around_a_silver_rebuild_that_died_leaves_nothing",
    ),
    Mutation(
        "look at files before a commit", "bronze.py", "return [f for f in files if _is_untouched(folder, f)]",
        "return list(files)",
        "test_recovery.py::test_of_a_file_that_is_replaced_while_it_is_read_nothing_is_taken",
    ),
    Mutation(
        "files that a stream still reads", "operations/maintain.py", "[path for path in let_go if path not in needed]", "list(let_go)",
        "test_maintain.py::test_what_the_streams_have_still_to_read_stays_however_old_it_is",
    ),
    Mutation(
        "keys that were forgotten", "bronze.py",
        "return forgotten.left_out(rows, ingest.contract, ingest.run.settings)", "return rows",
        "test_forget.py::test_no_delivery_replay_or_rebuild_brings_it_back",
    ),
    Mutation(
        "change data of a forgotten key", "forget/purge.py", "compaction.remove(table, compaction.let_go(table, 0))", "pass",
        "test_forget.py::test_after_it_no_byte_under_the_home_holds_the_key_or_what_its_rows_said",
    ),
    Mutation(
        "commits that Spark opens again", "checkpoints.py", 'for offset in (reached, began) if offset)', 'for offset in (reached,))',
        "test_damage.py::test_changes_that_were_cleaned_away_before_they_were_read_are_not_passed_over",
    ),
)  # fmt: skip


def survives(mutation: Mutation, copy: Path) -> bool:
    file = copy / "streaming_jobs" / mutation.file
    original = file.read_text("utf-8")
    if original.count(mutation.text) != 1:
        raise SystemExit(f"{mutation.name}: the text is {original.count(mutation.text)} times in {mutation.file}; correct the mutation.")
    file.write_text(original.replace(mutation.text, mutation.instead), "utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not deep", "-p", "no:cacheprovider", f"tests/{mutation.test}"]
        code = subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode
    finally:
        file.write_text(original, "utf-8")
    if code not in (0, 1):
        raise SystemExit(f"{mutation.name}: {mutation.test} did not run (pytest ended in {code}).")
    return code == 0


def main(names: list[str]) -> int:
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for part in ("streaming_jobs", "tests", "conf"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / ".jars").symlink_to(ROOT / ".jars")
        for mutation in MUTATIONS:
            if names and mutation.name not in names:
                continue
            alive = survives(mutation, copy)
            survivors += alive
            print(f"{'SURVIVES' if alive else 'caught'}: without {mutation.name}, {mutation.test}", flush=True)
    return min(survivors, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
