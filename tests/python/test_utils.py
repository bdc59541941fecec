"""ctune.utils: what scripts of Ray Tune import from there."""

import io
import json
import logging
import math
import threading

import numpy as np
import pytest

import ctune
from ctune import resources
from ctune.utils import log, mock, mock_trainable, util
from ctune.utils.gpu import UtilMonitor, wait_for_gpu


@pytest.mark.parametrize(
    ("original", "new", "options", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"c": 1}}, {"new_keys_allowed": True}, {"a": {"b": 1, "c": 1}}),
        (
            {"a": {"b": 1}},
            {"a": {"c": 1}},
            {"allow_new_subkey_list": ["a"]},
            {"a": {"b": 1, "c": 1}},
        ),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, {}, None),
        ({"a": 1}, {"b": 1}, {"allow_new_subkey_list": ["a"]}, None),
        (
            {"a": {"x": {"b": 2}}},
            {"a": {"x": {"c": 1}}},
            {"allow_new_subkey_list": ["a"]},
            {"a": {"x": {"b": 2, "c": 1}}},
        ),
        ({"a": {"x": {"b": 2}}}, {"a": {"x": {"c": 1}}}, {"allow_new_subkey_list": ["x"]}, None),
        (
            {"a": {"type": 1, "b": 2}},
            {"a": {"type": 2, "c": 1}},
            {"override_all_if_type_changes": ["a"]},
            {"a": {"type": 2, "c": 1}},
        ),
        (
            {"a": {"type": 1, "b": 2}},
            {"a": {"c": 1}},
            {"override_all_if_type_changes": ["a"]},
            None,
        ),
        ({"a": {"b": 2}}, {"a": {"c": 1}}, {"override_all_key_list": ["a"]}, {"a": {"c": 1}}),
        ({"a": {"b": 1}}, {"a": 2}, {}, {"a": 2}),
        ({"a": 1}, {"a": {"c": 1}}, {}, {"a": {"c": 1}}),
    ],
)
def test_deep_update(original, new, options, expected):
    if expected is None:
        with pytest.raises(KeyError, match="new_dict"):
            util.deep_update(original, new, **options)
    else:
        assert util.deep_update(original, new, **options) is original
        assert original == expected


def test_lookup_of_a_path():
    assert util.unflattened_lookup("a/0/b", {"a": [{"b": 3}]}) == 3
    assert util.unflattened_lookup("a/b", {"a/b": 1, "a": {"b": 2}}) == 1
    assert util.unflattened_lookup("a/c", {"a": {}}, default=None) is None
    with pytest.raises(KeyError):
        util.unflattened_lookup("a/c", {"a": {}})


def test_the_encoder_of_odd_values():
    data = {"a": np.arange(2), "b": np.float32("nan"), "c": math.nan, "d": {1}, "e": np.int64(3)}
    text = json.dumps(data, cls=util.SafeFallbackEncoder)
    assert text == '{"a": [0, 1], "b": "null", "c": NaN, "d": "{1}", "e": 3}'
    text = json.dumps({"b": np.float32("nan")}, cls=util.SafeFallbackEncoder, nan_str="none")
    assert text == '{"b": "none"}'


def test_a_tee_writes_to_both_and_passes_over_one_that_fails():
    one, two = io.StringIO(), io.StringIO()
    tee = util.Tee(one, two)
    tee.write("line\n")
    tee.flush()
    two.close()
    tee.write("more\n")
    assert one.getvalue() == "line\nmore\n"
    tee.seek(0)
    assert tee.readline() == "line\n" and tee.read() == "more\n" and tee.tell() == 10
    assert tee.encoding is None
    with pytest.raises(NotImplementedError, match="encoding"):
        util.Tee(object(), object()).encoding  # noqa: B018


def test_retries():
    calls = []

    def fails_twice():
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("not yet")

    assert util.retry_fn(fails_twice, ValueError, num_retries=3, sleep_time=0)
    assert len(calls) == 3
    calls.clear()
    assert not util.retry_fn(fails_twice, (KeyError, ValueError), num_retries=2, sleep_time=0)
    calls.clear()
    with pytest.raises(ValueError, match="not yet"):
        util.retry_fn(fails_twice, KeyError, sleep_time=0)
    held = threading.Event()
    assert not util.retry_fn(held.wait, num_retries=1, timeout=0.01)
    held.set()


@pytest.mark.parametrize(
    ("points", "rewards", "error"),
    [
        ([{"a": 1}], [1.0], None),
        ([[1]], [1], None),
        (None, [1], None),
        ([], [1], None),
        ({"a": 1}, None, TypeError),
        ([(1,)], None, TypeError),
        ([{"a": 1, "b": 2}], None, ValueError),
        ([[1, 2]], None, ValueError),
        ([{"a": 1}], 1, TypeError),
        ([{"a": 1}], [1, 2], ValueError),
    ],
)
def test_points_to_begin_with(points, rewards, error):
    if error is None:
        util.validate_warmstart(["a"], points, rewards)
    else:
        with pytest.raises(error, match="points_to_evaluate|evaluated_rewards"):
            util.validate_warmstart(["a"], points, rewards)
    if points == [{"a": 1, "b": 2}]:
        util.validate_warmstart(["a"], points, rewards, validate_point_name_lengths=False)


LOCK = threading.Lock()


def test_what_keeps_a_function_from_being_sent(capsys):
    here = threading.Lock()

    def uses(config):
        return LOCK, here

    assert ctune.utils.diagnose_serialization(lambda config: config) is True
    assert ctune.utils.diagnose_serialization(uses) >= {"here"}
    assert "cannot be pickled" in capsys.readouterr().out


