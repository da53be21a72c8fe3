"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "54c3f7590161242555f6da1740eed1ed2cbfcd12c31ade5e602750ceeda2f66f",
    "speaker_embedding.json": "9a5544ef13b99052c2b0561c5b9a80a7a232f5b4ba51061b926f1beab038751b",
}
