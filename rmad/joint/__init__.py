"""Joint nodes: a piece of a function that stands on the tape as one node, whose blocks are swept together.

In reading order: checkpointing (a piece that runs again in each sweep), layout (the memory of a recurrent layer),
recurrence (all steps of a recurrent layer).
"""
