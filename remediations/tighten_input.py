"""Tighten what a model's service lets in, while it is under adversarial input."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from incidents.breach import Input
from incidents.models import Risk
from incidents.playbook import Playbook, playbook
from incidents.redaction import redact
from remediations import clients
from remediations.base import CannotPlan, Conflict
from remediations.containment import Containment, State
from remediations.datasets.s3_files import TAKEN, status
from remediations.permissions import Statement, under

#: The document stands on the record whole, so that it can be brought back byte for byte.
_LARGEST = 64 * 1024


class TightenInput(Containment):
    """Set the fields that the playbook declares in the JSON document that the service reads its limits from."""

    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = ("s3:GetObject, s3:PutObject CONFIG",)

    model: str = Field(description="The model, as the playbook declares it.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Read and replace each model's document."""
        documents = [model.input.config for model in book.models.values() if model.input]
        return tuple(Statement(actions=("s3:GetObject", "s3:PutObject"), resource=under(one)) for one in documents)

    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def target(self) -> str:
        """``input:fraud``."""
        return f"input:{self.model}"

    def seen(self) -> State:
        """The document's own text."""
        return {"document": self._read()[0]}

    def wanted(self, seen: State) -> State:
        """The document with the declared fields set, the others as they are."""
        text = str(seen["document"])
        if len(text) > _LARGEST or redact(text) != text:
            raise CannotPlan(f"{self._input().config} is too large for the record, or holds a secret")
        document = self._parsed(text)
        tightened = {**document, **self._input().tightened}
        return seen if tightened == document else {"document": json.dumps(tightened, indent=2) + "\n"}

    def set(self, wanted: State, expected: State) -> None:
        """Write it by a conditional PUT, on the very bytes that were expected."""
        bucket, key = self._where()
        text, etag = self._read()
        if text == wanted["document"]:
            return
        if text != expected["document"]:
            raise Conflict(f"{self._input().config} was changed by somebody else just now, and stays so")
        client = clients.s3()
        try:
            client.put_object(Bucket=bucket, Key=key, Body=str(wanted["document"]).encode(), IfMatch=etag)
        except client.exceptions.ClientError as error:
            if status(error) not in TAKEN or self._read()[0] != wanted["document"]:
                raise  # a PUT whose answer was lost is sent again, and then refused as if by somebody else

    def summary(self, before: State, after: State) -> str:
        """Which fields become what."""
        fields = ", ".join(f"{name} {json.dumps(value)}" for name, value in self._input().tightened.items())
        return f"{self.model} lets in {'less' if before != after else 'no more than that already'}: {fields}"

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except ValueError as error:
            raise CannotPlan(f"{self._input().config} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise CannotPlan(f"{self._input().config} is no JSON object")
        return document

    def _read(self) -> tuple[str, str]:
        bucket, key = self._where()
        client = clients.s3()
        try:
            found = client.get_object(Bucket=bucket, Key=key)
        except client.exceptions.NoSuchKey:
            raise CannotPlan(f"there is no {self._input().config}") from None
        return found["Body"].read().decode(), found["ETag"]

    def _where(self) -> tuple[str, str]:
        parts = urlsplit(self._input().config)
        return parts.netloc, parts.path.lstrip("/")

    def _input(self) -> Input:
        declared = playbook().models.get(self.model)
        if declared is None or declared.input is None:
            raise CannotPlan(f"the playbook declares no input of a model {self.model!r}")
        return declared.input
