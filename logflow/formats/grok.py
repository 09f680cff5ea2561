r"""Grok: regular expressions put together from named ones.

::

    %{NAME}              the pattern NAME
    %{NAME:field}        what it matches becomes a field
    %{NAME:field:type}   of the type int, float, or text; also ``number`` for float
    %{NAME:[a][b]}       as Logstash writes nested fields: becomes the field a_b

The names and what they match are those of Logstash's ``grok-patterns`` (logstash-patterns-core, Apache-2.0);
the expressions are written anew for the dialect of :mod:`logflow.regexes`, which is matched in linear time
and so has neither look-around nor atomic groups: a pattern that needs a border before a number has none here.
"""

# Patterns are clearer on one line.

from __future__ import annotations

import re

from logflow.formats.known import Kind

MOST_CHARACTERS = 32_768
"""Longest expression that a pattern may become."""
_MOST_LEVELS = 20
_REFERENCE = re.compile(r"%\{([^{}:]+)(?::([^{}:]+))?(?::([^{}:]+))?\}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES: dict[str, Kind] = {
    "int": "int", "long": "int", "integer": "int", "float": "float", "double": "float", "number": "float",
    "string": "str", "str": "str", "boolean": "bool", "bool": "bool",
}  # fmt: skip

_IPV4 = (
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3})"
)
_IPV6 = (
    r"(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){1,7}:|"
    r"(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}|::(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{1,4}|::|"
    rf"(?:[0-9A-Fa-f]{{0,4}}:){{1,6}}{_IPV4})(?:%[0-9A-Za-z]+)?"
)

