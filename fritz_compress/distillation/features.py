"""What a teacher's layers in the middle see, taught to a student's."""

import keras
from keras import ops

from fritz_compress.losses import AttentionTransferLoss


@keras.saving.register_keras_serializable("fritz_compress")
class Hint(keras.distillation.FeatureDistillation):
    """Teaches a layer of the student the features of a layer of the teacher.

    `keras.distillation.FeatureDistillation` for layers of different widths: a
    regressor of as many outputs as the teacher's layer has channels, a 1x1
    convolution of whatever number of axes, is put behind the student's layer.
    It is trained along, and no part of the student. Where the widths agree
    there is none.

    FitNets are trained on a hint first, and then on soft targets: fit one
    distiller with a `Hint` alone, then another one.

    Args:
        teacher_layer_name, student_layer_name: Names of the layers.
        loss: Between the features. Defaults to `"mse"`.
        regressor: A layer from the student's features to the shape of the
            teacher's, in place of that: a convolution that changes the size.
        seed: Seed of the regressor's first weights.

    Raises:
        ValueError: in a distiller, for names of no layers, or for features of
            different sizes without a `regressor`.

    Reference: Romero et al., "FitNets: Hints for Thin Deep Nets",
    https://arxiv.org/abs/1412.6550, section 2.2 and equation 3.

    Example:

    >>> distiller(teacher, student, [SoftTargets(4.0), Hint("mix_3", "conv_2")])
    """

    def __init__(
        self,
        teacher_layer_name: str,
        student_layer_name: str,
        loss: str | keras.losses.Loss = "mse",
        regressor: keras.Layer | None = None,
        seed: int | None = None,
    ):
        super().__init__(loss, teacher_layer_name, student_layer_name)
        self.regressor = regressor
        self.seed = seed
        self._own_regressor = regressor

    def validate_model_compatibility(self, teacher, student):
        """Makes the regressor, if one is needed."""
        super().validate_model_compatibility(teacher, student)
        wanted = teacher.get_layer(self.teacher_layer_name).output.shape
        given = student.get_layer(self.student_layer_name).output.shape
        self.regressor = self._own_regressor
        if self.regressor is None and wanted[-1] != given[-1]:
            self.regressor = keras.layers.Dense(
                wanted[-1],
                kernel_initializer=keras.initializers.GlorotUniform(self.seed),
                name=f"{self.student_layer_name}_regressor",
            )
        made = given
        if self.regressor is not None:
            if not self.regressor.built:
                self.regressor.build(given)
            made = self.regressor.compute_output_shape(given)
        self._check_shapes(wanted, made)

    def compute_loss(
        self, teacher_outputs, student_outputs, sample_weight=None, **kwargs
    ):
        if self.regressor is not None:
            student_outputs = self.regressor(student_outputs)
        # Before a `Loss` takes the mean over all samples.
        loss = getattr(self.loss, "call", self.loss)
        return _weighted_mean(
            loss(teacher_outputs, student_outputs), sample_weight
        )

    def get_config(self):
        return {
            **super().get_config(),
            "regressor": keras.saving.serialize_keras_object(
                self._own_regressor
            ),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for key in ("loss", "regressor"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)

    def _check_shapes(self, wanted, made):
        same = len(wanted) == len(made) and all(
            None in sizes or sizes[0] == sizes[1]
            for sizes in zip(wanted[1:], made[1:])
        )
        if not same:
            raise ValueError(
                f"Layer '{self.student_layer_name}' of the student must have "
                f"features of the size of '{self.teacher_layer_name}' of the "
                f"teacher, {tuple(wanted)}. Received: {tuple(made)}. Choose "
                "layers of the same size, or pass a `regressor` that changes "
                "it, such as a convolution with strides."
            )


@keras.saving.register_keras_serializable("fritz_compress")
class AttentionTransfer(keras.distillation.FeatureDistillation):
    """Teaches a layer of the student where a layer of the teacher looks.

    `losses.AttentionTransferLoss` of the features of both; their widths and
    sizes may differ.

    Args:
        teacher_layer_name, student_layer_name: Names of the layers.

    Raises:
        ValueError: in a distiller, for names of no layers, or for layers
            without positions.

    Reference: Zagoruyko and Komodakis, "Paying More Attention to Attention",
    https://arxiv.org/abs/1612.03928. For its weight, see section 4.1 there.

    Example:

    >>> distiller(teacher, student, AttentionTransfer("block_4", "block_2"))
    """

    def __init__(self, teacher_layer_name: str, student_layer_name: str):
        super().__init__(
            AttentionTransferLoss(), teacher_layer_name, student_layer_name
        )

    def compute_loss(
        self, teacher_outputs, student_outputs, sample_weight=None, **kwargs
    ):
        return self.loss(teacher_outputs, student_outputs, sample_weight)

    def get_config(self):
        return {
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _weighted_mean(values, sample_weight):
    """Mean over all but the batch, then over the batch with weights."""
    values = ops.mean(values, axis=tuple(range(1, len(values.shape))))
    if sample_weight is not None:
        values = values * ops.reshape(sample_weight, ops.shape(values))
    return ops.mean(values)
