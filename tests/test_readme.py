"""The README says what the code does."""

import dataclasses
import re

from acmeiot.config import Config
from tests import diagram


def test_state_tables_are_drawn_as_they_are() -> None:
    assert diagram.in_readme() == diagram.picture(), "renew it: python -m tests.diagram"


def test_every_option_is_named() -> None:
    text = diagram.README.read_text("utf-8")
    named = set(re.findall(r"`([a-z0-9_]+)`", text))
    options = {field.name for field in dataclasses.fields(Config)}
    assert options - named <= {"intermediate_days", "threads", "verbose"}
