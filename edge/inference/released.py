"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "54c3f7590161242555f6da1740eed1ed2cbfcd12c31ade5e602750ceeda2f66f",
    "speaker_embedding.json": "1933a6c59e5aa44f1064f6ac2fd6cf56efb1c050480cdba398f3d0fd7f1f19f5",
}
