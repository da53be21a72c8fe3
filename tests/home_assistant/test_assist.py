from __future__ import annotations
from tests.home_assistant.assist import Assist
from tests.home_assistant.home_assistant import HomeAssistant
from tests.home_assistant.language_model import ANSWER, LanguageModel
from tests.integration.pocketsphinx import PocketSphinx
from tests.unit.spoken_digits import recording_of
import numpy as np, soundfile


def _pcm(text: str, voice: str) -> bytes:
    return (recording_of([text], voice) * 32767).astype("<i2").tobytes()


def test_alone(home: HomeAssistant, tmp_path) -> None:
    with PocketSphinx(tmp_path / "stt") as program, LanguageModel() as model:
        entry = home.add("ollama", url=model.address, **model.settings)
        home.configure(
            entry, prompt="Whoever speaks: {{ states('sensor.who') }}", llm_hass_api="none"
        )
        agent = home.entity_of(entry, "conversation")
        assist = Assist(home, "Kitchen", program.port, agent)
        try:
            for text in ("what time is it", "turn on the kitchen light"):
                run = assist.say(_pcm(text, "rms"))
                print(run)
                assert run.text == text
                assert run.answer == ANSWER
                print(model.asked)
        finally:
            assist.remove()
            home.remove(entry)
