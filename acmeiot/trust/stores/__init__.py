"""One module a trust store; all offer the same few acts."""
