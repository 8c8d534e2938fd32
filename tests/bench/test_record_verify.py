"""A run's record: what is in it, how it ends, and that nobody changes it unseen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data import BadInput
from bench.evidence.record import MANIFEST, STATE, Record, RecordLost, newest_first, state
from bench.evidence.verify import verify

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


def written(path: Path, seed: int = 7) -> Record:
    """A small record with one of everything."""
    record = Record.new(seed, path)
    record.follow(lambda: NOON)
    log = record.wire_log("meter line")
    log("tx", b"\xee\x00")
    log("rx", b"\x06")
    record.reading("analyzer", "voltage", 240.1, "V")
    record.reading("analyzer", "current", float("nan"), "A")
    record.write_json("verdict.json", {"verdict": "PASS", "requirements": []})
    record.write("output.xml", "<robot/>")
    return record


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "run"
    written(path).seal()
    return path


def test_a_sealed_record_is_intact_and_says_so(sealed: Path) -> None:
    assert verify(sealed) == []
    assert state(sealed) == "complete"


def test_wire_logs_bear_both_times_direction_and_bytes(sealed: Path) -> None:
    lines = (sealed / "wire" / "meter_line.log").read_text().splitlines()
    bench, real, direction, data = lines[0].split()
    assert (bench, direction, data) == ("2026-01-05T12:00:00+00:00", "tx", "ee00")
    assert float(real) > 0
    assert lines[1].split()[2:] == ["rx", "06"]


def test_readings_are_json_lines_with_bench_time(sealed: Path) -> None:
    rows = [json.loads(line) for line in (sealed / "readings.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "at": "2026-01-05T12:00:00+00:00",
        "device": "analyzer",
        "quantity": "voltage",
        "value": 240.1,
        "unit": "V",
    }
    assert rows[1]["value"] == "nan"


def test_the_manifest_lists_every_file(sealed: Path) -> None:
    listed = {file["path"] for file in json.loads((sealed / MANIFEST).read_text())["files"]}
    there = {p.relative_to(sealed).as_posix() for p in sealed.rglob("*") if p.is_file()}
    assert listed == there - {MANIFEST}


def every_byte(path: Path) -> list[tuple[Path, int]]:
    return [(file, n) for file in sorted(path.rglob("*")) if file.is_file() for n in range(file.stat().st_size)]


def test_any_changed_byte_of_any_file_is_found(sealed: Path) -> None:
    for file, n in every_byte(sealed):
        good = file.read_bytes()
        file.write_bytes(good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :])
        try:
            assert verify(sealed), f"byte {n} of {file.name}"
        finally:
            file.write_bytes(good)
    assert verify(sealed) == []


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_other_content_of_any_file_is_found(sealed: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(p for p in sealed.rglob("*") if p.is_file())))
    good = file.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    bad = good[:start] + data.draw(st.binary(max_size=20)) + good[end:]
    file.write_bytes(bad)
    try:
        assert bool(verify(sealed)) is (bad != good)
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("name", ["verdict.json", "wire/meter_line.log", STATE])
def test_a_removed_file_is_found(tmp_path: Path, name: str) -> None:
    written(tmp_path / "run").seal()
    (tmp_path / "run" / name).unlink()
    assert any(name in problem and "missing" in problem for problem in verify(tmp_path / "run"))


def test_an_added_file_is_found(tmp_path: Path) -> None:
    written(tmp_path / "run").seal()
    (tmp_path / "run" / "wire" / "extra.log").write_text("")
    assert verify(tmp_path / "run") == [f"{tmp_path / 'run' / 'wire' / 'extra.log'}: was added"]


def test_an_added_directory_is_found_even_where_nothing_is_in_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    written(run).seal()
    (run / "wire" / "more" / "deeper").mkdir(parents=True)
    (run / "pages").mkdir()
    said = "was added, a directory without a file of the record"
    assert verify(run) == [f"{run / name}: {said}" for name in ("pages", "wire/more", "wire/more/deeper")]
    (run / "wire" / "more" / "deeper" / "extra").write_text("")
    (run / "pages").rmdir()
    assert verify(run) == [f"{run / 'wire' / 'more' / 'deeper' / 'extra'}: was added"]


def test_a_record_s_own_empty_directory_is_gone_when_it_is_sealed(tmp_path: Path) -> None:
    record = written(tmp_path / "run")
    (tmp_path / "run" / "website" / "en").mkdir(parents=True)
    record.seal()
    assert not (tmp_path / "run" / "website").exists()
    assert verify(tmp_path / "run") == []


def test_a_file_that_became_a_link_is_found(tmp_path: Path) -> None:
    written(tmp_path / "run").seal()
    file = tmp_path / "run" / "verdict.json"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert verify(tmp_path / "run") == [f"{file}: is not a plain file"]


def test_a_manifest_for_other_files_is_found(tmp_path: Path) -> None:
    written(tmp_path / "a").seal()
    written(tmp_path / "b", seed=8).seal()
    (tmp_path / "a" / MANIFEST).write_bytes((tmp_path / "b" / MANIFEST).read_bytes())
    assert any("was changed" in problem for problem in verify(tmp_path / "a"))


@pytest.mark.parametrize("keep", [0, 1, 100])
def test_a_manifest_cut_short_is_found(tmp_path: Path, keep: int) -> None:
    written(tmp_path / "run").seal()
    manifest = tmp_path / "run" / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:keep])
    assert verify(tmp_path / "run") == [f"{manifest}: is damaged or cut short"]


def test_a_missing_manifest_is_found(tmp_path: Path) -> None:
    written(tmp_path / "run").seal()
    (tmp_path / "run" / MANIFEST).unlink()
    assert any("never sealed" in problem for problem in verify(tmp_path / "run"))


def test_no_record_at_all_is_told(tmp_path: Path) -> None:
    assert verify(tmp_path / "nothing") == [f"{tmp_path / 'nothing'}: no such record; give the directory of a run"]


def test_a_run_ended_by_an_exception_is_interrupted_and_otherwise_intact(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written(tmp_path / "run"):
        raise KeyboardInterrupt
    assert state(tmp_path / "run") == "interrupted"
    problems = verify(tmp_path / "run")
    assert len(problems) == 1
    assert "was interrupted" in problems[0]


KILLED = """
import os, signal, sys, time
from pathlib import Path
from bench.evidence.record import Record
record = Record.new(1, Path(sys.argv[1]))
log = record.wire_log("line")
for n in range(150):
    log("tx", n.to_bytes(4, "big"))
    time.sleep(0.01)
