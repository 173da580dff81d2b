// The page of the verifier: camera, pictures, countdown. Forms are htmx's, and work without either.
"use strict";

(() => {
  const FRAME_EVERY = 700; // milliseconds between two frames that the service is asked to read
  const DETECT_EVERY = 150;
  const HELP_AFTER = 3000; // the browser's own reader fails on dense codes that the service still reads
  const LONGEST_SIDE = 2400; // pixels: more than any code needs, and far below what the service takes
  const KINDS = ["image/png", "image/jpeg"];

  const find = (id) => document.getElementById(id);
  const form = find("check");
  const result = find("result");
  const state = find("state");
  const say = (name) => {
    state.textContent = name ? form.dataset[name] : "";
    state.classList.remove("wrong");
  };

  // The latest attempt; what an earlier one is answered later is not of what is shown now.
  let attempt = 0;
  const attempts = new WeakMap();

  // Something new is shown: nothing of the last one may be taken for the verdict on it.
  const begin = () => {
    attempt += 1;
    say("");
    if (!result.querySelector(".empty")) result.replaceChildren(find("nothing-yet").content.cloneNode(true));
    return attempt;
  };
  const fail = (name) => {
    say(name);
    state.classList.add("wrong");
  };

  // The options of a check that is not sent as a form: those of the form without the text.
  const options = () => {
    const given = new FormData(form);
    const query = new URLSearchParams();
    for (const name of ["purpose", "record", "record_fields", "challenge"]) {
      if (given.get(name)) query.set(name, given.get(name));
    }
    return { query, token: given.get("csrf") || "" };
  };
  const purposeGiven = () => !find("purpose") || find("purpose").reportValidity();
  const mayCheck = () => {
    if (purposeGiven()) return true;
    fail("noPurpose");
    return false;
  };

  const show = (html) => {
    result.innerHTML = html;
    htmx.process(result);
    shown();
  };

  const shown = () => {
    say("");
    localise(result);
    // An answered challenge is done with; another licence does not answer it.
    if (result.querySelector(".verdict.valid")) document.querySelector(".asked")?.remove();
    result.focus({ preventScroll: true });
    // Once the word that it is being checked is gone: what stands above the result moves it.
    requestAnimationFrame(bringIntoSight);
  };

  const bringIntoSight = () => {
    const { top } = result.getBoundingClientRect();
    if (top >= 0 && top < innerHeight / 3) return;
    result.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };

  const localise = (root) => {
    const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
    for (const each of root.querySelectorAll("time[datetime]")) each.textContent = format.format(new Date(each.dateTime));
  };

  // Answers whether the picture is done with: there was a code in it, or nobody waits for it any more.
  const send = async (blob, isFrame) => {
    const mine = attempt;
    const { query, token } = options();
    if (isFrame) query.set("frame", "true");
    const answer = await fetch(`/page/check?${query}`, {
      method: "POST",
      headers: { "Content-Type": blob.type, "HX-Request": "true", "X-CSRF-Token": token },
      body: blob,
    });
    if (answer.status === 204 || (isFrame && answer.status === 429)) return false;
    const html = await answer.text();
    if (mine !== attempt) return true;
    stopCamera();
    show(html);
    return true;
  };

  const smaller = async (file) => {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      return file; // the service says what is wrong with it
    }
    const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1) return KINDS.includes(file.type) ? file : draw(bitmap, 1);
    return draw(bitmap, scale);
  };

  const draw = (source, scale) => {
    const canvas = document.createElement("canvas");
    canvas.width = Math.round((source.videoWidth || source.width) * scale);
    canvas.height = Math.round((source.videoHeight || source.height) * scale);
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  };

  const readPicture = async (file) => {
    stopCamera();
    const mine = begin();
    if (!mayCheck()) return;
    if (!file || !file.type.startsWith("image/")) return fail("pictureKind");
    say("pictureReading");
    try {
      const picture = await smaller(file);
      if (mine !== attempt) return;
      if (!KINDS.includes(picture.type)) return fail("pictureKind");
      await send(picture, false);
    } catch {
      if (mine === attempt) fail("noConnection");
    }
  };

  // The camera.
  let stream = null;
  const camera = find("camera");
  const video = find("video");
  const label = (text) => { camera.querySelector("span").textContent = text; };

  const stopCamera = () => {
    if (stream) for (const track of stream.getTracks()) track.stop();
    stream = null;
    video.srcObject = null;
    find("viewfinder").hidden = true;
    label(camera.dataset.start);
    camera.setAttribute("aria-pressed", "false");
    if (state.textContent === form.dataset.cameraLooking) say("");
  };

  const startCamera = async () => {
    begin();
    if (!mayCheck()) return;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } } });
    } catch {
      return fail("cameraDenied");
    }
    video.srcObject = stream;
    find("viewfinder").hidden = false;
    label(camera.dataset.stop);
    camera.setAttribute("aria-pressed", "true");
    say("cameraLooking");
    await video.play();
    look(stream);
  };

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  const look = async (mine) => {
    const reader = await ownReader();
    const began = performance.now();
    let sent = -Infinity;
    while (stream === mine) {
      try {
        if (reader) {
          const codes = [...new Set((await reader.detect(video)).map((each) => each.rawValue))].filter((text) => /^EL[0-9]+:/.test(text));
          if (codes.length === 1 && stream === mine) return checkText(codes[0]);
        }
        const now = performance.now();
        if ((!reader || now - began > HELP_AFTER) && now - sent > FRAME_EVERY && video.videoWidth) {
          sent = now;
          if (await send(await draw(video, Math.min(1, LONGEST_SIDE / video.videoWidth)), true)) return;
          if (stream === mine) say("cameraLooking");
        }
      } catch {
        if (stream === mine) fail("noConnection");
      }
      await pause(DETECT_EVERY);
    }
  };

  const ownReader = async () => {
    try {
      if ((await BarcodeDetector.getSupportedFormats()).includes("qr_code")) return new BarcodeDetector({ formats: ["qr_code"] });
    } catch { /* most browsers have none */ }
    return null;
  };

  // Blanks alone are no code, as an empty field is none.
  const judgeText = () => {
    const { value } = find("text");
    find("text").setCustomValidity(value && !value.trim() ? form.dataset.noText : "");
  };

  const checkText = (text) => {
    stopCamera();
    begin();
    find("text").value = text;
    judgeText();
    if (mayCheck()) form.requestSubmit();
  };

  find("text").addEventListener("input", () => { begin(); judgeText(); });
  // Before the browser holds back a form that is not complete, and without a word to the page.
  find("check-text").addEventListener("click", () => {
    begin();
    judgeText();
    if (!find("text").validity.valid) fail("noText");
    else if (find("purpose") && !find("purpose").validity.valid) fail("noPurpose");
  });

  // What can be done here is offered only here.
  find("drop").hidden = false;
  find("picture-label").hidden = false;
  find("scan-hint").hidden = false;
  if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) {
    camera.hidden = false;
    camera.addEventListener("click", () => (stream ? (stopCamera(), say("")) : startCamera()));
  }
  find("picture").addEventListener("change", (event) => {
    if (event.target.files.length) readPicture(event.target.files[0]).finally(() => { event.target.value = ""; });
  });
  const drop = find("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  }
  document.addEventListener("drop", (event) => readPicture(event.dataTransfer.files[0]));
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    const file = files.find((each) => each.type.startsWith("image/")) || files[0];
    if (file) { event.preventDefault(); readPicture(file); }
  });
  addEventListener("pagehide", stopCamera);

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt === form) attempts.set(event.detail.xhr, begin());
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target === result && attempts.get(event.detail.xhr) !== attempt) event.detail.shouldSwap = false;
  });
  // Answers that htmx has put in their place.
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === result) { find("text").value = ""; shown(); }
    if (event.detail.target.id === "challenge") countdown(event.detail.target);
  });
  document.body.addEventListener("htmx:sendError", (event) => {
    if (event.detail.elt !== form) fail("unreachable");
    else if (attempts.get(event.detail.xhr) === attempt) fail("noConnection");
  });
  document.body.addEventListener("htmx:confirm", (event) => {
    if (event.detail.elt.id === "ask" && !purposeGiven()) event.preventDefault(); // the holder is told what for
  });

  const countdown = (place) => {
    const asked = place.querySelector(".asked");
    if (!asked) return;
    const ends = performance.now() + asked.dataset.seconds * 1000;
    const left = asked.querySelector(".left");
    const timer = setInterval(() => {
      const seconds = Math.ceil((ends - performance.now()) / 1000);
      left.textContent = seconds > 0 ? `${seconds} s` : asked.dataset.ended;
      if (seconds <= 0) asked.classList.add("ended");
      if (seconds <= 0 || !asked.isConnected) clearInterval(timer);
    }, 500);
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-drop]")) event.target.closest(".asked").remove();
    if (event.target.closest("[data-again]")) {
      event.preventDefault();
      begin();
      scrollTo({ top: 0 });
      (camera.hidden ? find("text") : camera).focus();
    }
  });

  localise(document);
})();
