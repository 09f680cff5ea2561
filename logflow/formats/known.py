r"""Line formats that are known by name: their patterns, and how their times are written.

=====================  ==================================================================================
``syslog``             traditional log files and RFC 3164: ``Oct 11 22:14:15 host prog[12]: text``
``syslog_iso``         what rsyslog writes to files now: the same with an ISO 8601 time
``rfc5424``            RFC 5424; the first element of structured data stays as it is written, further ones
                       stand in the message (the source ``syslog`` makes maps of them all)
``klog``               components of Kubernetes: ``I0316 22:38:42.337461    12 file.go:1] text``
``apache``             common and combined log format; ``apache_error``: the error log since 2.4
``nginx``              the combined format; ``nginx_error``: the error log
``envoy``              the default access log
``haproxy``            ``option httplog``
``postgres``           ``log_line_prefix`` of ``'%m [%p] '``, also with ``%q%u@%d`` after it
``redis``              its log file since 3.0
``mongodb``            JSON since 4.4; ``attr`` stays JSON text
``java``               the default pattern of Logback, of Spring Boot, and like ones of Log4j
=====================  ==================================================================================

Field names are those that Fluentd's and Fluent Bit's parsers of these formats use, where they have one.
"""

# Patterns are clearer on one line.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["str", "int", "float", "bool"]


class Format(NamedTuple):
    """One format.

    Attributes:
        pattern: a regular expression with named groups; the group ``time`` holds the time.
        time_format: how the time is written, see :mod:`logflow.timestamps`.
        types: types of fields that are no text.
    """

    pattern: str
    time_format: str = "iso8601"
    types: Mapping[str, Kind] = MappingProxyType({})


BOM = "\ufeff"
"""A byte-order mark, which RFC 5424 puts before messages in UTF-8."""
_REQUEST = (
    # A method in capitals and what it is for, or anything else.
    r'"(?:(?P<method>[A-Z]+)(?: (?P<path>[^ "]*)(?: (?P<protocol>[^"]*))?)?|(?P<request>(?:[A-Z]*[^A-Z "][^"]*)?))"'
)
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?: ?(?:Z|[+-][0-9]{2}:?[0-9]{2}))?"
_BSD = r"[A-Z][a-z]{2} +[0-9]{1,2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
_PRI = r"^(?:<(?P<pri>[0-9]{1,3})>)?"
_HOST_AND_REST = (
    # Programs that write to a socket of this host leave the host out.
    r"(?: (?P<host>[^ ]*[^ :\]]))?"
    r" (?:(?P<ident>[^ :\[\]]+)(?:\[(?P<pid>[^\]]*)\]:? ?|: ?))?(?P<message>(?s:.*))$"
)
_ACCESS_TIME = "%d/%b/%Y:%H:%M:%S %z"
_CLIENT = r"^(?P<host>[^ ]+) (?P<ident>[^ ]+) (?P<user>[^ ]+) \[(?P<time>[^\]]+)\] "
_ANSWER = r" (?P<code>[0-9]{3}) (?P<size>[0-9]+|-)"
_ANSWER_TYPES: dict[str, Kind] = {"code": "int", "size": "int"}


def _nil(name: str) -> str:
    """A word that becomes a field; not the one that stands for nothing."""
    return rf"(?P<{name}>[^ -][^ ]*)?-? "


RFC5424_HEAD = (
    rf"^<(?P<pri>[0-9]{{1,3}})>1 {_nil('time')}{_nil('host')}(?P<ident>[^ ]+) {_nil('pid')}{_nil('msgid')}"
)
"""What comes before the structured data of RFC 5424."""

