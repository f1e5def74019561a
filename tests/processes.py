"""Processes of their own, for tests that set up devices or are killed."""

import importlib.util
import os
import subprocess
import sys

import pytest

# Heads of scripts. With `scope`, variables are made on both devices;
# `copies(weight)` reads what each device holds.
TWO_DEVICES = {
    "tensorflow": """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
scope = strategy.scope()


def copies(weight):
    found = strategy.experimental_local_results(weight.value)
    return [copy.numpy() for copy in found]
""",
    "jax": """
import contextlib
import jax, keras
import numpy as np

keras.distribution.set_distribution(
    keras.distribution.DataParallel(devices=jax.devices("cpu"))
)
scope = contextlib.nullcontext()


def copies(weight):
    return [np.asarray(s.data) for s in weight.value.addressable_shards]
""",
}


def run(code, backend, arguments=(), **environment):
    """Runs a script with a backend of Keras; its output is text."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **environment,
        },
        capture_output=True,
        text=True,
    )


def run_on_two_devices(code, backend):
    """Runs a script after the head of its backend."""
    if backend == "jax" and importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX: pip install fritz_compress[jax]")
    return run(
        TWO_DEVICES[backend] + code,
        backend,
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
