"""One-time links to answer with: signed, so that nobody can make one, and bound to a plan, a channel and a time.

A link says who was sent it, not who uses it: its channel answers once, in the name that is typed into the page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from pydantic import AwareDatetime, ValidationError

from incidents.models import Frozen, canonical, now
from incidents.settings import settings

#: A shorter key signs nothing, in characters.
SHORTEST_KEY = 32


class NoLink(Exception):
    """It is no link of ours, or its time is over. Which of them is not told."""


class Link(Frozen):
    """What a link stands for."""

    incident: str
    #: The plan's hash.
    plan: str
    #: The channel that it was sent to.
    channel: str
    expires_at: AwareDatetime

    @property
    def number(self) -> str:
        """Tells it from every other, on the record: one plan, one channel, one time."""
        return hashlib.sha256(_content(self)).hexdigest()[:32]


def address(link: Link) -> str:
    """The link's URL; empty where no key is set, or no address at which people reach the intake."""
    key, where = _key(), settings().public_url.rstrip("/")
    return f"{where}/answers/{_sign(link, key)}" if key and where else ""


def read(token: str) -> Link:
    """The link that a token is.

    Raises:
        NoLink: it is none that can be used.
    """
    content, _, signature = token.partition(".")
    key = _key()
    try:
        if not key or not hmac.compare_digest(_mac(content, key), signature.encode()):
            raise NoLink
        link = Link.model_validate_json(base64.urlsafe_b64decode(content))
    except (ValidationError, binascii.Error, UnicodeError):
        raise NoLink from None
    if link.expires_at <= now():
        raise NoLink
    return link


def _sign(link: Link, key: bytes) -> str:
    content = base64.urlsafe_b64encode(_content(link)).decode()
    return f"{content}.{_mac(content, key).decode()}"


def _content(link: Link) -> bytes:
    return canonical(link.model_dump(mode="json")).encode()


def _mac(content: str, key: bytes) -> bytes:
    return (
        hmac.new(key, b"lastgood answer " + content.encode("utf-8", "surrogatepass"), hashlib.sha256)
        .hexdigest()
        .encode()
    )


def _key() -> bytes:
    found = settings().link_key
    key = found.get_secret_value().encode() if found else b""
    return key if len(key) >= SHORTEST_KEY else b""
