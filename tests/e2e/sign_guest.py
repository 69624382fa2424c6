"""sign_guest.py FOLDER FILE...: makes two minisign keys, A and B, and signs every FILE with each.

The signatures of the N-th FILE become FOLDER/A-N.minisig and FOLDER/B-N.minisig; both public keys are printed."""
import pathlib
import sys

import minisign

folder = pathlib.Path(sys.argv[1])
for name in "AB":
    keys = minisign.KeyPair.generate()
    for number, file in enumerate(sys.argv[2:]):
        signature = keys.secret_key.sign(pathlib.Path(file).read_bytes())
        (folder / f"{name}-{number}.minisig").write_bytes(bytes(signature))
    print(keys.public_key.to_base64().decode())
