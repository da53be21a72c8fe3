"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "6352762f84ac4e64efb8d702043d4675ab26dc5cf6f1b974bb00633d79d589d1",
    "speaker_embedding.json": "69a6794ce629078b5fb721ff8a9aac0e18e48850348371d6f42ce9be1abf22a9",
}
