"""Every kind of dataset store, with the tool that others write and read it with: what each shares is tested once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo import servers
from incidents.playbook import LakeFSServer, playbook
from remediations import clients
from remediations.datasets import open_store
from remediations.datasets.base import DatasetStore
from remediations.datasets.versioned_prefix import VersionedPrefix
from tests.remediations.plain_keys import PlainKeys

#: Rows are told apart by what they are: one version has one number in each of its rows.
ROWS = 5


def table(number: int) -> pa.Table:
    """The rows of the version ``number``, in two partitions."""
    return pa.table({"number": [number] * ROWS, "part": ["a", "b b", "a", "b b", "a"]})


class Kit(ABC):
    """One place of its own for one kind of store."""

    kind: ClassVar[str]
    #: The fixtures that it needs.
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    @abstractmethod
    def address(self) -> str:
        """As the playbook has it."""

    #: Catalogs that the playbook has to describe.
    catalogs: Mapping[str, dict[str, str]] = {}
    #: Likewise lakeFS's servers.
    lakefs: Mapping[str, LakeFSServer] = {}

    def store(self) -> DatasetStore:
        """The dataset there; a new one each time, which knows only what is stored."""
        playbook().catalogs.update(self.catalogs)
        playbook().lakefs.update(self.lakefs)
        return open_store(self.address, "transactions")

    def prepare(self) -> None:  # noqa: B027  # most need nothing
        """Make the place that a dataset could be in."""

    @abstractmethod
    def write(self, number: int) -> None:
        """Make a version current as a pipeline does, past our code wherever the tool has its own."""

    def written(self, number: int) -> str:
        """The same, and which version it is."""
        self.write(number)
        return self.store().current().version

    @abstractmethod
    def read(self) -> set[int]:
        """The numbers that a reader gets now, past our code."""

    def lose(self, version: str) -> str:
        """Take a data file of a version away; returns what it is called."""
        raise NotImplementedError


class ManifestKit(Kit):
    """Objects by their content: the pipeline publishes, and moves the pointer."""

    kind = "manifest"
    needs: ClassVar[tuple[str, ...]] = ("s3_server",)
    _prefix = ""

    @property
    def address(self) -> str:
        """In S3, under a prefix of its own."""
        self._prefix = self._prefix or f"test-{secrets.token_hex(6)}"
        return f"s3://{servers.BUCKET}/{self._prefix}"

    def write(self, number: int) -> None:
        """Published, then current."""
        store = self.store()
        with tempfile.TemporaryDirectory() as folder:
            pq.write_table(table(number), file := Path(folder) / "rows.parquet")
            version = store.publish([file]).version
        at = store.current() if store.versions()[1:] else None
        store.move(store.pointer_to(version, by="pipeline"), expect=at)

    def read(self) -> set[int]:
        """Whoever follows the pointer."""
        store = self.store()
        with tempfile.TemporaryDirectory() as folder:
            files = store.fetch(store.current().version, Path(folder))
            return set(pq.read_table(files[0])["number"].to_pylist())


class DirectoryKit(ManifestKit):
    """The same on disk."""

    kind = "directory"
    needs = ()

    @property
    def address(self) -> str:
        """In the test's folder."""
        return (self.folder / "store").as_uri()


