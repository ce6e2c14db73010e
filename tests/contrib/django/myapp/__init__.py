"""The application of sb-sync's README, with some models beside it."""
