"""The section on infrastructure, on moto's AWS over the wire and a small HTTP service that really answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo import servers
from flows import by_hand
from flows.infrastructure import infrastructure
from flows.rehearse import actions
from flows.service_checks import ServiceCheck
from incidents.events import Triaged
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Health, Severity, Status, now
from incidents.moves import moves
from remediations.clients import aws as client
from remediations.clients import s3
from tests.flows.kit import ChangePlaybook, judge, kinds, opened, run
from tests.remediations import aws_kit

ASSET = "service:scoring"


class Scoring:
    """An HTTP service that is as well as AWS says it should be: it asks moto how many of it run, and which version."""

    def __init__(self) -> None:
        #: What it takes to be well.
        self.needs_copies, self.bad_versions, self.url = 1, set[str](), ""
        self.down = False

    def status(self) -> int:
        """What it answers with now."""
        found = aws_kit.ecs_described()
        well = found["desiredCount"] >= self.needs_copies and found["taskDefinition"] not in self.bad_versions
        return 200 if well and not self.down else 503


@pytest.fixture
def scoring(
    aws: Callable[[str], Any], prefect_server: object, change_playbook: ChangePlaybook
) -> Iterator[tuple[Scoring, list[str]]]:
    """The service, on ECS, declared in the playbook; and its versions, of which the second runs."""
    service = Scoring()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(service.status())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/health"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    declared = f"""services:
  scoring:
    runs_on: {{kind: ecs, cluster: serving, service: scoring}}
    bounds: {{min: 1, max: 6, step: 2, cost_per_hour: 0.25, back_after_seconds: 0}}
    health: {{url: "{service.url}", asks: 2}}
"""
    change_playbook("services: {}\n", declared, "within_seconds: 60}", "within_seconds: 2}")
    yield service, aws_kit.ecs_service()
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_overload_is_scaled_away_and_scaled_back(scoring: tuple[Scoring, list[str]], ledger: Ledger) -> None:
    """Look first, confirm, add two, see it recover, take them away again and see it stay well: one incident."""
    service, versions = scoring
    for version in versions[:2]:  # an older good version is no way out: this one was good as well
        judge(ledger, ASSET, version)
    service.needs_copies = 3
    incident = opened(ledger, ASSET, Category.infrastructure)
    seen_with: list[int] = []
    status = service.status

    def recovers() -> int:
        """With enough copies the queue is worked off, and then fewer are enough."""
        answer = status()
        if answer == 200:
            seen_with.append(aws_kit.ecs_described()["desiredCount"])
            service.needs_copies = 1
        return answer

    service.status = recovers  # type: ignore[method-assign]  # the load of this test
    outcome = run(infrastructure, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert (min(seen_with), max(seen_with)) == (2, 4)
    assert aws_kit.ecs_described()["desiredCount"] == 2
    changes = [
        (one.plan.action, one.plan.before["count"], one.plan.after["count"]) for one in find(ledger, incident).attempts
    ]
    assert changes == [("scale_service", 2, 4), ("scale_service", 4, 2)]
    assert "costs 0.25 USD an hour, so this is +0.50 an hour" in find(ledger, incident).attempts[0].plan.because[1]
    one = ["planned", "gated", "applying", "applied", "checked", "judged", "verified"]
    story = [kind for kind in kinds(ledger, incident) if kind != "moved"]
    assert story == ["opened", "started", "triaged", "checked", "judged", *one, *one, "resolved"]


def test_it_looks_first_and_says_what_it_could_not_see(scoring: tuple[Scoring, list[str]], ledger: Ledger) -> None:
    """Copies, version, deployments, the metric and the quotas are on the record before anything is decided."""
    service, versions = scoring
    service.down = True
    client("cloudwatch").put_metric_data(
        Namespace="AWS/ECS",
        MetricData=[
            {
                "MetricName": "CPUUtilization",
                "Dimensions": [
                    {"Name": "ClusterName", "Value": "serving"},
                    {"Name": "ServiceName", "Value": "scoring"},
                ],
                "Timestamp": now()
                - timedelta(minutes=1),  # a request ends at a whole second, and what is newer is not in it
                "Value": 97.5,
            }
        ],
    )
    incident = opened(ledger, ASSET, Category.infrastructure)
    run(infrastructure, incident)
    [event] = [event for event in ledger.events(incident=incident) if isinstance(event.body, Triaged)]
    assert isinstance(event.body, Triaged)
    evidence: dict[str, Any] = dict(event.body.evidence)
    assert (evidence["copies"], evidence["version"]) == (2, versions[1])
    assert versions[1] in evidence["recent"][0]
    assert "97.5" in evidence["metric"]["average and maximum"][0]
    assert {*evidence, *event.body.missing} == {"copies", "version", "recent", "metric", "quotas"}


def test_a_bad_release_is_rolled_back_and_not_scaled(scoring: tuple[Scoring, list[str]], ledger: Ledger) -> None:
    """A version never verified good goes first: no number of copies makes it well."""
    service, versions = scoring
    judge(ledger, ASSET, versions[0])
    service.bad_versions = {versions[1]}
    incident = opened(ledger, ASSET, Category.infrastructure)
    outcome = run(infrastructure, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert aws_kit.ecs_described()["taskDefinition"] == versions[0]
    assert [one.plan.action for one in find(ledger, incident).attempts] == ["rollback_service"]
    last = moves(ledger, f"{ASSET}@version")[-1]
    assert (last.how, last.before, last.after) == ("applied", versions[1], versions[0])


def test_what_does_not_help_is_undone_and_a_restart_asks(scoring: tuple[Scoring, list[str]], ledger: Ledger) -> None:
    """More copies did not help and are taken back; a restart can't be undone, so people are asked."""
    service, versions = scoring
    judge(ledger, ASSET, versions[1])
    service.down = True
    incident = opened(ledger, ASSET, Category.infrastructure)
    before = aws_kit.ecs_described()
    assert run(infrastructure, incident).status is Status.waiting
    assert aws_kit.ecs_described() == before
    attempts = find(ledger, incident).attempts
    assert [(one.plan.action, one.undone) for one in attempts] == [("scale_service", True), ("restart_service", False)]


