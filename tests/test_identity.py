"""What a run depends on: all of it is written down, compared, and named where it differs."""

import dataclasses
import importlib
import sys
import textwrap

import jax
import numpy as np
import pytest
from tiny import Tiny, three_databases

from flow.cores import cores
from flow.errors import InputError
from mjfn_jax import methods
from mjfn_jax.models import NETWORKS
from mjfn_jax.runs import hardware
from mjfn_jax.runs import identity as identities
from mjfn_jax.runs.identity import code_digest, differences, digest, identity, of_fold, of_row
from mjfn_jax.train import Recipe

FLOWS = three_databases()
PROTOCOL = {"split": "leave-one-subject-out", "held_out": ["samm/6", "samm/7"]}
RECIPE = Recipe(epochs=3, batch_size=4)


def of(method=Tiny(), clips=FLOWS, dataset="3db", protocol=PROTOCOL, recipe=RECIPE, **trial):  # noqa: B008  frozen
    return identity("tiny", method, clips, dataset, protocol, recipe, **trial)


def other_clips(**changes):
    return dataclasses.replace(FLOWS, **changes)


def one_pixel():
    inputs = FLOWS.inputs.copy()
    inputs[3, 5, 7, 1] ^= 1
    return other_clips(inputs=inputs)


def backend(name):
    metadata = {
        k: v | {"backend": name if k == "samm" else "jax"} for k, v in FLOWS.metadata.items()
    }
    return other_clips(metadata=metadata)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"method": Tiny(dropout=0.25)}, "method.settings.dropout is 0.25 here and 0.5 there"),
        ({"recipe": Recipe(epochs=4, batch_size=4)}, "recipe.epochs is 4 here and 3 there"),
        ({"recipe": Recipe(epochs=3, batch_size=5)}, "recipe.batch_size is 5 here and 4 there"),
        ({"recipe": Recipe(3, 4, "bf16")}, "recipe.precision is bf16 here and highest there"),
        ({"seed": 2}, "recipe.seed is 2 here and 0 there"),
        ({"learning_rate": 0.5}, "recipe.learning_rate is 0.5 here and 0.0001 there"),
        ({"pretrained": "abc"}, "recipe.pretrained is abc here and not there"),
        ({"clips": one_pixel()}, "data.content is "),
        ({"clips": other_clips(labels=FLOWS.labels[::-1])}, "data.content is "),
        ({"clips": other_clips(subjects=FLOWS.subjects[::-1])}, "data.content is "),
        ({"dataset": "casme2"}, "data.dataset is casme2 here and 3db there"),
        (
            {"protocol": {**PROTOCOL, "held_out": ["samm/6"]}},
            "protocol.held_out is ['samm/6'] here",
        ),
    ],
)
def test_whatever_changes_a_number_changes_the_identity_and_is_named(changed, named):
    lines = differences(of(**changed), of())
    assert len(lines) == 1
    assert lines[0].startswith(named)


def test_another_backend_of_the_flow_is_named():
    lines = differences(of(clips=backend("opencv")), of(clips=backend("jax")))
    assert lines == ["data.databases.samm.backend is opencv here and jax there"]


def test_another_version_of_a_package_is_named(monkeypatch):
    before = of()
    version = identities.importlib.metadata.version
    monkeypatch.setattr(
        identities.importlib.metadata,
        "version",
        lambda name: version(name) + "x" * (name == "optax"),
    )
    (line,) = differences(of(), before)
    assert line.startswith("versions.optax is ")


def test_folds_and_rows_are_named_by_what_they_have_in_common():
    some, others = of(), of(protocol={**PROTOCOL, "held_out": ["smic/s1"]})
    assert digest(some) != digest(others)
    assert digest(of_fold(some)) == digest(of_fold(others))
    assert digest(of_fold(some)) != digest(of_fold(of(seed=1)))
    assert digest(of_row(some)) == digest(of_row(of(seed=1)))
    assert digest(of_row(some)) != digest(of_row(of(learning_rate=1.0)))


def test_the_digest_of_an_array_of_arrays_covers_each_of_them():
    inputs = np.empty(11, object)
    inputs[:] = [np.full((k + 1, 2), k, np.float32) for k in range(11)]
    before = other_clips(inputs=inputs).digest()
    inputs[7] = inputs[7] + 1e-6
    assert other_clips(inputs=inputs).digest() != before


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a module with a method, and gives its digest."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body):
        (tmp_path / "my_method.py").write_text(
            "from mjfn_jax.models import Network\n\n\n"
            "class Mine(Network):\n" + textwrap.indent(body, "    ") + "\n"
        )
        sys.modules.pop("my_method", None)
        identities._code.cache_clear()
        importlib.invalidate_caches()
        return code_digest(importlib.import_module("my_method").Mine, learned=True)

    yield write
    identities._code.cache_clear()


def test_the_code_of_a_method_is_part_of_it_and_its_comments_are_not(written):
    before = written('"""Words."""\nrate = 1')
    assert written('"""Other words."""\nrate = 1  # a comment') == before
    assert written('"""Words."""\nrate = 2') != before


def test_the_code_of_a_method_is_all_that_it_and_its_training_import_of_this_project(monkeypatch):
    def codes():
        return {name: code_digest(type(method), True) for name, method in NETWORKS.items()}

    before = codes()
    assert before["mjfn"] == before["mjfn-avg"]
    assert len(set(before.values())) == len(NETWORKS) - 2  # MJFN is there three times
    code = identities._code
    for module, touched in (
        ("mjfn_jax.models.resnet", {"neural-recognizer", "micro-attention", "atnet", "capsulenet"}),
        ("mjfn_jax.layers", set(NETWORKS)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                identities,
                "_code",
                lambda name, module=module: ("other", ()) if name == module else code(name),
            )
            after = codes()
        assert {name for name in before if before[name] != after[name]} == touched


def test_every_method_has_an_identity_that_json_can_hold(drawn_weights):
    for name, method in methods.METHODS.items():
        recipe = RECIPE if name in NETWORKS else None
        about = identity(name, method, FLOWS, "3db", PROTOCOL, recipe)
        assert differences(about, identity(name, method, FLOWS, "3db", PROTOCOL, recipe)) == []
        assert about["method"]["title"] == method.title
        assert (about["recipe"] is None) == (recipe is None)


def test_other_flags_of_xla_are_named_with_the_cure(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    plain = of()
    assert plain["kernels"] == {"flags": [], "autotuned": False}
    fast = "--xla_cpu_enable_fast_math=true"
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to=x {fast}")
    there = of()
    assert there["kernels"]["flags"] == [fast]
    said = f"kernels.flags is .* here and .* there; give XLA_FLAGS='{fast}' before the same command"
    with pytest.raises(InputError, match=said):
        identities.check_same(plain, there, "--out=a", "choose another")


def test_kernels_are_tried_on_a_gpu_unless_xla_is_told_not_to(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert not hardware.kernels()["autotuned"]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert hardware.kernels()["autotuned"]
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0")
    assert not hardware.kernels()["autotuned"]


def test_another_number_of_threads_is_named_with_the_cure(monkeypatch):
    monkeypatch.setenv("NPROC", "12")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    there = of()
    assert there["threads"] == 12
    monkeypatch.setenv("NPROC", "3")
    here = of()
    assert identities.of_row(here) == identities.of_row(there)  # not another folder
    with pytest.raises(InputError, match="threads is 3 here and 12 there; give NPROC=12 before"):
        identities.check_same(here, there, "--out=a", "choose another")
    monkeypatch.setenv("NPROC", "nonsense")
    assert of()["threads"] == cores()
