"""The stand-in for ctffind, read by the rules of the programs that call it."""

import io
import re
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from restframe.cli.main import main
from restframe.optics import CtfParameters
from restframe.output.images import write_mrc
from restframe.simulate.ice_images import IceImage, simulate_ice

DEFOCUS, ASTIGMATISM, ANGLE = 14000.0, 900.0, 30.0

RELION = "{mic}\n{out}\n1.1\n300\n2.7\n0.1\n256\n30\n5\n5000\n50000\n500\nno\nyes\nyes\n100\nno\nno\nno\n"
RELION_PHASE = (
    "{mic}\n{out}\n1.1\n300\n2.7\n0.1\n256\n30\n5\n5000\n50000\n500\nno\nyes\nyes\n100\nyes\n0\n3.14\n0.2\nno\nno\n"
)
DIAMOND_4 = "{mic}\n{out}\n1.1\n300\n2.7\n0.1\n256\n30.0\n5.0\n5000.0\n50000.0\n100.0\nno\nno\nno\nno\nno\n"
DIAMOND_5 = (
    "{mic}\n{out}\n1.1\n300\n2.7\n0.1\n256\n30.0\n5.0\n5000.0\n50000.0\n100.0\nno\nno\nno\nno\nno\n"
    "yes\nyes\nyes\n30\n3\nno\nno\nno"
)
SMARTSCOPE = "{mic}\n{out}\n1.1\n300\n2.7\n0.1\n256\n30\n5\n5000\n50000\n100\nno\nno\nno\nno\nno\n"
CALLERS = {
    "RELION": RELION,
    "RELION with a phase plate": RELION_PHASE,
    "Diamond, 4.1.14": DIAMOND_4,
    "Diamond, 5": DIAMOND_5,
    "SmartScope": SMARTSCOPE,
}
APPION_PROMPTS = (  # in the order in which they are asked, when everything optional is answered yes
    "Input image file name",
    "Output diagnostic image file name",
    "Pixel size",
    "Acceleration voltage",
    "Spherical aberration",
    "Amplitude contrast",
    "Size of amplitude spectrum to compute",
    "Minimum resolution",
    "Maximum resolution",
    "Minimum defocus",
    "Maximum defocus",
    "Defocus search step",
    "Do you know what astigmatism is present?",
    "Slower, more exhaustive search?",
    "Use a restraint on astigmatism?",
    "Expected (tolerated) astigmatism",
    "Find additional phase shift?",
    "Minimum phase shift (rad)",
    "Maximum phase shift (rad)",
    "Phase shift search step",
    "Do you want to set expert options?",
)


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("micrographs") / "mic.mrc"
    optics = CtfParameters(300, DEFOCUS, ASTIGMATISM, ANGLE, 2.7, 0.1)
    write_mrc(path, simulate_ice(IceImage(768, 1.1, optics, 1.0, 80.0, seed=2)), 1.1)
    return path


