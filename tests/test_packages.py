"""What people install: the wheel in a clean environment, and the texts of packages, which agree with pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
import tifffile

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGING = ROOT / "packaging"
CONTAINERS = [PACKAGING / "Containerfile", PACKAGING / "Containerfile.cuda"]


def run(*words, **options):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=300, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A new environment with the wheel; only its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps")
    try:
        run(*pip, "--wheel-dir", folder, ROOT)
    except AssertionError as error:
        if "setuptools" in str(error):
            pytest.skip("the build tools cannot be installed here")
        raise
    wheel = next(folder.glob("restframe-*.whl"))
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, site


def in_environment(installed, *words, **options):
    python, _ = installed
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return run(python, "-m", "restframe", *words, env=clean, **options)


def test_the_wheel_holds_all_files(installed):
    _, site = installed
    source = ROOT / "src" / "restframe"
    expected = {
        path.relative_to(source)
        for path in source.rglob("*")
        if path.suffix in {".py", ".cu", ".cuh", ".html", ".css", ".js"}
    }
    present = {path.relative_to(site / "restframe") for path in (site / "restframe").rglob("*")}
    assert expected <= present


def test_the_wheel_corrects_a_movie_and_makes_a_page(installed, tmp_path):
    _, site = installed
    assert in_environment(installed, "--version", cwd=tmp_path).startswith(f"restframe {PROJECT['version']}\n")
    where = "import restframe; print(restframe.__file__)"
    assert run(installed[0], "-c", where, cwd=tmp_path, env={"PATH": os.environ["PATH"]}).startswith(str(site))
    frames = np.random.default_rng(1).poisson(5, (4, 128, 160)).astype(np.uint8)
    (tmp_path / "movies").mkdir()
    tifffile.imwrite(tmp_path / "movies/m.tif", frames, photometric="minisblack")
    in_environment(installed, "-Serial", "1", "-InTiff", "movies/", "-OutMrc", "./", "-Align", "0", cwd=tmp_path)
    assert (tmp_path / "m.mrc").is_file()
    assert "</html>" in (tmp_path / "restframe/report.html").read_text()


def instructions(path):
    """The instructions of a Containerfile, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE))
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_containers(path):
    steps = instructions(path)
    known = {"FROM", "LABEL", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in steps} <= known
    user = [rest for word, rest in steps if word == "USER"]
    assert user == ["1000:1000"]  # a number, so that Kubernetes sees that it is not root
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("ENTRYPOINT") and "LABEL" in words
    text = " ".join(rest for _, rest in steps)
    assert "/bin/MotionCor2" in text and "/bin/ctffind" in text and "restframe doctor" in text
    assert "restframe warm-up --portable" in text
    assert "NUMBA_CACHE_DIR" not in text  # loops are kept in the installation, which every user can read
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / name).exists() for name in rest.split()[:-1])
    extras = re.search(r"\.\[([\w,]+)\]", text)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_containers_are_linted(path):
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not installed")
    assert run(linter, path) == ""


def test_images_are_built_from_the_files_that_they_copy():
    text = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in text if line.startswith("!")}
    copied = {
        name
        for path in CONTAINERS
        for word, rest in instructions(path)
        if word == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    }
    assert "*" in text and copied == kept


def test_apptainer_definition():
    text = (PACKAGING / "restframe.def").read_text()
    sections = re.findall(r"^%(\w+)$", text, re.MULTILINE)
    assert sections == ["files", "post", "environment", "runscript", "test", "labels"]
    copied = re.findall(r"^    (\S+) /source/\S+$", text, re.MULTILINE)
    assert copied and all((ROOT / name).exists() for name in copied)


def test_conda_recipe_has_the_same_version_and_dependencies():
    text = (PACKAGING / "meta.yaml").read_text()
    assert f'set version = "{PROJECT["version"]}"' in text and "noarch: python" in text
    listed = {
        line.replace(" ", "")
        for line in re.findall(r"^    - ([\w-]+ >=[\d.]+)$", text.split("  run:")[1], re.MULTILINE)
    }
    assert listed == {*PROJECT["dependencies"], f"python{PROJECT['requires-python']}"}
    assert f"restframe = {PROJECT['scripts']['restframe']}" in text
