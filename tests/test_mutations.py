"""The script that makes random changes of operators and constants: what it changes, and what it reports."""

import ast

import mutations
import pytest
from mutation_groups import EQUIVALENT, FLOORS, GROUPS


def test_changes_are_made_one_at_a_time():
    text = "def f(x: int = 3) -> int:\n    return -x * 2 if x < 1 and x != 4 else f'{x + 1}'\nx.reshape(-1, 7)\n"
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
            "-1 → +1",
            "7 → 8",
        ]
    )


@pytest.mark.slow
def test_changes_that_tests_notice_are_told_from_those_that_they_do_not():
    """Tests that do not use a module catch none of its changes."""
    tests = {"nn/layer_norm.py": ["tests/rmad/test_buffers.py"]}
    tried, found = mutations.survivors(tests, number=3, seed=0, seconds=60)
    assert len(found) == tried == 3


@pytest.mark.parametrize("group", GROUPS)
def test_groups_name_files_that_exist(group):
    for module, tests in GROUPS[group].items():
        for name in (module, *tests):
            assert name.startswith("RMAD_CASES=") or (mutations.ROOT / name).is_file(), name


@pytest.mark.parametrize(("module", "line", "change"), EQUIVALENT)
def test_changes_that_no_test_can_see_are_still_there(module, line, change):
    text = (mutations.ROOT / module).read_text("utf-8")
    number = len(list(mutations.changes(ast.parse(text))))
    left = number - len(mutations.places(module))
    known = [entry for entry in EQUIVALENT if entry[0] == module]
    assert line in text
    assert len(known) <= left <= 2 * len(known)  # 1 may stand twice in a line


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_most_changes_of_a_group_are_noticed(group):
    """A sample, bounded in time: five minutes per group."""
    tried, found = mutations.survivors(GROUPS[group], number=20, seed=0, seconds=300)
    assert tried - len(found) >= FLOORS[group] * tried, "\n".join(found)
