"""Names of indices and tables, made of a template."""

from __future__ import annotations

import pytest

from logflow.batch import Batch
from logflow.engine import load_engine
from logflow.event import NANOSECOND
from logflow.templates.names import NameTemplate, check_template

DAY = 86400 * NANOSECOND
T0 = 1_700_000_000 * NANOSECOND


@pytest.fixture(params=["python", "native"])
def engine(request):
    return load_engine(request.param)


def names(text, events, engine, tag="kube.web.app", clean=str):
    found, which = NameTemplate(text, engine, clean).names(Batch.from_events(tag, events).entries, tag)
    return [found[number] for number in which] if which is not None else found * len(events)


def test_dates_are_those_of_the_event_in_utc(engine):
    events = [(T0, {}), (T0 + 1, {})]
    assert names("logs-%Y.%m.%d", events, engine) == ["logs-2023.11.14"] * 2
    assert names("l-%d%H", [(T0, {}), (T0 + DAY, {}), (T0, {})], engine) == ["l-1422", "l-1522", "l-1422"]


def test_tags_fields_and_braces(engine):
    events = [(T0, {"a": {"b": "x"}, "k8s-app": 5}), (T0, {"a.b": "y"}), (T0, {"a": None})]
    assert names("{tag}-{tag[1]}-{tag[9]}", events, engine) == ["kube.web.app-web-_"] * 3
    assert names("{a.b}/{k8s-app}{{}}", events, engine) == ["x/5{}", "y/_{}", "_/_{}"]


def test_a_name_is_cleaned_and_different_values_may_share_one(engine):
    events = [(T0, {"s": "Web"}), (T0, {"s": "web"})]
    template = NameTemplate("{s}", engine, str.lower)
    found, which = template.names(Batch.from_events("t", events).entries, "t")
    assert (found, which) == (["web"], [0, 0])


def test_a_long_value_is_cut(engine):
    assert len(names("{s}", [(T0, {"s": "x" * 10_000})], engine)[0]) == 256


@pytest.mark.parametrize("text", ["", " ", "{", "a}", "{tag[x]}", "%Q", "{a..b}", "100%"])
def test_what_is_no_template_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        check_template(text)
