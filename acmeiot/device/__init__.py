"""The agent on a printer, NAS or Pi: it gets this device's certificates and keeps them good."""
