"""What a killed search left is found again, and what is damaged of it is not."""

import json

from mobilekit.model.kept_lines import KeptLines


def test_what_was_kept_is_found_again_and_damage_is_left_out(tmp_path):
    kept = KeptLines(tmp_path, "screened", ["a network"], int)
    for number, key in enumerate(("whole", "first", "second")):
        kept.add(key, number)
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().split(b"\n")
    changed = json.loads(lines[3]) | {"record": "7"}  # of "first", without its hash
    torn = path.read_bytes().replace(lines[3], json.dumps(changed).encode()).rstrip()[:-9]
    path.write_bytes(torn)

    again = KeptLines(tmp_path, "screened", ["a network"], int)
    assert [again.get(key) for key in ("whole", "first", "second")] == [0, None, None]
    again.add("second", 5)
    last = KeptLines(tmp_path, "screened", ["a network"], int)
    assert [last.get(key) for key in ("whole", "second")] == [0, 5]
    assert KeptLines(tmp_path, "screened", ["another"], int).get("whole") is None
