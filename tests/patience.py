"""How long tests wait for what will surely happen."""

# Only a failure waits this long: far longer than anything takes on an overloaded machine.
DEADLINE_S = 180.0
