"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "5f0c0912779ce5eb732cc0589b8510691a96f750bbb58144a1b117df2c632ca0",
    "speaker_embedding.json": "e9277a22c6268a1f7bec0ebf604f5e98f4ec726c3d23422177a654d7ed6a8ecc",
}
