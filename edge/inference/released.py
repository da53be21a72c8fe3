"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""

CARDS = {
    "phrase_embedding.json": "5f0c0912779ce5eb732cc0589b8510691a96f750bbb58144a1b117df2c632ca0",
    "speaker_embedding.json": "323fc5bdd0729353aaaab20d826c7b055c231ceca4333e8b29f2548ed6c4b958",
}
