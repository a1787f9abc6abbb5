// The page: sends luma planes or a file to the program on this machine, and draws its answers.
"use strict";

const SHOWN = 10; // seconds of curves
const SOFT = 2; // frames that wait, from where on every second one is left out
const HARD = 15; // the same, all
const GROUPS = { // by the names of the regions, as flow.spotting.regions has them
  brows: /brow/, lids: /lid/, cheeks: /cheek|nose|fold/, mouth: /mouth|lip|chin/,
};
const TITLES = {
  brows: "brows", lids: "lower lids", cheeks: "cheeks and nose", mouth: "mouth and chin",
};

const $ = (id) => document.getElementById(id);
const video = $("video");
let about = null;
let groups = []; // [key, numbers of its regions]
let run = null; // what is watched: { session, kind, … }
let starting = false;
let ending = null; // the promise of what was watched last
let events = []; // all that is listed
let moments = []; // of face 0, of the last SHOWN seconds
let places = []; // of all faces now
let record = {}; // what was watched, for the files

// Words

function say(text) { $("state").textContent = text; }

function complain(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function list(things) { return things.join(", "); }

function sentence(error) {
  if (error instanceof TypeError) {
    return "The program does not answer: start mjfn live again, and open the address that it prints.";
  }
  return error.message;
}

function cameraSentence(error) {
  return {
    NotAllowedError: "The camera may not be used: allow it for this page in the browser, then start again.",
    SecurityError: "This browser gives this page no camera: open it in Chromium or Firefox.",
    NotFoundError: "There is no camera: plug one in, or read a video file.",
    NotReadableError: "The camera is busy: close the program that uses it, then start again.",
    AbortError: "The camera does not start: close the program that uses it, then start again.",
    OverconstrainedError: "The camera has no picture of at most 1920 by 1080: choose another camera.",
  }[error.name] ?? `The camera cannot be used (${error.name}): try another browser or camera.`;
}

// The program

async function ask(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

const post = (path, body) => ask(path, { method: "POST", body });
const query = (values) => new URLSearchParams(values).toString();

async function open(kind, name) {
  const { session } = await post("open");
  clear();
  record = { source: kind, name, model: about.model, preset: about.preset, started: new Date().toISOString() };
  return { session, kind, frames: 0, dropped: 0, shown: [], latencies: [] };
}

function leave(what) {
  if (what) fetch(`forget?${query({ session: what.session })}`, { method: "POST", keepalive: true }).catch(() => {});
}

// The camera

// One start at a time, whatever is clicked.
async function start(how) {
  if (starting) return;
  starting = true;
  complain("");
  try {
    await stop();
    await how();
  } finally {
    starting = false;
    buttons();
  }
}

async function startCamera() {
  say("The camera starts.");
  let stream;
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        width: { ideal: 640, max: about.frame.width }, height: { ideal: 480, max: about.frame.height },
        frameRate: { ideal: 30 }, resizeMode: "none",
      },
    });
  } catch (error) {
    say("Nothing is watched.");
    return complain(cameraSentence(error));
  }
  try {
    run = await open("camera", "camera");
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    say("Nothing is watched.");
    return complain(sentence(error));
  }
  const here = run;
  const [track] = stream.getVideoTracks();
  Object.assign(here, { stream, waiting: [], busy: false, number: -1, first: null, last: -1 });
  track.addEventListener("ended", () => {
    if (run !== here) return;
    complain("The camera was pulled out or taken away: plug it in, then start again.");
    stop();
  });
  video.removeAttribute("src");
  video.srcObject = stream;
  video.play().catch(() => {});
  say("The camera is watched. Sit still, in even light, and look at it.");
  if (window.MediaStreamTrackProcessor) planes(here, track).catch((error) => fail(here, error));
  else paint(here);
}

function fail(here, error) {
  if (run !== here) return;
  complain(sentence(error));
  stop();
}

