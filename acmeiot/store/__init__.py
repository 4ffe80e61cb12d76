"""What must survive a power cut: one SQLite file in the state directory, and its sealed backup."""
