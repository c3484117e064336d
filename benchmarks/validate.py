"""How long a validation takes and how much memory, against other ways to ask the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.progress import track

from benchmarks.eighteen import CATEGORIES, COUNTRIES, CURRENCIES
from benchmarks.harness import console, record
from benchmarks.peers import ROOT, environment

ABOUT = """
Eighteen expectations (`benchmarks/eighteen.py`) on generated card transactions of 15 columns in Parquet, all met. Each
measurement is a process of its own: it loads everything, validates a thousand rows to warm up, and then validates the
files once. Seconds are of that one validation, imports excluded. Peak memory is of the whole process; "grown" is what
the validation added to what loading and warming up had taken. The hand-written SQL answers the same questions in two
statements on the same DuckDB, and gives a yes or no where Great Expectations gives results that its Data Docs can show.
Pandera ran the same checks on polars.
"""

GX, SQL, PANDERA = "GX on pandas", "hand-written SQL", "pandera on polars"
_SIDES = {"ours": "ours", GX: "gx_on_pandas", SQL: "sql", PANDERA: "pandera"}
_PEERS = ("pandera[polars]==0.35.0", "polars==2.1.0")
#: Rows -> how many files, and how many measurements.
_SIZES = {1_000_000: (4, 3), 10_000_000: (10, 3)}
_NAMES = {1_000_000: "1 million rows", 10_000_000: "10 million rows"}

TARGETS = {
    ("1 million rows", GX): 3.0,
    ("10 million rows", GX): 3.0,
    ("10 million rows", SQL): 0.667,
    ("peak memory, 1 million rows", GX): 3.0,
    ("peak memory, 10 million rows", GX): 3.0,
}
REASONS = {
    ("peak memory, 1 million rows", GX): (
        "loading Great Expectations takes about 330 MB on either side, nearly all that ours takes; what the "
        "validation itself adds stands in the row of what it has grown by"
    ),
}
_BENCH = ROOT / ".lastgood" / "bench" / "validate"


def run() -> None:
    """Measure all sides in turns, the larger data last."""
    peers = environment(*_PEERS) / "python"
    small = data(1_000, 1)
    for rows, (parts, n) in _SIZES.items():
        files = data(rows, parts)
        figures: dict[str, dict[str, list[float]]] = {}
        for _ in track(range(n), f"validate: {_NAMES[rows]}", console=console, transient=True):
            for name, side in _SIDES.items():
                python = peers if name == PANDERA else Path(sys.executable)
                for figure, value in _measured(python, side, files, small[0]).items():
                    figures.setdefault(figure, {}).setdefault(name, []).append(value)
        record("validate", _NAMES[rows], "s", figures["seconds"])
        record("validate", f"peak memory, {_NAMES[rows]}", "MB", figures["megabytes"])
        record("validate", f"memory grown, {_NAMES[rows]}", "MB", figures["grown"])


def _measured(python: Path, side: str, files: list[Path], small: Path) -> dict[str, float]:
    """One measurement in a new process."""
    command = [str(python), "-m", "benchmarks.validating", side, *map(str, files), "--", str(small)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{side} failed: {done.stderr[-2_000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def data(rows: int, parts: int) -> list[Path]:
    """The generated transactions as Parquet files, made once; the same numbers make the same rows."""
    import duckdb

    folder = _BENCH / str(rows)
    files = [folder / f"part-{part:05d}.parquet" for part in range(parts)]
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        each = rows // parts
        with duckdb.connect() as database:
            for part, file in enumerate(files):
                content = _transactions(rows, part * each, (part + 1) * each)
                database.execute(f"COPY ({content}) TO '{file}' (FORMAT parquet)")
        (folder / "ready").touch()
    return files


def _transactions(rows: int, first: int, end: int) -> str:
    """SQL that makes the rows from ``first`` up to ``end``: every value is a hash of the row's number and a seed."""

    def drawn(seed: int) -> str:
        return f"(hash(i, {seed}) / 18446744073709551616.0)"

    def one_of(values: list[str], seed: int) -> str:
        return f"{values}[1 + (hash(i, {seed}) % {len(values)})::INT]"

    return f"""
        SELECT printf('%016x', hash(i)) AS transaction_id,
            TIMESTAMPTZ '2026-09-01 00:00:00+00' + to_microseconds(i * {2_592_000_000_000 // rows}) AS event_time,
            100000 + (hash(i, 1) % {max(rows // 20, 1)})::BIGINT AS customer_id,
            10000 + (hash(i, 2) % 6000)::BIGINT AS merchant_id,
            {one_of(CATEGORIES, 3)} AS merchant_category,
            {one_of(COUNTRIES, 4)} AS country,
            {one_of(CURRENCIES, 5)} AS currency,
            round(0.5 + 100 * -ln(1 - {drawn(6)}), 2) AS amount,
            {one_of(["pos", "online", "atm"], 7)} AS channel,
            hash(i, 8) % 2 = 0 AS card_present,
            {one_of(["chip", "contactless", "swipe", "manual", "ecom"], 9)} AS entry_mode,
            CASE WHEN {drawn(10)} >= 0.03 THEN 420 * -ln(1 - {drawn(11)}) END AS device_age_days,
            50 * -ln(1 - {drawn(12)}) AS distance_from_home_km,
            (hash(i, 13) % 6)::BIGINT AS transactions_last_24h,
            {drawn(14)} < 0.025 AS is_fraud
        FROM range({first}, {end}) AS numbers(i)
    """  # noqa: S608 - numbers and constants only
