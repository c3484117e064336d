"""One message to one Apprise URL. The URL is a secret: it is in no error, no log line and no return value."""

from __future__ import annotations

import logging

from incidents.models import Severity

#: At more detail than this Apprise and urllib3 log the address that they post to, path and all, and the path of a
#: Slack or Teams address is its secret.
_QUIETEST = {"apprise": logging.CRITICAL + 1, "urllib3.connectionpool": logging.WARNING}


class NotAnAddress(Exception):
    """Apprise can't make anything of the URL; sending it again will not help."""


def send(url: str, title: str, text: str, severity: Severity) -> bool:
    """Send plain text, and say whether the other end took it. Blocks for as long as that takes.

    Raises:
        NotAnAddress: the URL is not one that Apprise knows.
    """
    for name, level in _QUIETEST.items():
        logging.getLogger(name).setLevel(level)
    import apprise

    asset = apprise.AppriseAsset(
        app_id="lastgood",
        app_desc="lastgood",
        storage_mode="memory",
        async_mode=False,
        pgp_autogen=False,
        pem_autogen=False,
        http_redirects=False,  # a redirected POST becomes a GET that carries nothing, and looks like a success
    )
    server = apprise.Apprise.instantiate(url, asset=asset)
    if server is None:
        raise NotAnAddress
    server.notify_format = apprise.NotifyFormat.TEXT
    # Opsgenie takes "info" and "success" for the end of the trouble, and closes its alert.
    loud = severity <= Severity.high
    weight = apprise.NotifyType.FAILURE if loud else apprise.NotifyType.WARNING
    box = apprise.Apprise(asset=asset)
    box.add(server)
    return bool(box.notify(text, title=title, notify_type=weight, body_format=apprise.NotifyFormat.TEXT))
