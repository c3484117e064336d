"""How the values of a column are spread over bins, and how far two such spreads are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from incidents.models import Frozen

#: DuckDB's types of columns that hold numbers; those of DECIMAL say their digits in brackets.
_NUMBERS = frozenset(
    {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
    | {"INTEGER", "UINTEGER", "FLOAT", "DOUBLE", "DECIMAL"}
)
#: And of those that hold one of a few words.
_WORDS = frozenset({"VARCHAR", "BOOLEAN", "ENUM"})
#: A bin in which only one side has rows counts as so many rows of the other, for a logarithm of nothing there is none.
_EMPTY = 0.5
#: The bins for PSI and KL have about the same share of the reference: ten of them, the custom of credit scoring.
_BINS = 10


class Spread(Frozen):
    """How many rows of a column lie in each bin. One of ``edges`` and ``values`` says what the bins are."""

    #: Numbers, ascending: the first bin is up to and with the first of them, the last is above the last.
    edges: tuple[float, ...] = ()
    #: Known values; the last bin is all others.
    values: tuple[str, ...] = ()
    #: One more than there are edges or values.
    counts: tuple[int, ...]
    #: Rows that are null or not a number.
    missing: int

    @property
    def present(self) -> int:
        """Rows that have a value."""
        return sum(self.counts)

    def groups(self) -> list[range]:
        """The bins put together for PSI and KL, by this spread as the reference.

        Numbers: about a tenth of the rows each, and a single value with a tenth of them or more stands alone, so that
        what comes below it shows. Words: each value by itself.
        """
        if self.values:
            return [range(place, place + 1) for place in range(len(self.counts))]
        whole, begin, passed, found = self.present, 0, 0, list[range]()
        for place, count in enumerate(self.counts):
            large, tenths = count * _BINS >= whole, passed * _BINS // whole
            if large and place > begin:
                found.append(range(begin, place))
                begin = place
            passed += count
            if large or (passed < whole and passed * _BINS // whole > tenths):
                found.append(range(begin, place + 1))
                begin = place + 1
        return found if begin == len(self.counts) else [*found, range(begin, len(self.counts))]

    def put(self, groups: Sequence[range]) -> list[int]:
        """The rows in each group."""
        return [sum(self.counts[place] for place in group) for group in groups]

    def label(self, group: range) -> str:
        """A group in words: ``12.5..31``, ``grocery``, ``others``."""
        if self.values:
            return self.values[group.start] if group.start < len(self.values) else "others"
        low = f"{self.edges[group.start - 1]:.6g}" if group.start else ""
        high = f"{self.edges[group.stop - 1]:.6g}" if group.stop <= len(self.edges) else ""
        return low if low == high else f"{low}..{high}"


def psi(expected: Sequence[int], seen: Sequence[int]) -> float:
    """The population stability index of two counts over the same bins: the sum of (p - q) ln(p / q).

    It is symmetric, 0 where the shares are the same; above 0.1 is called a small shift, above 0.25 a large one
    (Siddiqi, Credit Risk Scorecards, 2006). Where one side has no rows in a bin it counts as half a row.
    """
    return sum(psi_of_bins(expected, seen))


def psi_of_bins(expected: Sequence[int], seen: Sequence[int]) -> list[float]:
    """What each bin adds to the index."""
    ours, theirs = sum(expected), sum(seen)
    pairs = [((old or _EMPTY) / ours, (new or _EMPTY) / theirs, old or new) for old, new in _pairs(expected, seen)]
    return [(q - p) * math.log(q / p) if any_rows else 0.0 for p, q, any_rows in pairs]


def ks(expected: Sequence[int], seen: Sequence[int]) -> float:
    """The two-sample Kolmogorov-Smirnov statistic at the bins' edges, 0 to 1: never more than that of all values.

    It is less by no more than the reference's share of the largest bin that holds several values: about 0.01 here.
    """
    ours, theirs = sum(expected), sum(seen)
    steps = zip(accumulate(expected), accumulate(seen), strict=True)
    return max(abs(old * theirs - new * ours) for old, new in steps) / (ours * theirs)


def ks_p_value(statistic: float, ours: int, theirs: int) -> float:
    """How likely a statistic as large is where both samples are of one population, by Kolmogorov's limit."""
    scaled = statistic * math.sqrt(ours * theirs / (ours + theirs))
    if scaled < 0.2:  # the series converges slowly there, and it is 1 to twelve digits
        return 1.0
    return 2 * sum((1.0 if k % 2 else -1.0) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))


def filled(expected: Sequence[int], seen: Sequence[int]) -> list[float]:
    """The reference's shares; a bin that has rows on the other side alone counts as half a row."""
    weights = [float(old) or (_EMPTY if new else 0.0) for old, new in _pairs(expected, seen)]
    return [weight / sum(weights) for weight in weights]


def _pairs(expected: Sequence[int], seen: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(expected, seen, strict=True))


def is_numbers(kind: str) -> bool:
    """Whether a column of this type of DuckDB's has edges."""
    return kind.partition("(")[0] in _NUMBERS


def is_words(kind: str) -> bool:
    """Whether a column of this type of DuckDB's has known values."""
    return kind.partition("(")[0] in _WORDS


def value_of(column: str, kind: str) -> str:
    """A quoted column as what is put into bins, in DuckDB's SQL. Not a number is no value: it fits into no bin."""
    return f"nullif({column}::DOUBLE, 'nan'::DOUBLE)" if is_numbers(kind) else f"{column}::VARCHAR"


def counting(column: str, kind: str, edges: Sequence[float], values: Sequence[str]) -> str | None:
    """An aggregate in DuckDB's SQL that ``counted`` reads; None where the column's type has no such bins."""
    value = value_of(column, kind)
    if edges and is_numbers(kind):
        # with an exponent it is a DOUBLE to the last digit, and without one a DECIMAL
        histogram = f"histogram({value}, [{', '.join(f'{edge:.17e}' for edge in edges)}])"
    elif values and is_words(kind):
        # the others come under an empty text, so no known value may be one
        known = ", ".join("'=" + one.replace("'", "''") + "'" for one in values)
        histogram = f"histogram_exact('=' || {value}, [{known}])"
    else:
        return None
    return f"{{'rows': count(*), 'bins': {histogram}}}"


def counted(answer: Any, edges: Sequence[float], values: Sequence[str]) -> Spread:
    """The spread that DuckDB's answer tells."""
    bins = answer["bins"] or {}
    others = math.inf if edges else ""
    keys: Sequence[float | str] = edges or [f"={value}" for value in values]
    counts = (*(bins.get(key, 0) for key in keys), bins.get(others, 0))
    return Spread(edges=tuple(edges), values=tuple(values), counts=counts, missing=answer["rows"] - sum(counts))
