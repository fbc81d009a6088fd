from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml

from counterpoint.core.config import Config, Configured, load, names
from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inner(Config):
    depth: int = 2


@dataclass(frozen=True, kw_only=True)
class Every(Config):
    flag: bool = False
    count: int = 1
    share: float = 0.5
    name: str = "x"
    choice: Literal["a", "b", 3] = "a"
    pair: tuple[int, float] = (1, 2.0)
    many: tuple[str, ...] = ()
    nested: tuple[tuple[int, int], ...] = ()
    maybe: float | None = None
    either: int | str = 1
    inner: Inner = field(default_factory=Inner)
    perhaps: Inner | None = None


@dataclass(frozen=True, kw_only=True)
class Required(Config):
    must: int
    made: tuple[int, ...] = field(default_factory=tuple)


FULL = Every(
    flag=True,
    count=7,
    share=1e-5,
    name="ü: y",
    choice=3,
    pair=(2, 0.25),
    many=("a", "b"),
    nested=((1, 2), (3, 4)),
    maybe=0.1,
    either="two",
    inner=Inner(depth=9),
    perhaps=Inner(),
)


@pytest.mark.parametrize("settings", [Every(), FULL])
def test_settings_survive_yaml(settings):
    text = yaml.safe_dump(settings.to_dict())
    assert Every.from_dict(yaml.safe_load(text)) == settings


def test_plain_values_are_plain():
    assert FULL.to_dict()["nested"] == [[1, 2], [3, 4]]
    assert FULL.to_dict()["perhaps"] == {"depth": 2} and Every().to_dict()["perhaps"] is None


def test_numbers_are_taken_as_they_are_meant():
    made = Every.from_dict(yaml.safe_load("{share: 1, maybe: 1e-3, pair: [2, 3]}"))
    assert made.share == 1.0 and type(made.share) is float
    assert made.maybe == 0.001  # YAML 1.1 reads 1e-3 as text
    assert made.pair == (2, 3.0) and type(made.pair[1]) is float


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"flag": 1}, "settings.flag: expected bool, found 1"),
        ({"flag": "yes"}, "settings.flag: expected bool, found 'yes'"),
        ({"count": 1.0}, "settings.count: expected int, found 1.0"),
        ({"count": True}, "settings.count: expected int, found True"),
        ({"count": None}, "settings.count: expected int, found None"),
        ({"share": "half"}, "settings.share: expected float, found 'half'"),
        ({"share": False}, "settings.share: expected float, found False"),
        ({"name": 3}, "settings.name: expected str, found 3"),
        ({"choice": "c"}, "unknown value of settings.choice 'c': known are 3, a, b"),
        ({"choice": 3.0}, "unknown value of settings.choice '3.0'"),
        ({"choice": ["a"]}, "unknown value of settings.choice"),
        ({"pair": [1]}, r"settings.pair: expected tuple\[int, float\], found \[1\]"),
        ({"pair": 1}, r"settings.pair: expected tuple\[int, float\], found 1"),
        ({"pair": [1, "x"]}, r"settings.pair\[1\]: expected float, found 'x'"),
        ({"many": "abc"}, r"settings.many: expected tuple\[str, ...\], found 'abc'"),
        ({"nested": [[1, 2], [3, "4"]]}, r"settings.nested\[1\]\[1\]: expected int, found '4'"),
        ({"maybe": "x"}, "settings.maybe: expected float, found 'x'"),
        ({"either": 1.5}, "settings.either: expected int or str, found 1.5"),
        ({"inner": {"depth": "deep"}}, "settings.inner.depth: expected int, found 'deep'"),
        ({"inner": {"dept": 1}}, "unknown setting in settings.inner 'dept': did you mean depth"),
        ({"perhaps": 3}, "settings.perhaps: expected a table of settings, found 3"),
        ({"cuont": 3}, "unknown setting in settings 'cuont': did you mean count"),
        ({"kind": "x"}, "unknown setting in settings 'kind'"),
        ({3: 3}, "unknown setting in settings '3'"),
        ([], r"settings: expected a table of settings, found \[\]"),
    ],
)
def test_wrong_settings_are_refused_with_their_place(plain, message):
    with pytest.raises(InputError, match=message):
        Every.from_dict(plain)