GROK: dict[str, str] = {
    "USERNAME": r"[a-zA-Z0-9._-]+",
    "USER": "%{USERNAME}",
    "EMAILLOCALPART": r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}",
    "EMAILADDRESS": "%{EMAILLOCALPART}@%{HOSTNAME}",
    "INT": r"[+-]?[0-9]+",
    "BASE10NUM": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)",
    "NUMBER": "%{BASE10NUM}",
    "BASE16NUM": "(?:0[xX])?[0-9A-Fa-f]+",
    "BASE16FLOAT": r"[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)",
    "POSINT": "[1-9][0-9]*",
    "NONNEGINT": "[0-9]+",
    "WORD": r"\b\w+\b",
    "NOTSPACE": r"\S+",
    "SPACE": r"\s*",
    "DATA": ".*?",
    "GREEDYDATA": ".*",
    "QUOTEDSTRING": r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)""",
    "QS": "%{QUOTEDSTRING}",
    "UUID": "[A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12}",
    "URN": r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:[0-9a-zA-Z()+,.:=@;$_!*'/?#%-]+",
    "MAC": "(?:%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC})",
    "CISCOMAC": r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}",
    "WINDOWSMAC": "(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}",
    "COMMONMAC": "(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}",
    "IPV6": _IPV6,
    "IPV4": _IPV4,
    "IP": "(?:%{IPV6}|%{IPV4})",
    "HOSTNAME": r"[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,62})(?:\.[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,62}))*\.?",
    "IPORHOST": "(?:%{IP}|%{HOSTNAME})",
    "HOSTPORT": "%{IPORHOST}:%{POSINT}",
    "PATH": "(?:%{UNIXPATH}|%{WINPATH})",
    "UNIXPATH": r"(?:/[^\s]*)+",
    "WINPATH": r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*\s]*)+",
    "TTY": r"/dev/(?:pts|tty(?:[pq])?)(?:\w+)?/?(?:[0-9]+)?",
    "URIPROTO": "[A-Za-z][A-Za-z0-9+.-]+",
    "URIHOST": "%{IPORHOST}(?::%{POSINT})?",
    "URIPATH": "(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+",
    "URIQUERY": r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*",
    "URIPARAM": r"\?%{URIQUERY}",
    "URIPATHPARAM": r"%{URIPATH}(?:\?%{URIQUERY})?",
    "URI": r"%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATH}(?:\?%{URIQUERY})?)?",
    "MONTH": (
        "(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?|"
        "[Ss]ep(?:tember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)"
    ),
    "MONTHNUM": "(?:0?[1-9]|1[0-2])",
    "MONTHNUM2": "(?:0[1-9]|1[0-2])",
    "MONTHDAY": "(?:0[1-9]|[12][0-9]|3[01]|[1-9])",
    "DAY": "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*",
    "YEAR": "[0-9]{4}|[0-9]{2}",
    "HOUR": "(?:2[0-3]|[01]?[0-9])",
    "MINUTE": "[0-5][0-9]",
    "SECOND": "(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?",
    "TIME": "%{HOUR}:%{MINUTE}(?::%{SECOND})?",
    "DATE_US": "%{MONTHNUM}[/-]%{MONTHDAY}[/-](?:%{YEAR})",
    "DATE_EU": "%{MONTHDAY}[./-]%{MONTHNUM}[./-](?:%{YEAR})",
    "DATE": "(?:%{DATE_US}|%{DATE_EU})",
    "ISO8601_TIMEZONE": "(?:Z|[+-]%{HOUR}(?::?%{MINUTE})?)",
    "ISO8601_SECOND": "%{SECOND}",
    "TIMESTAMP_ISO8601": (
        "(?:%{YEAR})-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?"
    ),
    "DATESTAMP": "%{DATE}[- ]%{TIME}",
    "TZ": "[A-Z]{3,4}",
    "DATESTAMP_RFC822": "%{DAY} %{MONTH} %{MONTHDAY} (?:%{YEAR}) %{TIME} %{TZ}",
    "DATESTAMP_RFC2822": "%{DAY}, %{MONTHDAY} %{MONTH} (?:%{YEAR}) %{TIME} %{ISO8601_TIMEZONE}",
    "DATESTAMP_OTHER": "%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} (?:%{YEAR})",
    "HTTPDATE": "%{MONTHDAY}/%{MONTH}/(?:%{YEAR}):%{TIME} %{INT}",
    "SYSLOGTIMESTAMP": "%{MONTH} +%{MONTHDAY} %{TIME}",
    "PROG": r"[\x21-\x5a\x5c\x5e-\x7e]+",
    "SYSLOGPROG": r"%{PROG:process}(?:\[%{POSINT:pid}\])?",
    "SYSLOGHOST": "%{IPORHOST}",
    "SYSLOGFACILITY": "<%{NONNEGINT:facility}.%{NONNEGINT:priority}>",
    "SYSLOGBASE": (
        "%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:"
    ),
    "LOGLEVEL": (
        "(?:[Aa]lert|ALERT|[Tt]race|TRACE|[Dd]ebug|DEBUG|[Nn]otice|NOTICE|[Ii]nfo(?:rmation)?|INFO(?:RMATION)?|"
        "[Ww]arn(?:ing)?|WARN(?:ING)?|[Ee]rr(?:or)?|ERR(?:OR)?|[Cc]rit(?:ical)?|CRIT(?:ICAL)?|[Ff]atal|FATAL|"
        "[Ss]evere|SEVERE|[Ee]merg(?:ency)?|EMERG(?:ENCY)?)"
    ),
    "JAVACLASS": r"(?:[a-zA-Z$_][a-zA-Z$_0-9]*\.)*[a-zA-Z$_][a-zA-Z$_0-9]*",
    "JAVAFILE": r"[a-zA-Z$_0-9. -]+",
    "JAVAMETHOD": r"(?:<(?:cl)?init>|[a-zA-Z$_][a-zA-Z$_0-9]*)",
    "HTTPDUSER": "(?:%{EMAILADDRESS}|%{USER})",
    "COMMONAPACHELOG": (
        r"%{IPORHOST:clientip} %{HTTPDUSER:ident} %{HTTPDUSER:auth} \[%{HTTPDATE:timestamp}\] "
        r'"(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" '
        r"(?:-|%{NUMBER:response}) (?:-|%{NUMBER:bytes})"
    ),
    "COMBINEDAPACHELOG": "%{COMMONAPACHELOG} %{QS:referrer} %{QS:agent}",
    "SYSLOGLINE": "%{SYSLOGBASE} %{GREEDYDATA:message}",
}
"""The patterns that may be named."""


def expand(pattern: str, own: dict[str, str]) -> tuple[str, dict[str, Kind]]:
    """Put a pattern together.

    Args:
        pattern: what the user wrote.
        own: further patterns by name; they come before those of :data:`GROK`.

    Returns:
        A regular expression with named groups, and the types of fields.

    Raises:
        ValueError: a name or a type is unknown, or the pattern becomes too long.
    """
    types: dict[str, Kind] = {}
    seen: set[str] = set()
    room = [MOST_CHARACTERS]

    def write(text: str, level: int) -> str:
        if level > _MOST_LEVELS:
            raise ValueError("the patterns name each other in a circle")
        written = _REFERENCE.sub(lambda match: replace(match, level), text)
        room[0] -= len(text)
        if room[0] < 0:
            raise ValueError(f"the pattern becomes longer than {MOST_CHARACTERS} characters")
        return written

    def replace(match: re.Match[str], level: int) -> str:
        name, field, kind = match.groups()
        inner = own.get(name) or GROK.get(name)
        if inner is None:
            raise ValueError(f"there is no pattern {name!r}; put it under patterns")
        text = write(inner, level + 1)
        if field is None:
            return f"(?:{text})"
        group = _group(field)
        if group in seen:
            raise ValueError(f"the field {group!r} is there twice")
        seen.add(group)
        if kind is not None:
            if kind not in _TYPES:
                raise ValueError(f"{kind!r} is not a type; write int or float")
            types[group] = _TYPES[kind]
        return f"(?P<{group}>{text})"

    return write(pattern, 0), types


def _group(field: str) -> str:
    """The name of the group of a field."""
    name = "_".join(re.findall(r"[^\[\]]+", field)) if field.startswith("[") else field
    if not _FIELD.fullmatch(name):
        raise ValueError(f"{field!r} is not a name of a field; use letters, digits and _")
    return name
