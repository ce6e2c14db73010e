"""Adapters of the engine's `Store` port: in memory for tests, SQL for everything else."""
