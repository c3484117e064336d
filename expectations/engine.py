"""Run a dataset's suite over its Parquet files, and say plainly what was found.

Great Expectations asks its questions in SQL and DuckDB answers them straight from the files, so the data is
never copied into Python. Three things that Great Expectations would pass over are held here: a suite from
which an entry was dropped is refused, an expectation that could not be evaluated is not taken for bad data,
and no data is not taken for good data.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import expectations
from expectations.answers import CannotValidate, Failure, as_json, error_of, failure, no_answer, shortened
from expectations.asking import ask
from expectations.comparing import ReferenceOf, prepared
from expectations.configurations import worked_out_once
from expectations.parquet import draw, opened
from expectations.progress import watched
from expectations.sampling import divided
from expectations.validation import Validation
from incidents.models import digest, now

__all__ = ["CannotValidate", "Failure", "Validation", "declare", "entries", "fingerprint", "validate"]

#: The longest list that a stored result holds, unless the caller asks for a longer sample.
_LONGEST_LIST = 50
_SUITE_NAME = re.compile(r"[a-z][a-z0-9_]*")


def declare(name: str, entries: Sequence[Any]) -> Any:
    """Build an ``ExpectationSuite`` of directly constructed expectations, and note how many there are.

    Great Expectations logs and drops an entry that it can't read, so anything else than a constructed
    expectation is refused, and ``validate`` compares the note with what the suite still holds.

    Raises:
        CannotValidate: an entry is not a constructed expectation; says which one.
    """
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

    for position, entry in enumerate(entries):
        if not isinstance(entry, Expectation):
            raise CannotValidate(
                f"entry {position} of the suite {name!r} is {type(entry).__name__}, not an expectation: "
                "construct it from great_expectations.expectations"
            )
    return ExpectationSuite(name, expectations=list(entries), meta={"declared": len(entries)})


def validate(
    suite: str,
    files: Sequence[Path],
    *,
    sample: int = 20,
    sample_rows: int | None = None,
    reference_of: ReferenceOf | None = None,
    moment: datetime | None = None,
    timely: bool = False,
) -> Validation:
    """Run the suite ``expectations.<suite>`` over Parquet files that together are one version of a dataset.

    Failures come with at most ``sample`` keys of rows. Validations in several threads do not touch one another.
    Of a version with more rows than ``sample_rows``, about so many are looked at where that can tell; whether a value
    repeats, how many rows there are and the like are asked of all rows all the same.
    What compares with the version last verified good is asked where ``reference_of`` knows one; elsewhere it is
    skipped, and the verdict says so. What that version tells nothing of could not be evaluated.
    A time later than ``moment``, which is now, is wrong in any version; how old the newest is counts where ``timely``.

    Raises:
        CannotValidate: no such suite, a suite that lost an entry, or files that DuckDB can't read.
    """
    from great_expectations import __version__ as version

    module = _load(suite)
    declared = _entries(suite, module)
    ready = prepared(declared, reference_of, moment or now(), timely)
    asked, skipped = ready.entries, ready.skipped
    with worked_out_once(), opened(files) as (execution, rows, columns):
        keys = [module.KEY] if module.KEY in columns else []
        unasked = {position: f"not asked: {why}" for position, why in skipped.items()} | ready.unknown
        wanted = {position: entry for position, entry in enumerate(asked) if position not in unasked}
        parts: Mapping[str, Mapping[int, Any]] = {"data": wanted}
        sampled = None
        if sample_rows is not None and sample_rows < rows:
            sampled, parts = draw(execution, files, rows, sample_rows), divided(wanted)
        told: dict[int, Any] = {position: no_answer(asked[position], why) for position, why in unasked.items()}
        with watched(execution, suite):
            for table, part in parts.items():
                told |= ask(execution, table, part, sample=sample, keys=keys)
        answers = [told[position] for position in range(len(asked))]
    plain = [as_json(answer) for answer in answers]
    failures = [
        failure(answer, module.KEY, sample)
        for position, answer in enumerate(plain)
        if position not in skipped and not answer["success"]
    ]
    counted = len(asked) - len(skipped)
    return Validation(
        suite=suite,
        fingerprint=_fingerprint(declared),
        rows=rows,
        sampled=sampled,
        expectations=len(asked),
        evaluated=sum(not error_of(answer) for answer in answers),
        skipped=tuple(skipped.values()),
        reference=ready.reference,
        failures=tuple(sorted(failures, key=lambda one: one.badness)),
        result={
            "success": not failures,
            "suite_name": suite,
            "results": [shortened(answer, max(sample, _LONGEST_LIST)) for answer in plain],
            "statistics": {
                "evaluated_expectations": counted,
                "successful_expectations": counted - len(failures),
                "unsuccessful_expectations": len(failures),
                "success_percent": 100 * (1 - len(failures) / counted) if counted else None,
            },
            "meta": {
                "great_expectations_version": version,
                "batch_spec": {"data_asset_name": suite, "rows": rows, "sampled": sampled},
                "run_id": {"run_name": suite, "run_time": now().isoformat()},
            },
        },
    )


def entries(suite: str) -> list[Any]:
    """The expectations of a suite, all of them.

    Raises:
        CannotValidate: no such suite, or a suite that lost an entry.
    """
    return _entries(suite, _load(suite))


def fingerprint(suite: str) -> str:
    """The same for as long as the suite expects the same: a verdict by another one says nothing of this one.

    Raises:
        CannotValidate: no such suite, or a suite that lost an entry.
    """
    return _fingerprint(entries(suite))


def _fingerprint(entries: Sequence[Any]) -> str:
    told = [entry.configuration.to_json_dict() for entry in entries]
    return digest([{name: value for name, value in one.items() if name != "id"} for one in told])[:16]


def _load(suite: str) -> ModuleType:
    """Import a suite's module by its name, which may come from a person's playbook."""
    modules = {found.name for found in pkgutil.iter_modules(expectations.__path__)}
    if _SUITE_NAME.fullmatch(suite) and suite in modules:
        module = importlib.import_module(f"expectations.{suite}")
        if hasattr(module, "suite"):
            return module
    known = [name for name in sorted(modules) if hasattr(importlib.import_module(f"expectations.{name}"), "suite")]
    raise CannotValidate(f"there is no suite {suite!r}; the known ones are: {', '.join(known)}")


def _entries(suite: str, module: ModuleType) -> list[Any]:
    """The suite's expectations, all of them or none."""
    built = module.suite()
    declared = (built.meta or {}).get("declared")
    if declared != len(built.expectations):
        raise CannotValidate(
            f"the suite {suite!r} declares {declared} expectations and holds {len(built.expectations)}: "
            "build it with expectations.engine.declare, which lets none be dropped"
        )
    return list(built.expectations)
