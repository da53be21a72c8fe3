"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "54c3f7590161242555f6da1740eed1ed2cbfcd12c31ade5e602750ceeda2f66f",
    "speaker_embedding.json": "69a6794ce629078b5fb721ff8a9aac0e18e48850348371d6f42ce9be1abf22a9",
}
