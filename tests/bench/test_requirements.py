"""The catalogue is read whole, and a mistake in it is told with file, line, key and what would be right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bench.data import BadInput
from bench.judge import pics, requirements, uncertainty
from bench.judge.requirements import Limit

CATALOGUE = requirements.load()

SMALL = """\
use_case: T1
title: A small use case
source: none
scenarios:
  - id: T1-S1
    title: One
    trigger: something
    pre: nothing
    post: something
    steps:
      - {id: T1-S1.01, actor: Customer, text: "Asks."}
      - {id: T1-S1.02, actor: AMI meter, text: "Answers."}
functional:
  - {id: T1-FR-01, applies_to: [Meter], steps: [T1-S1.02], limits: [{name: delay, op: "<=", value: 2, unit: min}], text: Quick.}
"""


def load_text(directory: Path, text: str) -> requirements.Catalogue:
    (directory / "t1.yaml").write_text(text, encoding="utf-8")
    return requirements.load(directory)


def ids_in_files() -> list[str]:
    found: list[str] = []
    for path in requirements.DIRECTORY.glob("*.yaml"):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, rows in data.items():
            if not isinstance(rows, list):
                continue
            for row in rows:
                if key == "scenarios":
                    found += [x["id"] for x in (*row.get("rules", ()), *row["steps"])]
                else:
                    found.append(row["id"])
    return found


def test_every_statement_of_every_file_is_in_the_catalogue() -> None:
    assert sorted(r.id for r in CATALOGUE) == sorted(ids_in_files())
    assert len(CATALOGUE) > 300


def test_every_requirement_knows_its_line() -> None:
    for requirement in CATALOGUE:
        lines = (requirements.DIRECTORY / requirement.file).read_text(encoding="utf-8").splitlines()
        assert requirement.id in lines[requirement.line - 1]


def test_groups_tell_what_kind_of_row_it_is() -> None:
    assert CATALOGUE["C3-S1.08"].group == "scenario step"
    assert CATALOGUE["C3-S1.08"].scenario == "C3-S1"
    assert CATALOGUE["C3-NFR-02"].group == "non_functional"
    assert CATALOGUE["C3-MSG-10"].group == "message"
    assert CATALOGUE["INST-R-02"].verify == "inspect"
    assert CATALOGUE["MHDMC-S1.02"].optional


@pytest.mark.parametrize(
    ("id_", "person", "systems"),
    [
        ("C3-S1.01", True, ()),
        ("C3-S1.02", False, ("CSS",)),
        ("C3-S1.08", False, ("Meter",)),
        ("C3-S1.12", False, ("Meter", "Website")),
        ("C3-S6.04", False, ("ADCS",)),
        ("C3-MSG-11", False, ("Website",)),
        ("C3-S5.07", True, ()),
        ("C3-S6.08", True, ()),
        ("C3-MSG-10", False, ("Meter", "ADCS", "MDMS", "CSS")),
        ("C3-FR-03", False, ("Meter", "Display")),
    ],
)
def test_actors_are_told_apart(id_: str, person: bool, systems: tuple[str, ...]) -> None:
    assert CATALOGUE[id_].acted_by_person is person
    assert CATALOGUE[id_].applies_to == systems


def test_limits_are_read_by_name() -> None:
    assert CATALOGUE.limit("C3-NFR-02", "request to execution") == Limit("request to execution", "<=", 60, "s")
    assert CATALOGUE.limit("C3-FR-22", "delay after trip").tolerance == 2
    assert CATALOGUE.limit("C3-FR-19", "interval").seconds == 3600
    assert CATALOGUE.limit("C3-FR-02", "threshold").op is None


def test_an_unknown_limit_names_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"C3-FR-22 has no limit 'delay'.*'automatic re-closes', 'delay after trip'"):
        CATALOGUE.limit("C3-FR-22", "delay")


def test_a_limit_for_two_shares_of_a_fleet_is_not_guessed() -> None:
    with pytest.raises(BadInput, match="of_meters"):
        CATALOGUE.limit("C3-NFR-12", "success rate")


def test_a_limit_that_is_no_time_has_no_seconds() -> None:
    with pytest.raises(BadInput, match="not in a unit of time"):
        _ = CATALOGUE.limit("C3-FR-22", "automatic re-closes").seconds


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"no requirement 'C3-NFR-2'.*C3-NFR-"):
        CATALOGUE["C3-NFR-2"]


def test_a_scenario_stands_for_its_steps() -> None:
    assert CATALOGUE.expand("C3-S1") == tuple(f"C3-S1.{n:02}" for n in range(1, 14))
    assert CATALOGUE.decided_by(["smoke", "C3-FR-15", "C3-S1.08"]) == ("C3-S1.08", "C3-FR-15")


@pytest.mark.parametrize("tag", ["C3-FR-99", "c3-fr-15x", "C9-NFR-01", "INST.77", "MHDMC-R"])
def test_a_tag_that_looks_like_an_id_has_to_be_one(tag: str) -> None:
    assert CATALOGUE.looks_like_id(tag)
    with pytest.raises(BadInput):
        CATALOGUE.decided_by([tag])


@pytest.mark.parametrize("tag", ["smoke", "slow", "wall clock", "owner-jane", "robot:continue-on-failure"])
def test_other_tags_are_free(tag: str) -> None:
    assert not CATALOGUE.looks_like_id(tag)


def test_a_small_catalogue_is_read(tmp_path: Path) -> None:
    small = load_text(tmp_path, SMALL)
    assert [r.id for r in small] == ["T1-S1.01", "T1-S1.02", "T1-FR-01"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("applies_to:", "aplies_to:", r"t1\.yaml:14: functional\.0\.aplies_to: unknown key; did you mean 'applies_to'"),
        ('op: "<="', 'op: "=<"', r"t1\.yaml:14: functional\.0\.limits\.0\.op: .*'<='.*'=<'"),
        ("value: 2", "value: two", r"t1\.yaml:14: functional\.0\.limits\.0\.value: .*'two'"),
        ("unit: min", "unit: minutes", r"t1\.yaml:14: functional\.0\.limits\.0\.unit: .*'min'.*'minutes'"),
        ("T1-S1.02, actor", "T1-S1.01, actor", r"t1\.yaml:12: .*'T1-S1\.01' stands twice"),
        (
            "steps: [T1-S1.02]",
            "steps: [T1-S1.03]",
            r"t1\.yaml:14: T1-FR-01: step no requirement 'T1-S1\.03'.*T1-S1\.02",
        ),
        ("id: T1-FR-01", "id: t1/fr/1", r"t1\.yaml:14: functional\.0\.id: .*is not an id"),
        ("actor: AMI meter, ", "", r"t1\.yaml:12: scenarios\.0\.steps\.1\.actor: field required"),
        ("title: One\n", "title: One\n    title: Two\n", r"t1\.yaml:7: .*'title' stands twice"),
        ("use_case: T1", "use_case: [T1", r"t1\.yaml:\d+: not YAML"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SMALL
    with pytest.raises(BadInput) as caught:
        load_text(tmp_path, SMALL.replace(old, new, 1))
    assert re.search(says, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no requirements here"):
        requirements.load(tmp_path)


# --- the other inventory files that judging reads ------------------------------------------------------------------------


def test_the_pics_of_the_default_board_name_only_ids_of_the_catalogue() -> None:
    board = pics.load("ami-meter")
    assert board.system == "Meter"
    assert board.supports("service_switch")
    assert not board.supports("pulse_output")
    for feature in board.features.values():
        for id_ in feature.ids:
            assert id_ in CATALOGUE


def test_pics_say_what_they_are_silent_on() -> None:
    board = pics.load("ami-meter")
    with pytest.raises(BadInput, match=r"say nothing of 'service_swich'; did you mean 'service_switch'"):
        board.supports("service_swich")
    with pytest.raises(BadInput, match=r"give no 'test_current'; did you mean 'test_current_a'"):
        board.value("test_current")


def test_unknown_pics_name_the_nearest_file() -> None:
    with pytest.raises(BadInput, match=r"ami-meters\.yaml: no such file; did you mean .*ami-meter\.yaml"):
        pics.load("ami-meters")


def test_an_instrument_whose_calibration_ends_before_it_began_is_refused(tmp_path: Path) -> None:
    text = (uncertainty.DIRECTORY / "yokogawa-wt310e.yaml").read_text(encoding="utf-8")
    (tmp_path / "x.yaml").write_text(text.replace("due: 2027-12-01", "due: 2024-11-17"), encoding="utf-8")
    with pytest.raises(BadInput, match=r"x\.yaml:\d+: asset: .*calibration is due on 2024-11-17"):
        uncertainty.load("x", tmp_path)


def test_an_instrument_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    text = (uncertainty.DIRECTORY / "yokogawa-wt310e.yaml").read_text(encoding="utf-8")
    (tmp_path / "x.yaml").write_text(text.replace("certificate:", "certificat:"), encoding="utf-8")
    with pytest.raises(BadInput, match=r"x\.yaml:\d+: asset\.certificat"):
        uncertainty.load("x", tmp_path)
