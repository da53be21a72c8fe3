"""The recognizer: enrolls, verifies and identifies. It keeps no state between calls."""

from __future__ import annotations

import itertools
import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.audio.dereverberation import dereverberated
from edge.audio.quality import MAX_PHRASE_S, explain, reason_to_refuse
from edge.config import Config, RecognitionConfig
from edge.errors import EnrollmentRejected, ProfileError
from edge.recognition.augmentation import AUGMENTATIONS, augmented, in_echo_and_noise
from edge.recognition.consistency import UNEVEN, embed_stretches, evenness, refused_below
from edge.recognition.dtw import dtw_distances, example_distances, unit
from edge.recognition.embedders import Models, open_models, phrase_samples, voice_samples
from edge.recognition.results import (
    Analysis,
    Identification,
    PhraseEmbedding,
    Verification,
)
from edge.recognition.scoring import Scorer, confidence_of, cosine, signature_of
from edge.types import (
    STRETCHES,
    Confidence,
    EnrollmentSample,
    FloatArray,
    PhraseMatch,
    Profile,
    ProfileKind,
    ProfileStatus,
    Quality,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)

_LEAST_ENROLLED_SNR_DB = 6.0
"""Whoever enrolls can wait for a quieter moment; what is enrolled is compared with for years."""

MAX_VOICE_S = 300.0
"""Longest recording of free speech."""
_REPETITION_RATE = 0.003
"""Share of strangers whose voice passes for that of the repetitions before, whatever the door asks.
As the third, 96 % of the actors' calm ones are enrolled, of the excited 93 %, of strangers 0.5 %
(`tools.measure_accuracy FOLDER --only moods`); among people at one microphone up to 0.2 %."""
_SAME_RECORDING = 0.9999
"""Similarity that no repetition reaches: a voice is never twice the same to four digits."""


_LEAST_LENGTH = 0.55
"""Of two repetitions the shorter one's speech, relative to the longer one's. In haste a phrase is
said in three fifths of the time; half of it is half a phrase."""


