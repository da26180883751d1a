"""rmad.show_config and the choice of the BLAS kernel, on made-up CPUs."""

import os
import subprocess
import sys

import numpy as np
import pytest

import rmad
from rmad.machine import config

AVX512 = "avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl"


def cpuinfo(vendor: str = "AuthenticAMD", flags: str = AVX512) -> str:
    return f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: Some CPU\nflags\t\t: fpu {flags} umip"


def choose(text: str, numpy_loaded: bool = False, **environ: str) -> tuple[str | None, str]:
    done = config.select_kernel(text, environ, numpy_loaded)
    return environ.get("OPENBLAS_CORETYPE"), done


def test_an_amd_cpu_with_avx512_gets_the_kernel() -> None:
    kernel, done = choose(cpuinfo())
    assert kernel == "SkylakeX"
    assert "set by rmad" in done
    assert "RMAD_BLAS_KERNEL=off" in done


@pytest.mark.parametrize("missing", AVX512.split()[2:])
def test_one_missing_flag_is_enough_to_leave_it(missing: str) -> None:
    kernel, done = choose(cpuinfo(flags=AVX512.replace(missing, "")))
    assert kernel is None
    assert "no AVX-512" in done


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (cpuinfo(vendor="GenuineIntel"), "vendor"),
        (cpuinfo(vendor="HygonGenuine"), "vendor"),
        ("", "/proc/cpuinfo"),
        ("processor : 0\nFeatures : fp asimd sve", "no AVX-512"),  # Arm
        ("\x00nonsense without a colon\n\n:", "no AVX-512"),
    ],
)
def test_other_cpus_are_left_alone(text: str, why: str) -> None:
    kernel, done = choose(text)
    assert kernel is None
    assert why in done


def test_what_the_user_set_stays() -> None:
    assert choose(cpuinfo(), OPENBLAS_CORETYPE="Haswell") == (
        "Haswell",
        "left alone: OPENBLAS_CORETYPE=Haswell was set already",
    )


@pytest.mark.parametrize("word", ["off", "OFF", " off "])
def test_it_can_be_switched_off(word: str) -> None:
    assert choose(cpuinfo(), RMAD_BLAS_KERNEL=word) == (None, "left alone: RMAD_BLAS_KERNEL=off")


def test_too_late_when_numpy_is_loaded() -> None:
    kernel, done = choose(cpuinfo(), numpy_loaded=True)
    assert kernel is None
    assert "before rmad" in done


@pytest.mark.parametrize(
    ("text", "library", "kernel", "told"),
    [
        (cpuinfo(), "openblas", "Haswell", True),
        (cpuinfo(vendor="GenuineIntel"), "openblas", "Haswell", True),
        (cpuinfo(), "openblas", "SkylakeX", False),
        (cpuinfo(), "openblas", "Cooperlake", False),
        (cpuinfo(), "mkl", "unknown", False),
        (cpuinfo(flags="avx avx2"), "openblas", "Haswell", False),
    ],
)
def test_advice_where_the_kernel_is_below_the_cpu(text: str, library: str, kernel: str, told: bool) -> None:
    hint = config.advice(text, library, kernel)
    assert bool(hint) == told
    if told:
        assert "import rmad before NumPy" in hint
        assert "OPENBLAS_CORETYPE=SkylakeX" in hint


def test_show_config_returns_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_gemm_rate", lambda: 123.4)
    table = rmad.show_config(as_dict=True)
    assert table is not None
    assert table["NumPy"] == np.__version__
    assert table["GEMM rate"] == 123.4
    assert table["kernel choice"] == config.DONE
    assert table["devices"][0] == "CPU"
    assert {"rmad", "Python", "SciPy", "threadpoolctl", "CPU", "BLAS", "BLAS kernel", "BLAS threads"} <= table.keys()


def test_show_config_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(config, "_gemm_rate", lambda: 123.4)
    monkeypatch.setattr(config, "read_cpuinfo", cpuinfo)
    assert rmad.show_config() is None
    out = capsys.readouterr().out
    assert "GEMM rate" in out
    assert "123.4 GFLOP/s" in out
    assert "Some CPU" in out
    assert "AVX-512: yes" in out


def test_the_gemm_rate_is_a_number() -> None:
    assert config._gemm_rate(n=64, repeats=1) > 0


def test_read_cpuinfo_ends_with_the_first_processor() -> None:
    assert config.read_cpuinfo().count("vendor_id") <= 1


def run(code: str, **environ: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "RMAD_BLAS_KERNEL")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environ, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_config_loads_before_numpy_and_nothing_else() -> None:
    """The file itself, as the first thing that `import rmad` runs, needs os and sys only, and takes under 2 ms."""
    out = run(
        "import __future__, sys, time\n"
        f"code = compile(open({config.__file__!r}).read(), 'config', 'exec')\n"  # what the cached bytecode holds
        "before, times = set(sys.modules), []\n"
        "for _ in range(5):\n"
        "    t = time.perf_counter(); exec(code, {'__name__': 'config'}); times.append(time.perf_counter() - t)\n"
        "print('numpy' in sys.modules, len(set(sys.modules) - before), min(times) < 2e-3)"
    )
    assert out == "False 0 True"


def test_importing_rmad_decides_before_numpy() -> None:
    out = run("import sys, rmad.machine.config as c; print(c.DONE)")
    assert "NumPy was loaded" not in out
    assert "was set by rmad" in out or "left alone" in out
    assert (
        run("import rmad.machine.config as c; print(c.DONE)", RMAD_BLAS_KERNEL="off")
        == "left alone: RMAD_BLAS_KERNEL=off"
    )


@pytest.mark.parametrize("package", ["rmad", "nn", "optim"])
def test_the_choice_comes_before_numpy_whichever_package_is_first(package: str) -> None:
    out = run(f"import sys, {package}; n = list(sys.modules); print(n.index('rmad.machine.config') < n.index('numpy'))")
    assert out == "True"


def test_importing_rmad_stays_light() -> None:
    assert run("import sys, rmad; print([m for m in ('matplotlib', 'cupy') if m in sys.modules])") == "[]"
