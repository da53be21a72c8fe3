"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "9fb50a4e66ae4e68c7ca506f082d3313cc002d37ee2e78c887b1bece316ad825",
    "speaker_embedding.json": "ee9421e1ea1c9db3055f5f0cc8c0016b555c1f30edc7b3fc7bc92e95eea5b007",
}
