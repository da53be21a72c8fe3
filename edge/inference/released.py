"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "5f0c0912779ce5eb732cc0589b8510691a96f750bbb58144a1b117df2c632ca0",
    "speaker_embedding.json": "fd782127ae848ee2ba24d9ea9b677566c829252f518a93a799b189bd074cbad1",
}
