"""Many at once, over real sockets and processes: every alert becomes its incident once, and memory stays bounded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from incidents import audit
from incidents.intake.store import Receipt
from incidents.ledger import Ledger
from incidents.schema import deliveries, episodes, incidents, outbox
from tests.incidents.posting import HEADERS, as_bytes, group, intake, raw_alert

#: Alerts of a burst.
MANY = 10_000

#: So much more memory than before may a burst take at its worst, in megabytes.
BOUND = 150


def alert(number: int) -> dict[str, object]:
    """One of many alerts of about half a kilobyte; those of the same hundred are about the same trouble."""
    labels = {"alertname": f"PodDown{number // 100}", "pod": f"pod-{number}", "severity": "warning"}
    return raw_alert(fingerprint=f"{number:016x}", labels=labels, annotations={"summary": f"{number} is down" * 20})


def post(address: str, bodies: Sequence[bytes]) -> list[tuple[int, Receipt]]:
    """Post one after the other over one connection."""
    connection, answers = HTTPConnection(urlsplit(address).netloc, timeout=60), []
    for body in bodies:
        connection.request("POST", "/alerts/alertmanager", body, HEADERS)
        answer = connection.getresponse()
        answers.append((answer.status, Receipt.model_validate_json(answer.read())))
    connection.close()
    return answers


def most_memory(pid: int) -> float:
    """The most memory that the process ever had, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("how", ["as 10,000 posts of 8 clients", "as one post of 5 MB"])
def test_ten_thousand_alerts_in_one_burst(ledger: Ledger, tmp_path: Path, how: str) -> None:
    """They become 100 incidents with a job each, all of them are on the record, and memory stays bounded."""
    with intake(str(ledger.engine.url), tmp_path / "intake.log") as server:
        before = most_memory(server.pid)
        if how == "as one post of 5 MB":
            body = as_bytes(group(*map(alert, range(MANY))))
            assert len(body) > 5_000_000
            answers = post(server.url, [body])
        else:
            singles = [[as_bytes(group(alert(number))) for number in range(first, MANY, 8)] for first in range(8)]
            with ThreadPoolExecutor(8) as clients:
                answers = [one for some in clients.map(post, [server.url] * 8, singles) for one in some]
        assert most_memory(server.pid) - before < BOUND
    assert {status for status, _ in answers} == {202}
    assert sum(receipt.opened for _, receipt in answers) == 100
    assert sum(receipt.joined for _, receipt in answers) == MANY - 100
    with ledger.engine.connect() as connection:
        counts = [connection.scalar(select(func.count()).select_from(it)) for it in (episodes, incidents, outbox)]
    assert counts == [MANY, 100, 100]
    assert audit.verify(ledger).events == MANY


def test_two_processes_take_the_same_alerts_at_once(database_url: str, tmp_path: Path) -> None:
    """Two intakes on one database, 50 alerts sent to both: one incident and one job each, and new only once."""
    ledger = Ledger(database_url)
    bodies = [as_bytes(group(raw_alert(fingerprint=str(n), labels={"alertname": f"A{n}"}))) for n in range(50)]
    with intake(database_url, tmp_path / "one.log") as one, intake(database_url, tmp_path / "two.log") as two:
        work = [(server.url, bodies[part::4]) for part in range(4) for server in (one, two)]
        with ThreadPoolExecutor(8) as clients:
            answers = [answer for some in clients.map(lambda given: post(*given), work) for answer in some]
    assert Counter(status for status, _ in answers) == {202: 50, 200: 50}
    named = Counter(name for _, receipt in answers for name in receipt.incidents)
    assert named == {f"INC-{number}": 2 for number in range(1, 51)}
    with ledger.engine.connect() as connection:
        assert {row.seen for row in connection.execute(select(deliveries))} == {2}
        assert connection.scalar(select(func.count()).select_from(incidents)) == 50
        jobs = connection.execute(select(outbox)).all()
    assert sorted(json.loads(job.payload)["parameters"]["incident"] for job in jobs) == sorted(named)
    assert audit.verify(ledger).events == 50
    ledger.engine.dispose()
