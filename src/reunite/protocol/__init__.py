"""The wire: messages (one family a file), version history, codec and limits. No I/O."""
