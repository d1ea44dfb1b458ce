"""The page that explains the states of an urgent question, printed from their table."""

from hub.domain.rules.states import AWAITING, MEANINGS, URGENT_STATES, UrgentState

_HEAD = """# The states of an urgent question

Printed from `URGENT_STATES` (hub/domain/rules/states.py) by `python -m deploy.docs.build`: a
question moves as the table says, and in no other way (`hub.domain.questions.urgent.move`).

"""


def page() -> str:
    """Markdown: a diagram (mermaid), then what each state means and what follows."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {UrgentState.OPEN}"]
    for now, following in URGENT_STATES.items():
        lines += [f"    {now} --> {then}: {why}" for then, why in following.items()]
    lines += ["```", "", "| State | Means | Follows |", "|---|---|---|"]
    for state, meaning in MEANINGS.items():
        follows = "; ".join(f"{then}: {why}" for then, why in URGENT_STATES[state].items())
        lines.append(f"| {state} | {meaning} | {follows or 'nothing'} |")
    awaited = ", ".join(state for state in UrgentState if state in AWAITING)
    lines += ["", f"An answer is awaited in: {awaited}. Only then does a wave begin."]
    return _HEAD + "\n".join(lines) + "\n"
