"""The Spark session of the peers that run on Spark: what a good engineer sets for one machine of two cores."""

from __future__ import annotations

import os
from pathlib import Path

from pyspark.sql import SparkSession

from streaming_jobs import jars, settings


def conf(home: Path) -> dict[str, str]:
    """HEAP in the environment is the size of the heap; 6g without it."""
    return {
        "spark.master": "local[2]",
        "spark.driver.memory": os.environ.get("HEAP", "6g"),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
        "spark.jars": ",".join(str(jar) for jar in jars.verify(settings.load(home).jars)),
        "spark.local.dir": str(home / "checkpoints/spill"),
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
        # On a local disk the usual one starts some helper processes for each file of a checkpoint.
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
    }


def environment() -> dict[str, str]:
    """The Spark of this environment, whatever the shell names, on the loopback only."""
    return {"SPARK_HOME": str(jars.spark_home()), "SPARK_LOCAL_IP": "127.0.0.1", "TZ": "UTC"}


def start(home: Path) -> SparkSession:
    os.environ.update(environment())
    builder = SparkSession.builder.appName("peer")
    for key, value in conf(home).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
