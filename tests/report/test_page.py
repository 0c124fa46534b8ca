"""The files of a session's page, and their server."""

import http.client
import json
import re
import threading

import pytest
from made_records import done_record, failed_record, write_records

from restframe.cli.main import main
from restframe.errors import InputError, SettingsError
from restframe.report.page import PageBuilder, as_script
from restframe.report.records import RecordReader, combined_runs, record_folder
from restframe.report.refresh import Refreshing
from restframe.report.serve import make_server


def embedded(page):
    """The data in the HTML file."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_command(records_folder, capsys):
    assert main(["report", str(records_folder), "--title", "Grid 3"]) == 0
    page = records_folder / "restframe/report.html"
    assert capsys.readouterr().out == f"{page}\n"
    content = embedded(page)
    assert content["title"] == "Grid 3" and len(content["movies"]) == 13
    done = content["movies"][3]
    assert done["values"]["counts_dose"] == pytest.approx(37.4, abs=2) and done["errors"]["total"] > 0
    assert (records_folder / "restframe" / done["thumbnail"]).is_file()
    assert content["movies"][-1]["reason"].startswith("broken.tif is cut short")
    assert main(["report", str(records_folder / "restframe")]) == 0
    assert embedded(page)["title"] == records_folder.name


def test_nothing_is_loaded_from_elsewhere(records_folder):
    page = PageBuilder(RecordReader(records_folder / "restframe"), "T").write()
    text = re.sub(r'<script type="application/json".*?</script>', "", page.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\"'\s<)]+", text)) == {"http://www.w3.org/2000/svg"}


def test_only_what_changed_is_written_again(tmp_path):
    write_records(tmp_path, [done_record(number) for number in range(150)])
    builder = PageBuilder(RecordReader(tmp_path), "T")
    builder.write()
    files = tmp_path / "report_files"
    assert {path.name for path in files.iterdir()} == {
        "details_0.js",
        "details_1.js",
        "details_2.js",
        "summary.js",
        "version.js",
    }
    before = {path.name: path.stat().st_ino for path in files.iterdir()}
    builder.write()
    assert {path.name for path in files.iterdir() if path.stat().st_ino != before[path.name]} == {"version.js"}
    write_records(tmp_path, [done_record(150)])
    builder.write()
    changed = {path.name for path in files.iterdir() if path.stat().st_ino != before[path.name]}
    assert changed == {"details_2.js", "summary.js", "version.js"}
    assert len(embedded(builder.page)["movies"]) == 151


def test_other_files_are_passed_over(tmp_path):
    write_records(tmp_path, [done_record(1)])
    (tmp_path / "half.json").write_text('{"format": "restframe rec')
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / ".hidden.json").write_text("{}")
    reader = RecordReader(tmp_path)
    assert len(reader.records()) == 1
    next(tmp_path.glob("Foil*.json")).unlink()
    assert reader.records() == []
    assert PageBuilder(reader, "T").write().is_file()


def test_the_command_that_tries_again(tmp_path):
    failed = failed_record(2, "b.tif", "why")
    words = failed["command"]["words"]
    write_records(tmp_path, [failed])
    (row,) = embedded(PageBuilder(RecordReader(tmp_path), "T").write())["movies"]
    assert row["retry"] == f"cd '/data/session 7' && {' '.join(words)} --retry-failed 1"
    failed["command"] = {"words": [*words, "--Retry-Failed", "1"], "folder": None}
    write_records(tmp_path, [failed])
    (row,) = embedded(PageBuilder(RecordReader(tmp_path), "T").write())["movies"]
    assert row["retry"] == f"{' '.join(words)} --Retry-Failed 1"
    failed["command"] = None  # of the library
    write_records(tmp_path, [failed])
    (row,) = embedded(PageBuilder(RecordReader(tmp_path), "T").write())["movies"]
    assert row["retry"] is None


def test_values_that_are_not_always_fitted(tmp_path):
    flat, tilted = done_record(1, "flat.tif"), done_record(2, "tilted.tif")
    flat["ctf"] |= {"tilt_angle_deg": 0.0, "tilt_angle_error_deg": None, "phase_shift_error_deg": None}
    tilted["ctf"] |= {"tilt_angle_deg": 12.0, "tilt_angle_error_deg": 0.7, "ice_ring_density": 0.4}
    write_records(tmp_path, [flat, tilted])
    first, second = embedded(PageBuilder(RecordReader(tmp_path), "T").write())["movies"]
    assert not {"tilt", "phase_shift", "ice_ring"} & set(first["values"])
    assert second["values"]["tilt"] == 12.0 and second["errors"]["tilt"] == 0.7 and second["values"]["ice_ring"] == 0.4


def test_records_with_few_keys(tmp_path):
    """A later version may leave keys out, an earlier one had fewer."""
    bare = {"format": "restframe record", "status": "done", "finished": "yesterday", "input": {"name": "a.tif"}}
    write_records(tmp_path, [bare, {**bare, "status": "failed", "input": {"name": "b.tif"}}])
    content = embedded(PageBuilder(RecordReader(tmp_path), "T").write())
    assert [movie["status"] for movie in content["movies"]] == ["done", "failed"]
    assert content["movies"][1]["reason"] == "no reason was recorded"


def test_folders(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        record_folder(tmp_path / "none")
    with pytest.raises(InputError, match="holds no records"):
        record_folder(tmp_path)
    (tmp_path / "restframe").mkdir()
    assert record_folder(tmp_path) == tmp_path / "restframe"


def test_text_in_scripts():
    text = as_script({"a": "</script><!--\u2028&"})
    assert not set(text) & set("<>&\u2028") and json.loads(text) == {"a": "</script><!--\u2028&"}


def test_runs_of_parts_are_added_up():
    first = {"is_running": True, "host": "a", "heartbeat": "2026-01-01T00:00:05", "waiting": 3}
    first |= {"oldest_waiting": "2026-01-01", "running": [{"movie": "x"}]}
    second = {"is_running": True, "host": "b", "heartbeat": "2026-01-01T00:00:01", "waiting": 4}
    ended = {"is_running": False, "host": "c", "heartbeat": "2026-01-01T00:00:09", "waiting": 9}
    runs = [first, second, ended]
    assert combined_runs(runs) == {
        "is_running": True,
        "host": "a, b",
        "heartbeat": "2026-01-01T00:00:05",
        "waiting": 7,
        "oldest_waiting": "2026-01-01",
        "running": ["x"],
    }


def test_refreshing(tmp_path, monkeypatch):
    monkeypatch.setattr("restframe.report.refresh.REFRESH_SECONDS", 0.02)
    folder = tmp_path / "restframe"
    with Refreshing(PageBuilder(RecordReader(folder), "T")):
        write_records(folder, [done_record(1), failed_record(2, "b.tif", "why")])
    assert len(embedded(folder / "report.html")["movies"]) == 2


@pytest.fixture
def served(records_folder):
    folder = records_folder / "restframe"
    PageBuilder(RecordReader(folder), "T").write()
    (records_folder / "secret.txt").write_text("secret")
    (folder / "pictures/link.jpg").symlink_to(records_folder / "secret.txt")
    with make_server(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def asked(port, path, method="GET", host="localhost"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"{host}:{port}")
    connection.endheaders()
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("path", ["/report.html", "/report_files/summary.js?1", "/report_files/details_0.js"])
def test_files_of_the_page_are_served(served, path):
    status, body = asked(served, path)
    assert status == 200 and len(body) > 500


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/pictures/../../secret.txt", "/pictures/link.jpg",
        "/pictures/", "/pictures", "/report_files/", "//etc/passwd", "/pictures/%00", "/pictures/..%2f..%2fsecret.txt",
        "/broken.json",
    ],
)  # fmt: skip
def test_other_files_are_not_served(served, path):
    status, body = asked(served, path)
    assert status == 404 and b"secret" not in body


def test_requests(served):
    assert asked(served, "/")[0] == 302
    assert asked(served, "/report.html", "HEAD") == (200, b"")
    assert asked(served, "/report.html", "POST")[0] == 501
    assert asked(served, "/report.html", host="evil.example")[0] == 403


def test_a_port_that_is_taken(served, tmp_path):
    with pytest.raises(SettingsError, match=f"The port {served} of"):
        make_server(tmp_path, served)
    with pytest.raises(SettingsError, match="cannot be used"):
        make_server(tmp_path, 99999)
