"""``/answers/{token}``: a person's answer through a signed one-time link.

Opening the link shows the plan and a form. Only sending the form answers: what scans mail or previews chats opens links
and sends nothing. Every link that can't be used, for whatever reason, looks the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from html import escape
from urllib.parse import parse_qs

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from incidents import approvals, questions
from incidents.approvals import NotAsked
from incidents.incident import NoSuchIncident, find
from incidents.inert import one_line
from incidents.intake.request import Refused
from incidents.ledger import Ledger
from incidents.links import Link, NoLink, read
from incidents.playbook import Playbook
from incidents.questions import Question
from incidents.sentences import change

#: Bytes of a form: a choice, a name and a reason.
_LARGEST_FORM = 4096

#: A page that nothing else may frame, read from a cache or learn the address of, and that runs nothing.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}

_FORM = """<form method="post">
<p><label>Your name <input name="asked_by" required minlength="2" maxlength="60"></label></p>
<p><label>Why <input name="because" maxlength="300"></label></p>
<p><button name="answer" value="approve">Approve</button> <button name="answer" value="reject">Reject</button></p>
</form>"""


def route(ledger: Ledger, playbook: Playbook, wake: Callable[[], None]) -> Callable[[Request], Awaitable[Response]]:
    """The handler of GET and POST; ``wake`` is called when a job may wait in the outbox."""

    async def answers(request: Request) -> Response:
        link = _link(request)
        if request.method != "POST":
            return await asyncio.to_thread(_show, ledger, link)
        form = parse_qs((await _body(request)).decode("utf-8", "replace"), max_num_fields=10)
        page = await asyncio.to_thread(_take, ledger, playbook, link, form)
        wake()
        return page

    return answers


def _show(ledger: Ledger, link: Link) -> Response:
    question = _waiting(ledger, link)
    if question is None:
        return _page(410, "Nothing waits for this answer any more")
    plan = question.plan
    lines = [change(plan), *plan.because, f"{len(question.yes)} of {question.asked.needed} have said yes."]
    return _page(200, f"{link.incident}: {plan.summary}", *lines, f"Plan {plan.hash}", form=_FORM)


def _take(ledger: Ledger, playbook: Playbook, link: Link, form: dict[str, list[str]]) -> Response:
    given = {name: one_line(values[0], 300) for name, values in form.items()}
    choice, who, why = given.get("answer"), given.get("asked_by", ""), given.get("because", "")
    if choice not in ("approve", "reject") or not 2 <= len(who) <= 60:
        return _page(422, "Say who you are, and choose one of the two", form=_FORM)
    try:
        said = approvals.answer(
            ledger,
            playbook,
            link.incident,
            f"person:{who}",
            yes=choice == "approve",
            why=why,
            plan=link.plan,
            link=link.number,
        )
    except (NotAsked, NoSuchIncident) as error:
        return _page(409, str(error))
    return _page(200, said)


def _waiting(ledger: Ledger, link: Link) -> Question | None:
    """The question that the link is about, where it still waits and the link was not used."""
    try:
        question = questions.standing(find(ledger, link.incident))
    except NoSuchIncident:
        return None
    if question is None or question.expired or question.asked.plan != link.plan or link.number in question.links:
        return None
    return question


def _link(request: Request) -> Link:
    try:
        return read(request.path_params["token"])
    except NoLink:
        raise Refused(404, "there is no such link, or its time is over", headers=_HEADERS) from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            raise Refused(413, "the form is too large", headers={"Connection": "close"})
    return bytes(body)


def _page(status: int, title: str, *lines: str, form: str = "") -> Response:
    said = "".join(f"<p>{escape(line)}</p>" for line in lines)
    head = f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title><h1>{escape(title)}</h1>'
    return HTMLResponse(head + said + form, status, _HEADERS)