class Analyzer:
    """Embeds utterances; for any thread: a model makes one inference at a time."""

    def __init__(self, models: Models, config: Config | None = None) -> None:
        self.models = models
        self.config = config or Config()

    def analyze(
        self,
        utterance: Utterance,
        *,
        with_phrase: bool = True,
        to_enroll: bool = False,
        phrase: PhraseEmbedding | None = None,
    ) -> Analysis:
        """Embed an utterance, whatever its quality: the voice, and the phrase if `with_phrase`.

        `to_enroll` embeds voice and phrase in every augmentation too, and the voice of each
        stretch; `phrase` is given where it is embedded already.
        """
        started = time.perf_counter()
        speaker = self.models.speaker.embed(voice_samples(utterance))
        timings = {"speaker": (time.perf_counter() - started) * 1e3}
        if with_phrase:
            phrase = phrase or self.embed_phrase(utterance)
            timings["phrase"] = phrase.took_ms
        frames = phrase.frames if phrase else None
        analysis = Analysis(speaker, frames, utterance.quality, timings)
        return self._with_augmentations(analysis, utterance) if to_enroll else analysis

    def _with_augmentations(self, analysis: Analysis, utterance: Utterance) -> Analysis:
        speaker = self.models.speaker
        altered = [augmented(utterance, each) for each in AUGMENTATIONS]
        voices = [speaker.embed(voice_samples(one)) for one in altered]
        wants_phrase = analysis.phrase_embedding is not None
        return replace(
            analysis,
            voice_variants=(analysis.speaker_embedding, *in_echo_and_noise(voices)),
            enrolled_voice=unit(np.sum([analysis.speaker_embedding, *voices], axis=0)),
            phrase_variants=tuple(self.embed_phrase(one).frames for one in altered if wants_phrase),
            stretches=self._stretches_to_enroll(utterance, altered) if wants_phrase else (),
        )

    def _stretches_to_enroll(
        self, utterance: Utterance, altered: Sequence[Utterance]
    ) -> tuple[FloatArray, ...]:
        """The stretches as said, then as in an echoing room, then as in noise."""
        speaker = self.models.speaker
        said = embed_stretches(speaker, utterance)
        each = [embed_stretches(speaker, one) for one in altered]
        kinds = zip(*(in_echo_and_noise(several) for several in zip(*each)))
        return (*said, *itertools.chain.from_iterable(kinds))

    def with_stretches(self, utterance: Utterance, analysis: Analysis) -> Analysis:
        """The analysis of an utterance, with the voice of each stretch.

        It takes as long as embedding two voices, so ask where the phrase is right.
        """
        return replace(analysis, stretches=embed_stretches(self.models.speaker, utterance))

    def without_echo(self, utterance: Utterance, analysis: Analysis) -> Analysis:
        """The analysis of an utterance, its voice looked at once more with the echo taken off.

        Its stretches too, if there are any. It takes longer than the first look, so ask where all
        but the voice is right.
        """
        dry = replace(utterance, samples=dereverberated(utterance.samples))
        speaker = self.models.speaker
        return replace(
            analysis,
            without_echo=speaker.embed(voice_samples(dry)),
            stretches_without_echo=embed_stretches(speaker, dry) if analysis.stretches else (),
        )

    def embed_phrase(self, utterance: Utterance) -> PhraseEmbedding:
        """Embed what is said in an utterance."""
        started = time.perf_counter()
        frames = self.models.phrase.embed(phrase_samples(utterance))
        return PhraseEmbedding(frames, (time.perf_counter() - started) * 1e3)

    @property
    def to_enroll(self) -> RecognitionConfig:
        """The quality that an utterance must have to be enrolled."""
        given = self.config.recognition
        return replace(given, min_snr_db=max(given.min_snr_db, _LEAST_ENROLLED_SNR_DB))

    def refusal(
        self, utterance: Utterance, kind: ProfileKind, quality: RecognitionConfig | None = None
    ) -> ReasonCode | None:
        """Why an utterance cannot be used, or None when it can; by default, to be judged.

        A phrase is judged in any noise: nobody else is granted anything for it. If it is not
        recognized, the noise is named as the reason (`named`).
        """
        by_phrase = kind is ProfileKind.PHRASE
        if quality is None:
            quality = self.config.recognition
            quality = replace(quality, min_snr_db=-math.inf) if by_phrase else quality
        longest = MAX_PHRASE_S if by_phrase else MAX_VOICE_S
        if utterance.truncated and by_phrase:
            return ReasonCode.TOO_LONG
        return reason_to_refuse(
            utterance.quality,
            quality,
            duration_s=utterance.duration_s,
            max_duration_s=longest,
        )

    def named(self, reason: ReasonCode, quality: Quality) -> ReasonCode:
        """The reason of a decision, or the noise if that may be why a phrase was not recognized.

        Where the phrase was recognized and the voice was not, somebody tried it: that stays.
        """
        unheard = reason in (ReasonCode.WRONG_PHRASE, ReasonCode.NO_MATCH)
        noisy = quality.snr_db < self.config.recognition.min_snr_db
        return ReasonCode.TOO_NOISY if unheard and noisy else reason