async function planes(here, track) {
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 8 }).readable.getReader();
  while (run === here) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    try {
      if (run === here && wanted(here)) {
        const arrived = performance.now();
        const { width, height } = frame.visibleRect;
        const luma = await plane(frame, width, height);
        send(here, { luma, width, height, arrived, microseconds: frame.timestamp, number: here.number });
      }
    } finally {
      frame.close();
    }
  }
  reader.cancel().catch(() => {});
}

// The luma plane as the camera gave it; of a frame that has none, the grey of its colours.
async function plane(frame, width, height) {
  const planar = /^(I4|NV12)/.test(frame.format ?? "");
  const format = planar ? {} : { format: "RGBA" };
  const bytes = new Uint8Array(frame.allocationSize(format));
  const [{ offset, stride }] = await frame.copyTo(bytes, format);
  if (!planar) return grey(bytes, width * height);
  if (stride === width) return bytes.subarray(offset, offset + width * height);
  const luma = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    luma.set(bytes.subarray(offset + y * stride, offset + y * stride + width), y * width);
  }
  return luma;
}

function grey(colours, count) {
  const luma = new Uint8Array(count);
  for (let n = 0; n < count; n++) {
    luma[n] = 0.299 * colours[4 * n] + 0.587 * colours[4 * n + 1] + 0.114 * colours[4 * n + 2] + 0.5;
  }
  return luma;
}

// Where the browser gives no planes: each frame is painted, and its grey is taken.
function paint(here) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const next = (now, shown) => {
    if (run !== here) return;
    video.requestVideoFrameCallback(next);
    if (video.readyState < 2 || !wanted(here)) return;
    const { videoWidth: width, videoHeight: height } = video;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(video, 0, 0);
    const luma = grey(context.getImageData(0, 0, width, height).data, width * height);
    const microseconds = 1000 * (shown.captureTime ?? now);
    send(here, { luma, width, height, arrived: now, microseconds, number: here.number });
  };
  video.requestVideoFrameCallback(next);
}

// Counts a frame, and says whether it is sent: where they come too fast, every second one is not,
// so that what is sent stays even in time.
function wanted(here) {
  here.number += 1;
  const waits = here.waiting.length;
  if (waits < SOFT || (waits < HARD && here.number % 2 === 0)) return true;
  here.dropped += 1;
  return false;
}

function send(here, item) {
  here.waiting.push(item);
  pump(here);
}

// One request at a time: the frames arrive in their order.
async function pump(here) {
  if (here.busy || run !== here) return;
  here.busy = true;
  try {
    while (run === here && here.waiting.length) {
      const { luma, width, height, arrived, microseconds, number } = here.waiting.shift();
      here.first ??= microseconds;
      const time = Math.round(microseconds - here.first);
      if (time <= here.last) { // a camera that stumbles
        here.dropped += 1;
        continue;
      }
      here.last = time;
      const path = `frame?${query({ session: here.session, number, microseconds: time, width, height })}`;
      const answer = await post(path, luma);
      here.frames += 1;
      here.work = answer.milliseconds;
      take([answer], answer.picture, answer.events);
      if (document.hidden) continue; // nothing is drawn
      refresh(() => {
        const now = performance.now();
        here.latencies.push(now - arrived);
        here.latencies.splice(0, here.latencies.length - 60);
        here.shown.push(now);
      });
    }
  } catch (error) {
    fail(here, error);
  } finally {
    here.busy = false;
  }
}

// When it is over, all of what was watched is listed.
function stop() {
  if (run) ending = end(run);
  return ending;
}

async function end(here) {
  run = null;
  here.request?.abort();
  record.frames = here.frames;
  record.left_out = here.dropped;
  if (here.stream) {
    here.stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    try {
      while (here.busy) await new Promise((done) => setTimeout(done, 10));
      const { events: last } = await post(`finish?${query({ session: here.session })}`);
      take([], null, last);
    } catch { /* what was open is lost with the session */ }
  }
  leave(here);
  idle("Nothing is watched. What was seen is listed until it is forgotten.");
}

function idle(text) {
  $("progress").hidden = true;
  $("face").hidden = true;
  say(text);
  buttons();
  refresh();
}

// A file