def run(monkeypatch, capsys, answers, *words):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
    code = main(["ctffind", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("caller", CALLERS)
def test_every_caller_gets_the_defocus(caller, micrograph, tmp_path, monkeypatch, capsys):
    out = tmp_path / "mic.ctf"
    code, log, errors = run(monkeypatch, capsys, CALLERS[caller].format(mic=micrograph, out=out))
    assert (code, errors) == (0, "")
    defocus = relion_reads(log)["defocus"]
    assert sum(defocus) / 2 == pytest.approx(DEFOCUS, abs=400 if "phase" in caller else 120)
    assert {path.name for path in tmp_path.iterdir()} == {"mic.ctf", "mic.txt", "mic_avrot.txt"}


def relion_reads(log):
    """RELION's rules: the last word of the line with `Summary of results` is a file, whose words have fixed places."""
    summary = next(line for line in log.splitlines() if "Summary of results" in line).split()[-1]
    lines = Path(summary).read_text().splitlines()
    head = next(line for line in lines if "acceleration voltage:" in line).split()
    assert len(head) >= 19
    row = lines[next(number for number, line in enumerate(lines) if "Columns: " in line) + 1].split()
    assert len(row) >= 7
    return {
        "microscope": [float(head[place]) for place in (3, 8, 13, 18)],
        "defocus": [float(row[1]), float(row[2])],
        "angle": float(row[3]),
        "phase": float(row[4]),
        "score": float(row[5]),
        "resolution": float(row[6]),
        "columns": len(row),
    }


def test_relion(micrograph, tmp_path, monkeypatch, capsys):
    out = tmp_path / "mic_PS.ctf"
    _, log, _ = run(monkeypatch, capsys, RELION.format(mic=micrograph, out=out))
    values = relion_reads(log)
    assert values["microscope"] == [1.1, 300, 2.7, 0.1]
    assert values["defocus"][0] - values["defocus"][1] == pytest.approx(ASTIGMATISM, abs=300)
    assert values["angle"] == pytest.approx(ANGLE, abs=10)
    assert values["phase"] == 0 and 0 < values["score"] < 1 and 3 < values["resolution"] < 12
    assert values["columns"] == 10
    profile = (tmp_path / "mic_PS_avrot.txt").read_text().splitlines()
    assert all(line.startswith("#") for line in profile[:5]) and len(profile) == 11
    frequency, average = (np.array(line.split(), float) for line in profile[5:7])
    inside = (frequency >= 0.25) & (frequency <= 0.28)
    assert inside.sum() > 5 and np.abs(average[inside]).sum() > 0
    with mrcfile.open(out) as file:
        assert file.data.shape[-2:] == (256, 256)


def test_relion_with_a_power_spectrum(micrograph, tmp_path, monkeypatch, capsys):
    with mrcfile.open(micrograph) as file:
        parts = file.data[:768, :768].reshape(3, 256, 3, 256).swapaxes(1, 2).reshape(9, 256, 256)
    spectrum = tmp_path / "mic_PS.mrc"
    amplitude = np.sqrt(np.mean([np.abs(np.fft.fft2(part)) ** 2 for part in parts], axis=0))
    write_mrc(spectrum, np.fft.fftshift(amplitude), 1.1)
    answers = RELION.format(mic=spectrum, out=tmp_path / "mic_PS.ctf")
    code, log, _ = run(monkeypatch, capsys, answers, "--amplitude-spectrum-input")
    assert code == 0
    assert sum(relion_reads(log)["defocus"]) / 2 == pytest.approx(DEFOCUS, abs=400)


def test_diamond_reads_stdout(micrograph, tmp_path, monkeypatch, capsys):
    _, log, _ = run(monkeypatch, capsys, DIAMOND_4.format(mic=micrograph, out=tmp_path / "mic.ctf"))
    words = {}
    for line in log.splitlines():
        for start, places in (
            ("Estimated defocus values", (4, 6)),
            ("Estimated azimuth", (4,)),
            ("Score", (2,)),
            ("Thon rings", (8,)),
        ):
            if line.startswith(start):
                words[start] = [float(line.split()[place]) for place in places]
    assert np.mean(words["Estimated defocus values"]) == pytest.approx(DEFOCUS, abs=120)
    assert words["Estimated azimuth"][0] == pytest.approx(ANGLE, abs=10)
    assert 0 < words["Score"][0] < 1 and 3 < words["Thon rings"][0] < 12


def test_scipion_reads_what_follows_the_colon(micrograph, tmp_path, monkeypatch, capsys):
    _, log, _ = run(monkeypatch, capsys, SMARTSCOPE.format(mic=micrograph, out=tmp_path / "mic.ctf"))
    line = next(line for line in log.splitlines() if line.startswith("Estimated defocus values"))
    first, comma, second, unit = line.split(":")[-1].split()
    assert comma == "," and unit == "Angstroms" and float(first) > float(second)


def test_appion_recognises_every_question(micrograph, tmp_path, monkeypatch, capsys):
    answers = RELION_PHASE.format(mic=micrograph, out=tmp_path / "mic.ctf")
    _, log, _ = run(monkeypatch, capsys, answers)
    places = [log.index(prompt) for prompt in APPION_PROMPTS]
    assert places == sorted(places)


def test_known_astigmatism_is_asked_for(micrograph, tmp_path, monkeypatch, capsys):
    answers = (
        f"{micrograph}\n{tmp_path / 'mic.ctf'}\n1.1\n300\n2.7\n0.1\n256\n30\n5\n5000\n50000\n100\nyes\nno\n900\n30\n"
    )
    code, log, _ = run(monkeypatch, capsys, answers)
    assert code == 0
    assert log.index("Known astigmatism [") < log.index("Known astigmatism angle")


def test_a_movie_is_averaged_and_a_stack_is_not(micrograph, tmp_path, monkeypatch, capsys):
    with mrcfile.open(micrograph) as file:
        image = np.squeeze(file.data)
    movie = tmp_path / "movie.mrcs"
    with mrcfile.new(movie) as file:
        file.set_data(np.stack([image, image]))
    rest = "1.1\n300\n2.7\n0.1\n256\n30\n5\n5000\n50000\n100\nno\nno\nno\nno\n"
    _, log, _ = run(monkeypatch, capsys, f"{movie}\nyes\n1\n{tmp_path / 'a.mrc'}\n{rest}")
    assert "Input is a movie (stack of frames)" in log and "Number of frames to average together" in log
    assert len((tmp_path / "a.txt").read_text().splitlines()) == 6
    run(monkeypatch, capsys, f"{movie}\nno\n{tmp_path / 'b.mrc'}\n{rest}")
    assert len((tmp_path / "b.txt").read_text().splitlines()) == 7
    assert len((tmp_path / "b_avrot.txt").read_text().splitlines()) == 17


def test_noise_has_no_fit_but_readable_files(tmp_path, monkeypatch, capsys):
    noise = tmp_path / "noise.mrc"
    write_mrc(noise, np.random.default_rng(1).standard_normal((300, 300)), 1.0)
    code, log, _ = run(monkeypatch, capsys, RELION.format(mic=noise, out=tmp_path / "noise.ctf"))
    values = relion_reads(log)
    assert code == 0 and "No fit" in log
    assert values["score"] == 0 and np.isinf(values["resolution"])


def test_wrong_answers(micrograph, tmp_path, monkeypatch, capsys):
    code, _, errors = run(monkeypatch, capsys, f"{tmp_path / 'none.mrc'}\n")
    assert code == 3 and "none.mrc" in errors
    code, _, errors = run(monkeypatch, capsys, f"{micrograph}\n{tmp_path / 'x.ctf'}\nmany\n")
    assert code == 6 and "Pixel size" in errors
    code, _, errors = run(monkeypatch, capsys, RELION.format(mic=micrograph, out=micrograph))
    assert code == 6 and "is the input" in errors
    swapped = RELION.replace("\n30\n5\n5000", "\n5\n30\n5000")
    code, _, errors = run(monkeypatch, capsys, swapped.format(mic=micrograph, out=tmp_path / "x.ctf"))
    assert code == 6 and "maximum resolution 30 A" in errors


def test_a_link_called_ctffind(micrograph, tmp_path):
    program = tmp_path / "ctffind"
    program.write_text(f"#!{sys.executable}\nfrom restframe.cli.start import command\ncommand()\n")
    program.chmod(0o755)
    answers = RELION.format(mic=micrograph, out=tmp_path / "mic.ctf")
    done = subprocess.run([program], input=answers, capture_output=True, text=True, check=True)
    assert re.search(r"Summary of results +: \S+mic.txt", done.stdout) and not done.stderr
