"""`fritz-compress pack` and `unpack`: the same network, in fewer bytes."""

import keras
import pytest
from commands import run
from storage_models import same_weights, small_model


@pytest.fixture(name="network", scope="module")
def saved_network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "small.keras"
    small_model().save(path)
    return path


def test_a_network_is_packed_and_unpacked(network, tmp_path, capsys):
    packed, unpacked = tmp_path / "small.fcz", tmp_path / "again.keras"
    assert run("pack", network, packed) == 0
    out = capsys.readouterr().out
    assert "hidden/kernel" in out and "codebook" in out
    assert f"{packed.stat().st_size:,} bytes: weights" in out
    assert run("unpack", packed, unpacked) == 0
    assert f"{unpacked}: 1,250 weights" in capsys.readouterr().out
    assert same_weights(keras.saving.load_model(unpacked), small_model())
    assert sorted(tmp_path.iterdir()) == [unpacked, packed]


def test_networks_of_the_package_are_packed(tmp_path):
    packed = tmp_path / "student.fcz"
    assert run("pack", "starry_night_student", packed) == 0
    assert packed.stat().st_size < 50_000
    assert run("unpack", packed, tmp_path / "student.keras") == 0


def test_what_is_typed_wrong_is_one_line(network, tmp_path, capsys):
    packed, keras_file = tmp_path / "a.fcz", tmp_path / "a.keras"
    garbage = tmp_path / "garbage.fcz"
    garbage.write_bytes(b"FCZ\1 garbage and more of it")
    for arguments, message in [
        (("pack", network, tmp_path / "a.zip"), "ends with .fcz"),
        (("pack", tmp_path / "none.keras", packed), "No network at"),
        (("pack", garbage, packed), "Expected a .keras or .h5 file"),
        (("pack", network, tmp_path / "no" / "a.fcz"), "does not exist"),
        (("unpack", network, keras_file), "ends with .fcz"),
        (("unpack", garbage, tmp_path / "a.h5"), "ends with .keras"),
        (("unpack", garbage, keras_file), "its checksum is wrong"),
        (("unpack", tmp_path / "none.fcz", keras_file), "No such file"),
        (("unpack", garbage, tmp_path / "no" / "a.keras"), "checksum"),
    ]:
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [garbage]
