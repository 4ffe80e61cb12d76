"""Every line of the draft's checklist has a test that carries its id, so that none is forgotten.

The ids number the statements of draft-sweet-iot-acme-02 by section.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
STATEMENTS = {
    "1": 2, "3.1": 4, "3.2.1": 5, "3.2.2": 1, "3.2.3": 5, "3.2.4": 1, "3.3": 7, "3.4": 4, "4.1": 4,
    "4.2": 1, "4.3": 1, "4.4": 1, "4.5": 1, "4.6": 2, "4.7": 3, "4.8": 2, "5.1": 1, "5.2": 1,
}  # fmt: skip
IDS = [f"A-{section}-{n}" for section, count in STATEMENTS.items() for n in range(1, count + 1)]


def _carried() -> set[str]:
    files = (path for path in TESTS.rglob("*.py") if path != Path(__file__))
    found: set[str] = set()
    for path in files:
        text = path.read_text(encoding="utf-8")
        for section, numbers in re.findall(r"A-(\d(?:\.\d)*)-(\d+(?:/\d+)*)", text):
            found.update(f"A-{section}-{number}" for number in numbers.split("/"))
    return found


CARRIED = _carried()


@pytest.mark.parametrize("statement", IDS)
def test_the_statement_is_tested(statement: str) -> None:
    assert statement in CARRIED
