"""A real Slurm, started on this computer: an array of jobs, and workers of Dask that are jobs."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed (Debian: slurm-wlm, munge)"),
    pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can start Slurm"),
]

CONFIGURATION = """
ClusterName=restframe
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("batch_kills", ROOT / "benchmarks" / "batch_kills.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def slurm(tmp_path):
    """The environment in which sbatch finds a Slurm of one computer with four slots."""
    folder = tmp_path / "slurm"
    folder.mkdir(mode=0o755)
    for path in (*folder.parents, folder):  # munge looks at every folder on the way to its socket
        if path.owner() == "root" and len(path.parts) > 2:
            path.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(64))
    (folder / "key").chmod(0o600)
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(host=host, folder=folder, ports=(free_port(), free_port()))
    (folder / "slurm.conf").write_text(text)
    environment = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
    }
    files = [f"--{name}-file={folder}/{name}" for name in ("key", "pid", "log", "seed")]
    log = open(folder / "daemons.log", "w")  # noqa: SIM115
    started = []

    def start(*command):
        started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    try:
        start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        wait_for(lambda: (folder / "munge.socket").exists(), folder)
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", host)

        def is_idle():
            states = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
            return states.stdout.strip() == "idle"

        wait_for(is_idle, folder)
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()


def wait_for(condition, folder):
    deadline = time.monotonic() + 60
    while not condition():
        logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*log"))
        assert time.monotonic() < deadline, logs
        time.sleep(0.2)


def test_an_array_of_jobs(kills, slurm, tmp_path):
    reference, batch = tmp_path / "reference", tmp_path / "batch"
    for folder in (reference, batch):
        kills.make_movies(folder, 8)
    kills.start(reference).communicate(timeout=300)
    (batch / "out").mkdir()
    command = f"{sys.executable} -m restframe {kills.WORDS} --slice $SLURM_ARRAY_TASK_ID/3"
    words = ["sbatch", "--wait", "--array=1-3", "--ntasks=1", f"--output={batch}/job-%a.txt", f"--wrap={command}"]
    process = subprocess.run(words, cwd=batch, env=slurm, capture_output=True, text=True, timeout=300, check=False)
    texts = [path.read_text() for path in sorted(batch.glob("job-*.txt"))]
    assert process.returncode == 0, (process.stderr, texts)
    assert len(texts) == 3 and all("Total time: " in text and "earlier run" not in text for text in texts)
    assert sum(text.count("Full-frame alignment shift") for text in texts) == 8
    assert kills.outputs(batch) == kills.outputs(reference)


def test_workers_are_jobs(kills, slurm, tmp_path):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed (restframe[cluster])")
    reference, batch = tmp_path / "reference", tmp_path / "batch"
    for folder in (reference, batch):
        kills.make_movies(folder, 4)
    kills.start(reference).communicate(timeout=300)
    settings = {"CORES": "1", "MEMORY": "2GB", "INTERFACE": "lo", "LOG_DIRECTORY": str(tmp_path), "DEATH_TIMEOUT": "60"}
    environment = slurm | {f"DASK_JOBQUEUE__SLURM__{key}": value for key, value in settings.items()}
    (batch / "out").mkdir()
    command = [sys.executable, "-m", "restframe", *kills.WORDS.split(), "--cluster", "slurm"]
    process = subprocess.run(
        command, cwd=batch, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    logs = [path.read_text()[-2000:] for path in tmp_path.glob("slurm-*.out")]
    assert (process.returncode, process.stderr) == (0, ""), (process.stdout[-3000:], process.stderr, logs)
    assert "Movies corrected: 4 of 4" in process.stdout
    assert kills.outputs(batch) == kills.outputs(reference)
