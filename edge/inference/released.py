"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "54c3f7590161242555f6da1740eed1ed2cbfcd12c31ade5e602750ceeda2f66f",
    "speaker_embedding.json": "a868aa5605a7364633b56d4efc65ae5209858395694491f6ade71d0b84b5d968",
}
