"""What the commands share on a terminal."""

import os

from mjfn_jax.commands import console


def test_compiled_programs_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    with console.script():
        pass
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "mjfn-jax")


def test_a_cache_that_the_user_names_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    with console.script():
        pass
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
