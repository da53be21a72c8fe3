"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "9fb50a4e66ae4e68c7ca506f082d3313cc002d37ee2e78c887b1bece316ad825",
    "speaker_embedding.json": "69a6794ce629078b5fb721ff8a9aac0e18e48850348371d6f42ce9be1abf22a9",
}
