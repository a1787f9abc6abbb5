"""What every experiment asks of a method, be it a network or features and a machine."""

import dataclasses
from typing import Any, ClassVar

from flow.errors import InputError

_FLAX = ("parent", "name")
"""Fields that Flax adds to a network."""

_OURS = ("num_classes", "num_domains")
"""Fields that the data decide."""


class Method:
    """A way to tell a clip's class, with its settings as the fields of a frozen dataclass.

    The two kinds are `mjfn_jax.models.network.Network`, trained by epochs, and
    `mjfn_jax.fitted.Fitted`.
    """

    takes: ClassVar[str]
    """What it is given of a clip: a key of `mjfn_jax.inputs.KINDS`."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Whose versions change its numbers."""
    starts_from: ClassVar[str | None] = None
    """What the authors had trained it on before, if anything."""

    @property
    def title(self) -> str:
        """The name in tables; the paper's where it has one."""
        return type(self).__name__

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name; those of a part by the part's name too."""
        return {name: _plain(getattr(self, name)) for name in _fields(self)}

    def loss_floor(self) -> float | None:
        """The training loss that it cannot fall below, nats; None if there is none or it is 0."""
        return None

    def configured(self, **settings: Any) -> "Method":
        """The method with other settings; `part.setting` names a setting of a part.

        Raises:
          InputError: there is no such setting, or it cannot have that value.
        """
        method = self
        for name, value in settings.items():
            method = _with(method, name, value, self.title)
        return method


def _fields(record: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(record) if f.name not in _FLAX]


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value


def _with(record: Any, name: str, value: Any, title: str) -> Any:
    """A record with another value of one field."""
    first, _, rest = name.partition(".")
    known = [field for field in _fields(record) if field not in _OURS]
    if first not in known:
        raise InputError(
            f"{title} has no setting {name}; its settings are {', '.join(known) or 'none'}"
        )
    now = getattr(record, first)
    if isinstance(now, tuple) and isinstance(value, list):  # as JSON has it
        value = tuple(value)
    if rest:
        if not dataclasses.is_dataclass(now):
            raise InputError(f"{title}'s setting {first} has no part {rest}")
        new = _with(now, rest, value, title)
    elif type(value) is type(now) or (isinstance(now, float) and type(value) is int):
        new = type(now)(value)
    else:
        raise InputError(f"{title}'s setting {name} is as {now!r}, not {value!r}")
    try:
        return dataclasses.replace(record, **{first: new})
    except ValueError as error:
        raise InputError(f"{title}: {name}={value!r}: {error}") from None
