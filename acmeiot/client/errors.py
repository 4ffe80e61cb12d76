"""Why a command of an agent ends without success: one line for a person."""

from __future__ import annotations


class AgentError(Exception):
    """What failed and what would help; exit code 1."""


class UsageError(AgentError):
    """An option that cannot be; exit code 2."""
