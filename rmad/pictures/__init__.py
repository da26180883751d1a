"""A tape to look at: its nodes, their arrays and costs, as text and as an SVG.

In reading order: drawing (a graph of boxes), view.
"""
