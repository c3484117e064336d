"""The exported bundle proves itself, to whoever has Python and nothing of ours; whatever is done to it is named."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from incidents import audit, bundle
from incidents.anchors import Anchor, AnchorFile
from incidents.ledger import Ledger
from incidents.models import now
from tests.incidents.conftest import PLAYBOOK
from tests.incidents.test_audit import fill

SCRIPT = Path(__file__).parents[2] / "docs" / "verify_bundle.py"
MANY = 12


def check(path: Path, *key: str, libraries: bool = True) -> tuple[int, list[str]]:
    """The script in a Python of its own: exit code and lines. Without libraries it can import the stdlib only."""
    alone = [] if libraries else ["-S"]
    argv = [sys.executable, "-I", *alone, str(SCRIPT), str(path), *key]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=path.parent, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def problems(lines: list[bytes], key: str = "") -> list[str]:
    """What the script finds, without a process for each example."""
    space: dict[str, Any] = {"__name__": "verify_bundle"}
    exec(compile(SCRIPT.read_text(), str(SCRIPT), "exec"), space)  # noqa: S102  # it is our own script
    return list(space["problems"](lines, key))


def key_file(folder: Path, key: Any = None, password: bytes | None = None) -> Path:
    """A file with a private key, as openssl writes it."""
    how = pem.BestAvailableEncryption(password) if password else pem.NoEncryption()
    made = key or Ed25519PrivateKey.generate()
    path = folder / "key.pem"
    path.write_bytes(made.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, how))
    return path


class Made:
    """A signed and an unsigned bundle of one record."""

    def __init__(self, folder: Path) -> None:
        with opened(folder) as ledger:
            fill(ledger, MANY)
            report = audit.verify(ledger)
            self.anchors = [Anchor(seq=report.events, hash=report.head, at=now())]
            self.signed, self.unsigned = folder / "signed.jsonl", folder / "unsigned.jsonl"
            with self.signed.open("wb") as file:
                written = bundle.write(ledger, file, anchors=self.anchors, key=bundle.load_key(key_file(folder)))
            with self.unsigned.open("wb") as file:
                bundle.write(ledger, file, anchors=self.anchors)
        self.key = written.signed_by


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """A new ledger that is closed at the end of the block."""
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    yield ledger
    ledger.engine.dispose()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The bundles that the tests below alter."""
    return Made(tmp_path_factory.mktemp("bundle"))


def test_it_verifies_without_anything_of_ours(made: Made) -> None:
    """Unsigned it needs the standard library alone; signed also cryptography; and it says which it is."""
    assert check(made.unsigned, libraries=False) == (0, [f"whole: {MANY} events, not signed"])
    assert check(made.signed) == (0, [f"whole: {MANY} events, signed by {made.key}"])
    assert check(made.signed, made.key)[0] == 0


def test_the_script_imports_nothing_of_ours() -> None:
    """It is to be read and run by an examiner: the standard library, and cryptography for the signature."""
    names = set[str]()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names - set(sys.stdlib_module_names) == {"cryptography"}
    assert len(SCRIPT.read_text().splitlines()) <= 66


def flip(lines: list[bytes]) -> None:
    """Another word in event 5."""
    lines[4] = lines[4].replace(b"healthy", b"heathly")


def forge(lines: list[bytes]) -> None:
    """Another word in event 5, and its hash computed anew."""
    event = json.loads(lines[4])
    event["actor"] = "person:eve"
    before = json.loads(lines[3])["hash"]
    hash_ = event.pop("hash")
    from incidents.models import digest

    event["hash"] = digest([before, *event.values()])
    assert hash_ != event["hash"]
    lines[4] = json.dumps(event, ensure_ascii=False).encode()


def hide(lines: list[bytes]) -> None:
    """A key twice: a parser reads the second, a person the first."""
    lines[4] = lines[4].replace(b'"actor"', b'"actor": "person:eve", "actor"')


TAMPERING: dict[str, tuple[Callable[[list[bytes]], None], str]] = {
    "flip": (flip, "event 5 is not as it was written"),
    "forge": (forge, "event 6 is not as it was written, or the one before it was exchanged"),
    "hide": (hide, "event 5 holds more than was written"),
    "delete": (lambda lines: lines.__delitem__(4), "event 5 is missing: event 6 stands in its place"),
    "delete the first": (lambda lines: lines.__delitem__(0), "event 1 is missing"),
    "insert": (lambda lines: lines.insert(4, lines[9]), "event 5 is missing: event 10 stands in its place"),
    "repeat": (lambda lines: lines.insert(4, lines[4]), "event 6 is missing: event 5 stands in its place"),
    "reorder": (lambda lines: lines.insert(4, lines.pop(5)), "event 5 is missing: event 6 stands in its place"),
    "truncate": (lambda lines: lines.__delitem__(slice(9, 12)), f"the manifest tells of {MANY} events"),
    "empty": (lambda lines: lines.__delitem__(slice(0, 12)), f"the manifest tells of {MANY} events"),
}


