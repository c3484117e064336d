"""Have another version of a model made from data that was verified good. It serves nobody until it is promoted."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from incidents import known_good
from incidents.leases import still_ours
from incidents.ledger import ledger
from incidents.models import Category, Health, Plan, Risk, Verdict, digest
from incidents.playbook import Playbook, playbook
from incidents.upkeep import Training
from remediations import training
from remediations.base import ANEW, CannotPlan, Conflict, Remediation
from remediations.clients import registry
from remediations.datasets import open_store
from remediations.datasets.access import to_read
from remediations.lineage import learned_from
from remediations.permissions import Statement

#: The tag by which a version says which job made it.
TAG = "lastgood_job"


class RetrainModel(Remediation):
    """Train the model anew on its dataset's current version, where that was verified good."""

    category: ClassVar[Category] = Category.model
    risk: ClassVar[Risk] = Risk.low
    heals: ClassVar[bool] = False  # nothing is served by what it makes, until `promote_model`
    permissions: ClassVar[tuple[str, ...]] = (
        "s3:ListBucket, s3:GetObject of the dataset's store; for s3+versions, as rollback_dataset reads it",
        "prefect: run the training's deployment; or mlflow: run its project; or",
        "sagemaker:CreateTrainingJob, sagemaker:DescribeTrainingJob, sagemaker:StopTrainingJob JOB, iam:PassRole ROLE",
        "sagemaker:AddTags JOB, where the job has tags",
        "mlflow: read registered models, model versions and runs",
        "mlflow: delete the version that the training made, to undo it",
    )

    model: str = Field(description="The registered model, as the playbook declares it.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each model that is trained: see which data is current, and where SageMaker trains it, run its jobs."""
        needed: list[Statement] = []
        for name, model in book.models.items():
            if model.training:
                needed += to_read(book.datasets[model.learns_from[0]].store)
                needed += training.statements(model.training, f"{_jobs(name)}-*")
        return tuple(needed)

    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def plan(self) -> Plan:
        """Look which data it would learn from; what was not verified good is refused."""
        self._training()
        dataset = playbook().models[self.model].learns_from[0]
        version = open_store(playbook().datasets[dataset].store, dataset).current().version
        if not _good(dataset, version):
            raise CannotPlan(f"{self.model} learns nothing from {dataset} {version}, which is not verified good")
        job = f"{_jobs(self.model)}-{digest([self.model, version, ledger().key(self.because)])[:12]}"
        after = {"job": job, "dataset": dataset, "dataset_version": version}
        made = self.made(job)
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"training:{self.model}",
            before=dict(after) if made else {"job": None},
            after=dict(after),
            summary=f"{self.model} was trained on {dataset} {version}, and is version {made[-1]}"
            if made
            else f"{self.model}: train it on {dataset} {version}",
            because=(f"{dataset} {version} was verified good",),
        )

    def apply(self, plan: Plan) -> None:
        """Have it trained and wait for the end, unless that was done; not where the data turned bad meanwhile."""
        job, dataset, version = (str(plan.after[key]) for key in ("job", "dataset", "dataset_version"))
        if self.made(job):
            return
        if not _good(dataset, version):
            raise Conflict(f"{dataset} {version} is no longer verified good, so {self.model} learns nothing from it")
        still_ours()
        given = {"model": self.model, "dataset": dataset, "dataset_version": version, "job": job}
        training.run(self._training(), job, given)

    def verify(self, plan: Plan) -> Verdict:
        """Look for the version that the job made, and whether it learned from what it was to."""
        job, data = str(plan.after["job"]), (str(plan.after["dataset"]), str(plan.after["dataset_version"]))
        made = self.made(job)
        if made and data in learned_from(self.model, made[-1]):
            return Verdict(health=Health.healthy, why=f"{job} made version {made[-1]}")
        if made:
            why = f"{job} made version {made[-1]}, whose run does not say that it learned from {' '.join(data)}"
            return Verdict(health=Health.unhealthy, why=why)
        if training.under_way(self._training(), job):
            return Verdict(health=Health.inconclusive, why=f"{job} has not ended yet")
        why = f"{job} has ended, and made no version with the tag {TAG}"
        return Verdict(health=Health.unhealthy, why=f"{why}. {ANEW}")

    def undo(self, plan: Plan) -> None:
        """End the job and delete what it made, unless somebody has put that into production."""
        job, client = str(plan.after["job"]), registry()
        training.stop(self._training(), job)
        made = self.made(job)
        aliases = client.get_registered_model(self.model).aliases if made else {}
        used = sorted(name for name, version in aliases.items() if int(version) in made)
        if used:
            raise Conflict(f"version {made[-1]} of {self.model} has the alias {', '.join(used)}: left as it is")
        for version in made:
            still_ours()
            client.delete_model_version(self.model, str(version))

    def made(self, job: str) -> list[int]:
        """The versions that a job has made, oldest first."""
        found = registry().search_model_versions(f"name = '{self.model}' AND tags.{TAG} = '{job}'")
        return sorted(int(version.version) for version in found)

    def _training(self) -> Training:
        declared = playbook().models.get(self.model)
        if declared is None or declared.training is None:
            raise CannotPlan(f"the playbook does not say how {self.model} is trained")
        return declared.training


def _jobs(model: str) -> str:
    """What the names of a model's jobs begin with; in small letters, as SageMaker has them in ARNs."""
    return f"lastgood-{re.sub('[^a-z0-9]', '-', model.lower())[:30]}"


def _good(dataset: str, version: str) -> bool:
    return version in known_good.versions(ledger(), f"dataset:{dataset}", Health.healthy)
