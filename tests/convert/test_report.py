import pathlib

from fritz_compress.convert import ConversionReport, LayerReport


def test_a_report_prints_as_a_table():
    report = ConversionReport(
        path=pathlib.Path("net.tflite"),
        format="tflite",
        bytes=12345,
        parameters=2205,
        layers=(
            LayerReport("conv", "Conv2D", 8, 2187, 2331),
            LayerReport("norm", "InstanceNormalization", 32, 18, 72, "float"),
        ),
        psnr=45.26,
        max_difference=3.25,
        samples=2,
    )
    assert str(report).splitlines() == [
        "net.tflite (tflite): 12,345 bytes, 2,205 parameters",
        "agrees with Keras to 45.3 dB, largest difference 3.25, on 2 samples",
        "layer  kind                   bits  parameters  bytes  note",
        "conv   Conv2D                    8       2,187  2,331",
        "norm   InstanceNormalization    32          18     72  float",
    ]
