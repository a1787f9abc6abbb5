"""Words and numbers of the page."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def finding(result: dict[str, Any]) -> str | None:
    """What the scores by amplitude say of the paper's hypothesis; None where they cannot.

    Args:
      result: what `mjfn_jax.report.amplitude.by_amplitude` returns.
    """
    if result["trend"] is None:
        return None
    weak, strong, trend = result["lead"][0], result["lead"][-1], result["trend"]
    text = (
        f"MJFN's UF1 minus MJFN-BbN's is {signed(weak)} on the weak third and {signed(strong)} on "
        f"the strong third. Weak minus strong, that is {signed(trend)}: "
    )
    if trend[1] is None:
        text += "there are too few subjects for an interval, so nothing follows from it."
    elif trend[1][0] > 0:
        text += (
            "the interval is above 0, so on these clips joint features help weak expressions more."
        )
    elif trend[1][1] < 0:
        text += (
            "the interval is below 0, so on these clips joint features help weak expressions less."
        )
    else:
        text += (
            "the interval contains 0, so these clips do not show that joint features help weak "
            "expressions more."
        )
    return text


def signed(pair: tuple[float, tuple[float, float] | None] | None) -> str:
    """A difference and its interval: `+0.021 [-0.034, 0.080]`."""
    if pair is None:
        return "–"
    value, interval = pair
    return f"{value:+.3f}".replace("-", "−") + (f" {brackets(interval)}" if interval else "")


def brackets(interval: Iterable[float] | None) -> str:
    """An interval: `[0.512, 0.680]`; nothing where there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f"[{low:.3f}, {high:.3f}]".replace("-", "−")


def slugs(names: Iterable[str]) -> list[str]:
    """Names for files and anchors: no two are alike."""
    result: list[str] = []
    for name in names:
        slug = number = _slug(name)
        count = 1
        while number in result:
            count += 1
            number = f"{slug}-{count}"
        result.append(number)
    return result


def duration(seconds: float | int) -> str:
    """`12 s`, `4 min 10 s`, `21 h 3 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def fact(value: Any) -> str:
    """A value of a configuration, on one line; a hash is cut to its first 12 characters."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {fact(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(fact, value))
    if isinstance(value, float):
        return f"{value:g}"
    text = "–" if value is None else str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Facts in facts as one level: `{"a": {"b": 1}}` becomes `{"b": 1}`.

    An inner name that is already there has the outer one before it: `a b`.
    """
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            for inner, one in flattened(value).items():
                flat[f"{name} {inner}" if inner in flat or inner in values else inner] = one
        else:
            flat[name] = value
    return flat


def _slug(name):
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-")  # a file's name has its limit
    return slug or "run"
