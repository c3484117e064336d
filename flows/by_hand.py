"""Any action, run by a person: plan it, apply it, or undo it. One deployment an action, with the action's form.

Annotations are evaluated at once here, and not kept as text, because a form is drawn from the class given.
"""

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from flows import correcting, proving
from flows.case import KEEPS_NOTHING, Case, Outcome, begin, ended, step
from flows.checks_of import check_of
from flows.rerunning import rerun
from flows.steps import escalate, remediate, resolve, undo
from incidents import events as e
from incidents.agreement import agreed
from incidents.incident import Attempt, find
from incidents.ledger import ledger
from incidents.models import Plan, Severity
from incidents.playbook import playbook
from incidents.redaction import redact
from remediations import ALL, Remediation, RerunPreprocessing

Do = Literal["plan", "apply", "undo"]
Who = Annotated[str, Field(min_length=2, max_length=60)]


def _by_hand(kind: type[Remediation]) -> Any:
    """The flow of one action. Its parameters are the form: what to do, the action's own fields, who asks and why."""

    @flow(
        name="by_hand",
        description=kind.__doc__,
        flow_run_name="{do} " + kind.name() + " by {asked_by}",
        **KEEPS_NOTHING,
    )
    async def run(
        action: kind,  # type: ignore[valid-type]  # the form is drawn from the class that is given
        asked_by: Who,
        do: Do = "plan",
        incident: str | None = None,
    ) -> Any:
        """Run one action by hand.

        Args:
            action: What is to be changed.
            asked_by: Who you are; it goes on the record.
            do: plan says what would change and changes nothing; apply does it; undo takes back the last apply.
            incident: The incident that it belongs to, INC-7 for instance. Empty: the asset's open one, or its own.
        """
        asked: Remediation = await step("read the suite", correcting.complete, action)
        if do == "plan":
            return await _show(asked)
        because = _reason(asked, asked_by)
        asked = asked.model_copy(update={"because": because})
        if incident is None:
            incident = await step("open", _open, asked, asked_by, because)
        case = Case(incident, actor=f"person:{asked_by}", person=asked_by)
        await begin(case, "by_hand")
        try:
            return await (_undo(case, asked) if do == "undo" else _apply(case, asked))
        except Exception as error:
            case.record(e.Failed(step=f"{do} {asked.name()}", error=f"{type(error).__name__}: {error}"[:2000]))
            await escalate(case, f"{do} {asked.name()} broke: {type(error).__name__}")
            raise

    return run


async def _show(action: Remediation) -> Any:
    """Plan as a run would, and leave the plan as an artifact. Nothing goes on the record, because nothing happens."""
    plan: Plan = await step(f"plan {action.name()}", proving.preview, action)
    lines = [
        f"## {plan.summary}",
        f"- target: `{plan.target}`",
        f"- before: `{plan.before}`",
        f"- after: `{plan.after}`",
    ]
    await acreate_markdown_artifact(key="plan", markdown="\n".join(lines + [f"- {why}" for why in plan.because]))
    return Completed(name="Planned", message=plan.summary, data=plan)


async def _apply(case: Case, action: Remediation) -> Any:
    if isinstance(action, RerunPreprocessing):
        fix, healed = await rerun(case, action), True
    else:
        check = check_of(action.subject()) if action.heals else None
        fix, healed = await remediate(case, action, check), check is not None
    if not fix.done:
        return ended(await escalate(case, fix.why))
    return await _done(case, action, fix.why, healed=healed)


async def _undo(case: Case, action: Remediation) -> Any:
    """Take back the last change that this action made to its asset and that still stands."""
    found = _last_applied(action)
    if found is None:
        nothing = f"the record has no applied {action.name()} on {action.subject()} to take back"
        return ended(await escalate(case, nothing))
    name, attempt = found
    original = type(action).model_validate(attempt.plan.parameters)
    theirs = Case(name, actor=case.actor, person=case.person)
    if original.undo_needs > 1:
        agrees = e.UndoAgreed(plan=attempt.plan.hash, why=action.because, needed=original.undo_needs)
        theirs.record(agrees, subject=attempt.plan.target)
        missing = original.undo_needs - len(agreed(theirs.incident, attempt.plan.hash, theirs.playbook))
        if missing > 0:
            waits = f"{missing} more has to ask for {attempt.plan.summary} to be taken back"
            return ended(await escalate(case, waits))
    await step(f"undo {action.name()}", undo, theirs, original, attempt.plan, action.because)
    return await _done(case, action, f"undone, from {name}: {attempt.plan.summary}", healed=False)


async def _done(case: Case, action: Remediation, why: str, *, healed: bool) -> Any:
    """Close the incident where its own symptom was seen to be gone, or where this action is all that it is about.

    Any other goes on as it stands: to contain, to keep evidence or to take something back mends nothing, what no check
    looks at was not seen to be mended, and an alert that has joined is about more than this action.
    """
    incident = case.incident
    healed = healed and (incident.category, incident.asset) == (action.category, action.subject())
    by_hand = incident.events[0].actor.startswith("person:") and incident.title.startswith(_titled(action))
    if healed or (by_hand and not incident.alerts):
        return ended(await resolve(case, why))
    left = Outcome(incident=case.name, status=incident.status, why=why)
    return Completed(name="Done", message=f"{case.name} goes on, {left.status}: {why}", data=left)


def _reason(action: Remediation, asked_by: str) -> str:
    if len(action.because.strip()) < 3:
        raise ValueError("fill in `because`: why you do this goes on the record, and beside the change")
    return redact(f"{asked_by}: {action.because.strip()}")


def _open(action: Remediation, asked_by: str, because: str) -> str:
    """The incident that stands open about the asset; else a new one, so that it is on the record like all else."""
    opened = e.Opened(
        category=action.category,
        severity=Severity.medium,
        asset=playbook().asset(action.subject()),
        title=f"{_titled(action)}{because}",
    )
    with ledger().write() as writer:
        return writer.live(opened.category, opened.asset) or writer.open(opened, actor=f"person:{asked_by}")


def _titled(action: Remediation) -> str:
    """How the title of an incident begins that was begun for this action."""
    return f"{action.name()} by hand: "


def _last_applied(action: Remediation) -> tuple[str, Attempt] | None:
    for event in reversed(ledger().events(kinds=["applied"])):
        if isinstance(event.body, e.Applied) and event.incident:
            attempt = find(ledger(), event.incident).attempt(event.body.plan)
            if attempt.plan.action == action.name() and not attempt.undone:
                original = type(action).model_validate(attempt.plan.parameters)
                if original.thing() == action.thing():
                    return event.incident, attempt
    return None


#: Action -> its flow; a test holds it against ``prefect.yaml``, whose entry points are ``flows.by_hand:revert_model``.
FLOWS = {kind.name(): _by_hand(kind) for kind in ALL}


def __getattr__(name: str) -> Any:
    """The flow of an action, under the action's name."""
    if name in FLOWS:
        return FLOWS[name]
    raise AttributeError(f"no action is called {name}")
