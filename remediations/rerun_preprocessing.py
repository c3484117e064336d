"""Have a version of a dataset made anew by the team's own preprocessing. It is nobody's data until it is current."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from incidents.leases import still_ours
from incidents.ledger import ledger
from incidents.models import Category, Health, Plan, Risk, Verdict, digest
from incidents.playbook import Dataset, Playbook, playbook
from incidents.upkeep import Preprocessing
from remediations import deployments
from remediations.base import ANEW, CannotPlan, Conflict, Remediation, declared
from remediations.datasets import DatasetStore, open_store
from remediations.datasets.access import to_publish, to_read
from remediations.datasets.content import ContentStore
from remediations.permissions import Statement


class RerunPreprocessing(Remediation):
    """Run the declared preprocessing again, and publish the version that it makes; the pointer moves when it passes.

    What it makes is published beside the store first, under the job's name, so that it is known which job made what.
    Undone, a run that goes on is ended. What was published stays: versions never change, and nobody is pointed there.
    """

    category: ClassVar[Category] = Category.data
    risk: ClassVar[Risk] = Risk.low
    heals: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "prefect: run the preprocessing's deployment, and cancel its runs",
        "s3:ListBucket BUCKET",
        "s3:GetObject STORE/*, STORE.rerun/*",
        "s3:PutObject STORE/manifests/*, STORE/objects/*",
    )

    dataset: str = Field(description="The dataset, as the playbook declares it.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each dataset in S3 with a preprocessing: read it and what was made beside it, and publish there."""
        needed: list[Statement] = []
        for dataset in book.datasets.values():
            if dataset.preprocessing and dataset.store.startswith("s3:"):
                store = dataset.store.rstrip("/")
                needed += [*to_read(store), *to_read(f"{store}.rerun"), *to_publish(store)]
        return tuple(needed)

    def subject(self) -> str:
        """``dataset:transactions``."""
        return f"dataset:{self.dataset}"

    def plan(self) -> Plan:
        """Name the job, which is the same for as long as the version and the reason are, and where it publishes."""
        self._preprocessing()
        version = self._store().current().version
        name = re.sub("[^A-Za-z0-9]", "-", self.dataset)[:30]
        job = f"lastgood-{name}-{digest([self.dataset, version, ledger().key(self.because)])[:12]}"
        after = {"job": job, "version": version, "store": f"{self._declared().store.rstrip('/')}.rerun/{job}"}
        made = self.made(job)
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"preprocessing:{self.dataset}",
            before=dict(after) if made else {"job": None},
            after=dict(after),
            summary=f"{self.dataset} was made anew after {version}, and is {made}"
            if made
            else f"{self.dataset}: make a version anew after {version}, by {self._preprocessing().deployment}",
            because=(f"{version} is current", f"what is made is published to {after['store']} first"),
        )

    def apply(self, plan: Plan) -> None:
        """Have it made and wait for the end, unless that was done; not where the dataset has moved on meanwhile."""
        job, version = str(plan.after["job"]), str(plan.after["version"])
        if self.made(job):
            return
        current = self._store().current()
        if current.version != version:
            raise Conflict(f"{self.dataset} is at {current.version} now, and {version} was to be made anew")
        still_ours()
        if not self._beside(job).versions():
            given = {"dataset": self.dataset, "version": version, "store": str(plan.after["store"]), "job": job}
            ours = self._preprocessing()
            deployments.run(ours.deployment, job, given, ours.within_seconds)
        self._publish(job)

    def verify(self, plan: Plan) -> Verdict:
        """Look for the version that the job made."""
        job = str(plan.after["job"])
        made = self.made(job)
        if made:
            return Verdict(health=Health.healthy, why=f"{job} made {made}")
        if deployments.under_way(job):
            return Verdict(health=Health.inconclusive, why=f"{job} has not ended yet")
        why = f"{job} has ended, and published nothing to {plan.after['store']}"
        return Verdict(health=Health.unhealthy, why=f"{why}. {ANEW}")

    def undo(self, plan: Plan) -> None:
        """End the job where it goes on. What it made stays, and nobody is pointed there."""
        deployments.stop(str(plan.after["job"]))

    def made(self, job: str) -> str | None:
        """The version that a job has made, once it is published in the dataset's own store; None where it is not."""
        found = self._beside(job).versions()
        return found[-1] if found and found[-1] in self._store().versions() else None

    def _publish(self, job: str) -> None:
        """Copy what the job published beside into the store, under the same name."""
        beside = self._beside(job)
        for version in beside.versions()[-1:]:
            with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
                files = beside.fetch(version, Path(folder))
                still_ours()
                self._store().publish(files, at=beside.manifest(version).created_at)

    def _declared(self) -> Dataset:
        return declared("dataset", self.dataset, playbook().datasets)

    def _preprocessing(self) -> Preprocessing:
        found = self._declared().preprocessing
        if found is None:
            raise CannotPlan(f"the playbook does not say how {self.dataset} is made anew: preprocessing")
        return found

    def _store(self) -> ContentStore:
        store = open_store(self._declared().store, self.dataset)
        if not isinstance(store, ContentStore):
            raise CannotPlan(f"{store} keeps plain keys: what is published there is read at once, unseen")
        return store

    def _beside(self, job: str) -> DatasetStore:
        return open_store(f"{self._declared().store.rstrip('/')}.rerun/{job}", self.dataset)
