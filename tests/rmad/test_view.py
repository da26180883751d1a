"""rmad.show: what it says of a tape is true of the tape."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import rmad

SVG = "{http://www.w3.org/2000/svg}"


def two_layers(p, x):
    return np.tanh(x @ p["W"] + p["b"]) @ p["V"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def lin(rng):
    p = {"W": rng.normal(size=(20, 30)), "b": np.zeros(30), "V": rng.normal(size=(30, 4))}
    return rmad.linearize(two_layers, p, rng.normal(size=(100, 20)))[1]


def test_shapes_residuals_and_multiply_adds(lin):
    view = rmad.show(lin)
    rows = {row.number: row for row in view.rows}
    assert [row.name for row in view.rows] == ["input"] * 3 + ["matmul", "add", "tanh", "matmul"]
    assert [row.role for row in view.rows] == ["x['W']", "x['b']", "x['V']", "", "", "", "f(x)"]
    assert rows[3].work == 100 * 20 * 30
    assert rows[5].work == 100 * 30
    assert rows[6].work == 2 * 100 * 30 * 4  # in both arguments
    assert rows[3].residual == 100 * 20 * 8  # x
    assert rows[4].residual == 0  # a sum holds nothing
    assert rows[6].residual == (100 * 30 + 30 * 4) * 8
    assert view.residual == sum(row.residual for row in view.rows)
    assert rows[6].inputs == [5, 2]


def test_an_array_held_twice_counts_once():
    x = np.ones(1000)
    view = rmad.show(rmad.linearize(lambda a: (a[0] * x, a[1] * x), (np.ones(1000), np.ones(1000)))[1])
    assert [row.residual for row in view.rows] == [0, 0, 8000, 8000]
    assert view.residual == 8000


def test_a_rule_of_ones_own_is_searched_for_what_it_holds():
    def norm_of(x):
        return np.sqrt(np.sum(x * x))

    norm = rmad.primitive(norm_of, lambda y, x: ((lambda v: np.sum(x * v) / y, lambda u: u * x / y),))
    row = rmad.show(rmad.linearize(norm, np.ones(50))[1]).rows[1]
    assert row.residual == 50 * 8
    assert row.work is None
    assert "?" in str(rmad.show(rmad.linearize(norm, np.ones(50))[1]))


def test_the_plan_is_measured_and_products_stay_what_they_were(lin, rng):
    v = {"W": rng.normal(size=(20, 30)), "b": rng.normal(size=30), "V": rng.normal(size=(30, 4))}
    u = rng.normal(size=(100, 4))
    Jv, JTu = lin.Jv(v), lin.JTu(u)
    view = rmad.show(lin, repeat=3)
    assert [row.name for row in view.rows] == ["input"] * 3 + ["matmul + add", "tanh", "matmul"]
    for row in view.rows[3:]:
        assert row.push > 0
        assert row.pull > 0
    assert {"matmul", "tanh"} <= set(view.profile)
    for k, sweep in enumerate(("push", "pull")):
        assert sum(times[k] for times in view.profile.values()) >= sum(getattr(row, sweep) for row in view.rows) * 0.99
    np.testing.assert_array_equal(lin.Jv(v), Jv)
    np.testing.assert_array_equal(lin.JTu(u)["W"], JTu["W"])
    np.testing.assert_array_equal(lin.Jv(v), Jv)


def test_measured_before_the_first_product(lin, rng):
    rmad.show(lin, repeat=1)
    u = rng.normal(size=(100, 4))
    v = {"W": rng.normal(size=(20, 30)), "b": rng.normal(size=30), "V": rng.normal(size=(30, 4))}
    left = np.vdot(u, lin.Jv(v))
    JTu = lin.JTu(u)
    assert left == pytest.approx(sum(np.vdot(JTu[k], v[k]) for k in v), rel=1e-12)


def test_text_and_graph(lin):
    view = rmad.show(lin)
    text = str(view)
    assert repr(view) == text
    assert text.splitlines()[0] == "750 numbers to 400, 4 nodes, as recorded"
    assert "float64[100, 30]" in text
    assert view.dot.count(" -> ") == sum(len(row.inputs) for row in view.rows)
    assert re.search(r'n0 \[label="x\[\'W\'\]', view.dot)
    assert view.dot.count("{") == view.dot.count("}") == 1


def test_keys_with_quotes_are_escaped():
    view = rmad.show(rmad.linearize(lambda p: np.sin(p['a"b\\']), {'a"b\\': np.ones(2)})[1])
    assert r"a\"b\\" in view.dot


def test_drawn(lin, tmp_path):
    view = rmad.show(lin)
    for name, start in (("tape.dot", "digraph"), ("tape.svg", "<svg")):
        view.save(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    with pytest.raises(ValueError, match=r"as \.dot or \.svg, not as tape\.png"):
        view.save(tmp_path / "tape.png")
    assert view._repr_svg_() == view.svg()
    assert view._repr_html_() is None


def test_the_drawing_has_every_node_edge_and_time(lin):
    for view in (rmad.show(lin), rmad.show(lin, repeat=1)):
        svg = ElementTree.fromstring(view.svg())
        nodes = svg.findall(f"{SVG}g")
        assert len(nodes) == len(view.rows)
        for node, row in zip(nodes, view.rows, strict=True):
            words = [text.text for text in node.findall(f"{SVG}text")]
            assert f"{row.number}  {row.name}" in words
            assert (node.find(f"{SVG}rect").get("fill") != "white") == bool(row.role)
            bars = node.findall(f"{SVG}rect")[1:]
            assert len(bars) == (2 if view.profile and row.inputs else 0)
        edges = [path for path in svg.findall(f"{SVG}path") if path.get("fill") == "none"]
        assert len(edges) == sum(len(row.inputs) for row in view.rows)


def test_a_long_tape_is_a_table_in_a_notebook(monkeypatch):
    monkeypatch.setattr("rmad.pictures.view.DRAWN", 3)
    view = rmad.show(rmad.linearize(lambda x: np.sin(np.cos(np.exp(x))), np.ones(2))[1])
    assert view._repr_svg_() is None
    assert view._repr_html_().startswith("<pre>2 numbers to 2, 3 nodes")


def test_operators_and_what_has_no_tape():
    H = rmad.HessianOperator(lambda x: np.sum(np.exp(x) * x), np.ones(3))
    assert rmad.show(H, repeat=1).profile
    with pytest.raises(TypeError, match=r"show takes what rmad.linearize returns second.*not ndarray"):
        rmad.show(np.ones(3))


def test_a_tape_in_a_tape_is_drawn_but_not_measured():
    def inner(x):
        lin = rmad.linearize(np.sin, x)[1]
        assert "sin" in str(rmad.show(lin))
        with pytest.raises(ValueError, match="within another tape"):
            rmad.show(lin, repeat=1)
        return np.sum(lin.JTu(np.ones(3)))

    np.testing.assert_allclose(rmad.grad(inner)(np.ones(3)), -np.sin(np.ones(3)))


def test_a_checkpointed_piece_counts_as_one_node():
    lin = rmad.linearize(rmad.checkpoint(lambda x: np.tanh(x) * x), np.ones(7))[1]
    row = rmad.show(lin, repeat=1).rows[-1]
    assert row.inputs == [0]
    assert row.push > 0
