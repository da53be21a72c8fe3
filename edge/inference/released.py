"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "6352762f84ac4e64efb8d702043d4675ab26dc5cf6f1b974bb00633d79d589d1",
    "speaker_embedding.json": "4500e26ed7fc02f56360ffc2f9f9613a72fb795870a11edc74305df112c222c1",
}
