"""Telling people. A message is a job in the outbox, so a dead channel never stops a fix and never another channel."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pydantic import AwareDatetime

from incidents.channels.apprise import NotAnAddress, send
from incidents.events import Told
from incidents.inert import chat
from incidents.ledger import Ledger, Writer
from incidents.links import Link, address
from incidents.models import Frozen, Severity, digest
from incidents.playbook import Playbook
from incidents.redaction import redact

#: Mail subjects and chat headers are cut here, in characters, and so is what stands below them.
LONGEST_TITLE, LONGEST_TEXT = 150, 2000

#: A channel that has not answered after this many seconds has not taken the message.
TIME_LIMIT = 20.0

#: After this many tries, which take the outbox about a quarter of an hour, a message is given up on, and that is on the
#: record.
TRIES = 20


class Ask(Frozen):
    """A plan that the message asks about, and until when it can be answered."""

    plan: str
    expires_at: AwareDatetime


class Message(Frozen):
    """A job in the outbox. It names its channel and the variable that holds its secret, never the secret."""

    incident: str
    severity: Severity
    channel: str
    variable: str
    title: str
    text: str
    #: Where it asks: the link to answer with is made when it is sent, so that none lies in the outbox.
    ask: Ask | None = None
    #: How often it was tried before; the outbox fills it in.
    attempts: int = 0


class NotDelivered(Exception):
    """The channel did not take the message this time; the outbox tries again."""


def announce(  # noqa: PLR0917  # a sentence with seven parts, always said in the same order
    writer: Writer,
    playbook: Playbook,
    incident: str,
    severity: Severity,
    title: str,
    text: str,
    ask: Ask | None = None,
) -> None:
    """Ask, in the same transaction, for one message to every channel that the playbook names for this severity."""
    for name in playbook.tell.get(severity, ()):
        message = Message(
            incident=incident,
            severity=severity,
            channel=name,
            variable=playbook.channels[name].url_env,
            title=chat(redact(title), LONGEST_TITLE).replace("\n", " "),
            text=chat(redact(text), LONGEST_TEXT),
            ask=ask,
        )
        payload = message.model_dump(mode="json", exclude={"attempts"}, exclude_none=True)
        writer.send("tell", f"tell:{incident}:{name}:{digest(payload)[:32]}", payload, incident=incident)


async def deliver(ledger: Ledger, payload: dict[str, Any]) -> None:
    """Send one message, and put on the record that the channel took it or is given up on.

    ``payload["attempts"]`` says how often it was tried before. A message can arrive twice, when the process dies
    between the sending and the record; it is never lost.

    Raises:
        NotDelivered: the channel did not take it, and tries are left.
    """
    message = Message.model_validate(payload)
    why = await _send(message)
    if why is not None and not why.final and message.attempts + 1 < TRIES:
        raise NotDelivered(why.text)
    told = Told(
        channel=message.channel, title=message.title, delivered=why is None, why="" if why is None else why.text
    )
    actor = f"channel:{message.channel}"
    await asyncio.to_thread(ledger.append, told, actor=actor, incident=message.incident)


class _Why(Frozen):
    """Why a message did not arrive, and whether trying again is of no use."""

    text: str
    final: bool


async def _send(message: Message) -> _Why | None:
    url = os.environ.get(message.variable, "")
    if not url:
        return _Why(text=f"{message.variable} is not set", final=True)
    try:
        work = _in_thread(lambda: send(url, message.title, _text(message), message.severity))
        taken = await asyncio.wait_for(work, TIME_LIMIT)
    except NotAnAddress:
        return _Why(text=f"what {message.variable} holds is not an Apprise URL", final=True)
    except TimeoutError:
        return _Why(text=f"{message.channel} did not answer within {TIME_LIMIT:.0f} s", final=False)
    except Exception as error:  # a hundred plugins: their errors' text may hold the URL, so only the kind is kept
        return _Why(text=f"{message.channel} could not be reached ({type(error).__name__})", final=False)
    return None if taken else _Why(text=f"{message.channel} could not be reached, or refused it", final=False)


def _text(message: Message) -> str:
    """What is sent: the text, and under it a link to answer with, where it asks and there is a key to sign one."""
    if message.ask is None:
        return message.text
    link = Link(
        incident=message.incident, plan=message.ask.plan, channel=message.channel, expires_at=message.ask.expires_at
    )
    where = address(link)
    return f"{message.text}\n{where}" if where else message.text


def _in_thread(work: Callable[[], bool]) -> asyncio.Future[bool]:
    """Run it in a thread of its own, which nothing waits for at exit: one channel could hang every thread of a pool."""
    future: Future[bool] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(work())
        except Exception as error:  # handed on to who waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="tell").start()
    return asyncio.wrap_future(future)
