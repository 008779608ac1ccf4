"""The plugin's own settings: `plugins.settings.<plugin>.config` of `runtime.yaml`, and the secrets granted to it."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from tidemill import _data, _host
from tidemill._host import text
from tidemill._json import loads

__all__ = ["ConfigError", "get", "keys", "require"]

T = TypeVar("T")


class ConfigError(Exception):
    """Why a setting cannot be had. It means retry, so that the event waits for the repair of `runtime.yaml`."""


@overload
def get(key: str) -> str | None: ...


@overload
def get(key: str, shape: type[T]) -> T | None: ...


@overload
def get(key: str, shape: type[T], default: T) -> T: ...


def get(key: str, shape: Any = str, default: Any = None) -> Any:
    """A setting or a granted secret; `default` where it is not there.

    As a text it is what the host gives: a text of `runtime.yaml` as it stands, anything else as JSON. As another type it is
    read from that.

        threshold = config.get("threshold", float, 1000.0)
    """
    value = _host.current.config_get(text(key, "a setting's name"))
    if value is None:
        return default
    if shape is str:
        return value
    reader = _data.reader(shape)
    # The host gives a text without its quotes, so a text is tried first: it is no JSON, or looks like other JSON.
    try:
        return reader(value)
    except _data.Misfit:
        pass
    try:
        return reader(loads(value))
    except (ValueError, _data.Misfit):
        # Neither the value nor what is wrong with it: it may be a secret.
        length = len(value.encode())
        raise ConfigError(f"the setting `{key}`: a value of another type was expected ({length} bytes found)") from None


@overload
def require(key: str) -> str: ...


@overload
def require(key: str, shape: type[T]) -> T: ...


def require(key: str, shape: Any = str) -> Any:
    """A setting that must be there."""
    value = get(key, shape)
    if value is None:
        raise ConfigError(
            f"the setting `{key}` is missing: `plugins.settings.<plugin>.config.{key}` in runtime.yaml sets it"
        )
    return value


def keys() -> list[str]:
    """The names of all settings, without the secrets, in byte order."""
    return _host.current.config_keys()