class PlainKeysKit(Kit):
    """Ordinary keys in a versioned bucket."""

    kind = "versioned prefix"
    needs = ("versioned_bucket",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keys = PlainKeys()

    @property
    def address(self) -> str:
        """Under a prefix of its own."""
        return self.keys.uri

    def write(self, number: int) -> None:
        """One key overwritten."""
        sink = pa.BufferOutputStream()
        pq.write_table(table(number), sink)
        key = f"{self.keys.prefix}/rows.parquet"
        clients.s3().put_object(Bucket="versioned", Key=key, Body=sink.getvalue().to_pybytes())

    def written(self, number: int) -> str:
        """The same, and the state is put on file, as a look by the suite does."""
        self.write(number)
        store = self.store()
        assert isinstance(store, VersionedPrefix)
        return store.snapshot().version

    def read(self) -> set[int]:
        """The key as it is."""
        return set(pq.read_table(pa.BufferReader(self.keys.bytes()["rows.parquet"]))["number"].to_pylist())


class DeltaKit(Kit):
    """A partitioned Delta table on disk."""

    kind = "delta"

    @property
    def address(self) -> str:
        """In the test's folder."""
        return f"file+delta://{self.folder / 'a table'}".replace(" ", "%20")

    @property
    def table(self) -> str:
        """As Delta's own tools call it."""
        return str(self.folder / "a table")

    @property
    def options(self) -> dict[str, str]:
        """How they reach it."""
        return {}

    def write(self, number: int) -> None:
        """One commit that overwrites everything."""
        from deltalake import write_deltalake

        rows, options = table(number), self.options
        write_deltalake(self.table, rows, mode="overwrite", partition_by=["part"], storage_options=options)

    def read(self) -> set[int]:
        """Whoever opens the table."""
        from deltalake import DeltaTable

        return set(DeltaTable(self.table, storage_options=self.options).to_pyarrow_table()["number"].to_pylist())

    def lose(self, version: str) -> str:
        """As VACUUM does."""
        from deltalake import DeltaTable

        file = Path(DeltaTable(self.table, version=int(version[:20])).file_uris()[0])
        (Path(self.table) / file.parent.name / file.name).unlink()
        return file.name


class DeltaInS3Kit(DeltaKit):
    """The same in S3."""

    kind = "delta in S3"
    needs = ("s3_server",)
    _prefix = ""

    @property
    def address(self) -> str:
        """Under a prefix of its own."""
        return self.table.replace("s3:", "s3+delta:")

    @property
    def table(self) -> str:
        """As Delta's own tools call it."""
        self._prefix = self._prefix or f"test-{secrets.token_hex(6)}/table"
        return f"s3://{servers.BUCKET}/{self._prefix}"

    @property
    def options(self) -> dict[str, str]:
        """With the credentials of the test's server."""
        return clients.object_store()

    def lose(self, version: str) -> str:
        """As VACUUM does."""
        from deltalake import DeltaTable

        found = DeltaTable(self.table, version=int(version[:20]), storage_options=self.options)
        key = found.file_uris()[0].removeprefix(f"s3://{servers.BUCKET}/")
        clients.s3().delete_object(Bucket=servers.BUCKET, Key=key)
        return Path(key).name


class IcebergKit(Kit):
    """An Iceberg table on disk, in an SQL catalog."""

    kind = "iceberg"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = f"catalog{secrets.token_hex(6)}"
        folder.mkdir(exist_ok=True)
        where = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}
        self.catalogs = {self.name: where}

    @property
    def address(self) -> str:
        """A catalog of its own."""
        return f"iceberg://{self.name}/lake.transactions"

    @property
    def catalog(self) -> Any:
        """As Iceberg's own tools open it, apart from our client."""
        from pyiceberg.catalog import load_catalog

        return load_catalog(self.name, **self.catalogs[self.name])

    def write(self, number: int) -> None:
        """One overwrite."""
        catalog, rows = self.catalog, table(number)
        catalog.create_namespace_if_not_exists("lake")
        found = catalog.create_table_if_not_exists("lake.transactions", schema=rows.schema)
        if found.current_snapshot() is None:
            found.append(rows)
        else:
            found.overwrite(rows)

    def read(self) -> set[int]:
        """Whoever opens the table."""
        return set(self.catalog.load_table("lake.transactions").scan().to_arrow()["number"].to_pylist())

    def lose(self, version: str) -> str:
        """As a clean-up of orphans does that is too eager."""
        snapshot = getattr(self.store().manifest(version), "snapshot")  # noqa: B009  # it is an Iceberg version
        task = next(iter(self.catalog.load_table("lake.transactions").scan(snapshot_id=snapshot).plan_files()))
        file = Path(task.file.file_path.removeprefix("file://"))
        file.unlink()
        return file.name


