"""The command `twinbench` as somebody at a shell, or a job, meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")
TWIN = "inventory/benches/twin.yaml"
SMALL = Path(__file__).with_name("one-of-each.yaml")
DEVICES = set(yaml.safe_load((ROOT / TWIN).read_text())["twinbench"]["devices"])


def run(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **more
    )


def one_line(done: subprocess.CompletedProcess[str], *says: str) -> None:
    """It refused: exit code 4, nothing on standard output, one line on standard error that says all of this."""
    assert done.returncode == 4, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("twinbench: ")
    for piece in says:
        assert piece in done.stderr, done.stderr


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command, running; killed where it is left running."""
    process = subprocess.Popen(
        [COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str], within_s: float = 120) -> str:
    """The first line on standard output."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], within_s)[0], "nothing was said in time"
    return process.stdout.readline()


# --- help and misuse ----------------------------------------------------------------------------------------------------


def test_help_lists_the_verbs() -> None:
    done = run("--help")
    assert done.returncode == 0
    for verb in ("certify", "trace", "defects", "up", "doctor", "twin", "site", "verify"):
        assert re.search(rf"^\s+{verb}\s+\S", done.stdout, re.M), verb


@pytest.mark.parametrize("verb", ["certify", "trace", "defects", "up", "doctor", "twin", "site", "verify"])
def test_each_verb_has_help(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ["Missing command", "--help"]),
        (["certfy"], ["certfy"]),
        (["certify", "--sed", "1"], ["--sed", "--seed"]),
        (["certify", "--seed", "one"], ["--seed", "integer"]),
        (["certify", "--seed", "-1"], ["--seed", "0"]),
        (["certify", "--only", "NOPE"], ["NOPE"]),
        (["certify", "--only", "C3-FR-51"], ["C3-FR-51", "nearest: C3-FR-"]),
        (["certify", "--defect", "no_receit"], ["no_receit", "no_receipt"]),
        (["certify", "--bench", "inventory/benches/twim.yaml"], ["twim.yaml", "no such file", "twin.yaml"]),
        (["up", "--bench", "nowhere.yaml"], ["nowhere.yaml", "no such file"]),
        (["up", "--defect", "no_receit"], ["no_receit", "no_receipt"]),
        (["defects", "no_receit"], ["no_receit", "no_receipt"]),
        (["defects", "nothing_like_it"], ["no defect 'nothing_like_it'; `twinbench defects --list` shows all"]),
        (["defects", "--jobs", "0"], ["--jobs"]),
        (["twin"], ["MODEL"]),
        (["twin", "ami-meter"], ["--listen"]),
        (["verify"], ["DIR"]),
        (["verify", "runs/nothing-here"], ["runs/nothing-here", "no such directory"]),
    ],
)
def test_misuse_is_one_line_and_code_4(arguments: list[str], says: list[str]) -> None:
    one_line(run(*arguments), *says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  seed: 1\n", "  seed: many\n", ["twinbench.seed: needs a whole number from 0", "`seed: 1`", "'many'"]),
        ("  seed: 1\n", "  seed: -1\n", ["twinbench.seed: needs a whole number from 0", "-1"]),
        ("  seed: 1\n", "  seed: true\n", ["twinbench.seed: needs a whole number from 0", "True"]),
        ("  pics: [ami-meter]", "  pics: 5", ["twinbench.pics: is a list", "`pics: [ami-meter]`"]),
        ("  pics: [ami-meter]", "  pics: [ami-metre]", ["twinbench.pics.0", "ami-meter"]),
    ],
)
def test_certify_names_the_line_of_what_is_wrong_in_its_bench_file(
    tmp_path: Path, old: str, new: str, says: list[str]
) -> None:
    text = Path(__file__).with_name("one-of-each.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = tmp_path / "bench.yaml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    line = text[: text.index(old)].count("\n") + 1
    one_line(run("certify", "--bench", file, "--only", "C3-BR-02"), f"{file}:{line}: ", *says)


def test_a_record_wants_a_directory_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    one_line(run("certify", "--only", "C3-BR-02", "--out", tmp_path), str(tmp_path), "not empty")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    one_line(run("certify", "--only", "C3-BR-02", "--out", tmp_path / "mine.txt"), "mine.txt")


# --- certify --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One requirement certified on the healthy twin: what was printed, and the record."""
    record = tmp_path_factory.mktemp("certified") / "record"
    return run("certify", "--only", "C3-FR-15", "--json", "--out", record), record


