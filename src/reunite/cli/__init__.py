"""The `reunite` command: one file a command."""
