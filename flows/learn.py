"""Learn a first suite from a good version of a dataset, for a person to read and commit."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.states import Completed

from flows.case import KEEPS_NOTHING, step
from incidents import known_good
from incidents.ledger import ledger
from incidents.models import Health
from incidents.playbook import playbook
from incidents.settings import settings
from remediations.datasets import open_store


class CannotLearn(Exception):
    """There is no version to learn from; the message says what to name."""


@flow(**KEEPS_NOTHING)
async def learn(dataset: str, version: str | None = None) -> Any:
    """What does a good version look like, as a suite to begin with?

    1. Take the version that was named, or else the newest verified good.
    2. Write down its types, empty values, ranges, known values, what is unique and how many rows there are, with room;
       and that later versions are to be like the last good one, in shares and in number, and as fresh.
    3. Leave it as a Python file beside the record and as an artifact; it decides nothing until a person commits it.

    Args:
        dataset: The dataset, as the playbook declares it.
        version: The version to learn from. Empty: the newest verified good.
    """
    file = await step(f"learn from {dataset}", learned, dataset, version)
    page = f"Learned and not in force: read it, correct it, commit it.\n\n```python\n{file.read_text()}```\n"
    await acreate_markdown_artifact(key=f"suite-{file.stem.replace('_', '-')}", markdown=page)
    return Completed(name="Learned", message=f"{file}: read it, correct it, commit it to expectations", data=str(file))


def learned(dataset: str, version: str | None) -> Path:
    """The file of the learned suite, under lastgood's home."""
    from expectations.learning import learn as suite_of

    declared = playbook().datasets.get(dataset)
    if declared is None:
        raise CannotLearn(f"the playbook declares no dataset {dataset!r}")
    good = known_good.versions(ledger(), f"dataset:{dataset}", Health.healthy)
    wanted = version or max(good, default=None)
    if wanted is None:
        raise CannotLearn(f"no version of {dataset} was verified good yet: name the one to learn from")
    name = re.sub(r"[^a-z0-9_]", "_", dataset.lower())
    with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
        store = open_store(declared.store, dataset)
        files = store.fetch(wanted, Path(folder))
        text = suite_of(name, files, f"{dataset} {wanted}", store.manifest(wanted).created_at)
    place = settings().home / "suites" / f"{name}.py"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place
