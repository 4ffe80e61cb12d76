"""The agent on a printer, camera or NAS: gets its certificate and keeps it good."""