def test_functions_of_the_config_alone():
    single = ctune.utils._detect_config_single
    assert single(lambda config: 1) and single(lambda x, y=1: 1)
    assert not single(lambda config, reporter: 1) and not single(lambda: 1)


def test_a_slow_block_is_said_once(caplog):
    with caplog.at_level(logging.WARNING, "ctune"):
        with util.warn_if_slow("walk", threshold=-1):
            pass
        with util.warn_if_slow("silent", threshold=-1, disable=True):
            pass
        with util.warn_if_slow("fast", threshold=100):
            pass
    assert [record.message.split("`")[1] for record in caplog.records] == ["walk"]
    assert util.warn_if_slow.DEFAULT_THRESHOLD == 0.5


def test_levels_of_verbosity():
    before = log.verbosity
    try:
        log.set_verbosity(1)
        assert log.has_verbosity(log.Verbosity.V1_EXPERIMENT) and not log.has_verbosity(2)
        log.set_verbosity(log.Verbosity.V2_TRIAL_NORM)
        assert log.has_verbosity(2) and not log.has_verbosity(3)
        for wrong in (7, -1, "x"):
            with pytest.raises(ValueError):
                log.set_verbosity(wrong)
    finally:
        log.set_verbosity(before)
    log.disable_ipython()


SMI = """#!/bin/sh
n=$(cat {folder}/n); echo $((n + 1)) > {folder}/n
echo "0, GPU-aaaa, [N/A], $((2000 - n * 1000)), 2000"
echo "1, GPU-bbbb, 50, 2000, 2000"
"""


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Two GPUs: the first one's memory is freed as it is asked about, the other's never."""
    (tmp_path / "n").write_text("0")
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI.format(folder=tmp_path))
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return tmp_path


def test_waiting_for_a_gpu(gpus, monkeypatch):
    assert wait_for_gpu(0, delay_s=0)
    assert (gpus / "n").read_text() == "3\n"
    (gpus / "n").write_text("0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa,1")
    assert wait_for_gpu(target_util=0.5, delay_s=0)
    with pytest.raises(RuntimeError, match="stays in use"):
        wait_for_gpu("1", retry=2, delay_s=0)
    with pytest.raises(ValueError, match=r"no GPU 7.*GPU-aaaa"):
        wait_for_gpu(7)
    with pytest.raises(ValueError, match="gpu_memory_limit"):
        wait_for_gpu(0, gpu_memory_limit=0.1)


def test_no_gpu_to_wait_for(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(RuntimeError, match="no GPU is visible"):
        wait_for_gpu()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="nvidia-smi"):
        ctune.utils.wait_for_gpu(0)


def test_a_monitor_measures_the_machine(gpus):
    pytest.importorskip("psutil")
    monitor = UtilMonitor(start=False)
    assert monitor.get_data() == {}
    monitor.stopped = False
    monitor._measure()
    (gpus / "n").write_text("0")
    monitor._measure()
    values = monitor.get_data()["perf"]
    assert 0 <= values["ram_util_percent"] <= 100 and values["gpu_util_percent1"] == 0.5
    assert monitor.get_data() == {"perf": {}}
    monitor.start()
    monitor.stop()
    monitor.join(5)
    assert not monitor.is_alive() and monitor.get_data() == {}


def test_snapshots_of_the_trials(tmp_path):
    snapshot = mock.TrialStatusSnapshot()
    assert snapshot.max_running_trials() == 0 and not snapshot.all_trials_are_terminated()
    ctune.run(
        mock_trainable.MyTrainableClass,
        num_samples=3,
        max_concurrent_trials=2,
        stop={"training_iteration": 2},
        storage_path=tmp_path,
        verbose=0,
        callbacks=[mock.TrialStatusSnapshotTaker(snapshot)],
    )
    assert snapshot.max_running_trials() == 2 and snapshot.all_trials_are_terminated()
    assert mock.FailureInjectorCallback(disable=True).on_step_begin(iteration=1, trials=[]) is None
    with pytest.raises(NotImplementedError, match="cluster"):
        mock.FailureInjectorCallback()


def test_the_mock_trainable_fails_on_demand():
    mock_trainable.register_mock_trainable()
    cls = ctune.registry.get_trainable_cls(mock_trainable.MOCK_TRAINABLE_NAME)
    assert cls is mock_trainable.MyTrainableClass
    trainable = cls(config={mock_trainable.MOCK_ERROR_KEY: True})
    trainable.train()
    with pytest.raises(RuntimeError, match="mock_error"):
        trainable.train()


def test_resources_of_old():
    with pytest.raises(DeprecationWarning, match="PlacementGroupFactory"):
        resources.Resources(1, 2)
    with pytest.raises(DeprecationWarning, match="PlacementGroupFactory"):
        resources.resources_to_json(None)
    assert resources.json_to_resources(None) is None is resources.json_to_resources("null")
    made = resources.json_to_resources('{"cpu": 2, "gpu": 1, "custom_resources": {"disk": 3}}')
    assert made.required_resources == {"CPU": 2, "GPU": 1, "disk": 3}
    for wrong in ({"CPU": 1}, {"extra_cpu": 1}, "[]"):
        with pytest.raises(ValueError, match="data"):
            resources.json_to_resources(wrong)
    with pytest.raises(ctune.TuneError, match="driver_cpu_limit"):
        resources.json_to_resources({"driver_cpu_limit": 1})
