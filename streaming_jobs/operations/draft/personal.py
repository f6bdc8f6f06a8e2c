"""Which columns seem to hold personal data: by what they are called, and by what their values look like. No value is ever told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streaming_jobs.operations.draft import values
from streaming_jobs.operations.draft.names import words

_MOST = 0.8  # share of the filled cells that have the shape
_FEW = 10  # distinct values below which the shape of a person's name says nothing
_FLAG = 5  # characters; `email_sent` holds shorter ones

# The first that fits counts: an `email_address` is no postal address.
_NAMED: Mapping[str, frozenset[str]] = {
    "e-mail addresses": frozenset(("email", "emails", "mail")),
    "phone numbers": frozenset(("phone", "telephone", "telefon", "telefono", "mobile", "cellulare", "fax", "msisdn", "tel")),
    "bank accounts": frozenset(("iban",)),
    "IP addresses": frozenset(("ip", "ipaddress")),
    "names of persons": frozenset(
        ("firstname", "lastname", "fullname", "familyname", "givenname", "surname", "forename", "vorname", "nachname", "cognome", "prenom")
    ),
    "dates of birth": frozenset(("birth", "birthday", "birthdate", "dob", "born", "geburtsdatum", "geburtstag", "nascita")),
    "postal addresses": frozenset(("address", "street", "adresse", "strasse", "indirizzo", "rue")),
    "identity numbers": frozenset(("ssn", "passport", "taxid", "codicefiscale")),
}
_PAIRS: Mapping[str, tuple[frozenset[str], ...]] = {
    "names of persons": tuple(frozenset((first, "name")) for first in ("first", "last", "full", "family", "given", "middle", "maiden")),
    "identity numbers": (frozenset(("codice", "fiscale")), frozenset(("tax", "id"))),
}
_PERSONS = frozenset(("person", "customer", "client", "user", "employee", "patient", "contact", "owner", "author", "driver", "member"))
_EMAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[A-Za-z]{2,}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_PHONE = re.compile(r"(?:\+|\(|0[0-9]+[ /-])[0-9() /.-]{5,20}")
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IP = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")
_FULL_NAME = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]\.)?(?: [^\W\d_]{2,}){1,2}")


@dataclass(frozen=True)
class Personal:
    """kind: what the column seems to hold, in the plural. sure: its name or a strict shape says so, not a mere likeness."""

    kind: str
    evidence: str
    sure: bool = True


def guess(header: str, counts: Counter[str]) -> Personal | None:
    """header: as delivered. counts: how often each trimmed, non-empty cell was seen."""
    for kind, shape in _SHAPES.items():
        if (share := _share(counts, shape)) >= _MOST:
            return Personal(kind, f"{share:.0%} of the filled cells have the shape")
    known = words(header)
    for kind, names in _NAMED.items():
        flag = kind in _SHAPES and max(map(len, counts), default=_FLAG) < _FLAG
        if not flag and (known & names or any(pair <= known for pair in _PAIRS.get(kind, ()))):
            return Personal(kind, "by its name")
    person = bool(known & _PERSONS)
    if (person or len(counts) >= _FEW) and (share := _share(counts, _is_full_name)) >= _MOST:
        return Personal("names of persons", f"{share:.0%} of the filled cells are two or three capitalised words", person)
    return None


def _share(counts: Counter[str], shape: Callable[[str], bool]) -> float:
    return sum(times for text, times in counts.items() if shape(text)) / max(counts.total(), 1)


def _is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def _is_phone(text: str) -> bool:
    return _PHONE.fullmatch(text) is not None and sum(map(str.isdigit, text)) >= 7 and values.family(text) != "time"


def _is_iban(text: str) -> bool:
    """By its check digits, so that nothing else passes for one."""
    joined = text.replace(" ", "")
    return _IBAN.fullmatch(joined) is not None and int("".join(str(int(sign, 36)) for sign in joined[4:] + joined[:4])) % 97 == 1


def _is_ip(text: str) -> bool:
    return _IP.fullmatch(text) is not None


def _is_full_name(text: str) -> bool:
    return _FULL_NAME.fullmatch(text) is not None and all(word[0].isupper() for word in text.split(" "))


_SHAPES: Mapping[str, Callable[[str], bool]] = {
    "e-mail addresses": _is_email, "phone numbers": _is_phone, "bank accounts": _is_iban, "IP addresses": _is_ip,
}  # fmt: skip
