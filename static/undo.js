// The button goes when it is no longer good.
const form = document.querySelector("[data-seconds]");

setTimeout(() => form.remove(), form.dataset.seconds * 1000);
