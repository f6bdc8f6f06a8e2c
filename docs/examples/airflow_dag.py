"""streaming-jobs from Airflow 3: an increment every quarter of an hour, each exit code taken as it is meant.

The worker has the program in /opt/streaming-jobs and the home in /srv/events, both on its own disk. BashOperator knows one list of
exit codes that skip (`skip_on_exit_code`) and retries every other failure; 2 and 4 would be tried again in vain. So the command prints
its exit code last, and `judge` decides. Older releases of Airflow 3 have the exceptions in `airflow.exceptions`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

JOB = "/opt/streaming-jobs/.venv/bin/streaming-jobs --home /srv/events"

DONE = (0, 3)  # 3: and input was refused, which is the business of whoever delivers it
BUSY = (75,)  # another process does the work
AGAIN = (1, 129, 130, 143)  # an error nobody foresaw, or stopped by a signal: what was committed stays, the rest comes again
NEEDS_SOMEBODY = (2, 4)  # a correction; damaged state


def judge(last_line: str) -> int:
    """The exit code that the command printed last, where it is one to go on with. One that is not listed, as of a kill, is tried again."""
    code = int(last_line)
    if code in DONE:
        return code
    said = f"streaming-jobs ended in {code}; its lines above say what to do, docs/exit-codes.md what was applied"
    if code in BUSY:
        raise AirflowSkipException(said)
    if code in NEEDS_SOMEBODY:
        raise AirflowFailException(said)  # not retried
    raise AirflowException(said)


# A run takes in whatever lies there, so there is nothing to catch up with, and no use for two at a time.
with DAG(
    dag_id="streaming_jobs",
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
) as dag:
    # Airflow ends a task by SIGTERM to its process group. The trap keeps the shell there until the batch in hand is finished.
    run = BashOperator(
        task_id="run",
        bash_command=f"trap : TERM; {JOB} run; echo $?",
        output_processor=judge,
        retries=1,
        retry_delay=timedelta(minutes=1),
    )

    @task
    def refused(code: int) -> None:
        """Red when input was refused: an alert for whoever delivers the files. What waits for the tables waits for `run`, not for this."""
        if code == 3:
            raise AirflowFailException("files were rejected or held back, or a quality limit was crossed: see the lines of the task run")

    refused(run.output)
