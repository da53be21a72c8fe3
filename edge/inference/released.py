"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "03f45eab7a7c8c58b35c84107afb78e8734542e52941d51b0a63ca59e97c91f3",
    "speaker_embedding.json": "91cad0e234824cf4f224f44f47fb3ba165e236e66d337a0d224fa7115bd58015",
}
