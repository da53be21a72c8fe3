// What a program does with the Speech SDK: creates, enrolls, verifies, identifies, resets, deletes.
//
//   node client.js VERSION URL KEY RECORDINGS
//
// RECORDINGS is JSON: names of people, each with the WAV files that they are known by ("enroll") and
// others of theirs ("said"); of "stranger" only "said" counts. What came of each step is printed as
// JSON.

const fs = require("fs");

const [version, url, key, recordings] = process.argv.slice(2);
const sdk = require(`sdk-${version}`);
const people = JSON.parse(fs.readFileSync(recordings, "utf8"));

function configure(subscriptionKey) {
  if (version === "2.0") {
    const config = sdk.SpeechConfig.fromSubscription(subscriptionKey, "westus");
    const endpoint = `${url}/speaker/{mode}/v2.0/{dependency}/profiles`;
    config.setProperty(sdk.PropertyId.SpeechServiceConnection_Endpoint, endpoint);
    return config;
  }
  return sdk.SpeechConfig.fromEndpoint(new URL(url), subscriptionKey);
}

// Older versions answer by callbacks, where they take any, newer ones by promises.
function ask(object, name, ...values) {
  const method = object[name];
  if (method.length <= values.length) {
    return method.apply(object, values);
  }
  return new Promise((resolve, reject) => method.call(object, ...values, resolve, reject));
}

const sound = (file) => sdk.AudioConfig.fromWavFileInput(fs.readFileSync(file), file);
const reasonOf = (result) => sdk.ResultReason[result.reason];

async function enroll(client, type, files) {
  const profile = await ask(client, "createProfileAsync", type, "en-us");
  const reasons = [];
  for (const file of files) {
    reasons.push(reasonOf(await ask(client, "enrollProfileAsync", profile, sound(file))));
  }
  return { profile, reasons };
}

async function recognize(config, model, file) {
  const recognizer = new sdk.SpeakerRecognizer(config, sound(file));
  const result = await ask(recognizer, "recognizeOnceAsync", model);
  return {
    reason: reasonOf(result),
    profile: result.profileId,
    score: result.score,
    error: result.errorDetails,
  };
}

async function main() {
  const config = configure(key);
  const client = new sdk.VoiceProfileClient(config);
  const types = sdk.VoiceProfileType;
  const { ada, robin, stranger } = people;
  const seen = {};

  const phrases = await ask(
    client, "getActivationPhrasesAsync", types.TextDependentVerification, "en-us",
  );
  seen.phrases = reasonOf(phrases);

  const own = await enroll(client, types.TextDependentVerification, ada.enroll);
  seen.enrolled = own.reasons;
  const verification = sdk.SpeakerVerificationModel.fromProfile(own.profile);
  seen.accepted = await recognize(config, verification, ada.said);
  seen.rejected = await recognize(config, verification, robin.said);
  seen.notRepeated = reasonOf(
    await ask(client, "enrollProfileAsync", own.profile, sound(robin.enroll[0])),
  );

  const free = await enroll(client, types.TextIndependentVerification, ada.enroll.slice(0, 1));
  seen.enrolledFree = free.reasons;
  const freely = sdk.SpeakerVerificationModel.fromProfile(free.profile);
  seen.acceptedFree = await recognize(config, freely, ada.said);

  const group = [];
  for (const person of [ada, robin]) {
    const one = await enroll(client, types.TextIndependentIdentification, person.enroll.slice(0, 2));
    group.push(one.profile);
  }
  const identification = sdk.SpeakerIdentificationModel.fromProfiles(group);
  seen.identified = [];
  for (const person of [ada, robin, stranger]) {
    const found = await recognize(config, identification, person.said);
    seen.identified.push(group.findIndex((profile) => profile.profileId === found.profile));
    seen.lastIdentified = found.profile;
  }
  const listed = await ask(client, "getAllProfilesAsync", types.TextIndependentIdentification);
  seen.listed = listed.map(reasonOf);

  const before = await ask(client, "retrieveEnrollmentResultAsync", own.profile);
  seen.before = [reasonOf(before), before.enrollmentsCount];
  seen.reset = reasonOf(await ask(client, "resetProfileAsync", own.profile));
  const after = await ask(client, "retrieveEnrollmentResultAsync", own.profile);
  seen.after = [reasonOf(after), after.enrollmentsCount];
  seen.deleted = [];
  for (const profile of [own.profile, free.profile, ...group]) {
    seen.deleted.push(reasonOf(await ask(client, "deleteProfileAsync", profile)));
  }
  const gone = await ask(client, "retrieveEnrollmentResultAsync", own.profile);
  seen.gone = [reasonOf(gone), gone.errorDetails];

  const other = new sdk.VoiceProfileClient(configure("0".repeat(32)));
  try {
    await ask(other, "createProfileAsync", types.TextDependentVerification, "en-us");
  } catch (error) {
    seen.wrongKey = String(error);
  }
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