async function startFile(file) {
  if (file.size > about.upload_bytes) {
    return complain(
      `${file.name} has ${gigabytes(file.size)} GB, more than ${gigabytes(about.upload_bytes)}: cut it, ` +
      "or read it by the command line, which has no such limit.",
    );
  }
  if (!file.size) return complain(`${file.name} is empty: choose another file.`);
  try {
    run = await open("file", file.name);
  } catch (error) {
    return complain(sentence(error));
  }
  const here = run;
  here.picture = URL.createObjectURL(file);
  video.srcObject = null;
  video.src = here.picture;
  say(`${file.name} goes to the program on this machine.`);
  upload(here, file).then(() => follow(here, file.name)).catch((error) => fail(here, error));
}

const gigabytes = (bytes) => (bytes / 1e9).toFixed(1);

function upload(here, file) {
  return new Promise((done, failed) => {
    const request = here.request = new XMLHttpRequest();
    request.open("POST", `upload?${query({ session: here.session })}`);
    request.responseType = "json";
    $("progress").hidden = false;
    request.upload.onprogress = (event) => { $("progress").value = event.loaded / event.total; };
    request.onerror = () => failed(new TypeError("no answer"));
    request.onabort = () => failed(new Error("The file was not sent."));
    request.onload = () => {
      if (request.status === 202) done();
      else failed(new Error(request.response?.error ?? "The file was not taken."));
    };
    request.send(file);
  });
}

async function follow(here, name) {
  $("progress").hidden = true;
  let [known, moment] = [0, -1];
  while (run === here) {
    const seen = await ask(`progress?${query({ session: here.session, events: known, moment })}`);
    if (run !== here) return;
    known += seen.events.length;
    here.frames = seen.frames;
    const last = seen.moments.at(-1);
    if (last) {
      moment = last.number;
      if (video.readyState) video.currentTime = last.time;
      say(`${name} is read: ${last.time.toFixed(1)} s of it, ${seen.frames} frames.`);
    }
    here.rate = seen.frames / Math.max(seen.seconds, 0.01);
    here.work = seen.frames ? 1000 / here.rate : undefined;
    take(seen.moments, seen.picture, seen.events);
    refresh();
    if (seen.error) throw new Error(seen.error);
    if (seen.done) {
      await stop();
      return say(`${name} is read: ${seen.frames} frames, ${events.length} expressions. It is deleted.`);
    }
    await new Promise((next) => setTimeout(next, 250));
  }
}

// What was seen

function take(seen, picture, found) {
  for (const { time, faces: [face] } of seen) moments.push({ time, ...face });
  if (seen.length) places = seen.at(-1).faces.flatMap(({ place }) => (place ? [place] : []));
  const last = moments.at(-1);
  if (last) {
    const first = moments.findIndex((each) => each.time >= last.time - SHOWN);
    moments.splice(0, first);
  }
  if (picture) {
    $("flow").src = picture;
    $("flow").hidden = false;
  }
  for (const one of found) {
    events.push(one);
    $("events").prepend(item(one));
  }
  $("none").hidden = events.length > 0;
  if (found.length) buttons();
}

function percent(share) {
  if (share > 0.99) return ">\u00a099\u00a0%";
  return share < 0.01 ? "<\u00a01\u00a0%" : `${Math.round(100 * share)}\u00a0%`;
}

function item(one) {
  const micro = one.kind === "micro";
  const likest = about.classes.reduce((best, name) => (one[name] > one[best] ? name : best));
  const unsure = one.label === "not sure" ? `not sure, likest ${likest}` : one.label;
  const name = micro ? unsure : "a longer expression, not named";
  const line = document.createElement("li");
  const image = document.createElement("img");
  image.src = one.picture;
  image.alt = "Its flow from onset to apex.";
  const words = document.createElement("div");
  const head = document.createElement("strong");
  head.textContent = `${one.apex.toFixed(2)} s: ${name}`;
  const long = (one.offset - one.onset).toFixed(2);
  const parts = [
    `${micro ? "micro" : "macro"}, ${long} s from frame ${one.onset_frame} to ${one.offset_frame}, apex ${one.apex_frame}`,
    `farthest ${one.peak_px.toFixed(2)} px (${one.region})`,
  ];
  if (micro) parts.push(list(about.classes.map((of) => `${of} ${percent(one[of])}`)));
  if (one.doubts.length) parts.push(`doubts: ${list(one.doubts)}`);
  if (one.face_id) parts.push(`face ${one.face_id}`);
  const rest = document.createElement("small");
  rest.textContent = `${parts.join("; ")}.`;
  words.append(head, rest);
  line.append(image, words);
  return line;
}

