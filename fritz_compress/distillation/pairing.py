"""What of a teacher is compared with what of a student."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import tree

from fritz_compress.checks import check_model
from fritz_compress.distillation.recorded import RecordedTeacher

OUTPUTS = "outputs of the model"  # No layer can have this name.


def check_pair(
    teacher: keras.Model,
    student: keras.Model,
    train_teacher: bool = False,
) -> None:
    """Whether a student can learn from a teacher.

    Raises:
        TypeError: for what is no model.
        ValueError: if inputs or outputs have different shapes, or a teacher
            shall learn that is not there.
    """
    check_model(student, "student")
    check_model(teacher, "teacher")
    if train_teacher and isinstance(teacher, RecordedTeacher):
        raise ValueError(
            "A teacher whose outputs are recorded cannot learn. Received: "
            f"'{teacher.name}' and train_teacher=True. Pass the teacher."
        )
    for what in ("inputs", "outputs"):
        theirs, own = _shapes(teacher, what), _shapes(student, what)
        if theirs is None or own is None:
            continue  # Without a graph it shows when they are called.
        if len(theirs) != len(own) or not all(map(_alike, theirs, own)):
            raise ValueError(
                f"Teacher and student must have {what} of the same shapes. "
                f"Received: {theirs} of '{teacher.name}' and {own} of "
                f"'{student.name}', which are incompatible. Choose a student "
                f"with the {what} of its teacher."
            )


def features_model(
    model: keras.Model, losses: Sequence[Any], attribute: str
) -> keras.Model | None:
    """A model of the outputs, and of the layers that losses look at.

    Args:
        model: The teacher or the student.
        losses: Distillation losses.
        attribute: Where these have the name of a layer of the model.

    Returns: a model that shares all layers and returns a dictionary; `None`
    if outputs are all that is looked at.
    """
    names = [getattr(loss, attribute, None) for loss in losses]
    names = dict.fromkeys(name for name in names if name is not None)
    if not names:
        return None
    inputs, outputs = symbolic_ends(model)
    features = {name: model.get_layer(name).output for name in names}
    return keras.Model(
        inputs, {OUTPUTS: outputs, **features}, name=f"{model.name}_features"
    )


def symbolic_ends(model: keras.Model) -> tuple[Any, Any]:
    """Symbolic inputs and outputs of a model with a graph, as it takes them."""
    if isinstance(model, keras.Sequential):
        # It has no `input` before it is called by another model.
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def values_for(
    loss: Any, known: Mapping[str, Any], made: Mapping[str, Any]
) -> tuple[Any, Any]:
    """What a distillation loss compares: of the teacher, of the student."""
    return (
        known[getattr(loss, "teacher_layer_name", None) or OUTPUTS],
        made[getattr(loss, "student_layer_name", None) or OUTPUTS],
    )


def _shapes(model, what):
    tensors = getattr(model, what, None)
    if tensors is None:
        return None
    return [tuple(tensor.shape) for tensor in tree.flatten(tensors)]


def _alike(first, second):
    return len(first) == len(second) and all(
        None in sizes or sizes[0] == sizes[1]
        for sizes in zip(first[1:], second[1:])
    )
