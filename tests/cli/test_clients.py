"""Command lines as real callers send them."""

import shlex

import pytest

from restframe.cli.clients import is_called_by_relion
from restframe.cli.parse import parse
from restframe.cli.run_settings import settings_from

RELION = """-InTiff movie.tif -OutMrc mc/movie.mrc -LogFile mc/movie -Bft 150 -PixSize 0.412751 -Patch 1 1
    -Gain mc/gain.mrc -Throw 1 -FmRef 0 -Trunc 1 -FtBin 1.3333 -Kv 200 -FmDose 1.27712 -InitDose 12.345 -SplitSum 1
    -Gpu 0 1 """
SCIPION = """-InTiff "movie.tif" -Throw 0 -Trunc 0 -Patch "5 5" -MaskCent 0 0 -MaskSize 1 1 -FtBin 1.0 -Tol 0.2
    -PixSize 0.885 -kV 300.0 -Cs 0 -OutStack 0 -Gpu 0 -SumRange 0.0 0.0 -InitDose 0.0 -FmDose 1.25 -Group 1 4
    -Gain "my gain.mrc" -RotGain 0 -FlipGain 1 -OutMrc "movie_aligned_mic.mrc" -LogDir ./"""
DIAMOND = """-InTiff m.tiff -OutMrc o.mrc -PixSize 0.1 -FmDose 1.0 -Patch "5 5" -Gpu 0 -FmRef 0 -Kv 300
    -Mag "1 1 0" -Bft "500 150" -SumRange "0 0" -Serial 0 -SplitSum 0"""
APPION = """-InTiff m.tif -OutMrc temphost.gpuid_0_sum.mrc -Bft 500 100 -Iter 7 -Tol 0.500 -Patch 7 5 -Group 1
    -MaskSize 1.000 1.000 -FmDose 1.090 -PixSize 0.830 -kV 300 -Dark d.mrc -Gain g.mrc -FlipGain 0 -RotGain 0 -Gpu 0"""
TOMOMAN = """-InMrc m.mrc -OutMrc o.mrc -LogFile o.mrc.log -PixSize 1.327000 -InitDose 0.0 -FmDose 0.3
    -MaskCent 0.000000 0.000000 -MaskSize 1.000000 1.000000 -Patch 3 3 -Iter 5 -Tol 0.500000 -Bft 100.000000
    -FtBin 1.000000 -Throw 0 -Trunc 0 -FmRef -1 -OutStack 0 -Align 1 -Gpu 0 -SplitSum 1"""
TRANSPHIRE = """-InMrc m.mrc -OutMrc o.mrc -LogFile log -Gpu 0 -FmDose 1 -Patch "0 0 0" -Bft "500 150" -Tilt "0 0"
    -Mag "1 1 0" -InFmMotion 0 -Crop "0 0" -SumRange "0 0" -StackZ 0 -PhaseOnly 0 -GpuMemUsage 0.5 -PixSize 1 -kV 300"""
NEXTPYP = """-InEer ../m.eer -EerSampling 4 -Group 20 -OutMrc m.mrc -FtBin 1 -Gain ../g.gain -FlipGain 1 -RotGain 0
    -OutAln . -Throw 10 -Bft 500.0 150.0 -Tol 0.1 -Iter 7 -SumRange 3.0 25.0 -FmRef 1 -Patch 5 5 50 -InitDose 0
    -FmDose 0.05 -PixSize 1.1 -kV 300.0 -SplitSum 1 -Gpu 0"""
CRYOSPARC = (
    """-InTiff m.tif -OutMrc o.mrc -LogFile J1/motioncor2_logs/7 -Patch 5 5 -PixSize 0.8 -kV 300 -FmDose 1.1 -Gpu 0"""
)
TOMOBEAR = """-InTiff m.tif -OutMrc o.mrc -Iter 50 -Tol 0.5 -Gpu 0 -GpuMemUsage 0.5 -UseGpus 1 -InFmMotion 1
    -Bft 500 150 -PixSize 1.35 -kV 300 -FmDose 0.3 -SplitSum 0 -Align 1 -LogFile x_motioncor2.log -FmRef 12
    -Patch 7 5 15"""
