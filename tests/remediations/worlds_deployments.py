"""The world of an action that has a deployment of the team's own run, for ``test_contract``."""

from __future__ import annotations

import os
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import stamina

from incidents.models import now
from remediations import Remediation, RerunPreprocessing
from remediations.clients import s3
from remediations.datasets import open_store
from tests.remediations.contract import ELSEWHERE, World
from tests.remediations.worlds_data import DatasetWorld

#: What it takes the team's worker to see that there is a run for it, which whoever starts one sees after half a second.
TAKES = timedelta(seconds=0.25)


class RerunPreprocessingWorld(DatasetWorld):
    """A version that is current, and a worker, as on another machine, that runs what makes another of it.

    What is published stays, and a job that has run never runs again.
    """

    action = RerunPreprocessing
    needs = ("s3_server", "prefect_server")
    stays = True

    def declare(self, book: dict[str, Any]) -> None:
        """The deployment is of this test alone."""
        super().declare(book)
        self.prefect = httpx.Client(base_url=os.environ["PREFECT_API_URL"], timeout=60)
        self.builds, self.waiting = 0, set[str]()
        self.at_work, self.over = threading.Lock(), threading.Event()
        self.worker = threading.Thread(target=self._work, daemon=True, name="another machine")
        flow = self._ask("flows/", name="preprocess")["id"]
        self.deployment = self._ask("deployments/", name=self.prefix, flow_id=flow)["id"]
        book["datasets"]["contract"]["preprocessing"] = {"deployment": f"preprocess/{self.prefix}"}
        self.worker.start()

    def close(self) -> None:
        """The worker ends."""
        self.over.set()
        if self.worker.is_alive():
            self.worker.join()
        self.prefect.close()

    def build(self) -> Remediation:
        """Each time for another reason, so that it is another job."""
        self.builds += 1
        if self.builds == 1:
            self.store = open_store(self.uri, "contract")
            found, self.theirs = self._published(self.uri, "broken"), self._published(self.uri, "theirs")
            self.store.move(self.store.pointer_to(found, by="pipeline"), expect=None)
        return RerunPreprocessing(dataset="contract", because=f"test {self.builds}")

    def state(self) -> Any:
        """Every object, also of what was made beside, and every run. One that is seen to wait here waits for ever."""
        with self.at_work:
            runs = self._runs()
            names = [run["name"] for run in runs]
            assert len(names) == len(set(names)), f"a job was run twice: {names}"
            self.waiting |= {run["id"] for run in runs if run["state_type"] == "SCHEDULED"}
            return super().state(), {run["name"]: run["state_type"] for run in runs}

    def undone(self, before: Any, applied: Any) -> Any:  # noqa: ARG002  # what was made stays
        """What waited is cancelled."""
        objects, runs = applied
        return objects, {name: "CANCELLED" if state == "SCHEDULED" else state for name, state in runs.items()}

    def meddle(self) -> None:
        """A pipeline moves the pointer on."""
        self.store.move(self.store.pointer_to(self.theirs, by="pipeline"), expect=self.store.current())

    def spoil(self) -> None:
        """Somebody deletes what was published."""
        for version in set(self.store.versions()) - {self.store.current().version, self.theirs}:
            s3().delete_object(Bucket=self.bucket, Key=f"{self.prefix}/rows/manifests/{version}.json")

    def _work(self) -> None:
        ELSEWHERE.set(True)
        while not self.over.wait(0.05):
            with self.at_work:
                late = {"state": {"type": {"any_": ["SCHEDULED"]}}}
                for run in self._runs(**late, expected_start_time={"before_": (now() - TAKES).isoformat()}):
                    if run["id"] not in self.waiting and self._set(run, "RUNNING"):
                        given = run["parameters"]
                        self._published(given["store"], f"{given['version']} made anew by {given['job']}")
                        self._set(run, "COMPLETED")

    def _runs(self, **only: Any) -> list[dict[str, Any]]:
        ours = {"id": {"any_": [self.deployment]}}
        found: list[dict[str, Any]] = self._ask("flow_runs/filter", deployments=ours, flow_runs=only)
        return found

    def _set(self, run: dict[str, Any], to: str) -> bool:
        return bool(self._ask(f"flow_runs/{run['id']}/set_state", state={"type": to})["status"] == "ACCEPT")

    @stamina.retry(on=lambda error: isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 503)
    def _ask(self, path: str, **body: Any) -> Any:
        """As Prefect's own client does, again where its database was busy."""
        return self.prefect.post(path, json=body).raise_for_status().json()

    @staticmethod
    def _published(uri: str, text: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "rows").write_text(text)
            return open_store(uri, "contract").publish([Path(folder) / "rows"]).version


class MadeBesideWorld(RerunPreprocessingWorld):
    """The job has run, and what it made is still to be published: the half that lastgood's own rights are for."""

    def declare(self, book: dict[str, Any]) -> None:
        """Nobody works for that deployment."""
        DatasetWorld.declare(self, book)
        self.builds = 0
        book["datasets"]["contract"]["preprocessing"] = {"deployment": "preprocess/by-nobody"}

    def build(self) -> Remediation:
        """As after a process was killed that had waited for the job."""
        action = super().build()
        self._published(str(action.plan().after["store"]), f"made anew, {self.builds}")
        return action


DEPLOYMENTS: tuple[type[World], ...] = (RerunPreprocessingWorld,)
