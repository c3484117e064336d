"""Configurations that are worked out once are what Great Expectations would work out at each look."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import great_expectations.expectations as gxe
import pytest

from demo import transactions
from expectations import engine
from expectations.configurations import worked_out_once


def told(files: list[Path]) -> dict[str, Any]:
    """All that a validation tells, without its time; a sum's last digits are those of the threads that made it."""
    text = engine.validate("transactions", files).model_dump_json()
    found: dict[str, Any] = json.loads(text, parse_float=lambda digits: round(float(digits), 9))
    del found["result"]["meta"]["run_id"]
    return found


@pytest.mark.parametrize("broken", [False, True])
def test_a_validation_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    """Good rows and bad ones are judged and worded as when every look works the configuration out."""
    rows = transactions.generate(20_000)
    files = transactions.write_parquet(transactions.break_feed(rows) if broken else rows, tmp_path)
    ours = told(files)
    monkeypatch.setattr(engine, "worked_out_once", contextlib.nullcontext)
    assert ours == told(files)
    assert bool(ours["failures"]) is broken


def test_a_field_with_another_value_is_seen() -> None:
    """What was worked out of other values does not stand."""
    expectation = gxe.ExpectColumnValuesToNotBeNull(column="amount")
    with worked_out_once():
        assert expectation.configuration.kwargs["column"] == "amount"
        expectation.column = "country"
        assert expectation.configuration.kwargs["column"] == "country"


def test_who_writes_into_a_configuration_writes_into_its_own() -> None:
    """The next look is at what the expectation says."""
    expectation = gxe.ExpectColumnValuesToBeInSet(column="country", value_set=["DE"])
    with worked_out_once():
        first = expectation.configuration
        first.kwargs["value_set"].append("FR")
        first.id = "another"
        assert expectation.configuration.kwargs["value_set"] == ["DE"]
        assert expectation.configuration.id is None


def test_nothing_is_kept_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside it is Great Expectations' own, which works it out at each look; inside it does so once."""
    expectation = gxe.ExpectColumnValuesToNotBeNull(column="amount")
    looks, dump = [], type(expectation).dict

    def dumped(self: Any, **given: Any) -> Any:
        looks.append(self)
        return dump(self, **given)

    monkeypatch.setattr(type(expectation), "dict", dumped)
    with worked_out_once():
        assert [expectation.configuration.type for _ in range(3)] == ["expect_column_values_to_not_be_null"] * 3
        assert len(looks) == 1
    assert [expectation.configuration.type for _ in range(3)] == ["expect_column_values_to_not_be_null"] * 3
    assert len(looks) == 4
