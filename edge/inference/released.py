"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "54c3f7590161242555f6da1740eed1ed2cbfcd12c31ade5e602750ceeda2f66f",
    "speaker_embedding.json": "0b8ac09b6549eb7e9d54b4dc70fa7f01f64bf7174ce22fac6eb16e8553759699",
}
