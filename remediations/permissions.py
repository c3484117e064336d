"""What an action must be allowed to do in AWS, as statements of an IAM policy."""

from __future__ import annotations

from urllib.parse import unquote

from incidents.models import Frozen


class Statement(Frozen):
    """Actions on one kind of resource. An account and a region are left open: a role is in one account anyway."""

    actions: tuple[str, ...]
    resource: str = "*"
    #: For ``iam:PassRole``: the one service that the role may be handed to. Empty: any.
    passed_to: str = ""

    def __str__(self) -> str:
        return f"{', '.join(self.actions)} on {self.resource}"


def bucket_of(address: str) -> str:
    """The ARN of the bucket in ``s3://bucket/prefix``."""
    return f"arn:aws:s3:::{_place(address).partition('/')[0]}"


def under(address: str, path: str = "") -> str:
    """The ARN of an address in S3, or of a path under it: ``under(store, "manifests/*")``."""
    return f"arn:aws:s3:::{_place(address)}" + (f"/{path}" if path else "")


def on_user(actions: tuple[str, ...], user: str) -> tuple[Statement, ...]:
    """Actions on an IAM user, whose name is one in the account, and whose path is not known."""
    return tuple(Statement(actions=actions, resource=f"arn:aws:iam::*:user/{path}{user}") for path in ("", "*/"))


def on_secret(actions: tuple[str, ...], secret: str) -> Statement:
    """Actions on a secret by its name or ARN. Secrets Manager puts a hyphen and six letters after a name."""
    arn = secret if secret.startswith("arn:") else f"arn:aws:secretsmanager:*:*:secret:{secret}-??????"
    return Statement(actions=actions, resource=arn)


def _place(address: str) -> str:
    return unquote(address.partition("://")[2]).rstrip("/")
