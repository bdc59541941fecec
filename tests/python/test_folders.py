"""The folders of experiments, compared with those of the reference; see folders.py there."""

import base64
import gzip
import json
import os
import sys

import pytest

import ctune as tune

REFERENCE = os.path.join(os.path.dirname(__file__), os.pardir, "reference")
sys.path.insert(0, REFERENCE)
import folders  # noqa: E402

pytest.importorskip("tensorboardX")
accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

with gzip.open(os.path.join(REFERENCE, "folders.json.gz"), "rt", encoding="utf-8") as _file:
    RECORDED = json.load(_file)


@pytest.fixture(scope="module", params=["inline", "process"])
def ours(request, tmp_path_factory):
    """Case -> what ctune wrote; each case is run once."""
    tune.shutdown()
    tune.init(executor=request.param, num_cpus=2)
    done = {}

    def get(case):
        if case not in done:
            storage = str(tmp_path_factory.mktemp(case))
            folders.CASES[case](tune, storage)
            done[case] = folders.read(os.path.join(storage, "exp"))
        return done[case]

    yield get
    tune.shutdown()


every_case = pytest.mark.parametrize("case", sorted(folders.CASES))


def test_all_cases_were_recorded():
    assert RECORDED.keys() == folders.CASES.keys()


@every_case
def test_the_tree_is_the_same(ours, case):
    assert ours(case)["tree"] == RECORDED[case]["tree"]


@every_case
def test_results_have_the_same_keys_in_the_same_order(ours, case):
    found, expected = ours(case)["trials"], RECORDED[case]["trials"]
    assert found.keys() == expected.keys()
    for trial in expected:
        assert found[trial]["keys"] == expected[trial]["keys"]


@every_case
def test_what_users_report_and_configure_is_written_the_same(ours, case):
    for trial, expected in RECORDED[case]["trials"].items():
        found = ours(case)["trials"][trial]
        assert found["params"] == expected["params"]
        # NaN is not equal to itself: compared as text.
        assert json.dumps(found["values"]) == json.dumps(expected["values"])


@every_case
def test_progress_has_the_same_columns_and_cells(ours, case):
    for trial, expected in RECORDED[case]["trials"].items():
        found = ours(case)["trials"][trial]
        assert found["columns"] == expected["columns"]
        same = [key for key in found["columns"] if key.split("/")[0] in folders.OWN_KEYS]
        for row, row_expected in zip(found["cells"], expected["cells"], strict=True):
            for key, cell, wanted in zip(same, row, row_expected, strict=True):
                if key == "array":  # a list here, NumPy's own text there
                    assert cell == str([float(x) for x in wanted.strip("[]").split()])
                else:
                    assert cell == wanted, key


def shown(trial, folder):
    """What TensorBoard shows: scalars by tag, steps of histograms, tags with metadata."""
    scalars, histograms, metadata = {}, {}, set()
    for number, text in enumerate(trial["events"]):
        path = folder / f"events.out.tfevents.{number}"
        path.write_bytes(base64.b64decode(text))
        size = {"scalars": 0, "histograms": 0}
        events = accumulator.EventAccumulator(str(path), size_guidance=size).Reload()
        for tag in events.Tags()["scalars"]:
            points = [(e.step, e.value) for e in events.Scalars(tag)]
            scalars[tag] = scalars.get(tag, []) + points
        for tag in events.Tags()["histograms"]:
            every = events.Histograms(tag)
            histograms[tag] = [
                (e.step, e.histogram_value.num, e.histogram_value.sum) for e in every
            ]
        metadata |= {tag for tag in events.summary_metadata if tag.startswith("_hparams_")}
    return scalars, histograms, metadata


@every_case
def test_tensorboard_shows_the_same(ours, case, tmp_path):
    for trial, recorded in RECORDED[case]["trials"].items():
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "ours").mkdir(exist_ok=True)
        expected = shown(recorded, tmp_path / "theirs")
        found = shown(ours(case)["trials"][trial], tmp_path / "ours")
        assert found[0].keys() == expected[0].keys()
        for tag, points in expected[0].items():
            key = tag.removeprefix("ray/tune/")
            same = key.split("/")[0] in folders.OWN_KEYS
            assert [p if same else p[0] for p in found[0][tag]] == [
                p if same else p[0] for p in points
            ]
        assert found[1:] == expected[1:]
