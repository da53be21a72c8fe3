"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "9fb50a4e66ae4e68c7ca506f082d3313cc002d37ee2e78c887b1bece316ad825",
    "speaker_embedding.json": "3f348b6c994a6761af9e3a84a02c47577a9673e2afb07d550da9447b36100171",
}
