"""SageMaker as moto has it, with what moto lacks in front of it, over the wire: UpdateEndpoint, and what a job does.

moto is asked first, so it is moto that lets a request in or not. A request that it does not know is checked against
botocore's own model of the API, and done with what moto has: the endpoint is made anew from the other config. It is no
SageMaker: there an update takes minutes, here the endpoint is at the new config at once.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.remediations.stand_in import QuietHandler, listening

Answer = tuple[int, bytes]


class Invalid(Exception):
    """What SageMaker calls a ValidationException."""


class Api:
    """SageMaker at ``url``, which is moto's at ``behind``."""

    def __init__(self, behind: str) -> None:
        self.url, self.behind = "", urlsplit(behind).netloc
        #: What a training job does with the hyperparameters that it was started with.
        self.container: Callable[[Mapping[str, str]], object] = bool

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """moto's answer; or ours, where moto let the request in and does not know it."""
        status, found = self._moto("/", headers, body)
        operation = headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
        if operation == "CreateTrainingJob" and status == http.client.OK:
            with self._unguarded():
                self.container(json.loads(body)["HyperParameters"])
        if operation != "UpdateEndpoint" or status != http.client.INTERNAL_SERVER_ERROR:
            return status, found
        try:
            with self._unguarded():
                return http.client.OK, json.dumps(self._update(headers, json.loads(body))).encode()
        except Invalid as wrong:
            said = {"__type": "ValidationException", "message": str(wrong)}
            return http.client.BAD_REQUEST, json.dumps(said).encode()

    def _update(self, headers: Mapping[str, str], given: dict[str, Any]) -> dict[str, Any]:
        shape = get_session().get_service_model("sagemaker").operation_model("UpdateEndpoint").input_shape
        assert shape is not None
        report = ParamValidator().validate(given, shape)
        if report.has_errors():
            raise Invalid(report.generate_report())
        name, config = given["EndpointName"], given["EndpointConfigName"]
        endpoint = self._ask(headers, "DescribeEndpoint", EndpointName=name)
        wanted = self._ask(headers, "DescribeEndpointConfig", EndpointConfigName=config)
        if endpoint["EndpointStatus"] != "InService":
            raise Invalid(f"Cannot update in-progress endpoint {name}")
        self._ask(headers, "DeleteEndpoint", EndpointName=name)
        made = self._ask(headers, "CreateEndpoint", EndpointName=name, EndpointConfigName=config)
        if given.get("RetainAllVariantProperties"):
            known = {one["VariantName"] for one in wanted["ProductionVariants"]}
            kept = [
                {
                    "VariantName": one["VariantName"],
                    "DesiredWeight": one["DesiredWeight"],
                    "DesiredInstanceCount": one["DesiredInstanceCount"],
                }
                for one in endpoint["ProductionVariants"]
                if one["VariantName"] in known
            ]
            operation = "UpdateEndpointWeightsAndCapacities"
            self._ask(headers, operation, EndpointName=name, DesiredWeightsAndCapacities=kept)
        return {"EndpointArn": made["EndpointArn"]}

    def _ask(self, headers: Mapping[str, str], operation: str, **given: Any) -> dict[str, Any]:
        named = {**headers, "X-Amz-Target": f"SageMaker.{operation}"}
        status, body = self._moto("/", named, json.dumps(given).encode())
        if status != http.client.OK:
            raise Invalid(body.decode())
        return dict(json.loads(body)) if body else {}

    @contextmanager
    def _unguarded(self) -> Iterator[None]:
        """Inside, moto lets anybody do anything: what SageMaker does of itself needs nobody's permission."""
        before = json.loads(self._moto("/moto-api/reset-auth", {}, b"inf")[1])
        yield
        self._moto("/moto-api/reset-auth", {}, str(before["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"]).encode())

    def _moto(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Not by a client whose calls a test counts."""
        line = http.client.HTTPConnection(self.behind, timeout=60)
        line.request("POST", path, body, {**headers, "Content-Length": str(len(body))})
        answer = line.getresponse()
        found = answer.status, answer.read()
        line.close()
        return found


@contextmanager
def served(behind: str) -> Iterator[Api]:
    """The API over a socket of its own."""
    api = Api(behind)

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = api.answer(dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with listening(Handler) as api.url:
        yield api
