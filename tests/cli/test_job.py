"""From options to a job: settings, names, and what is refused before a movie is opened."""

import os

import pytest

from restframe.cli.movies import batch_from, job_from
from restframe.cli.parse import parse
from restframe.cli.run_settings import settings_from
from restframe.cli.wording import with_flags
from restframe.errors import InputError, OutputError, SameFileError, SettingsError
from restframe.output.drafts import machine
from restframe.settings import Settings


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "in" / "my movie.tif"
    path.parent.mkdir()
    path.write_bytes(b"")
    return path


def job(*words):
    return job_from(parse([str(w) for w in (*words, "-Gpu", "-1")]))


def settings(*words):
    return settings_from(parse(words))


def test_the_tables_defaults_are_the_librarys():
    assert settings() == Settings()


def test_settings_are_what_the_flags_say():
    text = """-Gain g -Dark d -RotGain 3 -FlipGain 2 -InvGain 1 -PixSize 0.5 -Kv 200 -FmDose 1.5 -InitDose 2 -Throw 1
    -Trunc 2 -Patch 7,5,20 -Iter 9 -Tol .2 -Bft 150 -Group 4 -PhaseOnly 1 -FmRef 0 --weights bfactor -FtBin 1.5
    -SumRange 2 20 -SplitSum 1 --threads 2 --max-memory 6GB"""
    got = settings(*text.split())
    camera, exposure, motion, sums = got.detector, got.exposure, got.motion, got.sums
    assert (camera.gain, camera.dark, camera.rot_gain, camera.flip_gain, camera.inv_gain) == ("g", "d", 3, 2, True)
    assert (exposure.pixel_size, exposure.voltage, exposure.frame_dose, exposure.initial_dose) == (0.5, 200, 1.5, 2)
    assert (exposure.throw, exposure.trunc) == (1, 2)
    assert (motion.patches, motion.iterations, motion.tolerance, motion.bfactor) == ((7, 5), 9, 0.2, (150, 100))
    assert (motion.group, motion.phase_only, motion.reference, motion.weights) == ((4, 4), True, 0, "bfactor")
    assert (sums.bin, sums.sum_range, sums.split, got.machine.threads) == (1.5, (2, 20), True, 2)
    assert got.machine.max_memory == 6_000_000_000


def test_switches(movie, tmp_path):
    words = ("-InTiff", movie, "-OutMrc", tmp_path / "x.mrc")
    assert not job(*words).record and job(*words).settings.detector.find_defects
    got = job(*words, "--record", "--find-defects", "0")
    assert got.record and not got.settings.detector.find_defects


@pytest.mark.parametrize(
    ("words", "expected"),
    [("6GB", 6e9), ("1.5 GiB", 1.5 * 2**30), ("800m", 8e8), (".5T", 5e11), ("20000 KB", 2e7)],
)
def test_memory_with_its_unit(words, expected):
    assert settings("--max-memory", words).machine.max_memory == expected


@pytest.mark.parametrize("words", ["6", "0GB", "-3GB", "lots", "6 GB more", "1e3GB"])
def test_memory_that_is_none(words):
    with pytest.raises(SettingsError, match=f"--max-memory {words}: expected a number above 0 and a unit"):
        settings("--max-memory", words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("0 0", (0, 0)), ("0.0,0.0", (0, 0)), ("3 4", (0, 0)), ("-2 20", (0, 20)), ("5 0", (0, 0)), ("3 25", (3, 25))],
)
def test_sum_range(words, expected):
    assert settings("-SumRange", words).sums.sum_range == expected


def test_one_number_after_patch_and_group_is_for_both():
    assert settings("-Patch", "5").motion.patches == (5, 5)
    assert settings("-Group", "3").motion.group == (3, 3)
    assert settings("-Group", "0", "4").motion.group == (1, 4)


@pytest.mark.parametrize("voltage", ["79", "301", "300000"])
def test_voltage_is_checked_where_it_matters(voltage):
    assert settings("-kV", voltage).exposure.voltage == float(voltage)
    with pytest.raises(SettingsError) as caught:
        settings("-kV", voltage, "-FmDose", "1")
    assert with_flags(caught.value.message).startswith(f"-kV {voltage}: dose weighting is defined for 80 to 300 kV.")


