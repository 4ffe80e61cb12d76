"""The agent on a laptop: believes exactly this home's root on exactly this network."""
