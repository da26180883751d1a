"""The loop around the steps of an optimizer: batches, budgets, records, validation, checkpoints.

In reading order: checks (what is wrong with a state to continue from), history (what a training comes back with),
passes (over the cases, in batches), stop (at Ctrl-C), limits (the clock, and the decision to end), bar (of progress),
loop (`fit`, which every optimizer has as a method).
"""
