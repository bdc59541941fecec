"""Callbacks of training libraries, each with its own library where it is installed."""

import importlib.util
import os
import sys

import numpy as np
import pytest

import ctune as tune

if importlib.util.find_spec("tensorflow") is None:  # which Keras takes by default
    os.environ.setdefault("KERAS_BACKEND", "torch")
from ctune.integration import keras as tune_keras
from ctune.integration import lightgbm as tune_lightgbm
from ctune.integration import pytorch_lightning as tune_lightning
from ctune.integration import xgboost as tune_xgboost
from ctune.integration._report import picked


@pytest.fixture
def run(tmp_path):
    tune.shutdown()
    tune.init(debug=True)

    def call(trainable, **arguments):
        (trial,) = tune.run(trainable, storage_path=tmp_path, verbose=0, **arguments).trials
        return trial

    yield call
    tune.shutdown()


class Heard(tune.Callback):
    """The user's keys of each result, and the names of the checkpoints."""

    def __init__(self):
        self.results = []
        self.checkpoints = []

    def on_trial_result(self, result, **info):
        automatic = {*tune.result.AUTO_RESULT_KEYS, "checkpoint_dir_name", "should_checkpoint"}
        automatic |= {"done", "timestamp", "config", "trial_id"}
        self.results.append({k: v for k, v in result.items() if k not in automatic})

    def on_checkpoint(self, checkpoint, **info):
        self.checkpoints.append(checkpoint)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] + 0.5 * x[:, 1] + 0.1 * rng.normal(size=200) > 0).astype(int)
    return x[:150], y[:150], x[150:], y[150:]


# --- without the libraries ---


@pytest.mark.parametrize("module", [tune_keras, tune_lightgbm, tune_xgboost])
def test_what_is_gone_says_what_to_use(module):
    with pytest.raises(DeprecationWarning, match=f"{module.__name__}.*CheckpointCallback"):
        module.TuneReportCallback({"loss": "loss"})


@pytest.mark.parametrize(
    "module, hidden, name",
    [
        ("ctune.integration.xgboost", ["xgboost"], "TuneReportCheckpointCallback"),
        (
            "ctune.integration.pytorch_lightning",
            ["lightning", "pytorch_lightning"],
            "TuneReportCheckpointCallback",
        ),
        ("ctune.air.integrations.keras", ["keras", "tensorflow"], "ReportCheckpointCallback"),
    ],
)
def test_modules_are_imported_without_their_library(monkeypatch, module, hidden, name):
    for library in hidden:
        for loaded in [m for m in sys.modules if m.split(".")[0] == library]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, module)
    fresh = importlib.import_module(module)
    with pytest.raises(ImportError, match="pip install"):
        getattr(fresh, name)()


def test_metrics_are_picked_by_name_by_names_or_renamed():
    values = {"a": 1, "b": 2}
    assert picked(None, values) == values
    assert picked("a", values) == {"a": 1}
    assert picked(["b"], values) == {"b": 2}
    assert picked({"mine": "b"}, values) == {"mine": 2}
    with pytest.raises(KeyError, match="no value 'c'; there are a, b"):
        picked({"mine": "c"}, values)


# --- LightGBM ---


def test_lightgbm_reports_each_round(run, data):
    lightgbm = pytest.importorskip("lightgbm")
    x, y, x_test, y_test = data
    callback = tune_lightgbm.TuneReportCheckpointCallback
    predicted = []

    def train(config):
        train_set = lightgbm.Dataset(x, y)
        model = lightgbm.train(
            {"objective": "binary", "metric": ["binary_error", "auc"], "verbose": -1, **config},
            train_set,
            num_boost_round=5,
            valid_sets=[lightgbm.Dataset(x_test, y_test, reference=train_set)],
            valid_names=["eval"],
            callbacks=[callback(frequency=2)],
        )
        predicted.append(model.predict(x_test))

    heard = Heard()
    trial = run(train, callbacks=[heard], config={"num_leaves": 4, "num_threads": 1})
    assert [set(r) for r in heard.results] == [{"eval-binary_error", "eval-auc"}] * 5
    assert heard.results[-1]["eval-auc"] > 0.9
    assert len(heard.checkpoints) == 3  # rounds 2, 4 and the last
    model = callback.get_model(trial.checkpoint)
    np.testing.assert_allclose(model.predict(x_test), predicted[0])


def test_lightgbm_cross_validation_has_means_and_deviations(run, data):
    lightgbm = pytest.importorskip("lightgbm")
    x, y, _, _ = data

    def train(config):
        lightgbm.cv(
            {"objective": "binary", "metric": "auc", "verbose": -1, "num_threads": 1},
            lightgbm.Dataset(x, y),
            num_boost_round=2,
            nfold=3,
            callbacks=[
                tune_lightgbm.TuneReportCheckpointCallback(
                    checkpoint_at_end=False,
                    results_postprocessing_fn=lambda r: {k.split("-", 1)[1]: r[k] for k in r},
                )
            ],
        )

    heard = Heard()
    trial = run(train, callbacks=[heard])
    assert [set(r) for r in heard.results] == [{"auc-mean", "auc-stdv"}] * 2
    assert trial.checkpoint is None


# --- XGBoost ---


