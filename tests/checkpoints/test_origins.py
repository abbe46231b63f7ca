"""A saved folder does not tell whose disk its parts came from; everything else in its configurations stays."""

import json

from xwam.checkpoints.origins import forget_origins


def test_paths_are_taken_out_and_the_rest_is_left_alone(tmp_path):
    files = {
        "model_index.json": {"_class_name": "XWAMPolicyPipeline", "_name_or_path": "/home/somebody/model"},
        "vae/config.json": {"z_dim": 16, "_name_or_path": "/home/somebody/model/vae", "note": "µ"},
        "other/config.json": {"_name_or_path": "not a component"},
    }
    for name, values in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "text_encoder").mkdir()
    plain = '{"d_model":  8}'
    (tmp_path / "text_encoder" / "config.json").write_text(plain)

    forget_origins(tmp_path, ["vae", "text_encoder", "scheduler"])

    kept = {name: json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in files}
    assert kept == {
        "model_index.json": {"_class_name": "XWAMPolicyPipeline"},
        "vae/config.json": {"z_dim": 16, "note": "µ"},
        "other/config.json": files["other/config.json"],
    }
    assert (tmp_path / "text_encoder" / "config.json").read_text() == plain, "nothing to take out, nothing written"
