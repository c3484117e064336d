"""A bucket that keeps evidence: every exhibit under its SHA-256, never written twice, and a manifest of them all.

An exhibit is read and hashed here, and then PUT with its lock: CopyObject drops a lock silently on some servers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from incidents.breach import Evidence
from incidents.models import Frozen, now
from remediations import clients
from remediations.base import CannotPlan, Conflict
from remediations.datasets.layout import sha256_of
from remediations.datasets.s3_files import TAKEN, status
from remediations.permissions import Statement, bucket_of, under


@dataclass(frozen=True)
class Exhibit:
    """Something to be kept: what it is called, how large it is as far as is known, and how it is read."""

    name: str
    bytes: int
    #: Writes it to a path. What it raises leaves the exhibit out, and the reason is kept.
    read: Callable[[Path], None]


class Kept(Frozen):
    """An exhibit that is in the bucket."""

    name: str
    sha256: str
    bytes: int


class Manifest(Frozen):
    """What was kept for an incident about one asset, and what was not and why."""

    incident: str
    subject: str
    at: str
    kept: tuple[Kept, ...]
    left_out: tuple[str, ...]


def to_keep(place: Evidence) -> tuple[Statement, ...]:
    """What it takes of AWS to see that the place can keep evidence, to put it there, and to read it back."""
    lock, retain = ("s3:GetBucketObjectLockConfiguration",), ("s3:PutObjectRetention",)
    retained = bool(place.retain_days)
    return (
        Statement(actions=("s3:ListBucket", *(lock if retained else ())), resource=bucket_of(place.store)),
        Statement(
            actions=("s3:GetObject", "s3:PutObject", *(retain if retained else ())), resource=under(place.store, "*")
        ),
    )


class Locker:
    """The evidence of one incident about one asset, under ``STORE/INC-7/model-fraud``."""

    def __init__(self, place: Evidence, incident: str, subject: str) -> None:
        parts = urlsplit(place.store)
        self.place, self.incident, self.subject = place, incident, subject
        self.bucket = parts.netloc
        root = parts.path.strip("/")
        self.prefix = "/".join(part for part in (root, incident, subject.replace(":", "-")) if part)
        self.address = f"s3://{self.bucket}/{self.prefix}/manifest.json"

    def ready(self) -> None:
        """See that the bucket can keep what it is given for as long as the playbook says.

        Raises:
            CannotPlan: it is not there, or has no object lock though it is to retain.
        """
        client = clients.s3()
        try:
            client.head_bucket(Bucket=self.bucket)
            if self.place.retain_days:
                client.get_object_lock_configuration(Bucket=self.bucket)
        except client.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            raise CannotPlan(f"evidence can't be kept in {self.bucket}, which answers {code}") from error

    def manifest(self) -> Manifest | None:
        """What was kept; None: nothing yet, or not all of it.

        Raises:
            Conflict: what stands there is not of this incident and asset.
        """
        client = clients.s3()
        try:
            body = client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/manifest.json")["Body"].read()
        except client.exceptions.ClientError as error:
            if status(error) == 404:
                return None
            raise
        try:
            found = Manifest.model_validate_json(body)
        except ValueError as error:
            raise Conflict(f"{self.address} is no manifest of evidence: it was left so") from error
        if (found.incident, found.subject) != (self.incident, self.subject):
            raise Conflict(f"{self.address} is somebody else's: it was left so")
        return found

    def keep(self, exhibits: list[Exhibit], left_out: list[str]) -> Manifest:
        """Store what is not stored yet, and the manifest last, so that it is there only where all of it is.

        Raises:
            Conflict: somebody else's manifest stands in its place.
        """
        kept: list[Kept] = []
        left_out = list(left_out)
        with TemporaryDirectory(prefix="lastgood-evidence-") as folder:
            for exhibit in exhibits:
                file = Path(folder) / "exhibit"
                try:
                    exhibit.read(file)
                except Exception as error:  # evidence that can't be read is told, and the rest is still kept
                    left_out.append(f"{exhibit.name}: {type(error).__name__}: {error}"[:300])
                    continue
                found = Kept(name=exhibit.name, sha256=sha256_of(file), bytes=file.stat().st_size)
                with file.open("rb") as body:
                    self._put(f"objects/{found.sha256}", body, found.sha256)
                kept.append(found)
        made = Manifest(
            incident=self.incident,
            subject=self.subject,
            at=now().isoformat(timespec="seconds"),
            kept=tuple(kept),
            left_out=tuple(left_out),
        )
        text = made.model_dump_json(indent=1).encode()
        self._put("manifest.json", text, sha256(text).hexdigest())
        stands = self.manifest()
        if stands is None:
            raise Conflict(f"{self.address} was taken away right after it was put there")
        return stands

    def problems(self, manifest: Manifest) -> list[str]:
        """Read everything back; says which exhibits are missing, or are no longer what was kept."""
        client, found = clients.s3(), []
        for kept in {one.sha256: one for one in manifest.kept}.values():
            try:
                body = client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/objects/{kept.sha256}")["Body"]
            except client.exceptions.ClientError as error:
                if status(error) != 404:
                    raise
                found.append(f"{kept.name} is missing")
                continue
            if file_digest(body, "sha256").hexdigest() != kept.sha256:  # type: ignore[arg-type]  # it is read in pieces
                found.append(f"{kept.name} was altered")
        return found

    def _put(self, name: str, body: bytes | BinaryIO, digest: str) -> None:
        """Create an object, only where there is none of that name; S3 checks what arrives."""
        locked: dict[str, Any] = {}
        if self.place.retain_days:
            until = now() + timedelta(days=self.place.retain_days)
            locked = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        client = clients.s3()
        try:
            client.put_object(
                Bucket=self.bucket,
                Key=f"{self.prefix}/{name}",
                Body=body,
                ChecksumAlgorithm="SHA256",  # S3 asks for it by this name where an object is to be retained
                ChecksumSHA256=base64.b64encode(bytes.fromhex(digest)).decode(),
                IfNoneMatch="*",
                **locked,
            )
        except client.exceptions.ClientError as error:
            if status(error) not in TAKEN:
                raise