// Drawing

let pending = [];
let asked = false;
let drawn = -Infinity; // when the curves were drawn last: they move a hair a frame

function refresh(then) {
  if (then) pending.push(then);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
    pending.forEach((each) => each());
    pending = [];
  });
}

function draw() {
  const face = moments.at(-1);
  outline(run ? places : []);
  $("face").hidden = !run || !face || face.success;
  const now = performance.now();
  if (run && now - drawn < 60) return;
  drawn = now;
  curves();
}

function fitted(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const dense = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

// The squares of the faces on the picture.
function outline(squares) {
  const [context, width, height] = fitted($("overlay"));
  if (!video.videoWidth) return;
  const scale = Math.min(width / video.videoWidth, height / video.videoHeight);
  const left = (width - scale * video.videoWidth) / 2;
  const top = (height - scale * video.videoHeight) / 2;
  context.beginPath();
  for (const [[a, b, c], [d, e, f]] of squares) {
    const corners = [[0, 0], [223, 0], [223, 223], [0, 223]].map(([x, y]) => [
      left + scale * (a * x + b * y + c + 0.5), top + scale * (d * x + e * y + f + 0.5),
    ]);
    context.moveTo(...corners.at(-1));
    for (const corner of corners) context.lineTo(...corner);
  }
  for (const [style, wide] of [["rgb(0 0 0 / 60%)", 4], ["#fff", 2]]) {
    context.strokeStyle = style;
    context.lineWidth = wide;
    context.stroke();
  }
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  return sorted.length ? sorted[sorted.length >> 1] : 0;
}

let rests = []; // where each region mostly is
let rested = -Infinity;

function curves() {
  const [context, width, height] = fitted($("curves"));
  const seen = moments.filter((each) => each.success);
  const now = performance.now();
  if (seen.length && now - rested > 500) {
    rested = now;
    rests = about.regions.map((_, n) => [0, 1].map((way) => median(seen.map((each) => each.motion[n][way]))));
  }
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`);
  const end = Math.max(moments.at(-1)?.time ?? 0, SHOWN);
  const across = (time) => width * (1 - (end - time) / SHOWN);
  const away = (each, n) => Math.hypot(each.motion[n][0] - rests[n][0], each.motion[n][1] - rests[n][1]);
  const row = height / groups.length;
  context.font = "13px system-ui, sans-serif";
  for (const one of events) {
    if (one.offset < end - SHOWN || one.face_id) continue;
    context.fillStyle = colour("band");
    const [left, right] = [across(one.onset), across(one.offset)];
    context.fillRect(left, 0, Math.max(right - left, 2), height);
  }
  const words = [];
  groups.forEach(([key, numbers], line) => {
    const [top, bottom] = [line * row, (line + 1) * row];
    let most = 0;
    for (const each of seen) for (const n of numbers) most = Math.max(most, away(each, n));
    const full = [0.5, 1, 2, 4, 8, 16].find((px) => px >= most) ?? 32;
    const down = (px) => bottom - 4 - (row - 26) * Math.min(px / full, 1);
    context.strokeStyle = colour("line");
    context.lineWidth = 1;
    context.strokeRect(0, bottom, width, 0);
    context.strokeStyle = colour(key);
    context.globalAlpha = 0.75;
    context.lineWidth = 1.2;
    for (const n of numbers) {
      context.beginPath();
      let joined = false;
      for (const each of moments) {
        if (each.success) {
          const [x, y] = [across(each.time), down(away(each, n))];
          joined ? context.lineTo(x, y) : context.moveTo(x, y);
        }
        joined = each.success;
      }
      context.stroke();
    }
    context.globalAlpha = 1;
    context.textBaseline = "top";
    context.textAlign = "left";
    context.fillStyle = colour(key);
    context.fillText(TITLES[key], 8, top + 5);
    context.textAlign = "right";
    context.fillStyle = colour("soft");
    context.fillText(`${full} px`, width - 8, top + 5);
    const last = moments.at(-1);
    if (last?.success) {
      const strongest = numbers.reduce((one, n) => (away(last, n) > away(last, one) ? n : one));
      words.push([TITLES[key], about.regions[strongest], away(last, strongest)]);
    }
  });
  current = words;
}

let current = [];

// Figures and words once or twice a second: who reads them cannot read faster.
setInterval(() => {
  const last = moments.at(-1);
  if (run && last) {
    $("curves-text").textContent = last.success
      ? `Farthest from rest now: ${list(current.map(([title, region, px]) => `${title} ${px.toFixed(2)} px (${region})`))}.`
      : "No face is seen.";
  }
  const show = (id, value) => { $(id).textContent = value ?? "–"; };
  if (!run) return;
  const now = performance.now();
  run.shown = run.shown.filter((each) => each > now - 3000);
  const fast = run.kind === "file" ? run.rate : run.shown.length / 3;
  show("fps", fast?.toFixed(1));
  show("latency", run.latencies.length ? Math.round(median(run.latencies)) : undefined);
  show("work", run.work?.toFixed(0));
  show("dropped", run.kind === "file" ? undefined : run.dropped);
}, 500);

// Saving and forgetting

function save(name, kind, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function saved() {
  const { frames = run?.frames, left_out = run?.dropped, ...rest } = record;
  return { ...rest, frames, left_out, events: events.map(({ picture, ...one }) => one) };
}

// The same as events.csv of mjfn recognise.
function table() {
  const { columns } = about;
  const cell = (value) => {
    const text = Array.isArray(value) ? value.join("; ") : String(value === Boolean(value) ? +value : value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = events.map((one) => columns.map((name) => one[name]));
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function clear() {
  events = [];
  moments = [];
  places = [];
  current = [];
  record = {};
  rested = -Infinity;
  $("events").replaceChildren();
  $("none").hidden = false;
  $("flow").hidden = true;
  $("flow").removeAttribute("src");
  $("curves-text").textContent = "Nothing is seen yet.";
  for (const id of ["fps", "latency", "work", "dropped"]) $(id).textContent = "–";
}

async function forget() {
  complain("");
  await stop();
  if (video.src) {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
  $("file").value = "";
  clear();
  idle("All is forgotten. Nothing is watched.");
  $("camera").focus(); // the button that was pressed can be pressed no more
}

function buttons() {
  const may = $("consent").checked && about !== null;
  $("camera").textContent = !run ? "Start the camera" : run.stream ? "Stop the camera" : "Stop reading";
  $("camera").disabled = !may && !run;
  $("file").disabled = !may;
  $("file-label").setAttribute("aria-disabled", String(!may));
  $("json").disabled = $("csv").disabled = !record.source;
  $("forget").disabled = !record.source;
}

// Start

$("consent").addEventListener("change", buttons);
$("camera").addEventListener("click", () => (run ? stop() : start(startCamera)));
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) start(() => startFile(file)).finally(() => { $("file").value = ""; });
});
$("json").addEventListener("click", () => save("events.json", "application/json", `${JSON.stringify(saved(), null, 2)}\n`));
$("csv").addEventListener("click", () => save("events.csv", "text/csv", table()));
$("forget").addEventListener("click", forget);
addEventListener("pagehide", () => leave(run));
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
addEventListener("resize", () => about && refresh());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => about && refresh());

(async () => {
  try {
    about = await ask("about");
  } catch (error) {
    return complain(sentence(error));
  }
  groups = Object.entries(GROUPS).map(([key, names]) => [
    key, about.regions.flatMap((name, n) => (names.test(name) ? [n] : [])),
  ]);
  $("model").textContent = about.model;
  $("preset").textContent = about.preset;
  $("flow-px").textContent = about.flow_px;
  buttons();
  refresh();
})();
