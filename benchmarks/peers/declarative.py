"""Spark Declarative Pipelines of Spark 4.2: the tables of `declarative_tables.py`, brought up to date by `spark-pipelines run`.

    python -m benchmarks.peers.declarative HOME

The pattern of Spark's documentation, "Spark Declarative Pipelines Programming Guide": a streaming table for Bronze, materialized
views for Silver and Gold, here with the format Delta and a catalog that lasts (Hive's, in a Derby database below checkpoints).
Silver is a materialized view because AUTO CDC, which would be the way to keep the newest row of a key, is refused for Delta in 4.2:
[AUTOCDC_TARGET_DOES_NOT_SUPPORT_MERGE] "the target table (format: delta) does not support row-level operations".

Every run makes the materialized views again from everything, also a run without news. The file stream knows a file by its path: a
corrected file under the same name is not seen. The first run starts one more JVM, which makes the three schemas.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from pyspark.sql import SparkSession

from benchmarks.peers import session

ROOT = Path(__file__).resolve().parent.parent.parent
TABLES = Path(__file__).with_name("declarative_tables.py")


def defaults(home: Path, own: Path) -> dict[str, str]:
    """For a `spark-defaults.conf`: of settings given on the command line the server that the tool starts sees only some."""
    conf = session.conf(home)
    del conf["spark.master"]  # the tool gives it
    # The tool's server finds a data source there, but not in a jar of `spark.jars`.
    conf["spark.driver.extraClassPath"] = conf.pop("spark.jars").replace(",", os.pathsep)
    conf["spark.driver.extraJavaOptions"] += f" -Dderby.system.home={own}"
    conf["spark.connect.grpc.binding.address"] = "127.0.0.1"
    conf["spark.sql.sources.default"] = "delta"
    conf["spark.sql.catalogImplementation"] = "hive"
    conf["spark.hadoop.javax.jdo.option.ConnectionURL"] = f"jdbc:derby:;databaseName={own}/metastore;create=true"
    conf["spark.sql.warehouse.dir"] = str(home / "data")
    return conf


def set_up(home: Path, own: Path) -> None:
    """What is there before a pipeline: its spec, its definitions, its settings."""
    (own / "conf").mkdir(parents=True, exist_ok=True)
    shutil.copy(TABLES, own)
    spec = {
        "name": "events",
        "storage": (own / "storage").as_uri(),
        "configuration": {"peer.raw": str(home / "data/raw")},
        "libraries": [{"glob": {"include": TABLES.name}}],
    }
    (own / "spark-pipeline.yml").write_text(yaml.safe_dump(spec))
    settings = defaults(home, own)
    (own / "conf/spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))


def make_schemas(home: Path) -> None:
    """A pipeline makes tables, not schemas."""
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    for name in ("bronze", "silver", "gold"):
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS {name} LOCATION '{home / 'data' / name}'")
    spark.stop()


def main(home: Path) -> None:
    own = home / "checkpoints/declarative"
    environment = {
        **os.environ,
        **session.environment(),
        "SPARK_CONF_DIR": str(own / "conf"),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),  # its packages may lie beside ours
    }
    if not (own / "made").exists():
        set_up(home, own)
        schemas = [sys.executable, "-m", "benchmarks.peers.declarative", "--schemas", str(home)]
        subprocess.run(schemas, env=environment, check=True)
        (own / "made").touch()
    tool = Path(environment["SPARK_HOME"]) / "bin/spark-pipelines"
    spec = ["--spec", str(own / "spark-pipeline.yml")]
    subprocess.run([str(tool), "run", *spec, "--remote", "local[2]"], env=environment, cwd=own, check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--schemas":
        make_schemas(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]).absolute())
