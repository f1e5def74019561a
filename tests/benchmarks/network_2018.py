"""Does `StyleTransferNetwork` paint what the network of 2018 painted?

    python tests/benchmarks/network_2018.py FILE.tflite PHOTO.jpg

Runs the published `.tflite` in LiteRT and its weights in Keras on one photo
at 640x480 and prints the differences, in grey levels of 255.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from fritz_compress.convert.style_transfer_2018 import load_style_transfer_2018
from fritz_compress.ops.fidelity import max_difference, psnr
from fritz_compress.training import read_photo


def run_litert(path, photo):
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def main(tflite, photo):
    pixels = np.asarray(read_photo(photo).resize((480, 640)), "float32")[None]
    expected = run_litert(tflite, pixels)
    received = load_style_transfer_2018(tflite)(pixels)
    print(f"largest difference {max_difference(expected, received):.4f} of 255")
    print(f"PSNR {psnr(expected, received):.1f} dB")


if __name__ == "__main__":
    main(*sys.argv[1:])
