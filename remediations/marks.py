"""A mark beside one version of a dataset, for whoever opens the store: why it is shut away."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from incidents.models import digest
from remediations import clients
from remediations.datasets import open_store
from remediations.datasets.dvc import DvcStore
from remediations.datasets.git_branch import GitBranch
from remediations.datasets.lakefs import LakeFSStore
from remediations.datasets.lakefs_branch import LakeFSBranch
from remediations.datasets.s3_files import TAKEN, status


class Marks(Protocol):
    """The marks of one store."""

    def read(self, version: str) -> str | None:
        """What stands beside a version; None: nothing."""

    def put(self, version: str, text: str) -> None:
        """Write it where nothing stands; what stands is left."""

    def remove(self, version: str) -> None:
        """Take it away."""


class S3Marks:
    """Objects under a prefix of their own."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix

    def read(self, version: str) -> str | None:
        """What stands beside a version; None: nothing."""
        client = clients.s3()
        try:
            return client.get_object(Bucket=self.bucket, Key=self.prefix + version)["Body"].read().decode()
        except client.exceptions.NoSuchKey:
            return None

    def put(self, version: str, text: str) -> None:
        """Write it where nothing stands; what stands is left."""
        client = clients.s3()
        try:
            client.put_object(Bucket=self.bucket, Key=self.prefix + version, Body=text.encode(), IfNoneMatch="*")
        except client.exceptions.ClientError as error:
            if status(error) not in TAKEN:
                raise

    def remove(self, version: str) -> None:
        """Take it away."""
        clients.s3().delete_object(Bucket=self.bucket, Key=self.prefix + version)


class FileMarks:
    """Files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, version: str) -> str | None:
        """What stands beside a version; None: nothing."""
        try:
            return (self.folder / version).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put(self, version: str, text: str) -> None:
        """Write it where nothing stands; what stands is left, and half a mark is one too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with (self.folder / version).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return

    def remove(self, version: str) -> None:
        """Take it away."""
        (self.folder / version).unlink(missing_ok=True)


class IcebergMarks:
    """Properties of the table, one a version."""

    def __init__(self, catalog: str, table: str) -> None:
        self.catalog, self.table = catalog, table

    def read(self, version: str) -> str | None:
        """What stands beside a version; None: nothing."""
        return clients.iceberg(self.catalog).load_table(self.table).properties.get(f"lastgood.quarantine.{version}")

    def put(self, version: str, text: str) -> None:
        """Write it where nothing stands; what stands is left."""
        if self.read(version) is None:
            with clients.iceberg(self.catalog).load_table(self.table).transaction() as change:
                change.set_properties({f"lastgood.quarantine.{version}": text})

    def remove(self, version: str) -> None:
        """Take it away."""
        if self.read(version) is not None:
            with clients.iceberg(self.catalog).load_table(self.table).transaction() as change:
                change.remove_properties(f"lastgood.quarantine.{version}")


class GitMarks:
    """Refs of the repository beside all branches, one a version, each a text."""

    def __init__(self, git: GitBranch) -> None:
        self.git = git

    def read(self, version: str) -> str | None:
        """What stands beside a version; None: nothing."""
        return self.git.note(f"refs/lastgood/quarantine/{version}")

    def put(self, version: str, text: str) -> None:
        """Write it where nothing stands; what stands is left."""
        if self.read(version) is None:
            self.git.set_note(f"refs/lastgood/quarantine/{version}", text)

    def remove(self, version: str) -> None:
        """Take it away."""
        if self.read(version) is not None:
            self.git.drop_note(f"refs/lastgood/quarantine/{version}")


class LakeFSMarks:
    """Tags of the repository, one a version, each at a commit whose metadata has the text; no branch has the commit."""

    def __init__(self, branch: LakeFSBranch) -> None:
        self.branch = branch

    def read(self, version: str) -> str | None:
        """What stands beside a version; None: nothing."""
        found = self.branch.tagged(self._tag(version))
        return None if found is None else found.metadata.get("lastgood", "")

    def put(self, version: str, text: str) -> None:
        """Write it where nothing stands; what stands is left."""
        if self.read(version) is None:
            name = self._tag(version).replace(".", "_")
            made = self.branch.branch_off(name, self.branch.head())
            commit = made.commit(f"Quarantine {version}", {"lastgood": text}, empty=True)
            self.branch.tag(self._tag(version), commit.id)
            self.branch.drop(name)

    def remove(self, version: str) -> None:
        """Take it away."""
        self.branch.untag(self._tag(version))

    def _tag(self, version: str) -> str:
        return f"lastgood-quarantine-{digest([self.branch.branch, self.branch.prefix])[:12]}-{version}"


def open_marks(store: str) -> Marks:
    """The marks of a dataset's store, as the playbook writes its address; touches nothing yet."""
    if store.startswith("dvc+"):
        found = open_store(store, "")
        assert isinstance(found, DvcStore)
        return GitMarks(found.git)
    if store.startswith("lakefs:"):
        found = open_store(store, "")
        assert isinstance(found, LakeFSStore)
        return LakeFSMarks(found.branch)
    parts = urlsplit(store)
    path = unquote(parts.path).strip("/")
    if parts.scheme == "file":
        return FileMarks(Path("/") / path / "quarantine")
    if parts.scheme == "iceberg":
        return IcebergMarks(parts.netloc, path)
    if parts.scheme == "file+delta":
        return FileMarks(Path("/") / f"{path}.lastgood" / "quarantine")
    if parts.scheme in {"s3+versions", "s3+delta"}:  # what is under the prefix is data there
        return S3Marks(parts.netloc, f"{path}.lastgood/quarantine/")
    return S3Marks(parts.netloc, f"{path}/quarantine/".lstrip("/"))