def test_a_setting_without_default_must_be_there():
    assert Required.from_dict({"must": 2}) == Required(must=2)
    with pytest.raises(InputError, match=r"run\.yaml\.must: expected a value, found none"):
        Required.from_dict({}, "run.yaml")


def test_a_kind_is_found_by_its_file(tiny):
    made = EncoderConfig.from_dict({"kind": "tiny", "width": 5, "inner": {"kind": "tiny", "mode": "b"}})
    assert type(made) is tiny.Config and made.width == 5 and made.inner == tiny.Config(mode="b")
    assert made.kind == "tiny" and made.to_dict()["inner"]["kind"] == "tiny"
    assert EncoderConfig.from_dict(made.to_dict()) == made
    assert tiny.Config.from_dict({"width": 2}).width == 2  # its own class needs no kind
    assert isinstance(made.build(), Encoder)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"width": 2}, "x: expected its kind, one of .*tiny.*, found none"),
        ({"kind": "tinny"}, "unknown encoder in x 'tinny': did you mean tiny"),
        ({"kind": "tiny", "widht": 1}, "unknown setting in x 'widht': did you mean width"),
        ({"kind": "tiny", "inner": {"kind": "tiny", "scale": "1"}}, r"x\.inner\.scale: expected float"),
        ({"kind": "bare"}, r"bare\.py: expected a class with settings"),
        ({"kind": "empty"}, "unknown encoder in x 'empty'"),
    ],
)
def test_a_kind_that_is_not_there_is_refused(tiny, plain, message):
    with pytest.raises(InputError, match=message):
        EncoderConfig.from_dict(plain, "x")


def test_a_kind_of_another_class_is_refused(tiny):
    @dataclass(frozen=True, kw_only=True)
    class Narrow(EncoderConfig):
        pass

    with pytest.raises(InputError, match="'tiny' is not a kind of"):
        Narrow.from_dict({"kind": "tiny"})


def test_rooms_are_listed_without_importing(tiny):
    found = names("counterpoint.encoders")
    assert found["tiny"] == "counterpoint.encoders.tiny" and "broken" in found and "_hidden" not in found
    assert names("counterpoint.methods")["comir"] == "counterpoint.methods.registration.comir"
    assert load("counterpoint.encoders", "tiny") is tiny
    with pytest.raises(InputError, match="no room"):
        names("counterpoint.nowhere")


def test_a_class_without_settings_of_its_own_does_not_take_over_those_of_another():
    class Part(Configured):
        @dataclass(frozen=True, kw_only=True)
        class Config(Config):
            size: int = 1

        def __init__(self, config: Config) -> None:
            self.config = config

    class Other(Part):
        pass

    assert Part.Config.owner is Part and type(Part.Config().build()) is Part
    assert issubclass(Other, Part)


def test_settings_of_an_older_version_are_completed_and_nothing_in_them_is_changed():
    whole = FULL.to_dict()
    assert FULL.completed(whole) == whole
    fewer = {"name": "y", "inner": {}, "perhaps": None, "gone": 3, "choice": "wrong"}
    assert FULL.completed(fewer) == Every(name="y").to_dict() | {"gone": 3, "choice": "wrong"}
    assert fewer["inner"] == {}
    assert Required(must=1).completed({}) == {"made": []}  # what has no default stays missing
    assert FULL.completed({"inner": 5})["inner"] == 5


def test_settings_of_another_kind_are_not_completed(tiny):
    config = tiny.Config()
    assert config.completed({"kind": "tiny"}) == config.to_dict()
    for other in ({"kind": "convnet"}, {}):
        assert config.completed(other) == other