@pytest.mark.parametrize("at_end", [True, False])
def test_xgboost_reports_each_round(run, data, at_end):
    xgboost = pytest.importorskip("xgboost")
    x, y, x_test, y_test = data
    callback = tune_xgboost.TuneReportCheckpointCallback
    predicted = []

    def train(config):
        test = xgboost.DMatrix(x_test, y_test)
        model = xgboost.train(
            {"objective": "binary:logistic", "eval_metric": ["error", "auc"], **config},
            xgboost.DMatrix(x, y),
            num_boost_round=5,
            evals=[(test, "eval")],
            callbacks=[
                callback({"auc": "eval-auc"}, "m.json", frequency=2, checkpoint_at_end=at_end)
            ],
        )
        predicted.append(model.predict(test))

    heard = Heard()
    trial = run(train, callbacks=[heard], config={"max_depth": 2, "nthread": 1})
    assert [list(r) for r in heard.results] == [["auc"]] * (6 if at_end else 5)
    assert heard.results[-1]["auc"] > 0.9
    assert len(heard.checkpoints) == (3 if at_end else 2)
    if at_end:
        model = callback.get_model(trial.checkpoint, "m.json")
        np.testing.assert_allclose(model.predict(xgboost.DMatrix(x_test)), predicted[0])


def test_xgboost_does_not_report_a_model_twice(run, data):
    xgboost = pytest.importorskip("xgboost")
    x, y, _, _ = data

    def train(config):
        xgboost.train(
            {"objective": "binary:logistic", "nthread": 1},
            xgboost.DMatrix(x, y),
            num_boost_round=4,
            evals=[(xgboost.DMatrix(x, y), "train")],
            callbacks=[tune_xgboost.TuneReportCheckpointCallback(frequency=2)],
        )

    heard = Heard()
    run(train, callbacks=[heard])
    assert [set(r) for r in heard.results] == [{"train-logloss"}] * 4
    assert len(heard.checkpoints) == 2


# --- PyTorch Lightning ---


@pytest.fixture
def lightning():
    lightning = pytest.importorskip("lightning.pytorch")
    torch = pytest.importorskip("torch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            return self.layer(batch).square().mean()

        def validation_step(self, batch, index):
            self.log("val_loss", self.layer(batch).square().mean())
            self.log("other", torch.tensor(2.0))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(callback, epochs=3):
        trainer = lightning.Trainer(
            max_epochs=epochs,
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        loader = torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=4)
        trainer.fit(Module(), loader, loader)

    fit.load = lambda path: torch.load(path, weights_only=False)
    return fit


@pytest.mark.slow
def test_lightning_reports_after_validation(run, lightning, caplog):
    def train(config):
        callback = tune_lightning.TuneReportCheckpointCallback(
            {"loss": "val_loss", "none": "missing"}, filename="c.ckpt"
        )
        lightning(callback)

    heard = Heard()
    trial = run(train, callbacks=[heard])
    losses = [r["loss"] for r in heard.results]
    assert len(losses) == 3 and losses == sorted(losses, reverse=True)
    assert all(list(r) == ["loss"] for r in heard.results)
    assert "no metric 'missing'" in caplog.text
    assert len(heard.checkpoints) == 3
    assert lightning.load(f"{trial.checkpoint.path}/c.ckpt")["epoch"] == 2


@pytest.mark.slow
def test_lightning_reports_at_other_hooks_without_checkpoints(run, lightning):
    def train(config):
        with pytest.warns(DeprecationWarning, match="save_checkpoints=False"):
            callback = tune_lightning.TuneReportCallback(on=["train_epoch_end", "fit_end"])
        lightning(callback, epochs=2)

    heard = Heard()
    run(train, callbacks=[heard])
    assert [set(r) for r in heard.results] == [{"val_loss", "other"}] * 3
    assert heard.checkpoints == []
    with pytest.raises(ValueError, match="no hook 'never'.*validation_end"):
        tune_lightning.TuneCallback(on="never")
    with pytest.raises(NotImplementedError, match="_handle"):
        lightning(tune_lightning.TuneCallback())


# --- Keras ---


@pytest.mark.slow
def test_keras_reports_its_logs_with_the_model(run, data):
    keras = pytest.importorskip("keras", exc_type=ImportError)
    x, y, _, _ = data
    callback = tune_keras.TuneReportCheckpointCallback
    predicted = []

    def train(config):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
        model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", metrics=["accuracy"])
        every = [
            callback(metrics={"loss": "loss", "acc": "accuracy"}),
            callback(["train_end"], ["epoch_end", "train_end"], metrics="accuracy"),
        ]
        model.fit(x, y, epochs=2, verbose=0, callbacks=every)
        predicted.append(model.predict(x, verbose=0))

    heard = Heard()
    trial = run(train, callbacks=[heard])
    keys = [tuple(r) for r in heard.results]
    assert keys == [("loss", "acc"), ("accuracy",)] * 2 + [("accuracy",)]
    assert heard.results[2]["loss"] < heard.results[0]["loss"]
    assert len(heard.checkpoints) == 3
    model = keras.saving.load_model(f"{trial.checkpoint.path}/model.keras")
    np.testing.assert_allclose(model.predict(x, verbose=0), predicted[0], rtol=1e-4)
    with pytest.raises(ValueError, match="report_metrics_on.*epoch_end.*got 'sometimes'"):
        callback(report_metrics_on="sometimes")
