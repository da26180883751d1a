"""Trees, nested containers whose leaves are arrays: taken apart, put together, and as flat vectors.

In reading order: leaf (what a leaf is), containers (looked at once), tree (the two of them), flat (trees as vectors).
"""
