"""What is going to happen in one trial: drawn from its seed alone, so that the same seed is the same trial."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

#: ``both``: the dataset and the model. ``asked``: people have to say yes. ``vain``: the fix does not help. ``gone``: it
#: is over by the time that somebody looks. ``stale``: who is at work is held up until its lease has run out.
Story = Literal["data", "model", "both", "asked", "vain", "gone", "stale"]
What = Literal[
    "kill run",
    "kill web",
    "kill postgres",
    "kill worker",
    "kill fork server",
    "kill prefect",
    "kill all",
    "person",
    "spoil",
]

#: How often each kind of story is told.
STORIES: dict[Story, int] = {"data": 30, "model": 34, "both": 8, "asked": 10, "vain": 8, "gone": 5, "stale": 5}

#: Of so many trials one is of the whole stack: Prefect's server, the warm worker and the intake as they are run.
WHOLE = 50

#: What is killed there, and how often.
OF_WHOLE = {"run": 3, "worker": 4, "fork server": 2, "web": 3, "prefect": 4, "all": 2, "spoil": 3, "person": 1}

#: How an answer is spoilt: not sent on at all, or done and the answer lost.
SPOILT = ("500", "503", "reset", "500 after", "reset after", "silence after")

#: About how many writes to the ledger a story's section makes; an instant beyond the last one never comes.
WRITES: dict[Story, int] = {"data": 21, "model": 13, "both": 14, "asked": 14, "vain": 17, "gone": 4, "stale": 1}

#: About how many requests it makes, of S3 and of MLflow.
REQUESTS: dict[Story, tuple[int, int]] = {
    "data": (35, 17),
    "model": (8, 15),
    "both": (39, 19),
    "asked": (8, 16),
    "vain": (8, 24),
    "gone": (8, 6),
    "stale": (1, 1),
}


@dataclass(frozen=True)
class Deed:
    """One thing that goes wrong, and when.

    At a write to the ledger, at a request, at a change of production, right after a spoilt answer, or after a time.
    """

    what: What
    #: ``write 7 after`` of the so-many-th process, ``request 5 before``, or ``12 ms`` after the process began (of the
    #: whole stack: after the alerts were sent).
    when: Literal["write", "request", "change", "spoilt", "ms"]
    number: int
    side: Literal["before", "after"] = "after"
    #: Of a kill: which process of its kind. Of a spoilt answer: how many in a row.
    count: int = 0
    #: At whose writes: a section's, or the web process's.
    of: Literal["section", "web"] = "section"
    #: Whose requests count, and how the answer is spoilt; or what a person moves where.
    service: str = ""
    how: str = ""
    #: Whether only requests that change something count.
    writes: bool = False

    def __str__(self) -> str:
        how = f" {self.service} {self.how}".rstrip()
        return f"{self.what}{how} at {self.when} {self.number} {self.side}, {self.count}"


@dataclass(frozen=True)
class Script:
    """A trial's story and what goes wrong in it."""

    seed: int
    story: Story
    deeds: tuple[Deed, ...]
    #: Whether somebody says yes where they are asked.
    yes: bool
    #: How many alerts come besides.
    others: int
    #: Whether it is told by the whole stack.
    whole: bool = False

    @staticmethod
    def of(seed: int, database: str, only: str = "all") -> Script:
        """The script of this seed. ``only``: ``model`` for that story, ``model:person`` for that kind of deed in it.

        ``whole``: any story of the whole stack, ``whole:prefect`` with that kind of deed.
        """
        rng = Random(f"{seed} {database}")  # noqa: S311  # it draws trials, and guards nothing
        [story] = rng.choices(list(STORIES), list(STORIES.values()))
        wanted, _, kind = only.partition(":")
        whole = wanted == "whole" or (wanted == "all" and _is_whole(seed))
        if wanted not in ("all", "whole"):
            story = wanted  # type: ignore[assignment]  # one of the stories
        if whole and story == "stale":
            story = "model"
        draw = _deed_of_whole if whole else _deed
        deeds = [draw(rng, story, database, kind) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
        if story == "stale":
            deeds = []
        elif any(deed.writes for deed in deeds) and rng.random() < 0.5:
            service = next(deed.service for deed in deeds if deed.writes)
            moves, where = "alias" if service == "mlflow" else "pointer", rng.choice(("own", "broken"))
            deeds.append(Deed("person", "spoilt", 1, service=moves, how=where))
        elif rng.random() < 0.35 and not any(deed.what == "person" for deed in deeds):
            deeds.append(_person(rng, story))
        return Script(seed, story, tuple(deeds), yes=rng.random() < 0.8, others=rng.choice((0, 0, 0, 1)), whole=whole)


def _is_whole(seed: int) -> bool:
    """By turns an odd and an even one, as every other trial is on the other database."""
    return seed % WHOLE == seed // WHOLE % 2


def _deed_of_whole(rng: Random, story: Story, database: str, kind: str) -> Deed:
    kinds = OF_WHOLE | ({"postgres": 2} if database == "postgresql" else {})
    [drawn] = rng.choices(list(kinds), list(kinds.values()))
    kind = kind or drawn
    if kind in ("spoil", "person"):
        return _deed(rng, story, database, kind)
    side: Literal["before", "after"] = rng.choice(("before", "after"))
    what: What = f"kill {kind}"  # type: ignore[assignment]  # one of those
    if kind == "web" and rng.random() < 0.4:  # the first write is made when it starts, and the outbox makes some
        return Deed(what, "write", rng.randint(1, 6), side, of="web")
    if rng.random() < 0.7:
        return Deed(what, "write", rng.randint(1, WRITES[story]), side, rng.choice((0, 0, 0, 1)))
    return Deed(what, "ms", rng.randint(1, 6000))


def _deed(rng: Random, story: Story, database: str, kind: str) -> Deed:
    kinds = {"run": 8, "web": 3, "spoil": 8, "person": 2, "postgres": 2 if database == "postgresql" else 0}
    [drawn] = rng.choices(list(kinds), list(kinds.values()))
    kind = kind or drawn
    side: Literal["before", "after"] = rng.choice(("before", "after"))
    if kind == "run":
        which = rng.choice((0, 0, 0, 1))
        if rng.random() < 0.2:
            return Deed("kill run", "change", rng.choice((1, 1, 2)), side, which)
        if rng.random() < 0.7:
            return Deed("kill run", "write", rng.randint(1, WRITES[story]), side, which)
        return Deed("kill run", "ms", rng.randint(1, 1500), count=which)
    if kind == "web":
        if rng.random() < 0.6:
            return Deed("kill web", "write", rng.randint(1, 2), side, of="web")
        return Deed("kill web", "ms", rng.randint(1, 150), of="web")
    if kind == "postgres":
        if rng.random() < 0.5:
            return Deed("kill postgres", "write", rng.randint(1, WRITES[story]), side, 0)
        return Deed("kill postgres", "ms", rng.randint(1, 1500))
    if kind == "person":
        return _person(rng, story)
    service = rng.choice(("s3", "mlflow")) if story in ("data", "both") else rng.choice(("mlflow", "mlflow", "s3"))
    writes = rng.random() < 0.6
    number = rng.choice((1, 1, 1, 2)) if writes else rng.randint(1, REQUESTS[story][service == "mlflow"])
    times = rng.choice((1, 1, 1, 1, 2, 3, 9))
    return Deed("spoil", "request", number, count=times, service=service, how=rng.choice(SPOILT), writes=writes)


def _person(rng: Random, story: Story) -> Deed:
    moves = rng.choice(("alias", "pointer")) if story in ("data", "both") else "alias"
    where = rng.choice(("own", "own", "broken"))
    side: Literal["before", "after"] = rng.choice(("before", "after"))
    if rng.random() < 0.6:
        which = rng.choice((0, 1)) if story == "asked" else 0  # people are asked between the first and the second
        return Deed("person", "write", rng.randint(1, WRITES[story]), side, which, service=moves, how=where)
    return Deed("person", "request", rng.randint(1, sum(REQUESTS[story])), side, service=moves, how=where)