def test_what_is_well_is_left_alone(scoring: tuple[Scoring, list[str]], ledger: Ledger) -> None:
    """Law 5: the alert is not confirmed, and nothing is planned."""
    incident = opened(ledger, ASSET, Category.infrastructure)
    assert run(infrastructure, incident).status is Status.not_confirmed
    assert "planned" not in kinds(ledger, incident)


def test_a_service_that_cannot_be_reached_goes_to_a_person(
    scoring: tuple[Scoring, list[str]], ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """Law 4: no connection may as well be our own network's fault; it is not a failure of the service."""
    declared = """services:
  scoring:
    runs_on: {kind: ecs, cluster: serving, service: scoring}
    health: {url: "http://127.0.0.1:9/health"}
"""
    change_playbook("services: {}\n", declared)
    assert ServiceCheck(asset=ASSET).look().verdict.health is Health.inconclusive


def test_good_answers_count_only_when_the_change_is_through(scoring: tuple[Scoring, list[str]]) -> None:
    """While tasks are still missing, the answers may be those of the old ones."""
    assert ServiceCheck(asset=ASSET).look().verdict.health is Health.healthy
    client("ecs").create_service(
        cluster="serving", serviceName="scoring", taskDefinition=scoring[1][1], desiredCount=2
    )  # moto starts none of its tasks
    look = ServiceCheck(asset=ASSET).look()
    assert (look.verdict.health, look.version) == (Health.inconclusive, None)
    assert "under way" in look.verdict.why


def test_a_rehearsal_plans_every_action_on_a_service(scoring: tuple[Scoring, list[str]], ledger: Ledger) -> None:
    """What would run on the service is known before it has to."""
    names = [action.name() for action in actions() if action.subject() == ASSET]
    assert names == ["rollback_service", "scale_service", "restart_service"]
    assert all(by_hand.FLOWS[name] for name in names)


def test_a_pipeline_fails_over_to_its_standby(
    aws: object, prefect_server: object, s3_prefix: str, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """The pipeline's own freshness is bad, it reads from the standby, and the freshness recovers."""
    bucket, _, prefix = s3_prefix.removeprefix("s3://").partition("/")
    place: Any = {"Bucket": bucket, "Key": f"{prefix}/source"}
    s3().put_object(**place, Body=b"https://feeds/cards\n")
    prometheus = _Prometheus(lambda: 5 if b"mirror" in s3().get_object(**place)["Body"].read() else 9_000)
    with prometheus:
        change_playbook(
            "pipelines: {}\n",
            f"""pipelines:
  cards:
    source: {s3_prefix}/source
    primary: https://feeds/cards
    standby: s3://mirror/cards
    health: {{prometheus: "{prometheus.url}", query: "time() - cards_last_row_seconds", at_most: 900}}
""",
        )
        outcome = run(infrastructure, opened(ledger, "pipeline:cards", Category.infrastructure, Severity.high))
    assert outcome.status is Status.resolved, outcome.why
    assert s3().get_object(**place)["Body"].read() == b"s3://mirror/cards\n"
    assert bucket == servers.BUCKET


class _Prometheus:
    """The query endpoint of Prometheus's HTTP API, which answers with one number."""

    def __init__(self, value: Callable[[], float]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path.startswith("/api/v1/query?query=")
                result = f'[{{"metric": {{}}, "value": [1764000000.0, "{value()}"]}}]'
                body = f'{{"status": "success", "data": {{"resultType": "vector", "result": {result}}}}}'.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> None:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