def test_certify_says_json(certified: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, record = certified
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["verdict"], said["seed"], said["bench"]) == ("PASS", 1, "twin")
    (requirement,) = said["requirements"]
    assert (requirement["id"], requirement["verdict"]) == ("C3-FR-15", "PASS")
    assert requirement["checks"]
    for check in requirement["checks"]:
        assert check["verdict"] == "PASS"
    assert done.stderr == "", "with --json nothing but JSON is said"
    for name in ("output.xml", "log.html", "report.html", "xunit.xml", "verdict.json", "devices.json", "manifest.json"):
        assert (record / name).stat().st_size > 0, name
    links = {
        attributes["name"]
        for one in yaml.safe_load((ROOT / TWIN).read_text())["targets"]["site"]["resources"]
        for attributes in one.values()
    }
    assert {p.name for p in (record / "wire").iterdir()} == {f"{link}.log" for link in links}
    assert json.loads((record / "state.json").read_text())["state"] == "complete"


def test_a_defect_fails_its_requirement(tmp_path: Path) -> None:
    done = run("certify", "--only", "C3-FR-15", "--defect", "no_receipt", "--json", "--out", tmp_path / "record")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["verdict"] == "FAIL"
    assert [r["verdict"] for r in said["requirements"]] == ["FAIL"]
    assert said["defects"] == ["no_receipt"]


