"""A stand-in for a Kubernetes API server, because no cluster is here: the documented scale subresource, and no more.

It is strict where the API reference is: what a PUT must carry, and a 409 where the resource version is an old one.
Source: kubernetes.io, API reference: Scale v1 autoscaling; Deployment v1 apps, "replace scale".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.remediations.stand_in import QuietHandler, listening

PATH = "/apis/apps/v1/namespaces/ml/deployments/scoring/scale"
TOKEN = "a token of this test alone"


class Api:
    """One Deployment, ``ml/scoring``."""

    def __init__(self) -> None:
        self.version, self.replicas, self.url = 7, 2, ""
        #: Called after a scale was read, and before whoever read it can write.
        self.after_read: Any = bool

    def scale(self) -> dict[str, Any]:
        """The Scale object; like Kubernetes it leaves out a zero."""
        spec = {"replicas": self.replicas} if self.replicas else {}
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {"name": "scoring", "namespace": "ml", "uid": "u", "resourceVersion": str(self.version)},
            "spec": spec,
            "status": {"replicas": self.replicas, "selector": "app=scoring"},
        }

    def set(self, replicas: int) -> None:
        """Scale it, as anybody does."""
        self.version, self.replicas = self.version + 1, replicas

    def replace(self, sent: dict[str, Any]) -> int:
        """Replace the scale; returns the HTTP status."""
        metadata = sent.get("metadata", {})
        whole = (sent.get("kind"), sent.get("apiVersion"), metadata.get("name"), metadata.get("namespace"))
        replicas = sent.get("spec", {}).get("replicas")
        if whole != ("Scale", "autoscaling/v1", "scoring", "ml") or not isinstance(replicas, int) or replicas < 0:
            return 422
        if metadata.get("resourceVersion") != str(self.version):
            return 409
        if replicas != self.replicas:
            self.set(replicas)
        return 200


@contextmanager
def served() -> Iterator[Api]:
    """The API over a socket of its own."""
    api = Api()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self._answer(200)
            api.after_read()

        def do_PUT(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(api.replace(sent))

        def _answer(self, status: int) -> None:
            if self.path != PATH:
                status = 404
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status = 401
            body = json.dumps(api.scale() if status == 200 else {"kind": "Status", "code": status}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as api.url:
        yield api
