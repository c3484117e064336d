"""Anchors in a real S3: each is created once, retained where it is asked for, and no delete marker hides one."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from demo.servers import Server
from incidents.anchors import Anchor, AnchorFile, AnchorsUnreadable
from incidents.models import now
from incidents.playbook import AnchorPlace
from remediations import clients
from remediations.anchors import AnchorBucket, open_anchors


def anchor(seq: int, digit: str = "a") -> Anchor:
    """An anchor of that event."""
    return Anchor(seq=seq, hash=digit * 64, at=datetime(2026, 11, 23, tzinfo=UTC))


@pytest.fixture
def place(s3_prefix: str) -> AnchorBucket:
    """An empty place, in a bucket without object lock."""
    parts = urlsplit(s3_prefix)
    return AnchorBucket(parts.netloc, parts.path.strip("/"))


@pytest.fixture(scope="module")
def locked(s3_server: Server) -> str:
    """A bucket with object lock."""
    name = f"locked-{secrets.token_hex(4)}"
    clients.s3().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def test_what_was_put_is_listed_and_nothing_twice(place: AnchorBucket) -> None:
    """In the order of the events, with the server's time; two hashes of one number are both kept, as evidence."""
    assert place.all() == []
    for one in (anchor(12), anchor(3), anchor(12), anchor(12, "b")):
        place.put(one)
    assert [(one.seq, one.hash[0]) for one in place.all()] == [(3, "a"), (12, "a"), (12, "b")]
    assert all(now() - one.at < timedelta(hours=1) for one in place.all())


def test_who_puts_it_first_is_left_alone(place: AnchorBucket) -> None:
    """The object is created only where there is none: what is there stays byte for byte, also in a race."""
    key = f"{place.prefix}{7:012}-{'a' * 64}.json"
    clients.s3().put_object(Bucket=place.bucket, Key=key, Body=b"first")
    threads = [threading.Thread(target=place.put, args=(anchor(7),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clients.s3().get_object(Bucket=place.bucket, Key=key)["Body"].read() == b"first"
    assert len(place.all()) == 1


def test_a_retained_anchor_cannot_be_taken_back(locked: str) -> None:
    """Its version cannot be deleted before its time, and a delete marker over it hides it from nobody here."""
    place = AnchorBucket(locked, "lastgood", retain_days=2)
    place.put(anchor(5))
    client = clients.s3()
    [version] = client.list_object_versions(Bucket=locked)["Versions"]
    with pytest.raises(ClientError):
        client.delete_object(Bucket=locked, Key=version["Key"], VersionId=version["VersionId"])
    held = client.get_object_retention(Bucket=locked, Key=version["Key"])["Retention"]
    assert held["Mode"] == "COMPLIANCE"
    assert held["RetainUntilDate"] - now() > timedelta(days=1, hours=23)
    client.delete_object(Bucket=locked, Key=version["Key"])
    assert "Contents" not in client.list_objects_v2(Bucket=locked)
    assert [one.seq for one in place.all()] == [5]
    place.put(anchor(5))
    assert [one.seq for one in place.all()] == [5]


def test_a_bucket_that_cannot_retain_is_told(place: AnchorBucket) -> None:
    """An anchor that was to be kept from everybody, and is not, is no success."""
    with pytest.raises(ClientError):
        AnchorBucket(place.bucket, place.prefix.strip("/"), retain_days=2).put(anchor(5))


def test_a_stranger_in_the_place_proves_nothing(place: AnchorBucket) -> None:
    """Something there that is no anchor is a finding, and never passed over."""
    clients.s3().put_object(Bucket=place.bucket, Key=f"{place.prefix}readme.txt", Body=b"x")
    with pytest.raises(AnchorsUnreadable, match=r"readme\.txt is no anchor"):
        place.all()


def test_a_place_is_opened_by_its_kind() -> None:
    """The playbook's two kinds of places."""
    bucket = open_anchors(AnchorPlace(store="s3://audit/lastgood/", retain_days=3))
    assert isinstance(bucket, AnchorBucket)
    assert (bucket.bucket, bucket.prefix, bucket.retain_days) == ("audit", "lastgood/", 3)
    assert isinstance(open_anchors(AnchorPlace(store="file:///tmp/anchors.jsonl")), AnchorFile)
