"""The picture of the state tables in the README. usage: python -m tests.diagram, to renew it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from acmeiot.protocol import states

README: Final = Path(__file__).parents[1] / "README.md"
BEGIN: Final = "<!-- states -->\n"
END: Final = "<!-- /states -->\n"
TABLES: Final[Mapping[str, Mapping[Any, Any]]] = {
    "Order": states.ORDER,
    "Authorization": states.AUTHORIZATION,
    "Challenge": states.CHALLENGE,
    "Account": states.ACCOUNT,
    "Device": states.DEVICE,
}


def picture() -> str:
    """Return the tables as text: a line for each thing and state, with what leads out of it."""
    lines = ["```"]
    for thing, table in TABLES.items():
        for state in dict.fromkeys(state for state, _ in table):
            exits = ", ".join(
                f"{event.value} -> {after.value}"
                for (before, event), after in table.items()
                if before is state
            )
            lines.append(f"{thing:<14}{state.value:<11}{exits}")
    return "\n".join([*lines, "```", ""])


def in_readme() -> str:
    """Return what the README has between the marks."""
    return README.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Put the picture of today into the README."""
    text = README.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    README.write_text(head + BEGIN + picture() + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
