"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "df6a19d98b6d8d4ddd54f850e9c88bbdcae92af3414afd418b3e663e002cad4e",
    "speaker_embedding.json": "69a6794ce629078b5fb721ff8a9aac0e18e48850348371d6f42ce9be1abf22a9",
}