class Engine(Analyzer):
    """Embeds, enrolls, verifies and identifies; for any thread, as `Analyzer`.

    The calibration is that of the models' cards unless `scorer` is given.

    Raises:
        ModelError: a model's card lacks its calibration or a threshold.
    """

    def __init__(
        self, models: Models, config: Config | None = None, scorer: Scorer | None = None
    ) -> None:
        super().__init__(models, config)
        self.scorer = scorer or Scorer.of(models, self.config.security.far)
        self._enrollment_voice = models.speaker.card.threshold("enrollment")
        self._enrollment_phrase = models.phrase.card.threshold("enrollment")
        self._evenness = models.speaker.card.threshold("evenness")

    @classmethod
    def open(cls, config: Config | None = None) -> Engine:
        """Open the models that the configuration names, or those that were installed.

        Raises:
            ModelError: a model is missing, damaged, or not the one its card describes.
        """
        config = config or Config()
        models = open_models(config.models_directory, threads=config.recognition.threads)
        return cls(models, config)

    def enroll(self, profile: Profile, utterance: Utterance) -> EnrollmentSample:
        """Turn an utterance into the next sample of a profile, without storing it.

        Every repetition must match each earlier one in phrase and voice; free speech must match
        the voice of what was enrolled before.

        Raises:
            EnrollmentRejected: the utterance does not fit, with what to do about it.
            ProfileError: the profile was begun with another model.
        """
        self.require_models(profile)
        reason = self.refusal(utterance, profile.kind, self.to_enroll)
        if reason is not None:
            message = explain(reason, utterance.quality, self.to_enroll)
            raise EnrollmentRejected(reason.value, message)
        wants_phrase = profile.kind is ProfileKind.PHRASE
        analysis = self.analyze(utterance, with_phrase=wants_phrase, to_enroll=True)
        if profile.samples:
            self.require_fit(profile, analysis)
        return analysis.to_sample(time.time())

    def extend(self, profile: Profile, utterance: Utterance) -> Profile:
        """The profile with one more utterance enrolled, in memory; raises as `enroll`."""
        sample = self.enroll(profile, utterance)
        wants_phrase = profile.kind is ProfileKind.PHRASE
        return replace(
            profile,
            samples=(*profile.samples, sample),
            speaker_model=self.models.speaker.sha256,
            phrase_model=self.models.phrase.sha256 if wants_phrase else "",
            updated_at=sample.created_at,
        )

    def require_fit(self, profile: Profile, analysis: Analysis) -> None:
        """Raise `EnrollmentRejected` unless an utterance fits those that were enrolled before."""
        if any(
            cosine(sample.speaker_embedding, analysis.voice_to_enroll) > _SAME_RECORDING
            for sample in profile.samples
        ):
            raise EnrollmentRejected(
                ReasonCode.REPEATED.value,
                "this is the very recording that was enrolled before: say it again",
            )
        # The voice first: another person's repetition of the phrase is further away in phrase too.
        score, least = self._likeness_to_earlier(profile, analysis)
        if score < least:
            raise EnrollmentRejected(
                ReasonCode.UNKNOWN_SPEAKER.value,
                f"not the voice of what was enrolled before (similarity {score:.2f}, at least "
                f"{least:.2f}): one person at a time, with the same microphone",
            )
        phrases = [s.phrase_embedding for s in profile.enrolled if s.phrase_embedding is not None]
        if not phrases or analysis.phrase_embedding is None:
            return
        net_speech_s = analysis.quality.net_speech_s
        for earlier_s in (sample.net_speech_s for sample in profile.enrolled):
            short_s, long_s = sorted((earlier_s, net_speech_s))
            if short_s < _LEAST_LENGTH * long_s:
                raise EnrollmentRejected(
                    ReasonCode.OTHER_LENGTH.value,
                    f"{net_speech_s:.1f} s of speech, {earlier_s:.1f} s in a repetition before: say"
                    " all of the phrase each time; if that one was only a part, start over",
                )
        distance = max(dtw_distances(phrases, analysis.phrase_embedding))
        most = self._enrollment_phrase
        if distance > most:
            raise EnrollmentRejected(
                ReasonCode.WRONG_PHRASE.value,
                f"not the phrase of the earlier repetitions (distance {distance:.2f}, at most "
                f"{most:.2f}): say exactly the same words",
            )

    def _likeness_to_earlier(self, profile: Profile, analysis: Analysis) -> tuple[float, float]:
        """The similarity to the voice that was enrolled before, and what it has to be."""
        if profile.kind is ProfileKind.VOICE:
            likeness = cosine(signature_of(profile.enrolled), analysis.voice_to_enroll)
            return likeness, self._enrollment_voice
        enrolled = replace(profile, samples=profile.enrolled)
        voice = self._match_voice(enrolled, analysis, said=True)
        threshold = self.scorer.voice_threshold(
            enrollments=len(enrolled.samples), rate=_REPETITION_RATE
        )
        missing = (threshold - voice.score) / self.scorer.voice.similarity
        return voice.similarity, voice.similarity + missing

    def verify(self, profile: Profile, utterance: Utterance) -> Verification:
        """Whether it is this person, and, for a phrase profile, their phrase.

        Raises:
            ProfileError: the profile is not enrolled yet, or was enrolled with another model.
        """
        self.require_ready(profile)
        reason = self.refusal(utterance, profile.kind)
        if reason is not None:
            return Verification(False, reason, Confidence.HIGH, None, None, utterance.quality)
        wants_phrase = profile.kind is ProfileKind.PHRASE
        analysis = self.analyze(utterance, with_phrase=wants_phrase)
        started = time.perf_counter()
        (phrase,) = self.match_phrases([profile], analysis) if wants_phrase else (None,)
        said = phrase is not None and phrase.accepted
        if said:
            analysis = self.with_stretches(utterance, analysis)
        speaker = self._match_voice(profile, analysis, said=said)
        if said and not speaker.accepted:
            analysis = self.without_echo(utterance, analysis)
            speaker = self._match_voice(profile, analysis, said=said)
        margins = [speaker.margin] + ([phrase.margin] if phrase else [])
        timings = {**analysis.timings_ms, "match": (time.perf_counter() - started) * 1e3}
        reason = _reason(speaker.accepted, phrase.accepted if phrase else True)
        reason = self.named(reason, utterance.quality)
        return Verification(
            accepted=reason is ReasonCode.RECOGNIZED,
            reason=reason,
            confidence=confidence_of(margins),
            speaker=speaker,
            phrase=phrase,
            quality=utterance.quality,
            timings_ms=timings,
        )

    def _match_voice(self, profile: Profile, analysis: Analysis, *, said: bool) -> SpeakerMatch:
        """The match of a voice; where the phrase was `said`, of each of its stretches too."""
        (voice,) = self.match_speakers([profile], analysis)
        if said and voice.accepted:
            voice = self.match_stretches(profile, analysis, voice)
        return voice

    def identify(self, profiles: Sequence[Profile], utterance: Utterance) -> Identification:
        """Who of a group speaks, whatever is said, or none of them; profiles of both kinds.

        Raises:
            ProfileError: the group is empty, or one of it is not ready.
        """
        self.require_group(profiles)
        reason = self.refusal(utterance, ProfileKind.VOICE)
        if reason is not None:
            return Identification(reason, Confidence.HIGH, None, (), utterance.quality)
        analysis = self.analyze(utterance, with_phrase=False)
        started = time.perf_counter()
        ranking = sorted(
            self.match_speakers(profiles, analysis, among=len(profiles)),
            key=lambda match: match.score,
            reverse=True,
        )
        best = ranking[0]
        timings = {**analysis.timings_ms, "match": (time.perf_counter() - started) * 1e3}
        return Identification(
            reason=ReasonCode.RECOGNIZED if best.accepted else ReasonCode.UNKNOWN_SPEAKER,
            confidence=confidence_of([best.margin]),
            best=best if best.accepted else None,
            ranking=tuple(ranking),
            quality=utterance.quality,
            timings_ms=timings,
        )

    def match_speakers(
        self, profiles: Sequence[Profile], analysis: Analysis, *, among: int = 1
    ) -> list[SpeakerMatch]:
        """Compare a voice with the signatures of several profiles.

        `among` is to how many people the voice may belong; the more, the nearer it must come, so
        that the false-accept rate of all together is the configured one.
        """
        scores = self.scorer.voice_scores(profiles, [analysis])
        return [
            SpeakerMatch(
                profile.id,
                profile.name,
                float(similarity),
                float(ratio),
                self.scorer.voice_threshold(among, enrollments=len(profile.enrolled)),
            )
            for profile, (similarity,), (ratio,) in zip(profiles, scores.similarity, scores.ratio)
        ]

    def match_stretches(
        self, profile: Profile, analysis: Analysis, voice: SpeakerMatch
    ) -> SpeakerMatch:
        """The match of a voice that was accepted, refused if another voice speaks a part.

        `analysis` is one `with_stretches`.
        """
        found = self._evenness_of(profile, analysis)
        return refused_below(voice, found, self._evenness, self.scorer.voice.similarity)

    def is_one_voice(self, profile: Profile, analysis: Analysis) -> bool:
        """Whether all of an utterance is by one voice, from an analysis `with_stretches`."""
        return self._evenness_of(profile, analysis) >= self._evenness

    def _evenness_of(self, profile: Profile, analysis: Analysis) -> float:
        if not any(sample.stretches for sample in profile.enrolled):
            return math.inf  # an older version enrolled none
        similarities = self.scorer.stretch_similarities(profile, analysis)
        if similarities is None:
            return UNEVEN
        return evenness(similarities, analysis.stretches[: len(STRETCHES)], self.scorer.center)

    def match_phrases(self, profiles: Sequence[Profile], analysis: Analysis) -> list[PhraseMatch]:
        """Compare an utterance with the phrases of several profiles, the nearest example of each.

        Raises:
            ValueError: the analysis or a profile has no phrase.
        """
        if analysis.phrase_embedding is None:
            raise ValueError("this utterance was analyzed without its phrase")
        examples = [_examples(profile) for profile in profiles]
        every = list(itertools.chain.from_iterable(examples))
        distances = np.asarray(example_distances(every, analysis.phrase_embedding))
        bounds = np.cumsum([len(own) for own in examples])[:-1]
        threshold = self.scorer.phrase_threshold()
        return [
            PhraseMatch(
                profile.id,
                profile.phrase,
                float(own.min()),
                self._phrase_ratio(float(own.min()), analysis.quality),
                threshold,
            )
            for profile, own in zip(profiles, np.split(distances, bounds))
        ]

    def phrase_margin(
        self, profiles: Sequence[Profile], phrase: PhraseEmbedding, quality: Quality
    ) -> float:
        """How clearly what was said is the nearest of some phrases; below 0 it is none of them.

        It is what the log-likelihood ratio is above its threshold.
        """
        examples = list(itertools.chain.from_iterable(map(_examples, profiles)))
        distance = min(example_distances(examples, phrase.frames))
        return self._phrase_ratio(distance, quality) - self.scorer.phrase_threshold()

    def _phrase_ratio(self, distance: float, quality: Quality) -> float:
        return float(self.scorer.phrase.ratio(distance, quality.snr_db, quality.reverberation_s))

    def fits(self, profile: Profile) -> bool:
        """Whether a profile's embeddings are of the models that are open now."""
        return profile.speaker_model in ("", self.models.speaker.sha256) and (
            profile.phrase_model in ("", self.models.phrase.sha256)
        )

    def require_models(self, profile: Profile) -> None:
        """Raise `ProfileError` if a profile was made with another model than is open now."""
        if not self.fits(profile):
            raise ProfileError(
                f"{profile.name} was enrolled with another model, and embeddings of different "
                f"models cannot be compared: reset the profile and enroll again"
            )

    def require_group(self, profiles: Sequence[Profile]) -> None:
        """Raise `ProfileError` if a group is empty, or one of it is not ready."""
        if not profiles:
            raise ProfileError("nobody to choose from: enroll someone first, or name a group")
        for profile in profiles:
            self.require_ready(profile)

    def require_ready(self, profile: Profile) -> None:
        """Raise `ProfileError` if a profile cannot be matched against."""
        self.require_models(profile)
        if profile.status is ProfileStatus.UNCONFIRMED:
            raise ProfileError(
                f"{profile.name} was enrolled over MQTT and is not confirmed yet: run edge-voice"
                f" profiles confirm {profile.name!r}"
            )
        if profile.status is not ProfileStatus.ENROLLED:
            by_phrase = profile.kind is ProfileKind.PHRASE
            unit = "repetitions" if by_phrase else "seconds of speech"
            # To be pasted: a name may come from anyone, and hold what a shell would run.
            name = shlex.quote(profile.name)
            command = f"edge-voice enroll {'' if by_phrase else '--voice '}{name}"
            raise ProfileError(
                f"{profile.name} is not enrolled yet, {profile.remaining:.3g} more {unit} needed: "
                f"run {command}"
            )


def _examples(profile: Profile) -> list[tuple[FloatArray, ...]]:
    examples = [sample.phrase_examples for sample in profile.samples]
    if not all(examples):
        raise ValueError(f"{profile.name} has no phrase")
    return examples


def _reason(voice: bool, phrase: bool) -> ReasonCode:
    if voice:
        return ReasonCode.RECOGNIZED if phrase else ReasonCode.WRONG_PHRASE
    return ReasonCode.UNKNOWN_SPEAKER if phrase else ReasonCode.NO_MATCH