def test_one_seed_gives_the_same_verdicts_and_readings(
    certified: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    done, record = certified
    again = run("certify", "--only", "C3-FR-15", "--json", "--out", tmp_path / "same", "--seed", "1")
    other = run("certify", "--only", "C3-FR-15", "--json", "--out", tmp_path / "other", "--seed", "2")
    assert json.loads(again.stdout)["requirements"] == json.loads(done.stdout)["requirements"]

    def readings(path: Path) -> list[Any]:
        rows = [json.loads(line) for line in (path / "readings.jsonl").read_text().splitlines()]
        return [(row["at"], row["device"], row["quantity"], row["value"]) for row in rows]

    assert len(readings(record)) > 10
    assert readings(tmp_path / "same") == readings(record)
    assert other.returncode == 0
    assert readings(tmp_path / "other") != readings(record)


def test_plain_lines_without_a_terminal_and_without_colour(tmp_path: Path) -> None:
    done = run("certify", "--only", "C3-BR-02", "--out", tmp_path / "r", env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert re.search(r"^PASS\s+C3-BR-02\b", done.stdout, re.M)
    assert f"record: {tmp_path / 'r'}" in done.stdout


def test_no_colour_on_a_terminal() -> None:
    """NO_COLOR holds on a terminal too."""
    import pty

    for environment, coloured in (({"NO_COLOR": "1"}, False), ({"FORCE_COLOR": "1"}, True)):
        master, slave = pty.openpty()
        env = {
            **{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")},
            "TERM": "xterm-256color",
        }
        process = subprocess.Popen([COMMAND, "trace"], cwd=ROOT, stdout=slave, stderr=slave, env={**env, **environment})
        os.close(slave)
        said = b""
        while select.select([master], [], [], 20)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:  # how a pty says that nobody is there any more
                break
            if not piece:
                break
            said += piece
        process.wait(120)
        os.close(master)
        assert b"C3-FR-15" in said
        colours = re.findall(rb"\x1b\[[0-9;]*3[0-7]m", said)
        assert bool(colours) is coloured, colours[:3]


# --- the record ---------------------------------------------------------------------------------------------------------------


def test_verify_finds_a_flipped_bit(certified: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    copy = tmp_path / "record"
    shutil.copytree(certified[1], copy)
    done = run("verify", copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert "unchanged" in done.stdout
    wire = copy / "wire" / "meter-optical.log"
    data = bytearray(wire.read_bytes())
    data[len(data) // 2] ^= 1
    wire.write_bytes(data)
    done = run("verify", copy)
    assert done.returncode == 1
    assert str(wire) in done.stdout
    assert "was changed" in done.stdout
    done = run("verify", "--json", copy)
    assert done.returncode == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert "meter-optical.log" in problem


# --- trace and defects ------------------------------------------------------------------------------------------------------


def test_trace_says_json() -> None:
    done = run("trace", "--json")
    assert done.returncode in (0, 1)
    rows = json.loads(done.stdout)
    assert all(set(row) == {"id", "verify", "applies_to", "tests", "defects", "covered", "verdict"} for row in rows), (
        rows[0]
    )
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    assert by_id["C3-FR-15"]["covered"] is True
    assert by_id["C3-FR-15"]["tests"] == ["The Meter Returns A Receipt"]
    assert "no_receipt" in by_id["C3-FR-15"]["defects"]
    for number in range(1, 13):
        assert by_id[f"C3-S1.{number:02}"]["covered"] is True, number


def test_the_catalogue_of_defects() -> None:
    plain = run("defects", "--list")
    assert plain.returncode == 0
    said = json.loads(run("defects", "--list", "--json").stdout)
    assert len(plain.stdout.splitlines()) == len(said) > 40
    assert {"name", "of", "breaks", "does"} <= set(said[0])


def test_a_defect_is_caught_by_its_test() -> None:
    done = run("defects", "no_receipt", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(done.stdout)
    assert set(outcome) == {"name", "breaks", "caught_by", "escaped"}
    assert outcome["name"] == "no_receipt"
    assert outcome["breaks"] == ["C3-FR-15", "C3-S1.08"]
    assert "The Meter Returns A Receipt" in outcome["caught_by"]
    assert outcome["escaped"] is False


# --- interrupted ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so(number: signal.Signals, tmp_path: Path) -> None:
    record = tmp_path / "record"
    with started("certify", "--out", record) as process:
        _until(lambda: (record / "output.xml").is_file() and (record / "wire" / "meter-optical.log").is_file())
        time.sleep(0.5)
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 3, (process.returncode, said, complained)
    assert "Traceback" not in complained
    assert "problem: the run was interrupted" in said
    assert json.loads((record / "verdict.json").read_text())["verdict"] == "ERROR"
    assert json.loads((record / "state.json").read_text())["state"] == "interrupted"
    done = run("verify", record)
    assert done.returncode == 1
    assert "was interrupted" in done.stdout
    assert len(done.stdout.splitlines()) == 2, "interrupted, and otherwise intact"


def _until(true: Any, within_s: float = 120) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_says_where_and_ends_cleanly(number: signal.Signals) -> None:
    with started("up", "--json") as process:
        ready = json.loads(first_line(process))
        assert ready["bench"] == "twin"
        assert {one["name"] for one in ready["devices"]} == DEVICES
        assert _mirrored(ready["mirror"]) == DEVICES
        answer = httpx.get(f"{ready['meter_data']}/v1/meters", headers={"Authorization": "Bearer only-for-this-bench"})
        assert answer.json() == ["TB-0001"]
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said == ""
    assert complained == "twinbench: interrupted; outputs are safe\n"


def _mirrored(url: str) -> set[str]:
    """Names of the devices that a reader of the mirror finds, by a client in a process of its own."""
    code = """
import asyncio, sys
from asyncua import Client
async def main():
    async with Client(sys.argv[1]) as client:
        index = await client.get_namespace_array()
        found = set()
        todo = [client.nodes.objects]
        while todo:
            node = todo.pop()
            for child in await node.get_children():
                name = (await child.read_browse_name()).Name
                if name in sys.argv[2:]:
                    found.add(name)
                elif name not in ("Server", "Types", "Locations", "Aliases"):
                    todo.append(child)
        print(*sorted(found))
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, url, *DEVICES], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_board_of_one_s_own_is_left_open(number: signal.Signals, tmp_path: Path) -> None:
    """The relay is hardware as far as the bench can tell: a process of its own. However `up` ends, its contacts are open."""
    line = tmp_path / "bus"
    data = yaml.safe_load(SMALL.read_text())
    del data["twinbench"]["devices"]["relay"]["faces"]
    data["twinbench"]["clock"] = {"kind": "wall"}
    data["targets"]["site"]["resources"][0]["ModbusRtuLine"]["port"] = str(line)
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(data))

    def coils() -> list[int]:
        said = subprocess.run(
            [
                "mbpoll",
                "-o",
                "10",
                "-m",
                "rtu",
                "-b",
                "9600",
                "-P",
                "none",
                "-a",
                "1",
                "-t",
                "0",
                "-r",
                "1",
                "-c",
                "8",
                "-1",
                line,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout
        return [int(state) for state in re.findall(r"^\[\d+\]:\s+(\d)", said, re.M)]

    with started("twin", "waveshare-relay", "--listen", f"rtu:{line}") as board:
        first_line(board)
        assert coils() == [0] * 8
        with started("up", "--bench", file, "--json") as process:
            ready = first_line(process)
            assert ready, process.communicate()[1]
            assert json.loads(ready)["bench"] == "one-of-each"
            process.send_signal(number)
            _, complained = process.communicate(timeout=60)
            assert process.returncode == 0, complained
        assert coils() == [0] * 8
