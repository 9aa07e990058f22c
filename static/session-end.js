// Nothing of a session stays in a tab once it has ended: by signing out in another tab, or because its time was over
// when somebody looks at the tab again. The page is loaded anew, which leads to the sign-in. A form that somebody is
// filling in stays, for what was typed is theirs; sending it asks for the sign-in.
import { account, ask } from "./session.js";
import { holdsUnsaved } from "./forms.js";

const tabs = new BroadcastChannel("sealpost-account");

async function leaveIfEnded() {
  const found = await ask();
  if (found.trouble || found.account === account || [...document.forms].some(holdsUnsaved)) return;
  location.replace(location.pathname + location.search); // not reload(), which would send a form again
}

if (account !== undefined) {
  tabs.addEventListener("message", (event) => {
    if (event.data !== account) leaveIfEnded();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") leaveIfEnded();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) leaveIfEnded();
  });
}
tabs.postMessage(account ?? "");
