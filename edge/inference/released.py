"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "54c3f7590161242555f6da1740eed1ed2cbfcd12c31ade5e602750ceeda2f66f",
    "speaker_embedding.json": "87032ad7b865c253379fbd11f62f3161cd26f2bbc03ce6f4c5fcc253934c4f2c",
}