SNARTOMO = """-InEer m.eer -Gain g.gain -OutMrc o.mrc -Patch 3 3 -FmRef 1 -Iter 10 -Tol 0.5 -Serial 0 -SumRange 0 0
    -Gpu 0 -LogDir d/ -SplitSum 1 -Kv 300 -PixSize 1.1"""
EMTOOLS = """-OutMrc output/aligned_ -InSuffix .tif -Serial 1 -Gpu 0 -LogDir log/ -InTiff ./movie -PixSize 0.885 -kV 300
    -Gain g.mrc -Patch 5 5 -FmDose 1.2 -FtBin 2"""
FOCUS = """-InTiff m.tif -Gain G.mrc -OutMrc S.mrc -Iter 15 -Tol 0.4 -kV 300 -PixSize 0.8 -FmDose 1.2 -Gpu 0 -Throw 0
    -OutStack 1 -ftbin 2 -Patch 3 3 -bft 150 -Group 5"""
CLIENTS = {
    "nextPYP": (NEXTPYP, {"patches": (5, 5), "bfactor": (500, 150), "group": (20, 20), "reference": 1}),
    "cryoSPARC": (CRYOSPARC, {"patches": (5, 5), "group": (1, 1)}),
    "TomoBEAR": (TOMOBEAR, {"patches": (7, 5), "iterations": 50, "reference": 12}),
    "SNARTomo": (SNARTOMO, {"patches": (3, 3), "reference": 1, "iterations": 10}),
    "emtools": (EMTOOLS, {"patches": (5, 5), "reference": -1}),
    "Focus": (FOCUS, {"patches": (3, 3), "bfactor": (150, 100), "group": (5, 5)}),
    "RELION": (RELION, {"patches": (1, 1), "bfactor": (150, 100), "reference": 0, "group": (1, 1)}),
    "Scipion": (SCIPION, {"patches": (5, 5), "group": (1, 4), "tolerance": 0.2, "reference": -1}),
    "Diamond": (DIAMOND, {"patches": (5, 5), "bfactor": (500, 150), "reference": 0}),
    "Appion": (APPION, {"patches": (7, 5), "iterations": 7, "bfactor": (500, 100), "group": (1, 1)}),
    "TOMOMAN": (TOMOMAN, {"patches": (3, 3), "bfactor": (100, 100), "reference": -1, "iterations": 5}),
    "TranSPHIRE": (TRANSPHIRE, {"patches": (0, 0), "bfactor": (500, 150)}),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_their_settings_are_understood(client):
    line, expected = CLIENTS[client]
    options = parse(shlex.split(line))
    motion = settings_from(options).motion
    assert {name: getattr(motion, name) for name in expected} == expected
    assert all(note.endswith("has no effect in restframe.") for note in options.notes)


def test_nextpyps_exposure():
    options = parse(shlex.split(NEXTPYP))
    exposure = settings_from(options).exposure
    assert (exposure.eer_grouping, exposure.eer_sampling, exposure.throw) == (20, 3, 10)


@pytest.mark.parametrize(
    ("line", "expected"),
    [(RELION, True), (SCIPION, False), (APPION, False), (TOMOMAN, False), (TRANSPHIRE, False), (CRYOSPARC, False)],
)
def test_relion_is_recognised_by_its_arguments(line, expected):
    assert is_called_by_relion(parse(shlex.split(line))) == expected


def test_empty_values_and_repeats_do_no_harm():
    options = parse(shlex.split(TOMOMAN + " -DefectFile '' -Dark '' -PixSize 2.0"))
    assert options.number("-PixSize") == 1.327
    assert not {"-DefectFile", "-Dark"} & options.given


def test_relions_numbers():
    options = parse(shlex.split(RELION))
    assert options.given >= {"-LogFile", "-kV", "-FmDose", "-InitDose", "-SplitSum", "-FtBin"}
    assert options.integers("-Gpu") == (0, 1)
    assert settings_from(options).exposure.pixel_size == 0.412751


def test_appions_flags_for_stacks_and_motion_during_frames():
    sums = settings_from(parse(shlex.split(f"{APPION} -OutStack 1 -InFmMotion 1"))).sums
    assert (sums.stack_group, sums.intraframe_motion) == (1, True)
