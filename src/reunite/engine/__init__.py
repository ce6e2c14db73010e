"""Use cases of the hub, one transaction each; no SQL, no HTTP."""