class DvcKit(Kit):
    """A Git repository with a ``.dvc`` file, written as DVC's documentation has it, and a folder as DVC's remote."""

    kind = "dvc"
    commits = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.repository, self.clone, self.remote = folder / "repo.git", folder / "clone", folder / "remote"

    @property
    def address(self) -> str:
        """A file on a branch."""
        return f"dvc+file://{self.repository}#main:data/rows.parquet.dvc"

    def git(self, *arguments: str) -> str:
        """Git in a person's clone, at a second of its own."""
        at = f"{1_790_000_000 + DvcKit.commits} +0000"
        who = {f"GIT_{role}_{what}": "anna" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = os.environ | who | {"GIT_COMMITTER_DATE": at, "GIT_AUTHOR_DATE": at}
        return subprocess.run(
            ["git", *arguments], cwd=self.clone, env=env, check=True, capture_output=True, text=True
        ).stdout

    def prepare(self) -> None:
        """The repository, empty but for DVC's config, and the newest of it in the clone."""
        self.clone.mkdir(exist_ok=True, parents=True)
        if not self.repository.exists():
            self.git("init", "-q", "--bare", "-b", "main", str(self.repository))
            self.git("init", "-q", "-b", "main", ".")
            self.git("remote", "add", "origin", str(self.repository))
            (self.clone / ".dvc").mkdir()
            config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {self.remote}\n"
            (self.clone / ".dvc" / "config").write_text(config)
            (self.clone / "data").mkdir()
            self.push("dvc init")
        self.git("pull", "-q", "--ff-only", "origin", "main")

    def push(self, message: str) -> None:
        """Everything that the clone has, committed and pushed."""
        DvcKit.commits += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "origin", "main")

    def write(self, number: int) -> None:
        """As ``dvc add``, ``dvc push``, ``git commit`` and ``git push``."""
        self.prepare()
        sink = pa.BufferOutputStream()
        pq.write_table(table(number), sink)
        body = sink.getvalue().to_pybytes()
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        place = self.remote / "files" / "md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
        told = f"outs:\n- md5: {md5}\n  size: {len(body)}\n  hash: md5\n  path: rows.parquet\n"
        (self.clone / "data" / "rows.parquet.dvc").write_text(told)
        self.push(f"Version {number}")

    def objects(self) -> list[Path]:
        """Where the files are that the branch names now."""
        self.prepare()
        text = (self.clone / "data" / "rows.parquet.dvc").read_text()
        found = re.findall(r"md5: ([0-9a-f]{32}(?:\.dir)?)", text)
        if found[0].endswith(".dir"):
            listing = self.remote / "files/md5" / found[0][:2] / found[0][2:]
            found = [one["md5"] for one in json.loads(listing.read_text())]
        return [self.remote / "files/md5" / md5[:2] / md5[2:] for md5 in found]

    def read(self) -> set[int]:
        """Whoever pulls."""
        return {number for file in self.objects() for number in pq.ParquetFile(file).read()["number"].to_pylist()}

    def lose(self, version: str) -> str:
        """As ``dvc gc --cloud`` does."""
        text = getattr(self.store().manifest(version), "text")  # noqa: B009  # it is a DVC version
        md5 = re.findall(r"md5: ([0-9a-f]{32})", text)[0]
        (self.remote / "files/md5" / md5[:2] / md5[2:]).unlink()
        return "rows.parquet"


