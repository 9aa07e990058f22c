// A filter of a list: its moments are in the reader's own time, and what is empty stays out of the address.
const form = document.querySelector("[data-list-filters]");
const moments = [...form.querySelectorAll('input[type="datetime-local"][data-utc]')];
const two = (number) => String(number).padStart(2, "0");

function local(moment) {
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day}T${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":")}`;
}

for (const field of moments) {
  form.querySelector(`label[for="${field.id}"]`).textContent = field.dataset.utc;
  const moment = new Date(`${field.value}Z`);
  if (field.value && !Number.isNaN(moment.valueOf())) field.value = local(moment);
}
// On a narrow screen the states are a strip, of which the chosen one should be in view.
const chosen = document.querySelector('.states [aria-current="true"]');
if (chosen) chosen.closest("ul").scrollLeft = chosen.offsetLeft - chosen.closest("ul").offsetLeft - 16;

form.addEventListener("formdata", ({ formData }) => {
  for (const field of moments) {
    const moment = new Date(field.value);
    if (field.value && !Number.isNaN(moment.valueOf())) formData.set(field.name, moment.toISOString().slice(0, 19));
  }
  if (formData.get("rows") === form.elements.rows.options[0].value) formData.delete("rows");
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
});
