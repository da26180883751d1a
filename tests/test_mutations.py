"""The script that makes random changes of operators and constants: what it changes, and what it reports."""

import ast

import mutations
import pytest


def test_changes_are_made_one_at_a_time():
    text = "def f(x: int = 3) -> int:\n    return -x * 2 if x < 1 and x != 4 else f'{x + 1}'\n"
    found = []
    for k in range(len(list(mutations.changes(ast.parse(text))))):
        tree = ast.parse(text)
        found.append(list(mutations.changes(tree))[k].applied().split(": ", 1)[1])
    assert sorted(found) == sorted(
        [
            "3 → 4",
            "-x * 2 → -x / 2",
            "-x → +x",
            "2 → 3",
            "x < 1 → x <= 1",
            "1 → 2",
            "x < 1 and x != 4 → x < 1 or x != 4",
            "x != 4 → x == 4",
            "4 → 5",
        ]
    )


@pytest.mark.slow
def test_changes_that_tests_notice_are_told_from_those_that_they_do_not():
    """Tests that do not use a module catch none of its changes."""
    tried, found = mutations.survivors("nn/layer_norm.py", ["tests/rmad/test_buffers.py"], number=3, seed=0, seconds=60)
    assert len(found) == tried == 3