class LakeFSKit(Kit):
    """A branch in lakeFS, written and read with the vendor's client."""

    kind = "lakefs"
    needs: ClassVar[tuple[str, ...]] = ("lakefs_server",)
    prefix = "data/transactions"

    def __init__(self, folder: Path) -> None:
        import lakefs_sdk.client

        super().__init__(folder)
        self.repository, self.branch = f"test-{secrets.token_hex(6)}", "main"
        key, secret = (os.environ[f"LAKECTL_CREDENTIALS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        endpoint = os.environ["LAKECTL_SERVER_ENDPOINT_URL"]
        reached = lakefs_sdk.Configuration(host=f"{endpoint}/api/v1", username=key, password=secret)
        self.lakefs = {"lake": LakeFSServer(endpoint=endpoint)}
        self.client = lakefs_sdk.client.LakeFSClient(reached)

    @property
    def address(self) -> str:
        """A prefix on a branch of a repository of its own."""
        return f"lakefs://lake/{self.repository}@{self.branch}/{self.prefix}"

    def prepare(self) -> None:
        """The repository, empty."""
        from lakefs_sdk.exceptions import NotFoundException

        try:
            self.head()
        except NotFoundException:
            where = {"name": self.repository, "storage_namespace": f"local://{self.repository}"}
            self.client.repositories_api.create_repository({**where, "default_branch": self.branch})

    def delete(self) -> None:
        """Have no repository."""
        self.prepare()
        self.client.repositories_api.delete_repository(self.repository)

    def head(self) -> str:
        """The commit that the branch is at."""
        return str(self.client.branches_api.get_branch(self.repository, self.branch).commit_id)

    def put(self, path: str, body: bytes) -> None:
        """Upload an object, by its whole path, and commit nothing."""
        self.client.objects_api.upload_object(self.repository, self.branch, path, content=body)

    def commit(self, message: str) -> None:
        """Commit what was uploaded or deleted."""
        self.client.commits_api.commit(self.repository, self.branch, {"message": message})

    def state(self) -> dict[str, bytes]:
        """Each object under the prefix."""
        places = self.objects(self.branch).items()
        return {path: Path(place.removeprefix("local://")).read_bytes() for path, place in places}

    def log(self) -> list[str]:
        """The ids of what the branch was at, newest first."""
        found = self.client.refs_api.log_commits(self.repository, self.branch, first_parent=True, amount=1000)
        return [one.id for one in found.results]

    def branches(self) -> list[str]:
        """What they are called."""
        return [one.id for one in self.client.branches_api.list_branches(self.repository).results]

    def write(self, number: int) -> None:
        """As ``lakectl fs upload`` and ``lakectl commit``."""
        self.prepare()
        sink = pa.BufferOutputStream()
        pq.write_table(table(number), sink)
        self.put(f"{self.prefix}/rows.parquet", sink.getvalue().to_pybytes())
        self.commit(f"Version {number}")

    def objects(self, ref: str) -> dict[str, str]:
        """What is under the prefix there, and where the storage has it."""
        found = self.client.objects_api.list_objects(self.repository, ref, prefix=f"{self.prefix}/").results
        return {one.path.removeprefix(f"{self.prefix}/"): one.physical_address for one in found}

    def read(self) -> set[int]:
        """Whoever reads the branch."""
        bodies = [
            self.client.objects_api.get_object(self.repository, self.branch, f"{self.prefix}/{path}")
            for path in self.objects(self.branch)
            if path.endswith(".parquet")
        ]
        return {number for body in bodies for number in pq.read_table(pa.BufferReader(body))["number"].to_pylist()}

    def lose(self, version: str) -> str:
        """As lakeFS's garbage collection does."""
        commit = getattr(self.store().manifest(version), "commit")  # noqa: B009  # it is a version in lakeFS
        path, place = next(iter(self.objects(commit).items()))
        Path(place.removeprefix("local://")).unlink()
        return path


#: Stores whose pointer is the head of a format of its own, which other writers move without asking us.
OF_OTHERS: tuple[type[Kit], ...] = (DeltaKit, DeltaInS3Kit, IcebergKit, DvcKit, LakeFSKit)
KITS: tuple[type[Kit], ...] = (ManifestKit, DirectoryKit, PlainKeysKit, *OF_OTHERS)


def made(kit: type[Kit], request: pytest.FixtureRequest, folder: Path) -> Kit:
    """A kit, with what it needs running."""
    for name in kit.needs:
        request.getfixturevalue(name)
    return kit(folder)
