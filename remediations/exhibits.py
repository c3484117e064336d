"""What is evidence of an incident about one asset: the record and configuration, then state and content, then logs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from incidents.ledger import ledger
from incidents.playbook import Playbook, playbook
from incidents.settings import settings
from remediations import artifacts, clients
from remediations.datasets import open_store
from remediations.datasets.access import to_read
from remediations.datasets.layout import Manifest
from remediations.datasets.s3_files import download, status
from remediations.evidence import Exhibit
from remediations.lineage import serving
from remediations.permissions import Statement, bucket_of, on_secret, on_user

#: The most that S3 takes in one PUT.
_LARGEST = 5 * 1024**3


def gather(incident: str, subject: str, at_most: int, records: tuple[str, ...]) -> tuple[list[Exhibit], list[str]]:
    """The exhibits that fit into so many bytes together, the most telling first; and what does not fit, by name."""
    kind, _, name = subject.partition(":")
    about: dict[str, Callable[[str], Iterator[Exhibit]]] = {
        "bucket": _bucket,
        "dataset": _dataset,
        "iam_user": _iam_user,
        "model": _model,
        "secrets_manager": _secret,
    }
    fits: list[Exhibit] = []
    left_out: list[str] = []
    room = at_most
    content = about[kind](name) if kind in about else iter(())
    for source in (_record(incident), content, _access(records)):
        try:
            for exhibit in source:
                if exhibit.bytes <= min(room, _LARGEST):
                    room -= exhibit.bytes
                    fits.append(exhibit)
                else:
                    left_out.append(f"{exhibit.name}: its {exhibit.bytes} bytes do not fit")
        except Exception as error:  # one place that can't be read keeps nobody from keeping the rest
            left_out.append(f"what comes after {fits[-1].name if fits else 'nothing'}: {error}"[:300])
    return fits, left_out


def to_gather(book: Playbook, records: tuple[str, ...]) -> tuple[Statement, ...]:
    """What it takes of AWS to read what there is about every declared asset, and the access logs."""
    about = ("s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketAcl")
    keys = ("iam:ListAccessKeys", "iam:GetAccessKeyLastUsed")
    return (
        *(one for it in book.datasets.values() for one in to_read(it.store)),
        *(Statement(actions=about, resource=f"arn:aws:s3:::{it.bucket}") for it in book.buckets.values()),
        *(one for it in book.iam_users.values() for one in on_user(keys, it.user)),
        *(on_secret(("secretsmanager:DescribeSecret",), it.id) for it in book.secrets.values()),
        *(Statement(actions=("s3:ListBucket",), resource=bucket_of(one)) for one in records),
        *(Statement(actions=("s3:GetObject",), resource=_logs(one)) for one in records),
    )


def _logs(address: str) -> str:
    """The ARN of every object whose key begins so, as the listing takes it."""
    parts = urlsplit(address)
    return f"arn:aws:s3:::{parts.netloc}/{parts.path.lstrip('/')}*"


def _record(incident: str) -> Iterator[Exhibit]:
    """The incident as the ledger has it, and the playbook that is in force."""

    def events() -> str:
        return "".join(event.model_dump_json() + "\n" for event in ledger().events(incident=incident))

    yield _text("record/events.jsonl", events)
    yield _text("configuration/playbook.yaml", settings().playbook.read_text)


def _model(name: str) -> Iterator[Exhibit]:
    """Where the alias points, what the registry says, and the files of the version that is in production."""
    declared, client = playbook().models[name], clients.registry()
    version = serving(name, declared.alias)

    def state() -> str:
        found = client.get_registered_model(name)
        here = client.get_model_version(name, str(version))
        return _json({"aliases": dict(found.aliases), "tags": dict(found.tags), "in production": dict(here)})

    yield _text("state/registry.json", state)
    for file in artifacts.files(name, version):
        read = partial(_model_file, name, version, file.path)
        yield Exhibit(name=f"model/{version}/{file.path}", bytes=file.bytes, read=read)


def _dataset(name: str) -> Iterator[Exhibit]:
    """The pointer, the manifest of the current version, and its files, or those of them that are as they were."""
    store = open_store(playbook().datasets[name].store, name)
    current = store.current()
    manifest = store.manifest(current.version)
    yield _text("state/current.json", current.model_dump_json)
    yield _text(f"data/{current.version}/manifest.json", manifest.model_dump_json)
    if not isinstance(manifest, Manifest):
        return  # what is stored keeps its own versions, and the manifest names each file, or the snapshot

    @cache
    def fetched() -> tuple[TemporaryDirectory[str], dict[str, Path]]:
        folder = TemporaryDirectory(prefix="lastgood-evidence-")  # it goes with the last exhibit that reads from it
        return folder, {file.name: file for file in store.fetch(current.version, Path(folder.name))}

    def read(path: str, to: Path) -> None:
        shutil.copyfile(fetched()[1][path], to)

    for found in manifest.objects:
        yield Exhibit(f"data/{current.version}/{found.path}", found.bytes, partial(read, found.path))


def _bucket(name: str) -> Iterator[Exhibit]:
    """How the bucket is open to others. What is in it belongs to the datasets and models that are declared.

    That there is no policy or block is something to keep. That we may not see it is not: it is left out, and says so.
    """
    bucket, client = playbook().buckets[name].bucket, clients.s3()
    ask: dict[str, Callable[..., Any]] = {
        "policy": client.get_bucket_policy,
        "public access block": client.get_public_access_block,
        "ACL": client.get_bucket_acl,
    }

    def state(get: Callable[..., Any]) -> str:
        try:
            return _json({key: value for key, value in get(Bucket=bucket).items() if key != "ResponseMetadata"})
        except client.exceptions.ClientError as error:
            if status(error) != 404:
                raise
            return _json(error.response["Error"]["Code"])

    for what, get in ask.items():
        yield _text(f"state/{what}.json", partial(state, get))


def _iam_user(name: str) -> Iterator[Exhibit]:
    """The user's access keys, and when, where and for what each was used last."""
    user, client = playbook().iam_users[name].user, clients.aws("iam")

    def state() -> str:
        keys = client.list_access_keys(UserName=user)["AccessKeyMetadata"]
        used = [client.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"] for key in keys]
        return _json([{**key, "last used": last} for key, last in zip(keys, used, strict=True)])

    yield _text("state/iam_user.json", state)


def _secret(name: str) -> Iterator[Exhibit]:
    """What Secrets Manager says about the secret, and none of its values."""
    described = clients.aws("secretsmanager").describe_secret
    yield _text("state/secret.json", lambda: _json(described(SecretId=playbook().secrets[name].id)))


def _access(records: tuple[str, ...]) -> Iterator[Exhibit]:
    """Access logs, the newest first."""
    for address in records:
        parts = urlsplit(address)
        prefix = parts.path.lstrip("/")
        pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix)
        found = [one for page in pages for one in page.get("Contents", [])]
        for one in sorted(found, key=lambda one: one["LastModified"], reverse=True):
            read = partial(_object, parts.netloc, one["Key"])
            yield Exhibit(f"access/{parts.netloc}/{one['Key']}", one["Size"], read)


def _model_file(model: str, version: int, path: str, to: Path) -> None:
    with TemporaryDirectory(prefix="lastgood-evidence-") as folder:
        shutil.move(artifacts.fetch_file(model, version, path, Path(folder)), to)


def _object(bucket: str, key: str, to: Path) -> None:
    if not download(bucket, key, to):
        raise FileNotFoundError(f"{key} is gone")


def _text(name: str, read: Callable[[], str]) -> Exhibit:
    """Something small that is read when it is kept."""

    def write(to: Path) -> None:
        to.write_text(read(), encoding="utf-8")

    return Exhibit(name=name, bytes=0, read=write)


def _json(found: Any) -> str:
    return json.dumps(found, indent=1, sort_keys=True, default=str)
