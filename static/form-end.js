// Where a form ends: its Save may stand behind what is not part of it.

/** The part of the page with the form's last button, which is the form itself where it is in one piece. */
export function endOf(form) {
  return document.querySelector(`[data-form-end="${form.id}"]`) ?? form;
}
