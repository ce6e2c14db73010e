"""Drop-ins: earlier libraries' interfaces, kept as documented and made correct over reunite.

The rule         they are thin: what one of them needs, the engine or the core has.
"""