print(n, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_shows_and_loses_little_of_its_logs(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert any("was killed" in problem for problem in verify(tmp_path / "run"))
    lines = (tmp_path / "run" / "wire" / "line.log").read_text().splitlines()
    # flushed every half second: of 1.5 s at most the last half second, and a little, is lost
    assert len(lines) > int(ended.stdout) / 2


FULL = """
import resource, sys
from pathlib import Path
from bench.evidence.record import Record, RecordLost
record = Record.new(1, Path(sys.argv[1]))
log = record.wire_log("line")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for n in range(20_000):
    log("tx", bytes(20))  # must not raise: the device's dialogue goes on
assert record.lost is not None and "wire/line.log" in record.lost, record.lost
try:
    record.seal()
except RecordLost as no:
    print(no)
else:
    sys.exit("a record with holes was sealed without a word")
"""


def test_a_full_disk_is_told_by_name_and_stops_no_dialogue(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-B", "-c", FULL, str(tmp_path / "run")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "line.log: the record cannot be written: File too large; the run's evidence is not complete" in ended.stdout
    assert any("interrupted" in problem for problem in verify(tmp_path / "run"))


def test_a_file_that_cannot_be_written_is_told_by_name(tmp_path: Path) -> None:
    record = Record.new(1, tmp_path / "run")
    (tmp_path / "run" / "verdict.json").symlink_to("/dev/full")
    with pytest.raises(RecordLost, match=r"verdict\.json: the record cannot be written: No space left on device"):
        record.write_json("verdict.json", {})
    assert record.lost is not None


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("precious")
    with pytest.raises(BadInput, match="is not empty; a record needs a directory of its own"):
        Record.new(1, tmp_path)
    assert (tmp_path / "keep").read_text() == "precious"


def test_a_place_that_cannot_hold_a_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="a record cannot be written here"):
        Record.new(1, tmp_path / "file" / "run")


def test_runs_of_one_second_get_directories_of_their_own(tmp_path: Path) -> None:
    records = [Record.new(3, runs=tmp_path) for _ in range(4)]
    assert len({record.path for record in records}) == 4
    assert newest_first(tmp_path)[0] == records[-1].path


def test_links_log_from_many_threads_without_mixing_lines(tmp_path: Path) -> None:
    record = Record.new(1, tmp_path / "run")

    def work(n: int) -> None:
        log = record.wire_log("shared")
        for _ in range(500):
            log("tx", bytes([n]) * 30)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.seal()
    lines = (tmp_path / "run" / "wire" / "shared.log").read_text().splitlines()
    assert len(lines) == 2000
    assert all(len(set(bytes.fromhex(line.split()[3]))) == 1 for line in lines)


@pytest.mark.parametrize("link", ["../../evil", "a/b", "", "..", "COM 3"])
def test_a_links_name_never_leads_out_of_the_record(tmp_path: Path, link: str) -> None:
    record = Record.new(1, tmp_path / "run")
    record.wire_log(link)("tx", b"\x01")
    record.seal()
    assert [p.parent for p in (tmp_path / "run").rglob("*.log")] == [tmp_path / "run" / "wire"]