def test_a_job_names_its_files(movie, tmp_path):
    logs = ("-LogDir", tmp_path / "a/b", "-LogFile", tmp_path / "x.log")
    got = job("-InTiff", movie, "-OutMrc", tmp_path / "sum.mrc", *logs)
    assert got.movie == movie and got.kind == "tiff"
    assert got.images["sum"] == tmp_path / "sum.mrc" and got.images["odd"] == tmp_path / "sum_ODD.mrc"
    assert got.log_bases == ((str(tmp_path / "a/b/my movie"), 6), (str(tmp_path / "x.log0"), 7))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_no_input(tmp_path):
    with pytest.raises(InputError, match="No input"):
        job("-OutMrc", tmp_path / "x.mrc")


def test_two_inputs(movie, tmp_path):
    with pytest.raises(SettingsError, match="-InTiff and -InMrc"):
        job("-InTiff", movie, "-InMrc", "b.mrc", "-OutMrc", tmp_path / "x.mrc")


def test_missing_input_and_folder_as_input(tmp_path):
    with pytest.raises(InputError, match=r"none\.tif does not exist"):
        job("-InTiff", tmp_path / "none.tif", "-OutMrc", tmp_path / "x.mrc")
    with pytest.raises(InputError, match="is a folder"):
        job("-InTiff", tmp_path, "-OutMrc", tmp_path / "x.mrc")


@pytest.mark.parametrize("out", ["m.mrc", "m", "sub/../m.mrc", "link.mrc", "M_DW.mrc"])
def test_no_output_may_be_the_input(tmp_path, out):
    (tmp_path / "sub").mkdir()
    movie = tmp_path / ("M_DW_DW.mrc" if out == "M_DW.mrc" else "m.mrc")
    movie.write_bytes(b"movie")
    (tmp_path / "link.mrc").symlink_to(movie)
    with pytest.raises(SameFileError, match=movie.name):
        job("-InMrc", movie, "-OutMrc", tmp_path / out)
    assert movie.read_bytes() == b"movie"


def test_no_output_may_be_a_reference(movie, tmp_path):
    with pytest.raises(SameFileError):
        job("-InTiff", movie, "-Gain", tmp_path / "g_DW.mrc", "-OutMrc", tmp_path / "g.mrc")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["-OutMrc", "o.mrc", "-InAln", "aln", "-FullSum", "aln/my movie.aln"], "my movie.aln"),
        (["-OutMrc", "o.mrc", "-InAln", "saved.aln", "-FullSum", "./saved.aln"], "saved.aln"),
        (["-OutMrc", "o.mrc", "-DefectFile", "x0-Full.log", "-LogFile", "x"], "x0-Full.log"),
        (
            ["-OutMrc", "o.mrc", "-DefectFile", "x0-Patch-Full.log", "-LogFile", "x", "-Patch", "5", "5"],
            "x0-Patch-Full",
        ),
        (["-OutMrc", "o.mrc", "-FmIntFile", "logs/my movie-Full.log", "-LogDir", "logs"], "my movie-Full.log"),
        (["-OutMrc", "o.mrc", "-Gain", "linked.mrc", "-OutStack", "1"], "linked.mrc"),
        (["-OutMrc", "o.mrc", "-Dark", "arc/my movie.mrc", "-ArcDir", "arc"], "my movie.mrc"),
        (["-OutMrc", "o.mrc", "-DefectMap", "aln/my movie.aln", "-OutAln", "aln"], "my movie.aln"),
    ],
)
def test_no_output_of_any_kind_may_be_an_input(movie, tmp_path, monkeypatch, words, name):
    monkeypatch.chdir(tmp_path)
    for folder in ("aln", "logs", "arc"):
        (tmp_path / folder).mkdir()
    for file in ("aln/my movie.aln", "saved.aln", "x0-Full.log", "logs/my movie-Full.log", "my movie.star"):
        (tmp_path / file).write_text("kept")
    (tmp_path / "o_Stk.mrc").write_text("kept")
    (tmp_path / "linked.mrc").hardlink_to(tmp_path / "o_Stk.mrc")
    with pytest.raises(SameFileError, match=name):
        job("-InTiff", movie, *words)


def test_a_log_over_the_movie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x0-Full.log").write_bytes(b"movie")
    for words in (["-LogFile", "x"], ["-LogFile", "./x", "-Patch", "3", "3"]):
        with pytest.raises(SameFileError, match=r"x0-Full\.log"):
            job("-InMrc", "x0-Full.log", "-OutMrc", "o.mrc", *words)


