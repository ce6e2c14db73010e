"""Checkers: each holds one side of a run against the invariants of design section 18.

hub.py       every transaction of the hub: I2 I3 I5 I11 I12, children and their parents
push.py      every push: its answer explains all that it did to the tables (I1 I2 I10)
replica.py   every replica file, at checkpoints and after each step: I1 I4 I5 I10
reader.py    a reader of raw pages who is no replica: I3
"""
