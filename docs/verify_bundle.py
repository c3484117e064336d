"""Checks a bundle of lastgood's record: python verify_bundle.py BUNDLE [PUBLIC_KEY_IN_HEX]

It needs Python alone, and `cryptography` where the bundle is signed; no database, and nothing of lastgood. It exits 0
where everything is as it was written, and otherwise 1 with a line for each finding. A signature proves who wrote the
bundle only if you know the key from elsewhere: give it. Without a signature anybody can have written it whole.
"""

import hashlib
import json
import sys
from pathlib import Path

COLUMNS = ["seq", "at", "incident", "subject", "kind", "actor", "body"]


def problems(lines, known_key=""):
    """Yield what is wrong with the lines of a bundle, a sentence a finding."""
    *events, manifest, signature = [json.loads(line) for line in lines]
    manifest, signed = manifest["manifest"], signature["signature"]
    before, seq = manifest["before"], (manifest["first"] or {"seq": 1})["seq"]
    for line, event in zip(lines, events, strict=False):
        text = json.dumps([before, *(event[name] for name in COLUMNS)], separators=(",", ":"), ensure_ascii=False)
        if event["seq"] != seq:
            yield f"event {seq} is missing: event {event['seq']} stands in its place"
        elif hashlib.sha256(text.encode()).hexdigest() != event["hash"]:
            yield f"event {seq} is not as it was written, or the one before it was exchanged"
        elif [*event] != [*COLUMNS, "hash"] or json.dumps(event, ensure_ascii=False).encode() != line:
            yield f"event {seq} holds more than was written"
        before, seq = event["hash"], event["seq"] + 1
    ends = [{"seq": event["seq"], "hash": event["hash"]} for event in events[:1] + events[-1:]] or [None, None]
    if [len(events), *ends] != [manifest["count"], manifest["first"], manifest["last"]]:
        yield f"the manifest tells of {manifest['count']} events, {manifest['first']} to {manifest['last']}: not these"
    hashes = {event["seq"]: event["hash"] for event in events}
    for anchor in manifest["anchors"]:
        if hashes.get(anchor["seq"], anchor["hash"]) != anchor["hash"] or (events and anchor["seq"] >= seq):
            yield f"event {anchor['seq']} is missing, or not the one that was anchored at {anchor['at']}"
    if signed is not None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        digest = hashlib.sha256(b"".join(line + b"\n" for line in lines[:-1])).digest()
        public, proof = bytes.fromhex(signature["key"]), bytes.fromhex(signed)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(proof, b"lastgood bundle 1\n" + digest)
        except InvalidSignature:
            yield "the signature is not that of its key over these lines"
        if known_key.lower() not in ("", public.hex()):
            yield f"it is signed by {public.hex()}, which is not the key that was given"
        if lines[-1] != f'{{"key":"{public.hex()}","signature":"{proof.hex()}"}}'.encode():
            yield "the signature's line is not as it was written"
    elif known_key:
        yield "it is not signed"


if __name__ == "__main__":
    *lines, rest = Path(sys.argv[1]).read_bytes().split(b"\n")
    try:
        found = [*problems(lines, *sys.argv[2:3])] + (["the last line is cut off"] if rest else [])
    except (ValueError, LookupError, TypeError) as error:
        found = [f"the bundle is cut off, or a line of it is none: {type(error).__name__} {error}"]
    key = "" if found else json.loads(lines[-1]).get("key")
    print("\n".join(found) or f"whole: {len(lines) - 2} events, {f'signed by {key}' if key else 'not signed'}")
    sys.exit(bool(found))
