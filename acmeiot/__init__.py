"""A local ACME certificate authority for homes."""

__version__ = "0.1.0"

# When this release was made, in epoch seconds (2026-11-01): a clock that reads earlier is wrong,
# and nothing may be signed by it.
RELEASED = 1793491200
