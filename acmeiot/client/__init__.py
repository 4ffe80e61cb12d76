"""What both agents need: finding this network's ACME server, and being its client."""