@pytest.mark.parametrize("how", TAMPERING)
@pytest.mark.parametrize("signed", [False, True])
def test_whatever_is_done_to_it_is_named(made: Made, tmp_path: Path, how: str, signed: bool) -> None:
    """Signed or not: the finding names the event, and where it is signed the signature fails as well."""
    tamper, finding = TAMPERING[how]
    lines = (made.signed if signed else made.unsigned).read_bytes().splitlines()
    tamper(lines)
    path = tmp_path / "bundle.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    code, found = check(path)
    assert code == 1
    assert any(line.startswith(finding) for line in found), found
    assert any("signature" in line for line in found) is signed


def test_a_cut_off_end_is_found(made: Made, tmp_path: Path) -> None:
    """A copy that broke off, at any place, has no manifest and signature at its end."""
    whole = made.signed.read_bytes()
    path = tmp_path / "bundle.jsonl"
    ends = [0, 1, 100, len(whole) // 2, len(whole) - 2, len(whole) - 1, whole.rindex(b"\n", 0, -1) + 1]
    for end in ends:
        path.write_bytes(whole[:end])
        code, found = check(path)
        assert (code, len(found)) == (1, 1), end
        assert "cut off" in found[0]


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_altered_byte_passes(made: Made, where: float, mask: int) -> None:
    """Any byte of a signed bundle, altered in any way, is found, whether or not the key is known from elsewhere."""
    altered = bytearray(made.signed.read_bytes())
    place = int(where * (len(altered) - 1))
    altered[place] ^= mask
    lines = bytes(altered).split(b"\n")[:-1]
    for key in (made.key, ""):
        with suppress(ValueError, LookupError, TypeError):  # which the script tells as a finding too
            assert problems(lines, key), (place, mask)


def test_anothers_key_and_no_signature_do_not_pass_for_the_known_one(made: Made) -> None:
    """Who knows the key is told where the bundle is signed with another, or with none."""
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert check(made.signed, other) == (1, [f"it is signed by {made.key}, which is not the key that was given"])
    assert check(made.unsigned, made.key) == (1, ["it is not signed"])


def test_a_record_that_was_cut_off_before_the_export_is_found_by_its_anchors(tmp_path: Path) -> None:
    """The export of a shortened record is whole in itself; the anchors in its manifest know better."""
    with opened(tmp_path) as ledger:
        fill(ledger, MANY)
        late = Anchor(seq=MANY + 3, hash="a" * 64, at=now())
        other = Anchor(seq=4, hash="b" * 64, at=now())
        with (tmp_path / "bundle.jsonl").open("wb") as file:
            bundle.write(ledger, file, anchors=[other, late])
    code, found = check(tmp_path / "bundle.jsonl")
    assert code == 1
    assert [line.split(",")[0] for line in found] == ["event 4 is missing", f"event {MANY + 3} is missing"]


def test_a_part_begins_where_it_was_asked_for_and_has_no_gap(anywhere: Ledger, tmp_path: Path) -> None:
    """From the first event at or after that moment on; its manifest holds the hash before, so the chain still holds."""
    fill(anywhere, MANY)
    path = tmp_path / "bundle.jsonl"
    for since, count in ((anywhere.events()[4].at, MANY - 4), (now(), 0), (None, MANY)):
        with path.open("wb") as file:
            assert bundle.write(anywhere, file, since=since).count == count
        assert check(path, libraries=False) == (0, [f"whole: {count} events, not signed"])
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()[:-2]] == list(range(1, MANY + 1))


def test_the_command_signs_with_the_key_of_the_settings(
    run: Callable[..., Result],
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
) -> None:
    """LASTGOOD_SIGNING_KEY names a file; what the anchors outside know goes along; a key that is none is refused."""
    fill(ledger, MANY)
    report = audit.verify(ledger)
    file = AnchorFile(tmp_path / "anchors.jsonl")
    file.put(Anchor(seq=report.events, hash=report.head, at=now()))
    book = tmp_path / "playbook.yaml"
    book.write_text(PLAYBOOK.read_text().replace("anchors: []", f"anchors: [{{store: '{file.uri}'}}]"))
    out = tmp_path / "bundle.jsonl"
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(book))
    monkeypatch.setenv("LASTGOOD_SIGNING_KEY", str(key_file(tmp_path)))
    forget()
    said = run("audit", "export", "--out", str(out)).stdout
    assert said.startswith(f"{MANY} events in {out}, signed by ")
    assert check(out, said.split()[-1])[0] == 0
    manifest = json.loads(out.read_bytes().splitlines()[-2])["manifest"]
    assert [anchor["seq"] for anchor in manifest["anchors"]] == [MANY]
    out.unlink()
    wrong = {
        "password": key_file(tmp_path, password=b"hush").read_bytes(),
        "Ed25519": key_file(tmp_path, generate_private_key(SECP256R1())).read_bytes(),
        "PEM": b"no key",
    }
    for why, content in wrong.items():
        (tmp_path / "key.pem").write_bytes(content)
        result = run("audit", "export", "--out", str(out))
        assert (result.exit_code, result.stdout) == (2, "")
        assert why in result.stderr
    (tmp_path / "key.pem").unlink()
    assert "cannot be read" in run("audit", "export", "--out", str(out)).stderr
    assert not out.exists(), "nothing that looks like a bundle is left"
