// Runs one connection test over HTTP and yields what it says. Knows nothing of the page.

/** The test could not be run; `message` says why in words for the reader. */
export class TestNotRun extends Error {
  constructor(message, errors = {}) {
    super(message);
    this.errors = errors;
  }
}

const SIGNED_OUT = "You are signed out. Sign in in another tab, then test again. What you typed is still here.";
const LOST = "The connection to Sealpost was lost before the test ended. Check that you are online, then test again.";

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get("Retry-After"));
  switch (response.status) {
    case 401:
      return new TestNotRun(SIGNED_OUT);
    case 422:
      return new TestNotRun(body.message ?? "Check the fields.", body.errors);
    case 429:
      return new TestNotRun(`Too many tests in a short time. ${wait > 0 ? `Try again in ${wait} seconds.` : "Wait a minute, then try again."}`);
    case 400:
      return new TestNotRun(body.message ?? "This page has been open for too long. Reload it, then test again.");
    default:
      if (response.status < 500) return new TestNotRun(body.message ?? `Sealpost refused to run the test (${response.status}).`);
      return new TestNotRun(`Sealpost failed (${response.status}), not your mail server. See its log.`);
  }
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    throw new TestNotRun(LOST); // a line cut off in the middle
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const complete = rest.split("\n");
    rest = complete.pop();
    for (const line of complete) if (line.trim()) yield parse(line);
    if (!done) continue;
    if (rest.trim()) yield parse(rest);
    return;
  }
}

/** Yields {type: "step", …}, {type: "waiting", …} in silence, and at last {type: "result", …}. Throws TestNotRun, or AbortError when `signal` fires. */
export async function* runTest(url, body, signal) {
  try {
    const response = await fetch(url, { method: "POST", body, signal, headers: { Accept: "application/x-ndjson" } });
    if (!response.ok) throw await refusal(response);
    // A sign-in page in place of an answer: the session has ended meanwhile.
    if (!response.headers.get("Content-Type")?.startsWith("application/x-ndjson")) throw new TestNotRun(SIGNED_OUT);
    for await (const message of lines(response.body)) {
      yield message;
      if (message.type === "result") return;
    }
  } catch (error) {
    if (error instanceof TestNotRun || signal.aborted) throw error;
    throw new TestNotRun(LOST);
  }
  throw new TestNotRun(LOST);
}
