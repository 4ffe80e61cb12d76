"""Shared settings of all tests."""

from hypothesis import settings

# The same examples on every run: a failure seen once can be seen again. `make fuzz` is what roams.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
