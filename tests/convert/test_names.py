"""Short names, and programs whose values bear them."""

import itertools

from coremltools.proto import MIL_pb2

from fritz_compress.convert.names import short_names, shorten_names


def test_names_are_short_distinct_and_free():
    names = list(itertools.islice(short_names(taken={"b", "a0"}), 300))
    assert names[:2] == ["a", "c"] and "a0" not in names
    assert len(set(names)) == 300 and max(map(len, names)) <= 3
    assert all(name.isidentifier() for name in names)


def named(text):
    value = MIL_pb2.Value()
    value.immediateValue.tensor.strings.values.append(text)
    return value


def test_values_are_renamed_where_they_are_made_and_read():
    program = MIL_pb2.Program()
    function = program.functions["main"]
    function.inputs.add().name = "image"
    block = function.block_specializations["CoreML6"]
    for name, source in (("a_long_name", "image"), ("output", "a_long_name")):
        operation = block.operations.add(type="relu")
        operation.inputs["x"].arguments.add().name = source
        operation.outputs.add().name = name
        operation.attributes["name"].CopyFrom(named(name))
    # A block inside, that reads from outside and returns its own.
    inner = block.operations[1].blocks.add()
    operation = inner.operations.add(type="relu")
    operation.inputs["x"].arguments.add().name = "a_long_name"
    operation.outputs.add().name = "inner_name"
    inner.outputs.append("inner_name")
    block.outputs.append("output")

    shorten_names(program)

    first, second = block.operations
    assert first.outputs[0].name == "a"
    assert first.inputs["x"].arguments[0].name == "image"
    text = first.attributes["name"].immediateValue.tensor.strings.values
    assert list(text) == ["a"]
    assert second.inputs["x"].arguments[0].name == "a"
    assert second.outputs[0].name == "output"
    assert inner.operations[0].inputs["x"].arguments[0].name == "a"
    assert inner.operations[0].outputs[0].name == "b"
    assert list(inner.outputs) == ["b"] and list(block.outputs) == ["output"]
