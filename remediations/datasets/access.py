"""What a dataset's store takes of S3, as statements of an IAM policy: a prefix, plain keys or a Delta table.

A store in a folder takes nothing of it. What an Iceberg catalog, DVC's remote or Delta's locks in DynamoDB take, their
own settings say.
"""

from __future__ import annotations

from remediations.permissions import Statement, bucket_of, under


def aside(store: str) -> str:
    """Where a store keeps what is not data: in itself, or beside a prefix where everything is data."""
    return f"{store.rstrip('/')}.lastgood" if store.startswith(("s3+versions:", "s3+delta:")) else store


def to_read(store: str) -> tuple[Statement, ...]:
    """Read the pointer and any version. Without the list AWS says 403, and not 404, of what is not there."""
    listed = Statement(actions=("s3:ListBucket",), resource=bucket_of(store))
    if store.startswith(("s3:", "s3+delta:")):
        return listed, Statement(actions=("s3:GetObject",), resource=under(store, "*"))
    if store.startswith("s3+versions:"):
        return (
            listed,
            Statement(actions=("s3:ListBucketVersions",), resource=bucket_of(store)),
            Statement(actions=("s3:GetObject", "s3:GetObjectVersion"), resource=under(store, "*")),
            # a state of plain keys that is looked at is put on file, so that it has a name
            Statement(actions=("s3:GetObject", "s3:PutObject"), resource=under(aside(store), "*")),
        )
    return ()


def to_move(store: str) -> tuple[Statement, ...]:
    """Set the pointer; plain keys are also brought back or taken away, one by one."""
    if store.startswith("s3:"):
        return (Statement(actions=("s3:PutObject",), resource=under(store, "current")),)
    if store.startswith("s3+delta:"):
        return (Statement(actions=("s3:PutObject",), resource=under(store, "_delta_log/*")),)
    if store.startswith("s3+versions:"):
        return (
            Statement(actions=("s3:GetBucketVersioning",), resource=bucket_of(store)),
            Statement(actions=("s3:PutObject", "s3:DeleteObject"), resource=under(store, "*")),
        )
    return ()


def to_publish(store: str) -> tuple[Statement, ...]:
    """Create objects and manifests, where content is kept by its name."""
    if not store.startswith("s3:"):
        return ()
    places = ("manifests/*", "objects/*")
    return tuple(Statement(actions=("s3:PutObject",), resource=under(store, place)) for place in places)


def to_mark(store: str) -> tuple[Statement, ...]:
    """Read a version's manifest, and put a mark beside the version, read it and take it away."""
    marks = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    marked = Statement(actions=marks, resource=under(aside(store), "quarantine/*"))
    if store.startswith("s3+delta:"):
        return (*to_read(store), marked)
    if not store.startswith(("s3:", "s3+versions:")):
        return ()
    return (
        Statement(actions=("s3:ListBucket",), resource=bucket_of(store)),
        Statement(actions=("s3:GetObject",), resource=under(aside(store), "manifests/*")),
        marked,
    )