FORMATS: dict[str, Format] = {
    "syslog": Format(rf"{_PRI}(?P<time>{_BSD}){_HOST_AND_REST}", "%b %d %H:%M:%S", {"pri": "int"}),
    "syslog_iso": Format(rf"{_PRI}(?P<time>{_ISO}){_HOST_AND_REST}", types={"pri": "int"}),
    "rfc5424": Format(
        rf"{RFC5424_HEAD}(?:-|(?P<structured_data>\[[^\]]*\])) ?{BOM}?(?P<message>(?s:.*))$",
        types={"pri": "int"},
    ),
    "klog": Format(
        r"^(?P<severity>[IWEF])(?P<time>[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+) +(?P<pid>[0-9]+) "
        r"(?P<source>[^ \]]+)\] (?P<message>(?s:.*))$",
        "%m%d %H:%M:%S.%f",
        {"pid": "int"},
    ),
    "apache": Format(
        # The browser is the last, so it may hold quotes, which are escaped.
        rf'{_CLIENT}{_REQUEST}{_ANSWER}(?: "(?P<referer>[^"]*)" "(?P<agent>.*)")?$',
        _ACCESS_TIME,
        _ANSWER_TYPES,
    ),
    "apache_error": Format(
        r"^\[(?P<time>[^\]]+)\] \[(?:(?P<module>[^:\]]*):)?(?P<level>[^\]]+)\](?: \[pid (?P<pid>[0-9]+)"
        r"(?::tid (?P<tid>[0-9]+))?\])?(?: \[client (?P<client>[^\]]+)\])? (?P<message>(?s:.*))$",
        "%a %b %d %H:%M:%S.%f %Y",
        {"pid": "int", "tid": "int"},
    ),
    "nginx": Format(
        rf'{_CLIENT}{_REQUEST}{_ANSWER}(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"(?: "(?P<forwarded_for>[^"]*)")?)?$',
        _ACCESS_TIME,
        _ANSWER_TYPES,
    ),
    "nginx_error": Format(
        r"^(?P<time>[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8}) \[(?P<level>[a-z]+)\] (?P<pid>[0-9]+)#(?P<tid>[0-9]+): "
        r"(?:\*(?P<connection>[0-9]+) )?(?P<message>(?s:.*))$",
        "%Y/%m/%d %H:%M:%S",
        {"pid": "int", "tid": "int", "connection": "int"},
    ),
    "envoy": Format(
        r'^\[(?P<time>[^\]]+)\] "(?P<method>[^ "]+) (?P<path>[^ "]+) (?P<protocol>[^ "]+)" (?P<code>[0-9]+) '
        r"(?P<flags>[^ ]+) (?P<bytes_received>[0-9]+) (?P<bytes_sent>[0-9]+) (?P<duration_ms>[0-9]+) "
        r'(?P<upstream_ms>[0-9]+|-) "(?P<forwarded_for>[^"]*)" "(?P<agent>[^"]*)" '
        r'"(?P<request_id>[^"]*)" "(?P<authority>[^"]*)" "(?P<upstream>[^"]*)"',
        types={
            "code": "int",
            "bytes_received": "int",
            "bytes_sent": "int",
            "duration_ms": "int",
            "upstream_ms": "int",
        },
    ),
    "haproxy": Format(
        r"^(?:(?P<process>[a-zA-Z0-9_.-]+)\[(?P<pid>[0-9]+)\]: )?(?P<client>[^ ]+):(?P<client_port>[0-9]+) "
        r"\[(?P<time>[^\]]+)\] (?P<frontend>[^ ]+) (?P<backend>[^ /]+)/(?P<server>[^ ]+) "
        r"(?P<request_ms>-?[0-9]+)/(?P<queue_ms>-?[0-9]+)/(?P<connect_ms>-?[0-9]+)/(?P<response_ms>-?[0-9]+)/"
        r"(?P<total_ms>\+?[0-9]+) (?P<code>-?[0-9]+) (?P<size>\+?[0-9]+) (?P<request_cookie>[^ ]+) "
        r"(?P<response_cookie>[^ ]+) (?P<termination>[^ ]{4}) (?P<connections>[0-9/+]+) (?P<queues>[0-9/]+)"
        rf"(?: (?P<headers>\{{[^}}]*\}}(?: \{{[^}}]*\}})*))?(?: {_REQUEST})?$",
        "%d/%b/%Y:%H:%M:%S.%f",
        {
            "pid": "int",
            "client_port": "int",
            "request_ms": "int",
            "queue_ms": "int",
            "connect_ms": "int",
            "response_ms": "int",
            "total_ms": "int",
            "code": "int",
            "size": "int",
        },
    ),
    "postgres": Format(
        r"^(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(?:\.[0-9]+)?)(?: [A-Z]+)? \[(?P<pid>[0-9]+)\] "
        r"(?:(?P<user>[^@ ]+)@(?P<database>[^ ]+) )?(?P<level>[A-Z0-9]+): +(?P<message>(?s:.*))$",
        types={"pid": "int"},
    ),
    "redis": Format(
        r"^(?P<pid>[0-9]+):(?P<role>[XCSM]) (?P<time>[0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8}\.[0-9]+) "
        r"(?P<level>[.*#-]) (?P<message>(?s:.*))$",
        "%d %b %Y %H:%M:%S.%f",
        {"pid": "int"},
    ),
    "mongodb": Format(
        r'^\{"t": *\{"\$date": *"(?P<time>[^"]+)"\}, *"s": *"(?P<severity>[A-Z0-9]+)", *"c": *"(?P<component>[^"]*)",'
        r' *"id": *(?P<id>[0-9]+), *(?:"svc": *"[^"]*", *)?"ctx": *"(?P<context>[^"]*)", *"msg": *"(?P<message>[^"]*)"'
        r'(?:, *"attr": *(?P<attr>\{.*\}))?\}$',
        types={"id": "int"},
    ),
    "java": Format(
        r"^(?P<time>(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ])?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)"
        r" +(?:\[(?P<thread>[^\]]*)\] +)?(?P<level>TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|SEVERE) +"
        r"(?:(?P<pid>[0-9]+) --- +)?(?:\[(?P<task>[^\]]*)\] +)?(?P<logger>[A-Za-z_][\w.$]*) +[:-] (?P<message>(?s:.*))$",
        types={"pid": "int"},
    ),
}
