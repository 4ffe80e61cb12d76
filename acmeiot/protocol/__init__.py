"""Words on the wire: pure, with no socket, file, clock, random or log."""
