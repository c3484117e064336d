"""A person's answer to a plan that waits for one, as a form."""

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.states import Completed, Failed
from pydantic import Field

from flows.case import KEEPS_NOTHING, step
from incidents import approvals
from incidents.approvals import NotAsked
from incidents.inert import one_line
from incidents.ledger import ledger
from incidents.playbook import playbook


@flow(flow_run_name="{answer} {incident} by {asked_by}", **KEEPS_NOTHING)
async def answer(
    incident: str,
    answer: Literal["approve", "reject"],
    asked_by: Annotated[str, Field(min_length=2, max_length=60)],
    because: Annotated[str, Field(max_length=300)] = "",
    plan: str = "",
) -> Any:
    """Say yes or no to the plan that an incident waits with.

    Args:
        incident: The incident, INC-7 for instance.
        answer: approve lets the plan run if the world still is as it found it; reject hands over to a person.
        asked_by: Who you are; it goes on the record. Who began the incident can't approve it.
        because: Why.
        plan: The beginning of the hash of the plan that you have seen. Empty: the one that waits now.
    """

    def work() -> str:
        return approvals.answer(
            ledger(),
            playbook(),
            incident.strip().upper(),
            f"person:{one_line(asked_by)}",
            yes=answer == "approve",
            why=one_line(because),
            plan=plan.strip(),
        )

    try:
        said = await step(answer, work)
    except NotAsked as error:
        return Failed(name="NotAsked", message=str(error))
    return Completed(name="Approved" if answer == "approve" else "Rejected", message=said, data=said)
