"""What a sweep file may say, and what is said about one that says something else."""

from __future__ import annotations

import pytest

from edgeml.core.errors import UsageError
from edgeml.sweep.sweep_file import read_sweep_file
from tests.sweep.conftest import FakeSweep

WHOLE = """
name = "everything"
data = "digits"
precisions = ["fp32", "int8"]
runtimes = ["onnxruntime", "tvm"]
threads = [1, 2]
devices = ["local", "ssh://pi@board"]

[targets]
"ssh://pi@board" = "rpi4"

[[models]]
source = "tinynet-e"
resolution = 32
train = { data = "digits", epochs = 2 }

[[models]]
source = "nets.py:make"
name = "mine"
weights = "mine.safetensors"
input_shape = [1, 8, 8]

[[exclude]]
precision = "int8"
threads = 2

[export]
max_accuracy_drop = 1
[compile]
tune = 10
[bench]
seconds = 1.5
profile = true
"""


def test_a_whole_file_is_read(fake_sweep: FakeSweep) -> None:
    fake_sweep.file.write_text(WHOLE)
    sweep = read_sweep_file(fake_sweep.file)
    assert (sweep.name, sweep.directory) == ("everything", fake_sweep.directory)
    assert [model.name for model in sweep.models] == ["tinynet-e", "mine"]
    assert sweep.models[0].train == (("data", "digits"), ("epochs", 2))
    assert sweep.models[1].options == (("--input-shape", "1,8,8"),)
    assert [(device.text, device.target) for device in sweep.devices] == [
        ("local", "host"),
        ("ssh://pi@board", "rpi4"),
    ]
    assert sweep.bench == (("seconds", 1.5), ("profile", True))
    assert sweep.excludes(precision="int8", threads=2)
    assert not sweep.excludes(precision="int8", threads=1)


def test_a_short_file_has_defaults(fake_sweep: FakeSweep) -> None:
    fake_sweep.file.write_text('models = ["tinynet-e"]')
    sweep = read_sweep_file(fake_sweep.file)
    assert (sweep.name, sweep.precisions, sweep.runtimes, sweep.threads) == ("sweep", ("fp32",), ("onnxruntime",), ())
    assert [device.text for device in sweep.devices] == ["local"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no models"),
        ("models = []", "models is empty"),
        ("models = [", "cannot read the sweep"),
        ('model = ["a"]', "unknown key 'model'; allowed: name, models"),
        ('models = ["a", "a"]', "models has 'a' twice"),
        ('models = ["a b", "a-b"]', "models has 'a-b' twice"),
        ('models = ["a"]\nprecisions = ["fp64"]', "one of precisions is 'fp64'; it must be one of fp32, fp16, int8"),
        ('models = ["a"]\nprecisions = "fp32"', "precisions is 'fp32'; it must be a list"),
        ('models = ["a"]\nruntimes = ["abacus"]', "one of runtimes is 'abacus'"),
        ('models = ["a"]\nthreads = [0]', "each must be at least 1"),
        ('models = ["a"]\ndevices = ["moon://x"]', "moon"),
        ('models = ["a"]\ndevices = ["local", "local"]', "devices has 'local' twice"),
        ('models = ["a"]\nruntimes = ["tvm"]\ndevices = ["ssh://pi@x"]', "what code to generate for the device"),
        ('models = ["a"]\n[targets]\npi = "rpi4"', "[targets] names 'pi'"),
        ('models = ["a"]\n[targets]\nlocal = "pdp11"', "pdp11"),
        ('models = ["a"]\n[bench]\nspeed = 1', "[bench] has the unknown setting 'speed'; allowed: seconds"),
        ('models = ["a"]\n[bench]\nlaunches = 1.5', "launches in [bench] is 1.5; it must be a whole number"),
        ('models = ["a"]\n[bench]\nprofile = 1', "it must be true or false"),
        ('models = ["a"]\n[bench]\nlimit = 5', "give data too"),
        ('models = ["a"]\n[[exclude]]\n', "an entry of exclude is empty"),
        ('models = ["a"]\n[[exclude]]\ncolour = "red"', "exclude has the unknown key 'colour'"),
        ("[[models]]\nname = 'a'", "a model lacks its source"),
        ("[[models]]\nsource = 'a'\nsize = 1", "a model has the unknown key 'size'"),
        ("[[models]]\nsource = 'a'\nweights = 'w'\ntrain = {data = 'digits'}", "both weights and train"),
        ("[[models]]\nsource = 'a'\ntrain = {epochs = 1}", "train gives no data"),
        ("[[models]]\nsource = 'a.onnx'\nclasses = 3", "classes cannot be given"),
        ("models = ['a.onnx']", "there is no model file a.onnx"),
    ],
)
def test_mistakes_are_told_in_one_line(fake_sweep: FakeSweep, text: str, message: str) -> None:
    fake_sweep.file.write_text(text)
    with pytest.raises(UsageError) as told:
        read_sweep_file(fake_sweep.file)
    assert message in str(told.value)
    assert "sweep.toml" in str(told.value)


def test_a_missing_file_is_told_of(fake_sweep: FakeSweep) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_sweep_file(fake_sweep.file)
