"""Downloads, from a server on this machine; importing nn loads nothing for them."""

import builtins
import functools
import hashlib
import http.server
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from data_files import LABELS, write_set

import nn
from nn.data.sources import IDX, SOURCES, File


@pytest.fixture
def server(tmp_path):
    """(folder, address) of what it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def mirrored(server, tmp_path, monkeypatch):
    """The served folder with two mirrors in it, `bad` and `good`, and their hashes in place of MNIST's."""
    folder, address = server
    write_set(folder / "good")
    (folder / "bad").mkdir()
    known = {
        name: File(
            hashlib.sha256((folder / "good" / name).read_bytes()).hexdigest(),
            (f"{address}bad/{name}", f"{address}good/{name}"),
        )
        for name in IDX
    }
    monkeypatch.setitem(SOURCES, "mnist", known)
    monkeypatch.setenv("RMAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RMAD_DATA", raising=False)
    return folder


def test_download_tries_the_mirrors_and_fills_the_cache(mirrored, tmp_path, monkeypatch):
    (mirrored / "bad" / IDX[0]).write_bytes(b"an error page")  # and no other file at all
    assert nn.data.mnist().x_train.shape == (5, 784)
    assert sorted(p.name for p in (tmp_path / "cache" / "mnist").iterdir()) == sorted(IDX)
    for name, file in SOURCES["mnist"].items():  # from the cache now
        monkeypatch.setitem(SOURCES["mnist"], name, file._replace(urls=()))
    np.testing.assert_array_equal(nn.data.mnist().t_test, LABELS)


def test_a_damaged_file_in_the_cache_is_fetched_again(mirrored, tmp_path):
    nn.data.mnist()
    (tmp_path / "cache" / "mnist" / IDX[2]).write_bytes(b"damaged")
    assert nn.data.mnist().x_test.shape == (5, 784)


def test_all_mirrors_fail(mirrored):
    shutil.rmtree(mirrored / "good")
    with pytest.raises(
        ConnectionError, match=r"mnist: could not download train-images.*; pass data_dir .*/bad/.*/good/"
    ):
        nn.data.mnist()


def test_download_without_pooch(mirrored, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "pooch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"needs pooch: pip install rmad\[examples\]; or pass data_dir"):
        nn.data.mnist()


def test_nn_imports_light():
    import subprocess

    heavy = ["scipy.special", "scipy.io", "pooch", "safetensors", "matplotlib", "cupy"]
    code = f"import sys, nn; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(nn.__file__).parents[1]
    )
    assert out.stdout.strip() == "[]"
