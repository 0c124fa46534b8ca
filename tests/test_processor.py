"""Processors for which loops are compiled: this one, or a portable one."""

import platform

import pytest

from restframe import processor
from restframe.loop_files import LoopFiles, Place

FLAGS = "flags\t\t: fpu sse2 avx2 fma bmi1 bmi2 f16c movbe abm avx512f\n"


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_x86_with_avx2(machine, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\n" + FLAGS)
    assert processor.contains("x86-64-v3", cpuinfo)
    assert not processor.contains("generic", cpuinfo), "loops of another family"
    cpuinfo.write_text(FLAGS.replace(" avx2", ""))
    assert not processor.contains("x86-64-v3", cpuinfo)
    assert not processor.contains("x86-64-v3", tmp_path / "none")


def test_arm(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert processor.portable_processor() == "generic" and processor.contains("generic")


def test_portable_loops_are_used_where_they_are_kept(machine, tmp_path, monkeypatch):
    files = LoopFiles(lambda: [Place(tmp_path)])
    environment = {}
    processor.use_portable_loops(environment, files)
    assert environment == {}
    files.write(processor.MARKER, b"x86-64-v3")
    monkeypatch.setattr(processor, "contains", lambda name: True)
    processor.use_portable_loops(environment, files)
    assert environment == {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    named = {"NUMBA_CPU_NAME": "znver3"}
    processor.use_portable_loops(named, files)
    assert named == {"NUMBA_CPU_NAME": "znver3"}
    monkeypatch.setattr(processor, "contains", lambda name: False)
    old = {}
    processor.use_portable_loops(old, files)
    assert old == {}, "a processor without AVX2 compiles for itself"


def test_what_the_user_is_told(machine):
    assert processor.describe({}) == "this processor"
    assert processor.describe({"NUMBA_CPU_NAME": "x86-64-v3"}) == "x86-64-v3 (portable)"
    assert processor.describe({"NUMBA_CPU_NAME": "znver3"}) == "znver3"
