"""What a learned suite looks like as a file: the template that ``learning`` fills in."""

MODULE = '''"""What good data is, learned from {source}: read it and correct it before it decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expectations.engine import declare

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

NAME = {name}
#: The column that names a row in samples of failing rows.
KEY = {key}

#: The columns in their order, each with the type that DuckDB reads from Parquet.
TYPES = {{
{types}}}


def suite() -> ExpectationSuite:
    """The expectations of one published version."""
    import great_expectations.expectations as gxe

    from expectations import arrival, drift

    def differs(column: str, kind: str) -> str:
        name, wanted = column.replace('"', '""'), kind.replace("'", "''")
        return f"typeof(\\"{{name}}\\") <> '{{wanted}}'"

    wrong = " OR ".join(differs(column, kind) for column, kind in TYPES.items())
    return declare(
        NAME,
        [
            gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(TYPES), severity="critical"),
            gxe.UnexpectedRowsExpectation(
                description="every column has its type",
                unexpected_rows_query="SELECT * FROM {{batch}} WHERE " + wrong,  # noqa: S608  # constants
                severity="critical",
            ),
            gxe.ExpectTableRowCountToBeBetween(min_value={least}, max_value={most}, severity="critical"),
            # What follows of drift and arrival is compared with the version last verified good at that moment.
            arrival.ExpectTableRowCountRatioToBeBetween(min_value=0.5, max_value=2, severity="critical"),
{lines}        ],
    )
'''