def test_two_outputs_of_one_name(movie, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"Two outputs would both be x0-Full\.log"):
        job("-InTiff", movie, "-OutMrc", "o.mrc", "-LogFile", "x", "-FullSum", "x0-Full.log")


def test_outputs_that_cannot_be_written(movie, tmp_path):
    (tmp_path / "folder_DW.mrc").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for out in ("none/x.mrc", "file/x.mrc", "folder.mrc", "n" * 255):
        with pytest.raises(OutputError):
            job("-InTiff", movie, "-OutMrc", tmp_path / out)
    with pytest.raises(OutputError):
        job("-InTiff", movie)
    with pytest.raises(OutputError, match="cannot be made"):
        job("-InTiff", movie, "-OutMrc", tmp_path / "x.mrc", "-LogDir", tmp_path / "file" / "logs")
    with pytest.raises(OutputError, match="cannot be made"):
        job("-InTiff", movie, "-OutMrc", tmp_path / "x.mrc", "-LogFile", tmp_path / "file" / "x")
    missing = tmp_path / "none"  # made with the logs
    assert missing in job("-InTiff", movie, "-OutMrc", tmp_path / "x.mrc", "-LogFile", missing / "x").folders
    assert sorted(os.listdir(tmp_path)) == ["file", "folder_DW.mrc", "in"]


def test_what_a_user_may_not_expect_is_said(movie, tmp_path):
    words = ("-InTiff", movie, "-OutMrc", tmp_path / "x.mrc")
    notes = job(*words, "-FmDose", "1", "-Patch", "5 5 20").notes
    assert notes[0] == "The CPU is used, as asked for."
    assert "-PixSize" in notes[1] and "overlap" in notes[2]
    assert len(job(*words).notes) == 1


def test_a_folder_without_a_slash_for_the_results_of_a_batch(movie, tmp_path):
    (tmp_path / "sums").mkdir()
    words = ["-InTiff", f"{movie.parent}/", "-Serial", "1", "-Gpu", "-1", "-OutMrc"]
    slash, none = (batch_from(parse([*words, f"{tmp_path}/sums{end}"])) for end in ("/", ""))
    name = slash.jobs[0].movie.stem
    assert slash.jobs[0].images["sum"] == tmp_path / f"sums/{name}.mrc"
    assert none.jobs[0].images["sum"] == tmp_path / f"sums{name}.mrc"
    assert not [line for line in slash.listing if line.startswith("Note: ")]
    assert [line for line in none.listing if line.startswith(f"Note: results are called {tmp_path}/sums{name}.mrc")]


@pytest.mark.parametrize("skips", [["x_,y_"], ["x_ y_"], ["x_", "y_"], ["x_, y_"]])
def test_skips_with_commas_or_blanks(tmp_path, skips):
    for name in ("x_1.tif", "y_1.tif", "z_1.tif"):
        (tmp_path / name).touch()
    words = ["-InTiff", f"{tmp_path}/", "-OutMrc", f"{tmp_path}/", "-Serial", "1", "-Gpu", "-1", "-InSkips", *skips]
    batch = batch_from(parse(words))
    assert [job.movie.name for job in batch.jobs] == ["z_1.tif"]
    assert "Skips:     x_ y_" in batch.listing


def test_what_has_no_effect_on_a_single_movie_is_said(movie, tmp_path):
    notes = job("-InTiff", movie, "-OutMrc", tmp_path / "x.mrc", "-InSuffix", ".tif", "-Serial", "0").notes
    assert "Note: -InSuffix has no effect without -Serial 1." in notes


def test_drafts_of_killed_runs_are_removed_in_all_folders(movie, tmp_path):
    (tmp_path / "out/restframe").mkdir(parents=True)
    folders = [tmp_path / "out" / name for name in ("", "restframe", "restframe/pictures", "restframe/report_files")]
    drafts = []
    for folder in (*folders, tmp_path / "logs"):
        folder.mkdir(exist_ok=True)
        drafts.append(folder / f".restframe-{machine()}-1-1-0123456789ab.part")  # process 1 was not started then
        drafts[-1].touch()
    words = [
        "-InTiff",
        f"{movie.parent}/",
        "-Serial",
        "1",
        "-OutMrc",
        f"{tmp_path}/out/",
        "-LogDir",
        f"{tmp_path}/logs",
    ]
    batch_from(parse([*words, "-Gpu", "-1"]))
    assert [draft for draft in drafts if draft.exists()] == []
